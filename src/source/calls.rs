use tokio::process::Command;

use super::{
    aside::Place,
    caps::{Bounds, Caps},
    child::{self, Failure, Limits, Output},
    fetch::{Miss, Remote, Turn},
    login::Token,
    quarantine::BROUGHT,
    words::{clean, lacks_room, last_words},
};
use crate::model::{Commit, SourceError};

/// Over HTTP a server may answer as a plain file server, and what git takes from one it does not check (measured with
/// 2.47: `fsckObjects` does nothing there). A depth is what git refuses to ask such a server for; this one means the
/// whole history.
const SMART_ONLY: &str = "--depth=2147483647";
/// What `git update-ref` takes for a ref that is not there.
const NOTHING: &str = "0000000000000000000000000000000000000000";

impl Remote {
    /// What the remote says that its branch is.
    pub(super) async fn ask(&self, place: &Place, token: Option<&Token>) -> Result<Commit, SourceError> {
        let name = format!("refs/heads/{}", self.branch);
        let command = place.command(&["ls-remote", "--quiet", "--exit-code", "--", &self.url, &name]);
        let command = self.dress(command, token);
        let output = self.run(command, &self.limits.ask, token).await?;
        let head = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split_once('\t'))
            // A pattern also finds `refs/heads/refs/heads/main`.
            .find_map(|(id, found)| (found == name).then(|| id.to_owned()));
        match (output.status.code(), head) {
            (Some(0), Some(head)) if git2::Oid::from_str(&head).is_ok() && head.len() == 40 => {
                Ok(Commit(head.as_str().into()))
            }
            (Some(0), Some(_)) => Err(SourceError::Unreachable(format!(
                "{} answers with commit ids that are not SHA-1: only such repositories can be read",
                self.url
            ))),
            (Some(0 | 2), None) if !self.http || self.names_any(place, token).await? => {
                Err(SourceError::NoBranch(format!(
                    "{} has no branch `{}`: push it, or correct `branch` in the configuration",
                    self.url, self.branch
                )))
            }
            // A web server that answers everything with an empty page says so, too: it is no word about the branch.
            (Some(0 | 2), None) => Err(SourceError::Unreachable(format!(
                "{} names no branch at all: push `{}`, or correct `url` in the configuration if that is no repository",
                self.url, self.branch
            ))),
            _ => Err(self.failure("cannot be reached", &output, token)),
        }
    }

    /// Whether the remote has anything at all.
    async fn names_any(&self, place: &Place, token: Option<&Token>) -> Result<bool, SourceError> {
        let command = self.dress(place.command(&["ls-remote", "--quiet", "--exit-code", "--", &self.url]), token);
        let output = self.run(command, &self.limits.ask, token).await?;
        match output.status.code() {
            Some(0) => Ok(!output.stdout.is_empty()),
            Some(2) => Ok(false),
            _ => Err(self.failure("cannot be reached", &output, token)),
        }
    }

    pub(super) async fn download(
        &self,
        place: &Place,
        what: &str,
        caps: &Caps,
        first: bool,
        token: Option<&Token>,
    ) -> Result<(), Miss> {
        let refspec = format!("+{what}:{BROUGHT}");
        let mut arguments = vec![
            "fetch",
            "--quiet",
            "--force",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--no-show-forced-updates",
            "--refmap=",
        ];
        if self.http {
            arguments.push(SMART_ONLY);
        }
        arguments.extend(["--", &self.url, &refspec]);
        let command = self.dress(place.command_in(place.quarantine(), &arguments), token);
        let help = Bounds::help(first, self.places.kept().bare());
        let output = child::run(command, &caps.child).await.map_err(|failure| self.failed(&failure, &help, token))?;
        if output.status.success() {
            return Ok(());
        }
        let said = last_words(&output.stderr, token);
        if lacks_room(&output.stderr) {
            return Err(Miss::Unkept(format!("the folder {} cannot be used: {said}", place.bare().display())));
        }
        if let Some(why) = caps.child.broken(&said, output.status) {
            let what = format!("{} cannot be fetched: {why}{help} (git: {said})", self.url);
            return Err(SourceError::Unreachable(what).into());
        }
        if said.contains("repository corruption on the remote side") {
            let what = format!(
                "{} lacks objects: it is a partial clone, or damaged; `git fsck` there says more; name the repository that it \
                 was made from (git: {said})",
                self.url
            );
            return Err(SourceError::Unreachable(what).into());
        }
        let hidden = ["not our ref", "unadvertised object"].iter().any(|words| said.contains(words));
        if hidden && !what.starts_with("refs/") {
            let what = format!(
                "{} does not hand out the commit {what}: {said}; let the server give commits by their id \
                 (`uploadpack.allowAnySHA1InWant`), or see whether it is gone",
                self.url
            );
            return Err(SourceError::Unreachable(what).into());
        }
        Err(self.failure("cannot be fetched", &output, token).into())
    }

    /// Moves a ref of the place, from where we saw it.
    pub(super) async fn point(
        &self,
        place: &Place,
        name: &str,
        to: &Commit,
        from: Option<&Commit>,
    ) -> Result<(), Miss> {
        let from = from.map_or(NOTHING, |from| &from.0);
        let command = place.command(&["update-ref", name, &to.0, from]);
        let unread = |what: String| format!("{name} cannot be moved to {to}: {what}");
        let output = child::run(command, &self.limits.ask).await;
        let output = output.map_err(|e| SourceError::Unread(unread(e.to_string())))?;
        if output.status.success() {
            return Ok(());
        }
        let why = unread(last_words(&output.stderr, None));
        // No remote has a part in this: whoever may not write here is told so by the disk alone.
        let unkept = lacks_room(&output.stderr) || why.contains("Permission denied");
        Err(if unkept { Miss::Unkept(why) } else { SourceError::Unread(why).into() })
    }

    /// Joins packs when there are many: each fetch brings one. Every object stays. If it fails nothing is lost, and the
    /// next fetch tries again.
    pub(super) async fn tidy(&self, turn: &mut Turn, place: &Place) {
        let dirty = match place.packs() {
            Ok(packs) if packs <= self.limits.packs => false,
            // What cannot be listed is swept before the next fetch, which says what is wrong.
            Err(_) => true,
            Ok(_) => {
                let command = place.command(&["repack", "--quiet", "-d", "-l", "--geometric=2"]);
                !child::run(command, &self.limits.tidy).await.is_ok_and(|output| output.status.success())
            }
        };
        if matches!(place, Place::Kept(_)) {
            turn.dirty = dirty;
        }
    }

    /// A command, with what this remote needs to be reached. The token goes by the environment, which only our own
    /// user can read, and never into the arguments, which everybody can.
    #[cfg(test)]
    pub(super) fn command(&self, arguments: &[&str], token: Option<&Token>) -> Command {
        self.dress(self.git().command(arguments), token)
    }

    fn dress(&self, mut command: Command, token: Option<&Token>) -> Command {
        if let Some(ssh) = &self.ssh {
            command.env("GIT_SSH_COMMAND", ssh).env("GIT_SSH_VARIANT", "ssh");
        }
        // Plain http is for this machine and its networks: nobody's proxy stands there.
        if self.url.starts_with("https://") {
            command.envs(self.outside.environment());
        }
        if let Some(token) = token {
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "http.extraHeader")
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {}", token.basic));
        }
        command
    }

    async fn run(&self, command: Command, limits: &Limits, token: Option<&Token>) -> Result<Output, SourceError> {
        child::run(command, limits).await.map_err(|failure| self.failed(&failure, "", token))
    }

    /// A child that took too much was led to it by the remote. That it did not start is our own trouble.
    fn failed(&self, failure: &Failure, help: &str, token: Option<&Token>) -> SourceError {
        let why = |help| clean(&format!("{} cannot be fetched: {failure}{help}", self.url), token);
        if failure.is_breach() { SourceError::Unreachable(why(help)) } else { SourceError::Unread(why("")) }
    }

    fn failure(&self, what: &str, output: &Output, token: Option<&Token>) -> SourceError {
        let said = last_words(&output.stderr, token);
        let said = if said.is_empty() { format!("git ended with {} and said nothing", output.status) } else { said };
        SourceError::Unreachable(format!("{} {what}: {said}", self.url))
    }
}
