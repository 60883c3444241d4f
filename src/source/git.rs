use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::process::Command;

/// Our bare repository, and how `git` is called for it.
#[derive(Debug)]
pub struct Git {
    bare: PathBuf,
    home: PathBuf,
    quarantine: PathBuf,
}

/// What no configuration file says, because none is read but our own.
const CONFIG: [&str; 20] = [
    // Every object is checked before it is kept.
    "transfer.fsckObjects=true",
    // Only the host that the operator named is talked to.
    "http.followRedirects=false",
    "transfer.bundleURI=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    // Nothing else runs.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "credential.helper=",
    // What was fetched once stays, even when the remote rewrites its history and no ref holds it any more: the journal
    // may name it. So nothing here ever removes an object.
    "gc.auto=0",
    "gc.pruneExpire=never",
    "maintenance.auto=false",
    "fetch.prune=false",
    // A power failure must not leave a ref to an object that never reached the disk.
    "core.fsync=objects,derived-metadata,reference",
    "core.fsyncMethod=batch",
    // Memory: large blobs are streamed, packs are mapped in windows, and threads reserve address space.
    "core.bigFileThreshold=1m",
    "core.packedGitWindowSize=32m",
    "core.packedGitLimit=256m",
    "core.deltaBaseCacheLimit=64m",
    "pack.windowMemory=64m",
    "pack.threads=1",
];

/// The one file of configuration that is read, for what `-c` cannot say: git forgets `-c` when it starts the other side
/// of a local remote, and refuses repositories that belong to another user.
const GLOBAL: &str = "# written by grantd at each fetch\n[safe]\n\tdirectory = *\n";

/// Of the bare repository: for an operator who calls git there.
const LOCAL: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\
                     [gc]\n\tauto = 0\n\tpruneExpire = never\n[maintenance]\n\tauto = false\n";

impl Git {
    /// `state` is absolute.
    pub fn new(state: &Path) -> Self {
        Self { bare: state.join("git"), home: state.join("git-home"), quarantine: state.join("git-incoming") }
    }

    pub fn bare(&self) -> &Path {
        &self.bare
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where one fetch puts what it brings.
    pub fn quarantine(&self) -> &Path {
        &self.quarantine
    }

    /// `git` in our repository, with an environment and a configuration of our own, and nothing of the daemon's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_in(&self.bare, arguments)
    }

    /// The same in another repository.
    pub fn command_in(&self, repository: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.home.join("gitconfig"))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "file:ssh:http:https")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .current_dir("/");
        for setting in CONFIG {
            command.arg("-c").arg(setting);
        }
        let mut place = std::ffi::OsString::from("--git-dir=");
        place.push(repository);
        command.arg(place).args(arguments);
        command
    }

    /// Makes the bare repository, as far as it is not there, and the home.
    pub fn prepare(&self) -> io::Result<()> {
        use std::fs;
        fs::create_dir_all(&self.home)?;
        replace(&self.home.join("gitconfig"), GLOBAL)?;
        layout(&self.bare, "ref: refs/grantd/fetched\n")
    }

    /// How many packs there are.
    pub fn packs(&self) -> io::Result<usize> {
        let mut count = 0;
        for file in std::fs::read_dir(self.bare.join("objects/pack"))? {
            count += usize::from(file?.file_name().as_encoded_bytes().ends_with(b".pack"));
        }
        Ok(count)
    }

    /// Removes what a killed git leaves: half-written objects, which would fill the disk, and locks, which would keep
    /// the next one out. Only for the holder of the fetch lock.
    pub fn sweep(&self) -> io::Result<()> {
        use std::fs;
        let objects = self.bare.join("objects");
        for folder in fs::read_dir(&objects)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            if folder.file_name().as_encoded_bytes().starts_with(b"tmp_") {
                fs::remove_dir_all(folder.path())?;
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                let name = file.file_name();
                if name.as_encoded_bytes().starts_with(b"tmp_") || name.as_encoded_bytes().ends_with(b".lock") {
                    fs::remove_file(file.path())?;
                }
            }
        }
        for lock in ["refs/grantd/fetched.lock", "packed-refs.lock", "config.lock", "HEAD.lock", "shallow.lock"] {
            match fs::remove_file(self.bare.join(lock)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Makes a bare repository, as far as it is not there.
pub fn layout(bare: &Path, head: &str) -> io::Result<()> {
    use std::fs;
    for folder in ["objects/pack", "objects/info", "refs/heads", "refs/tags", "refs/grantd"] {
        fs::create_dir_all(bare.join(folder))?;
    }
    for (name, content) in [("config", LOCAL), ("HEAD", head)] {
        let file = bare.join(name);
        if fs::metadata(&file).map_or(0, |found| found.len()) == 0 {
            replace(&file, content)?;
        }
    }
    Ok(())
}

/// Writes a whole file or none, so that a git that runs beside us never reads half of it.
fn replace(file: &Path, content: &str) -> io::Result<()> {
    if std::fs::read(file).is_ok_and(|there| there == content.as_bytes()) {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    let new = tempfile::NamedTempFile::new_in(folder)?;
    std::fs::write(new.path(), content)?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|e| e.error)?;
    Ok(())
}
