//! The YAML file behind a world: read, locked, replaced atomically, and never at the cost of a hand edit.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::{WorldError, state::State};

/// What a world works on: the state, and the file that it mirrors if there is one.
pub(super) struct Store {
    state: State,
    backing: Option<Backing>,
    /// How often the file was replaced.
    saves: u64,
}

/// The file, and its text as we read or wrote it last. The text is kept and compared whole: no clock granularity and no
/// reused inode can then hide an edit.
struct Backing {
    path: PathBuf,
    text: String,
}

impl Store {
    pub fn in_memory(state: State) -> Self {
        Self { state, backing: None, saves: 0 }
    }

    /// The path is resolved now, so that a link to the file stays a link when the file is replaced.
    pub fn open(path: &Path) -> Result<Self, WorldError> {
        let path = path.canonicalize().map_err(|error| WorldError::io(path, "cannot be opened", &error))?;
        let text = read(&path)?;
        Ok(Self { state: parse(&path, &text)?, backing: Some(Backing { path, text }), saves: 0 })
    }

    pub fn saves(&self) -> u64 {
        self.saves
    }

    /// Whether somebody else changed the file since we read or wrote it.
    pub fn edited(&self) -> bool {
        self.backing.as_ref().is_some_and(|backing| read(&backing.path).is_ok_and(|text| text != backing.text))
    }

    /// The state as it is now, read again if the file changed. Takes no lock: the file is replaced, never written in
    /// place.
    pub fn fresh(&mut self) -> Result<&State, WorldError> {
        if let Some(backing) = &mut self.backing {
            backing.refresh(&mut self.state)?;
        }
        Ok(&self.state)
    }

    /// Changes the state: all of it or, on an error, nothing. With a file, `change` may run again on the newly read
    /// state if somebody edited it meanwhile, and however much it changes, the file is replaced once, or not at all if
    /// nothing is different.
    pub fn transact<T>(&mut self, mut change: impl FnMut(&mut State) -> T) -> Result<T, WorldError> {
        let Some(backing) = &mut self.backing else { return Ok(change(&mut self.state)) };
        let _lock = backing.lock()?;
        loop {
            backing.refresh(&mut self.state)?;
            let mut next = self.state.clone();
            let out = change(&mut next);
            if next == self.state {
                return Ok(out);
            }
            if backing.replace(&next)? {
                self.state = next;
                self.saves += 1;
                return Ok(out);
            }
        }
    }
}

impl Backing {
    fn refresh(&mut self, state: &mut State) -> Result<(), WorldError> {
        let text = read(&self.path)?;
        if text != self.text {
            *state = parse(&self.path, &text)?;
            self.text = text;
        }
        Ok(())
    }

    /// Keeps other worlds on this file out until it is dropped. A file at the side, because the lock of a file that is
    /// replaced goes with the old one.
    fn lock(&self) -> Result<File, WorldError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let path = self.path.with_file_name(format!(".{name}.lock"));
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        lock.and_then(|file| file.lock().map(|()| file))
            .map_err(|error| WorldError::io(&path, "cannot be locked", &error))
    }

    /// Whether the file was replaced; not if somebody changed it after our last look, as an editor does, which knows of
    /// no lock.
    fn replace(&mut self, state: &State) -> Result<bool, WorldError> {
        let text = header(&self.text) + &state.to_yaml()?;
        let draft = self.draft(&text).map_err(|error| WorldError::io(&self.path, "cannot be replaced", &error))?;
        if read(&self.path)? != self.text {
            return Ok(false);
        }
        draft.persist(&self.path).map_err(|error| WorldError::io(&self.path, "cannot be replaced", &error.error))?;
        // The change is visible now. If the folder cannot be synchronised, a power cut could undo it, and saying that
        // it failed would be the greater lie.
        let _ = self.path.parent().map(File::open).transpose().map(|folder| folder.map(|folder| folder.sync_all()));
        self.text = text;
        Ok(true)
    }

    /// The new text beside the file, on disk, with the file's permissions.
    fn draft(&self, text: &str) -> io::Result<NamedTempFile> {
        let mut draft = NamedTempFile::with_prefix_in(".world-", self.path.parent().unwrap_or(Path::new(".")))?;
        draft.as_file().set_permissions(fs::metadata(&self.path)?.permissions())?;
        draft.write_all(text.as_bytes())?;
        draft.as_file().sync_all()?;
        Ok(draft)
    }
}

fn read(path: &Path) -> Result<String, WorldError> {
    fs::read_to_string(path).map_err(|error| WorldError::io(path, "cannot be read", &error))
}

/// The comment lines at the top, the editor's modeline among them.
fn header(text: &str) -> String {
    text.split_inclusive('\n').take_while(|line| line.starts_with('#') || line.trim().is_empty()).collect()
}

fn parse(path: &Path, text: &str) -> Result<State, WorldError> {
    // An editor that truncates before it writes shows an empty file for a moment: that must not pass for an empty
    // cloud.
    if text.lines().all(|line| line.starts_with('#') || line.trim().is_empty()) {
        return Err(WorldError::Format {
            file: path.display().to_string(),
            line: 1,
            column: 1,
            message: "the file is empty; an empty world is written `{}`".to_owned(),
        });
    }
    State::from_yaml(text).map_err(|error| error.with_file(path))
}

impl State {
    /// Reads the YAML text of a world, strictly.
    pub fn from_yaml(text: &str) -> Result<Self, WorldError> {
        // Room for some 100,000 hosts; the rest as strict as for grants.
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_depth: 10,
                max_nodes: 5_000_000,
                max_events: 10_000_000,
                max_aliases: 0,
                max_anchors: 0,
                max_documents: 1,
                max_merge_keys: 0,
            },
            merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
            strict_booleans: true,
            reject_unsupported_tags: true,
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| WorldError::format(&error))
    }

    /// The YAML text of a world, without a header.
    pub fn to_yaml(&self) -> Result<String, WorldError> {
        let options = serde_saphyr::ser_options! {
            yaml_12: true,
            no_lang_directive: true,
            prefer_block_scalars: false,
            compact_list_indent: false,
        };
        serde_saphyr::to_string_with_options(self, options).map_err(|error| WorldError::Io(error.to_string()))
    }
}
