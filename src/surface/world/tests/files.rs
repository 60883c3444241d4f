use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use tempfile::TempDir;

use super::*;

const HEADER: &str = "# yaml-language-server: $schema=../schemas/world.schema.json\n# The demo's cloud.\n\n";

/// A folder with the small cloud in a file, and two handles on it.
fn filed() -> (TempDir, PathBuf, World, World) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("world.yaml");
    fs::write(&path, format!("{HEADER}{}", YAML.trim_start())).unwrap();
    let open = || World::open_with(&path, Arc::new(ManualClock::new(noon()))).unwrap();
    let (one, other) = (open(), open());
    (folder, path, one, other)
}

#[test]
fn what_is_written_reads_back_and_stays_the_same() {
    let state = small().state().unwrap();
    let text = state.to_yaml().unwrap();
    assert_eq!(State::from_yaml(&text).unwrap(), state, "{text}");
    assert_eq!(State::from_yaml(&text).unwrap().to_yaml().unwrap(), text);
}

#[tokio::test]
async fn the_file_is_pleasant_to_read() {
    let (_folder, path, world, _) = filed();
    act(&world, Verb::Grant, &admin("i-0abc", r"corp\jdoe")).await;
    let text = fs::read_to_string(path).unwrap();
    assert!(text.starts_with(HEADER), "{text}");
    let expected = r#"accounts:
  "123456789012":
    hosts:
      eu-west-1:
        i-0eee:
          tags: {AccessGroup: JITAdmins, Env: prod}
      us-east-1:
        i-0abc:
          name: checkout-1
          tags: {AccessGroup: JITAdmins, Env: prod}
          administrators:
            - CORP\ops
            - {user: corp\jdoe, until: 2026-11-20T20:00:00Z, grants: [oncall-1]}
          sessions: [CORP\jdoe, CORP\ops]
"#;
    assert!(text.strip_prefix(HEADER).unwrap().starts_with(expected), "{text}");
}

#[tokio::test]
async fn a_hand_edit_between_read_and_write_is_kept() {
    let (_folder, path, world, _) = filed();
    seen(&world, &admin("i-0abc", r"corp\jdoe")).await;
    let edited = fs::read_to_string(&path).unwrap().replace("checkout-1", "checkout-9");
    fs::write(&path, edited).unwrap();
    assert_eq!(act(&world, Verb::Grant, &admin("i-0abc", r"corp\jdoe")).await, Fate::Done);
    let line = line(&world, "i-0abc");
    assert!(line.contains("checkout-9") && line.contains(r"corp\jdoe until"), "{line}");
    assert!(fs::read_to_string(&path).unwrap().contains("checkout-9"));
}

#[test]
fn a_hand_edit_in_the_middle_of_a_change_is_kept() {
    let (_folder, path, world, _) = filed();
    let mut runs = 0;
    let changed = world.edit(|state| {
        runs += 1;
        if runs == 1 {
            // An editor, which knows of no lock, saves while we work.
            let edited = fs::read_to_string(&path).unwrap().replace("checkout-1", "checkout-9");
            fs::write(&path, edited).unwrap();
        }
        state.directory.users.insert(Caseless("new@corp.example".into()));
    });
    changed.unwrap();
    assert_eq!(runs, 2);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("checkout-9") && text.contains("new@corp.example"), "{text}");
}

