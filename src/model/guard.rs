//! Who may change what a path comes to. As OpenSSH's `StrictModes` has it, each folder on the way counts, and so does each link: whoever may
//! exchange one of them puts another file in the place of ours. Groups count as others, whoever is in them.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use rustix::fs::StatVfsMountFlags;

/// More links than the kernel itself follows.
const LINKS: usize = 40;

/// One name on the way to what a path means: a folder, a link, or what is at its end.
#[derive(Debug)]
pub struct Passed {
    /// Without links.
    pub folder: PathBuf,
    pub name: OsString,
    /// Of what is there itself, not of what a link leads to. Where there is nothing, the way breaks off.
    pub about: io::Result<Metadata>,
}

impl Passed {
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    pub fn is_link(&self) -> bool {
        self.about.as_ref().is_ok_and(Metadata::is_symlink)
    }
}

/// Every name that is passed, as the kernel follows an absolute path. Round in circles, it ends with a link.
pub fn way(path: &Path) -> Vec<Passed> {
    let mut ahead: VecDeque<OsString> = names(path).into();
    let (mut here, mut found, mut links) = (PathBuf::from("/"), Vec::new(), 0);
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let about = next.symlink_metadata();
        let (missing, target) = (about.is_err(), next.read_link());
        found.push(Passed { folder: here.clone(), name, about });
        match target {
            Ok(target) if links < LINKS => {
                links += 1;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for name in names(&target).into_iter().rev() {
                    ahead.push_front(name);
                }
            }
            Ok(_) => break,
            Err(_) if missing => break,
            Err(_) => here = next,
        }
    }
    found
}

fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(name).collect()
}

/// Whether nobody but root and this user may change what a path comes to. What is not there is for whoever reads it to tell.
///
/// # Errors
/// A sentence that says what to write.
pub fn guard(path: &Path, own: u32) -> Result<(), String> {
    guard_way(path, own)?;
    let Ok(about) = path.metadata() else { return Ok(()) };
    let shown = path.display();
    if !ours(&about, own) {
        return Err(format!(
            "{shown} belongs to another user, who could give himself access by it: `chown root {shown}`"
        ));
    }
    if about.mode() & 0o022 != 0 {
        return Err(format!(
            "{shown} can be written by others, who could give themselves access by it: `chmod go-w {shown}`"
        ));
    }
    Ok(())
}

/// The same of the folders and links on the way alone.
///
/// # Errors
/// A sentence that says what to write.
pub fn guard_way(path: &Path, own: u32) -> Result<(), String> {
    passed(path, own, false)
}

/// Whether what we make in a folder stays ours: the folder is as good as those on the way to it.
///
/// # Errors
/// A sentence that says what to write.
pub fn guard_within(folder: &Path, own: u32) -> Result<(), String> {
    passed(folder, own, true)
}

/// `end`: what is at the end counts as well, if it is a folder.
fn passed(path: &Path, own: u32, end: bool) -> Result<(), String> {
    let shown = path.display();
    // The working directory may be gone; then the path says nothing any more either.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let root = Passed { folder: "/".into(), name: OsString::new(), about: Path::new("/").symlink_metadata() };
    for step in std::iter::once(root).chain(way(&absolute)) {
        let (here, about) = (step.path(), &step.about);
        let there = here.display();
        match about {
            // What cannot be followed cannot be read, but from a working directory below.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.is_relative() => {
                return Err(format!("{shown} lies behind {there}, which cannot be looked at: {error}"));
            }
            Err(_) => {}
            Ok(about) if about.is_symlink() && !ours(about, own) => {
                return Err(format!(
                    "{shown} is reached by the link {there}, which belongs to another user, who could lead it elsewhere and so give \
                     himself access: `chown -h root {there}`"
                ));
            }
            // What is at the end itself is another question.
            Ok(about) if !about.is_dir() || here == absolute && !end => {}
            Ok(about) if !ours(about, own) => {
                return Err(format!(
                    "{shown} lies in {there}, which belongs to another user, who could put another one in its place and so give \
                     himself access: keep it in a folder of root's, such as /etc/grantd, or `chown root {there}`"
                ));
            }
            Ok(about) if about.mode() & 0o022 != 0 && about.mode() & 0o1000 == 0 && !fixed(&here) => {
                return Err(format!(
                    "{shown} lies in {there}, which can be written by others, who could put another one in its place and so give \
                     themselves access: `chmod go-w {there}`"
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn ours(about: &Metadata, own: u32) -> bool {
    about.uid() == 0 || about.uid() == own
}

/// Nobody can write to what is mounted for reading only, whatever its modes: those of Kubernetes' ConfigMaps are open to all.
fn fixed(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn the_way_has_each_folder_link_and_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("etc/one")).unwrap();
        fs::write(root.join("etc/one/file"), "").unwrap();
        symlink("one", root.join("etc/..data")).unwrap();
        symlink("..data/file", root.join("etc/file")).unwrap();
        symlink(root.join("etc/../etc"), root.join("here")).unwrap();
        let names = |path: &str| {
            let below = |step: Passed| Some(step.path().strip_prefix(&root).ok()?.display().to_string());
            way(&root.join(path)).into_iter().filter_map(below).filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(names("etc/one/file"), ["etc", "etc/one", "etc/one/file"]);
        assert_eq!(names("etc/file"), ["etc", "etc/file", "etc/..data", "etc/one", "etc/one/file"]);
        let all = ["here", "etc", "etc", "etc/file", "etc/..data", "etc/one", "etc/one/file"];
        assert_eq!(names("here/./file"), all);
        // Where it breaks off, that name is waited for.
        assert_eq!(names("etc/two/file"), ["etc", "etc/two"]);
        assert_eq!(names("etc/one/file/more"), ["etc", "etc/one", "etc/one/file", "etc/one/file/more"]);
        symlink("two/file", root.join("etc/broken")).unwrap();
        assert_eq!(names("etc/broken"), ["etc", "etc/broken", "etc/two"]);
        symlink("round", root.join("round")).unwrap();
        assert_eq!(names("round").len(), LINKS + 1);
    }

    #[test]
    fn who_may_write_a_folder_may_exchange_what_lies_there_unless_it_is_sticky() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "").unwrap();
        fs::set_permissions(root.join("a/b/file"), fs::Permissions::from_mode(0o644)).unwrap();
        symlink("a/b", root.join("link")).unwrap();
        let own = rustix::process::geteuid().as_raw();
        let look = |path: &str| guard(&root.join(path), own);
        for (mode, good) in [
            (0o755, true),
            (0o700, true),
            (0o1777, true),
            (0o1775, true),
            (0o775, false),
            (0o777, false),
            (0o757, false),
            (0o2775, false),
        ] {
            fs::set_permissions(root.join("a"), fs::Permissions::from_mode(mode)).unwrap();
            for path in ["a/b/file", "link/file", "link", "a/b", "a/not/yet"] {
                assert_eq!(look(path).is_ok(), good, "{path}, {mode:o}: {:?}", look(path));
            }
            if !good {
                let why = look("link/file").unwrap_err();
                assert!(why.contains(&format!("`chmod go-w {}`", root.join("a").display())), "{why}");
            }
        }
        // A folder that is meant itself is for nobody else, sticky or not.
        fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(look("a").unwrap_err().contains("can be written by others"));
    }
}
