//! The rules of the house that a machine can hold.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn grantd(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_grantd")).args(args).current_dir(root()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn modules_use_only_what_the_import_rule_allows() {
    let allowed: &[(&str, &[&str])] = &[
        ("model", &["model"]),
        ("decide", &["model", "decide"]),
        ("source", &["model", "source"]),
        ("surface", &["model", "surface"]),
        ("hooks", &["model", "hooks"]),
        ("journal", &["model", "journal"]),
        ("engine", &["model", "decide", "source", "surface", "journal", "engine"]),
        ("config", &["model", "source", "surface", "hooks", "config"]),
        ("cli.rs", &[]),
        ("cli", &["cli"]),
    ];
    let mut wrong = Vec::new();
    let mut read = 0;
    for (module, may) in allowed {
        let path = root().join("src").join(module);
        let mut files = Vec::new();
        if path.is_dir() {
            sources(&path, &mut files)
        } else {
            files.push(path)
        }
        for file in files.iter().filter(|file| !file.to_string_lossy().contains("tests")) {
            read += 1;
            let text = fs::read_to_string(file).unwrap().replace(['\n', ' '], "");
            let text = text.replace("crate::{", "crate::").replace("//!", "");
            for (at, _) in text.match_indices("crate::") {
                let used: String = text[at + 7..].chars().take_while(|c| c.is_ascii_lowercase()).collect();
                let all =
                    ["model", "decide", "source", "surface", "hooks", "journal", "engine", "command", "config", "cli"];
                if all.contains(&used.as_str()) && !may.contains(&used.as_str()) {
                    wrong.push(format!("{} uses {used}", file.display()));
                }
            }
        }
    }
    assert!(read > 40, "only {read} files were read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let long: Vec<_> =
        files.iter().filter(|path| !path.to_string_lossy().contains("tests") && lines(path) > 400).collect();
    assert!(long.is_empty(), "over 400 lines: {long:?}");
}

/// A task that panics and is not missed leaves what it was to bring awaited for ever.
#[test]
fn tasks_begin_in_one_place() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let begins = |path: &&PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        ["tokio::spawn", "task::spawn(", "spawn_local", "JoinSet"].iter().any(|how| text.contains(how))
    };
    let found: Vec<_> = files.iter().filter(|path| !path.to_string_lossy().contains("tests")).filter(begins).collect();
    assert_eq!(found, [&root().join("src/engine/spawn.rs")]);
}

#[test]
fn schemas_are_fresh() {
    for kind in ["grant", "config", "world"] {
        let (code, printed) = grantd(&["schema", kind]);
        assert_eq!(code, 0);
        let kept = fs::read_to_string(root().join(format!("schemas/{kind}.schema.json"))).unwrap_or_default();
        assert!(
            kept == printed,
            "schemas/{kind}.schema.json is old: `grantd schema {kind} > schemas/{kind}.schema.json`"
        );
    }
}

#[test]
fn examples_are_clean_and_cover_every_surface() {
    let (code, printed) = grantd(&["lint", "--config", "systemd/grantd.yaml", "grants"]);
    assert_eq!((code, printed.lines().last()), (0, Some("5 files, 0 errors, 0 warnings")), "{printed}");
    let mut text = String::new();
    for entry in fs::read_dir(root().join("grants")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    for target in grantd::command::setup::targets().keys() {
        assert!(text.contains(&format!("- {target}:")), "no example for {target}");
    }
}

#[test]
fn help_begins_with_an_imperative_and_shows_examples() {
    for verb in [
        &["lint"][..],
        &["plan"],
        &["apply"],
        &["init"],
        &["run"],
        &["status"],
        &["history"],
        &["audit", "verify"],
        &["audit", "archive"],
        &["source", "accept"],
        &["doctor"],
        &["documents", "show"],
        &["documents", "install"],
        &["schema"],
        &["demo"],
    ] {
        let (code, help) = grantd(&[verb, &["--help"]].concat());
        assert_eq!(code, 0, "{verb:?}");
        let first = help.split_whitespace().next().unwrap();
        let imperatives = ["Check", "Show", "Do", "Begin", "Run", "Verify", "Print", "Tell", "Bring", "Accept", "Move"];
        assert!(imperatives.contains(&first), "{verb:?} begins with {first}");
        assert!(help.contains("Examples:\n  grantd"), "{verb:?} shows no examples");
        let readme = fs::read_to_string(root().join("README.md")).unwrap();
        assert!(readme.contains(&format!("`grantd {}", verb.join(" "))), "README does not name {verb:?}");
    }
}

#[test]
fn the_unit_is_hardened() {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "systemd/grantd.service"])
        .current_dir(root())
        .output();
    let output = output.expect("systemd-analyze is missing: scripts/test installs it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{text}"));
    let score: f64 = line.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(score <= 1.5, "{line}");
}
