use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use git2::{ErrorClass, ObjectType, Odb};

use super::{
    caps::Caps,
    git::{self, Git},
    tree,
};
use crate::model::{Commit, SourceError};

/// What is fetched gets this name, in the quarantine.
pub const BROUGHT: &str = "refs/grantd/brought";
/// Which other objects a repository sees, in its folder of objects.
pub const ALTERNATES: &str = "info/alternates";

/// A bare repository for one fetch, beside ours, whose objects it sees. What the remote sends lies there until it has been
/// looked at; then it is moved into ours, or removed with the folder when this is dropped.
#[derive(Debug)]
pub struct Quarantine {
    folder: PathBuf,
    ours: PathBuf,
}

/// Why what came is not taken, as the end of a sentence.
#[derive(Debug)]
pub enum Odd {
    /// It is what must not come.
    Sent(String),
    /// The repository there is not whole.
    Shallow,
    /// This machine cannot look at it.
    Unread(String),
}

impl Odd {
    /// libgit2 failing: by what it sent only where the system is not named.
    fn of(what: &str, e: &git2::Error) -> Self {
        let why = format!("{what} cannot be read: {}", e.message());
        match e.class() {
            ErrorClass::NoMemory | ErrorClass::Os | ErrorClass::Filesystem | ErrorClass::Thread => Self::Unread(why),
            _ => Self::Sent(why),
        }
    }
}

impl Quarantine {
    /// `head` is what we have: the remote needs to send only what is not behind it. Only for the holder of the fetch lock.
    pub fn new(git: &Git, head: Option<&Commit>) -> io::Result<Self> {
        Self::remove(git)?;
        let made = Self { folder: git.quarantine().to_owned(), ours: git.bare().to_owned() };
        git::layout(&made.folder, &format!("ref: {BROUGHT}\n"))?;
        // Relative to the folder of objects: both lie in the state folder, whatever characters its path has.
        let ours = git.bare().file_name().unwrap_or_default().to_string_lossy().into_owned();
        fs::write(made.objects().join(ALTERNATES), format!("../../{ours}/objects\n"))?;
        if let Some(head) = head {
            fs::write(made.folder.join("refs/grantd/fetched"), format!("{head}\n"))?;
        }
        Ok(made)
    }

    /// Removes what a daemon that was killed left.
    pub fn remove(git: &Git) -> io::Result<()> {
        match fs::remove_dir_all(git.quarantine()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    /// Looks at what came, without reading a content, and answers the commit.
    pub fn check(&self, caps: &Caps) -> Result<Commit, Odd> {
        let odd = |e: git2::Error| Odd::of("it", &e);
        let io = |what: &str, e: io::Error| Odd::Unread(format!("{what}: {e}"));
        if self.folder.join("shallow").try_exists().map_err(|e| io("its folder", e))? {
            return Err(Odd::Shallow);
        }
        let packs = self.packs().map_err(|e| io("its packs cannot be listed", e))?;
        let bytes: u64 = packs.iter().map(|(_, bytes)| bytes).sum();
        if bytes > caps.pack {
            return Err(Odd::Sent(format!("its pack has {bytes} bytes, and {} may come at once", caps.pack)));
        }
        // Git is done here: from now on this folder shows the new objects alone, without ours.
        fs::remove_file(self.objects().join(ALTERNATES)).map_err(|e| io("its packs", e))?;
        let unread = |e: SourceError| Odd::Unread(e.to_string());
        let new = tree::objects(&self.folder).map_err(unread)?;
        check_objects(&new, caps)?;
        let id = tree::id_of(&self.folder, BROUGHT).map_err(unread)?;
        // Git takes no branch whose history is cut off, and says nothing of it.
        let id = id.ok_or(Odd::Shallow)?;
        let ours = tree::objects(&self.ours).map_err(unread)?;
        // A head that went back is nothing new.
        let header = new.read_header(id).or_else(|_| ours.read_header(id));
        match header {
            Ok((_, ObjectType::Commit)) => Ok(Commit(id.to_string().into())),
            Ok(_) => Err(Odd::Sent(format!("{id} is no commit"))),
            Err(e) => Err(odd(e)),
        }
    }

    /// The files of the packs with their sizes. Git leaves nothing but packs when it checks what it takes.
    fn packs(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        for file in fs::read_dir(self.objects().join("pack"))? {
            let file = file?;
            found.push((file.path(), file.metadata()?.len()));
        }
        found.retain(|(path, _)| matches!(ending(path), "pack" | "rev" | "idx"));
        Ok(found)
    }

    /// Moves what came into our repository. Call [`Quarantine::check`] before. A pack counts from when its index is there,
    /// so that comes last.
    pub fn admit(self) -> io::Result<()> {
        let mut files = self.packs()?;
        let place = self.ours.join("objects/pack");
        files.sort_by_key(|(path, _)| ending(path) == "idx");
        for (path, _) in &files {
            if ending(path) == "idx" {
                File::open(&place)?.sync_all()?;
            }
            // Git has flushed them (`core.fsync`).
            fs::rename(path, place.join(path.file_name().unwrap_or_default()))?;
        }
        File::open(&place)?.sync_all()
    }
}

fn check_objects(new: &Odb<'_>, caps: &Caps) -> Result<(), Odd> {
    let odd = |e: git2::Error| Odd::of("its objects", &e);
    let (mut count, mut ids) = (0, Vec::new());
    let listed = new.foreach(|id| {
        count += 1;
        if caps.object.is_some() {
            ids.push(*id);
        }
        count <= caps.objects
    });
    if count > caps.objects {
        return Err(Odd::Sent(format!("it has more than {} objects, which is what may come at once", caps.objects)));
    }
    listed.map_err(odd)?;
    let Some(most) = caps.object else { return Ok(()) };
    for id in ids {
        let (size, _) = new.read_header(id).map_err(odd)?;
        if size as u64 > most {
            return Err(Odd::Sent(format!("the object {id} has {size} bytes when unpacked, and {most} are the most")));
        }
    }
    Ok(())
}

fn ending(path: &Path) -> &str {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        // What stays is removed before the next fetch.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
