use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use crate::{
    cli::{Format, Lint},
    config::Config,
    decide::{
        LONGEST, Targets, judge, longest, parse,
        render::{count, findings_json, findings_text},
        stem,
    },
    model::{Clock, Finding, Grant, GrantId, Level, Name, Odd, Policy, Twins, names_grant, odd},
    source::{MAX_DEPTH, MAX_ENTRIES},
    surface::world::RealClock,
};

use super::{print, print_json, setup};

pub fn run(args: &Lint) -> Result<ExitCode> {
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let policy = config.as_ref().map_or_else(Policy::default, Config::policy);
    let folder = config.map_or_else(|| FOLDER.into(), |config| config.source.path);
    let checked = check(&args.path, &folder, &setup::targets(), &policy, RealClock.now())?;
    let errors = checked.findings.iter().filter(|finding| finding.level == Level::Error).count();
    let warnings = checked.findings.len() - errors;
    match args.format {
        Format::Json => print_json(&serde_json::json!({
            "files": checked.files,
            "errors": errors,
            "warnings": warnings,
            "configured": args.config.is_some(),
            "findings": findings_json(&checked.findings),
        }))?,
        Format::Text => {
            print(&findings_text(&checked.findings));
            let form = if args.config.is_some() {
                ""
            } else {
                " (form and built-in protections; --config checks accounts and limits too)"
            };
            let sum =
                [(checked.files, "file"), (errors, "error"), (warnings, "warning")].map(|(n, what)| count(n, what));
            print(&format!("{}{form}\n", sum.join(", ")));
        }
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where grants lie in a repository of which no configuration is known.
const FOLDER: &str = "grants";

/// What a folder of a working tree holds.
#[derive(Default)]
pub struct Checked {
    pub files: usize,
    /// With their paths in the repository.
    pub grants: Vec<(String, Grant)>,
    pub findings: Vec<Finding>,
}

/// Checks every grant file below a path: each by itself, its limits as of `now`, and that no two have one id. `folder`: where in the
/// repository grants lie, by which rules go.
pub fn check(path: &Path, folder: &str, targets: &Targets, policy: &Policy, now: Timestamp) -> Result<Checked> {
    let mut checked = Checked::default();
    let mut found = Vec::new();
    let kind = fs::symlink_metadata(path).with_context(|| match meant(path) {
        Some(other) => format!(
            "{} cannot be read; there is `{other}`, in other upper and lower case: rename it, since only `path` of the \
             configuration grants",
            path.display()
        ),
        None => format!("{} cannot be read", path.display()),
    });
    let kind = kind?.file_type();
    if kind.is_dir() {
        let mut seen = 0;
        walk(path, 0, &mut seen, &mut found, &mut checked.findings)?;
        let shown = path.to_string_lossy();
        let mut refused = |message: String, help: String| {
            let message = format!("{message}: nothing of such a commit is accepted");
            checked.findings.push(Finding::error(&shown, None, message, help));
        };
        if seen > MAX_ENTRIES {
            refused(format!("there are {seen} files and folders"), format!("keep at most {MAX_ENTRIES}"));
        }
        if let Some(other) = meant(path) {
            refused(format!("`{other}` lies beside it, in other upper and lower case"), "rename or remove it".into());
        }
    } else if kind.is_file() {
        found.push(path.to_owned());
    } else {
        bail!("{} is neither a file nor a folder", path.display());
    }
    found.sort();
    let mut ids: BTreeMap<GrantId, String> = BTreeMap::new();
    for file in found {
        checked.files += 1;
        let shown = file.to_string_lossy().into_owned();
        let size = fs::symlink_metadata(&file).map_or(0, |about| about.len());
        // Size before content: a huge file is told, not read.
        let bytes = if size > LONGEST as u64 {
            vec![b' '; LONGEST + 1]
        } else {
            fs::read(&file).with_context(|| format!("{shown} cannot be read"))?
        };
        let parsed = parse(&bytes, targets, policy);
        checked
            .findings
            .extend(parsed.findings.into_iter().map(|finding| Finding { path: shown.as_str().into(), ..finding }));
        match stem(&shown) {
            Ok(id) => {
                if let Some(other) = ids.insert(id.clone(), shown.clone()) {
                    let message = format!("the id `{id}` is also that of {other}");
                    checked.findings.push(Finding::error(&shown, None, message, "give this file a name of its own"));
                }
            }
            Err(error) => checked.findings.push(Finding::error(&shown, None, error.to_string(), "rename the file")),
        }
        if let Some(grant) = parsed.grant {
            let place = in_repository(path, &file, folder);
            let longest = longest(grant.access.iter().map(AsRef::as_ref), &place, policy);
            if let Some((message, help)) = judge(&grant, &policy.limits, longest, now) {
                checked.findings.push(Finding::error(&shown, None, message, help));
            } else if grant.until.is_some_and(|until| until <= now) {
                let finding = Finding::error(
                    &shown,
                    None,
                    "its end is past: it grants nothing",
                    "delete the file, or ask again in a new one",
                );
                checked.findings.push(Finding { level: Level::Warning, ..finding });
            }
            checked.grants.push((place, grant));
        }
    }
    checked.findings.sort();
    Ok(checked)
}

/// Where a file lies in the repository: below the root of its working tree, or below the last `folder` on the way to it; without one
/// the folder that was named stands for it.
fn in_repository(named: &Path, file: &Path, folder: &str) -> String {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let root = real.ancestors().skip(1).find(|above| above.join(".git").symlink_metadata().is_ok());
    let below = root.and_then(|root| real.strip_prefix(root).ok()).map(Path::to_string_lossy);
    let inside = |place: &str| place.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    if let Some(place) = below.filter(|place| inside(place)) {
        return place.into_owned();
    }
    let whole = real.to_string_lossy();
    match whole.rfind(&format!("/{folder}/")).and_then(|at| whole.get(at + 1..)) {
        Some(place) => place.to_owned(),
        None => {
            let below = file.strip_prefix(named).ok().filter(|below| !below.as_os_str().is_empty());
            let below = below.or_else(|| file.file_name().map(Path::new)).unwrap_or(file);
            format!("{folder}/{}", below.to_string_lossy())
        }
    }
}

/// The YAML files below a folder; what is no regular file is a finding, as it is in Git, and so is a name that Git would
/// refuse. Answers whether anything in it is named like a grant file.
fn walk(
    folder: &Path,
    depth: usize,
    seen: &mut usize,
    found: &mut Vec<PathBuf>,
    findings: &mut Vec<Finding>,
) -> Result<bool> {
    let (mut twins, mut grants) = (Twins::default(), false);
    let place = folder.to_string_lossy();
    let place = place.trim_end_matches('/');
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let kind = entry.file_type()?;
        *seen += usize::from(name != ".git");
        let name = match Name::of(name.as_bytes()) {
            Name::Good(name) => name,
            Name::Odd => {
                findings.push(odd(place, name.as_bytes(), kind.is_dir()));
                continue;
            }
            // The repository of the working tree itself.
            Name::Bad(_) if name == ".git" => continue,
            Name::Bad(why) => {
                let shown = format!("{place}/{}", Name::shown(name.as_bytes()));
                let message = format!("its name {why}: nothing of such a commit is accepted");
                findings.push(Finding::error(&shown, None, message, "rename it"));
                continue;
            }
        };
        let shown = path.to_string_lossy().into_owned();
        let mut grant = !kind.is_dir() && names_grant(&name.to_ascii_lowercase());
        if name.starts_with('.') {
            twins.add(name, &shown, false);
            continue;
        }
        if kind.is_symlink() {
            findings.push(Odd::Link.finding(&shown));
        } else if kind.is_dir() && path.join(".git").symlink_metadata().is_ok() {
            findings.push(Odd::Module.finding(&shown));
        } else if kind.is_dir() && depth >= MAX_DEPTH {
            findings.push(Finding::error(&shown, None, "nested too deeply", format!("at most {MAX_DEPTH} folders")));
        } else if kind.is_dir() {
            grant = walk(&path, depth + 1, seen, found, findings)?;
        } else if kind.is_file() && grant {
            if !names_grant(name) {
                findings.push(Odd::Case.finding(&shown));
            } else if entry.metadata().is_ok_and(|about| about.permissions().mode() & 0o100 != 0) {
                findings.push(Odd::Executable.finding(&shown));
            } else {
                found.push(path);
            }
        }
        twins.add(name, &shown, grant);
        grants |= grant;
    }
    match twins.told() {
        Ok(told) => findings.extend(told),
        Err(why) => {
            let message = format!("{why}: nothing of such a commit is accepted");
            findings.push(Finding::error(place, None, message, "rename or remove one of them"));
        }
    }
    Ok(grants)
}

/// A folder that is not there, and one that is meant by it.
fn meant(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut names = fs::read_dir(parent).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|other| other != name && other.eq_ignore_ascii_case(name))
}
