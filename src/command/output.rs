//! What is said, and whether it could be: a report that is lost is a failure, and none makes us break off.

use std::{
    io::{ErrorKind, Write},
    sync::OnceLock,
};

/// Why standard output takes no more; without a reason, its reader hung up.
static LOST: OnceLock<Option<String>> = OnceLock::new();

/// Prints to standard output. A reader that hangs up (`| head`) is no error; any other loss makes the exit code 1 in the end,
/// whatever was done.
pub fn print(text: &str) {
    if lost() {
        return;
    }
    let mut out = anstream::stdout();
    // At once: what is left for the end of the process would be lost in silence.
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        let _ = LOST.set((error.kind() != ErrorKind::BrokenPipe).then(|| error.to_string()));
    }
}

/// Prints JSON, indented, with a line end.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?));
    Ok(())
}

/// Whether nobody gets any more of it.
pub fn lost() -> bool {
    LOST.get().is_some()
}

/// Why not all was printed, if that is an error.
pub fn failure() -> Option<String> {
    let why = LOST.get()?.as_ref()?;
    Some(format!("standard output takes no more, so that not all is said here: {why}"))
}

/// Says what is wrong on standard error. Where that takes nothing either, the exit code is all there is.
pub fn complain(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}