#[tokio::test]
async fn two_handles_work_on_one_file() {
    let (_folder, path, one, other) = filed();
    assert_eq!(act(&one, Verb::Grant, &admin("i-0abc", r"corp\jdoe")).await, Fate::Done);
    assert_eq!(seen(&other, &admin("i-0abc", r"corp\jdoe")).await, Seen::Present { ours: Some(end()) });
    let threads: Vec<_> = [one.clone(), other]
        .into_iter()
        .zip(["a", "b"])
        .map(|(world, letter)| {
            std::thread::spawn(move || {
                for number in 0..20 {
                    let name: Text = format!("{letter}{number}").into();
                    world.edit(|state| state.directory.groups.insert(name.clone())).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let state = State::from_yaml(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(state.directory.groups.len(), 41, "no change of either was lost");
    assert_eq!(one.state().unwrap(), state);
}

#[tokio::test]
async fn a_batch_is_one_replacement_of_the_whole_file() {
    let (_folder, path, world, _) = filed();
    let before = fs::metadata(&path).unwrap().ino();
    let many = world.edit(|state| {
        let hosts = &mut state.accounts.get_mut("123456789012").unwrap().hosts;
        let hosts = hosts.get_mut("us-east-1").unwrap();
        hosts.extend((0..1_000).map(|number| (Text::from(format!("i-{number}")), Host::default())));
    });
    many.unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), before, "another file, renamed over");
    assert_eq!(world.calls().saves, 1);
    let steps = (0..1_000).map(|number| step(Verb::Grant, &admin(&format!("i-{number}"), r"corp\jdoe")));
    let events = write(&world, steps.collect()).await;
    assert_eq!(events.len(), 2_000);
    assert_eq!(world.calls().saves, 2);
    assert_eq!(fs::read_to_string(&path).unwrap().matches("until:").count(), 1_000);
    let revoked = write(&world, vec![step(Verb::Revoke, &admin("i-0abc", r"corp\asmith"))]).await;
    assert_eq!(revoked.len(), 2);
    assert_eq!(world.calls().saves, 2, "nothing was different, nothing is written");
    let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the file and its lock, no drafts: {names:?}");
}

#[tokio::test]
async fn a_reader_needs_no_right_to_write() {
    let (folder, path, world, _) = filed();
    seen(&world, &admin("i-0abc", r"corp\jdoe")).await;
    world.show().unwrap();
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names, [path], "not even a lock file");
}

#[test]
fn the_file_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path, world, _) = filed();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    world.edit(|state| state.policies.clear()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[tokio::test]
async fn a_broken_edit_stops_everything_until_it_is_mended() {
    let (_folder, path, world, _) = filed();
    let good = fs::read_to_string(&path).unwrap();
    for broken in ["", "# only a comment\n", "accounts: [", "accounts: {}\nacounts: {}\n"] {
        fs::write(&path, broken).unwrap();
        assert_eq!(blind(seen(&world, &admin("i-0abc", r"corp\jdoe")).await), TroubleKind::Broken, "{broken:?}");
        assert_eq!(failed(act(&world, Verb::Grant, &admin("i-0abc", r"corp\jdoe")).await).0, TroubleKind::Broken);
        assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    }
    fs::write(&path, good).unwrap();
    assert_eq!(act(&world, Verb::Grant, &admin("i-0abc", r"corp\jdoe")).await, Fate::Done);
    fs::remove_file(&path).unwrap();
    assert_eq!(failed(act(&world, Verb::Revoke, &admin("i-0abc", r"corp\jdoe")).await).0, TroubleKind::Unreachable);
}

#[test]
fn errors_name_line_and_column() {
    for (text, line, column, words) in [
        ("accounts: {}\nacounts: {}\n", 2, 1, "acounts"),
        ("faults:\n  - { trouble: lost }\n", 2, 16, "lost"),
        ("latency: fast\n", 1, 10, "200ms"),
        ("accounts:\n  '1': {}\n  '1': {}\n", 3, 3, "duplicate"),
        ("faults:\n  - { trouble: denied, times: 0 }\n", 2, 24, "nonzero"),
        ("latency: &x 2s\n", 1, 13, "Anchors"),
        ("clock-began: yesterday\n", 1, 14, "year"),
    ] {
        match State::from_yaml(text).unwrap_err() {
            WorldError::Format { line: told, column: at, message, .. } => {
                assert_eq!((told, at), (line, column), "{text}: {message}");
                assert!(message.contains(words), "{text}: {message}");
                assert!(!message.contains("column"), "the place is told once: {message}");
            }
            WorldError::Io(other) => panic!("{other}"),
        }
    }
    let members = YAML.replace(r"['CORP\ops']", "\n            - { user: x, untl: 2026-11-20T20:00:00Z }");
    let error = State::from_yaml(&members).unwrap_err().to_string();
    assert!(error.starts_with("world:10:") && error.contains("untl"), "{error}");
}

#[test]
fn the_schema_explains_the_file() {
    let schema = serde_json::to_string(&schemars::schema_for!(State)).unwrap();
    for words in ["all other comments are lost", "permission-sets", "lost-reply", "\"additionalProperties\":false"] {
        assert!(schema.contains(words), "{words}");
    }
}

#[test]
fn the_fast_clock_begins_once_for_all() {
    let (_folder, path, ..) = filed();
    let fast = Fast { start: noon(), speed: std::num::NonZeroU32::new(3600).unwrap() };
    let one = World::open(&path, Pace::Fast(fast)).unwrap();
    let began = one.state().unwrap().clock_began.unwrap();
    let first = one.clock().now();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let other = World::open(&path, Pace::Fast(fast)).unwrap();
    assert_eq!(other.state().unwrap().clock_began, Some(began));
    let passed = other.clock().now().duration_since(first);
    assert!(passed.as_secs() >= 170, "50 ms are at least three of its minutes, not {passed:?} and not anew");
    let apart = one.clock().now().duration_since(other.clock().now());
    assert!(apart.abs().as_secs() < 3600, "{apart:?}");
    World::open(&path, Pace::Real).unwrap();
}
