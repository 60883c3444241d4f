//! What is trusted by its path, and who else could change it.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    config::Config,
    model::{Policy, guard},
};

use super::{owner, setup};

/// Whom the daemon trusts beside root: itself. Whoever looks in its place, as root may, goes by the state folder's owner.
fn own(state: &Path) -> u32 {
    state.metadata().map_or_else(|_| rustix::process::geteuid().as_raw(), |about| about.uid())
}

/// The configuration: whoever can change it decides who gets access.
///
/// # Errors
/// A sentence that says what to write.
pub fn configuration(path: &Path) -> Result<(), String> {
    guard(path, rustix::process::geteuid().as_raw())
}

/// The same, by whoever looks in the daemon's place.
///
/// # Errors
/// A sentence that says what to write.
pub fn configuration_of(path: &Path, state: &Path) -> Result<(), String> {
    guard(path, own(state))
}

/// The state folder with what lies behind links in it, such as a journal on another disk.
///
/// # Errors
/// A sentence that says what to write.
pub fn state(folder: &Path) -> Result<(), String> {
    let own = own(folder);
    guard(folder, own)?;
    let linked = owner::OURS.iter().map(|name| folder.join(name)).filter(|path| path.is_symlink());
    linked.into_iter().try_for_each(|path| guard(&path, own))
}

/// The files by which Git and the forges are known, and with which they are asked.
///
/// # Errors
/// A sentence that says what to write.
pub fn files(config: &Config) -> Result<(), String> {
    let own = own(&config.state);
    let mut all = config.trusted_files(setup::credentials().as_deref());
    if let Ok(outside) = setup::outside() {
        let named = |name: &str, path: Option<PathBuf>| path.map(|path| (name.into(), path));
        all.extend(named("SSL_CERT_FILE", outside.authorities));
        all.extend(named("SSL_CERT_DIR", outside.folder));
    }
    all.iter().try_for_each(|(name, path)| guard(path, own).map_err(|why| format!("{name}: {why}")))
}

/// What grants may ask for, and whether what says so is guarded, now.
pub fn policy(path: &Path, config: &Config) -> Policy {
    let unguarded =
        configuration_of(path, &config.state).and_then(|()| state(&config.state)).and_then(|()| files(config)).err();
    Policy { unguarded: unguarded.map(Into::into), ..config.policy() }
}
