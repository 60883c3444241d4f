//! What the verbs that only read go by: the configuration, or, where that cannot be used, the last one that could.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, anyhow};
use tempfile::NamedTempFile;

use crate::{
    cli::Reading,
    config::Config,
    model::{Clock, Limits, Policy, Span},
    surface::world::RealClock,
};

use super::{complain, setup::Setup};

/// The last good configuration, in the state folder, with its paths made absolute.
const KEPT: &str = "configuration.json";

/// A state folder, and the configuration that counts for it; none where none was ever kept.
pub struct Known {
    pub state: PathBuf,
    config: Option<Config>,
}

impl Known {
    /// By `--state`, or by the configuration.
    pub fn find(args: &Reading) -> Result<Self> {
        if let Some(state) = &args.state {
            return Ok(Self { state: state.clone(), config: kept(state) });
        }
        let path = &args.configured.config;
        let error = match Config::load(path) {
            Ok(config) => return Ok(Self { state: config.state.clone(), config: Some(config) }),
            Err(error) => error,
        };
        // The daemon goes on by the one that it used last, and so do we, if the broken one still says where that is.
        let state = fs::read_to_string(path).ok().and_then(|text| named(path, &text));
        match state.and_then(|state| kept(&state).map(|config| Self { state, config: Some(config) })) {
            Some(known) => {
                complain(&format!(
                    "warning: {error}\n  what follows is by the last configuration that could be used\n"
                ));
                Ok(known)
            }
            None => Err(anyhow!(
                "{error}\n  `--state DIR` reads a state folder without a configuration, such as `--state /var/lib/grantd`"
            )),
        }
    }

    /// Without any configuration nothing is shorter than the journal has it.
    pub fn policy(&self) -> Policy {
        self.config.as_ref().map_or_else(
            || Policy { limits: Limits { max_duration: Span::days(3653), ..Limits::default() }, ..Policy::default() },
            Config::policy,
        )
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        let setup = self.config.clone().and_then(|config| Setup::new(config).ok());
        setup.map_or_else(|| Arc::new(RealClock) as Arc<dyn Clock>, |setup| setup.clock())
    }
}

/// Keeps a configuration that is used from now on. Only for the holder of the journal's lock. It is for people only, so that what
/// fails here stops nothing.
pub fn keep(config: &Config) {
    let write = || -> Result<()> {
        let path = config.state.join(KEPT);
        let mut text = serde_json::to_vec_pretty(config)?;
        text.push(b'\n');
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let mut new = NamedTempFile::new_in(&config.state)?;
        new.write_all(&text)?;
        new.persist(&path)?;
        Ok(())
    };
    if let Err(error) = write() {
        tracing::warn!(%error, "the configuration is not kept: while it is broken, `status` shows nothing");
    }
}

fn kept(state: &Path) -> Option<Config> {
    serde_json::from_slice(&fs::read(state.join(KEPT)).ok()?).ok()
}

/// The state folder that a configuration names, however broken the rest of it is.
fn named(path: &Path, text: &str) -> Option<PathBuf> {
    let value = text.lines().find_map(|line| line.strip_prefix("state:"))?;
    let value = value.split(" #").next().unwrap_or_default().trim();
    let bare = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let value = bare('"').or_else(|| bare('\'')).unwrap_or(value);
    let folder = std::path::absolute(path).ok()?.parent()?.to_owned();
    (!value.is_empty()).then(|| folder.join(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_used() {
        let state = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/grantd.yaml");
        let config = Config { state: state.path().to_owned(), ..Config::load(&example).unwrap() };
        keep(&config);
        assert_eq!(kept(state.path()), Some(config));
        fs::write(state.path().join(KEPT), "{").unwrap();
        assert_eq!(kept(state.path()), None);
    }

    #[test]
    fn the_state_is_found_in_what_is_broken() {
        let path = Path::new("/etc/grantd/grantd.yaml");
        for (text, state) in [
            ("sweeep: x\nstate: /var/lib/grantd\n", Some("/var/lib/grantd")),
            ("state:   \"a b\"  # here\n\tbroken", Some("/etc/grantd/a b")),
            ("state: 'x'", Some("/etc/grantd/x")),
            ("  state: no\nsource: { state: no }\n", None),
            ("state:\n", None),
        ] {
            assert_eq!(named(path, text), state.map(PathBuf::from), "{text}");
        }
    }
}
