//! Exit codes, refusals, and what `plan` says.

use std::fs;

use super::{GROUP, HOST, Site, grant, until};

const VERBS: [&str; 10] = ["lint", "plan", "apply", "init", "run", "status", "history", "audit", "schema", "demo"];

#[test]
fn arguments_that_make_no_sense_exit_64() {
    let site = Site::new();
    for arguments in [
        &["lint", "--format", "xml"][..],
        &["lint", "a", "b"],
        &["lint", "--no-such-flag"],
        &["schema"],
        &["schema", "nothing"],
        &["plan", "--rev", "main", "--path", "."],
        &["run", "--log", "syslog"],
        &["audit"],
        &["no-such-verb"],
    ] {
        let done = site.run(arguments);
        assert_eq!(done.code, 64, "{arguments:?}: {done}");
        assert!(done.out.is_empty() && done.err.contains("--help"), "{arguments:?}: {done}");
    }
    let none = std::process::Command::new(env!("CARGO_BIN_EXE_grantd")).output().unwrap();
    assert_eq!(none.status.code(), Some(64));
}

#[test]
fn every_verb_shows_examples_and_begins_with_an_imperative() {
    let site = Site::bare();
    for verb in VERBS {
        let arguments = if verb == "audit" { vec!["audit", "verify", "--help"] } else { vec![verb, "--help"] };
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_grantd"));
        let done = super::Done::of(&command.args(&arguments).current_dir(site.folder.path()).output().unwrap());
        assert_eq!(done.code, 0, "{verb}: {done}");
        let first = done.out.split_whitespace().next().unwrap_or_default();
        assert!(["Check", "Show", "Do", "Begin", "Run", "Verify", "Print", "Tell"].contains(&first), "{verb}: {done}");
        assert!(done.out.contains("Examples:\n  grantd "), "{verb}: {done}");
    }
}

#[test]
fn without_a_configuration_a_verb_says_which_file_is_missing() {
    let site = Site::bare();
    for arguments in [&["plan"][..], &["apply"], &["init"], &["run"], &["status"], &["history"], &["audit", "verify"]] {
        let done = site.run(arguments);
        assert_eq!(done.code, 1, "{arguments:?}: {done}");
        assert!(done.err.contains("grantd.yaml cannot be read"), "{arguments:?}: {done}");
    }
}

#[test]
fn without_a_journal_only_plan_answers() {
    let site = Site::new();
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    for arguments in [&["run"][..], &["apply"], &["status"], &["history"], &["audit", "verify"]] {
        let done = site.run(arguments);
        assert_eq!(done.code, 1, "{arguments:?}: {done}");
        let both = done.err.contains("a new installation begins with `grantd init`")
            && done.err.contains("if there was one and it is lost");
        assert!(both, "{arguments:?} does not say which of two it needs: {done}");
    }
    let plan = site.run(&["plan"]);
    assert_eq!(plan.code, 2, "{plan}");
    assert!(plan.out.contains("from the cloud only"), "{plan}");
    assert!(plan.out.contains("1 to grant"), "{plan}");
    assert_eq!(site.json(&["plan"])["journal"], false);
    assert!(!site.state().join("journal").exists(), "a plan began a journal");
    assert!(!site.in_group());
}

/// While the daemon goes on by the last good configuration, so does whoever looks.
#[test]
fn a_broken_configuration_keeps_nobody_from_looking() {
    let site = Site::new();
    site.fine(&["init"]);
    let good = fs::read_to_string(site.path("grantd.yaml")).unwrap();
    site.replace("grantd.yaml", &format!("{good}limits: {{ max_duration: 9h }}\n"));
    let daemon = site.daemon();
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    let state = site.state();
    let whole = [&["status", "--format", "json"][..], &["history", "2026-11-20-jdoe-long"], &["audit", "verify"]];
    for broken in [
        format!("{good}sweeep: x\n"),
        format!("state: {}\nsource: [\n", state.display()),
        format!("\t{good}"),
        good.replace("clock", "clok").replace("poll: 1s", "poll: 1x"),
    ] {
        site.replace("grantd.yaml", &broken);
        for arguments in whole {
            let done = site.fine(arguments);
            assert!(done.out.contains("jdoe-long") || done.out.starts_with("whole"), "{arguments:?}: {done}");
            assert!(
                done.err.contains("warning: ") && done.err.contains("the last configuration that could be used"),
                "{done}"
            );
        }
        // What would act, or say what an action would be, does not.
        for verb in ["plan", "apply", "doctor", "init"] {
            assert_eq!(site.run(&[verb]).code, 1, "{verb}");
        }
    }
    // Where it does not even say where the state is, or is gone, the help is in the error.
    for broken in ["nonsense\n", "state: /nowhere\nx: y\n"] {
        site.replace("grantd.yaml", broken);
        for arguments in whole {
            let done = site.run(arguments);
            assert!(done.code == 1 && done.err.contains("`--state DIR`"), "{arguments:?}: {done}");
        }
    }
    fs::remove_file(site.path("grantd.yaml")).unwrap();
    for arguments in whole {
        assert!(site.run(arguments).err.contains("`--state DIR`"));
        let done = site.run(&[arguments, &["--state", state.to_str().unwrap()]].concat());
        assert!(done.code == 0 && done.err.is_empty(), "{arguments:?}: {done}");
    }
    site.replace("grantd.yaml", &good);
    daemon.stop();
    // Of an earlier release, which kept none: the journal says enough.
    fs::remove_file(state.join("configuration.json")).unwrap();
    let done = site.fine(&["status", "--state", "state"]);
    assert!(done.out.contains("2026-11-20-jdoe-long live until"), "{done}");
}

/// What people read counts as people do, in whole seconds, and names things by what they are.
#[test]
fn words_are_peoples_words() {
    let site = Site::new();
    fs::write(site.path("work/grants/2026-11-20-jdoe-new.yaml"), grant("8h", GROUP)).unwrap();
    let plan = site.run(&["plan", "--path", "work/grants"]);
    assert!(plan.out.contains("plan revision of the working tree, "), "{plan}");
    site.fine(&["init"]);
    let plan = site.run(&["plan", "--path", "work/grants"]);
    assert!(!plan.out.contains("AWS") && plan.out.contains("1 to grant"), "{plan}");
    site.edit_world(|world| {
        format!("{world}faults: [{{ surface: iam-group, on: write, trouble: unreachable, times: 1 }}]\n")
    });
    let daemon = site.daemon();
    site.push();
    until("the call failed", || (site.count("fate", "grant") == 1).then_some(()));
    let status = site.fine(&["status"]);
    assert!(status.out.contains("1 attempt, next at"), "{status}");
    site.edit_world(|world| {
        world.lines().filter(|line| !line.starts_with("faults:")).map(|line| format!("{line}\n")).collect()
    });
    site.merge("2026-11-20-jdoe-host", &grant("8h", HOST));
    daemon.said("fate=done");
    let log = daemon.stop();
    let odd = site.fine(&["history"]).out + &site.fine(&["status"]).out + &plan.out;
    assert!(!log.contains("fate=Done") && !odd.contains("1 attempts"), "{log}{odd}");
    // A fraction of a second stands nowhere.
    let fraction = regex::Regex::new(r"[0-9]:[0-9]{2}\.[0-9]+Z").unwrap();
    assert!(!fraction.is_match(&odd), "{odd}");
}

/// One rule: 2 where what is and what Git asks for differ, whatever holds it.
#[test]
fn plan_exits_2_for_whatever_is_held() {
    let site = Site { date: Some("2026-01-01T00:00:00Z"), ..Site::new() };
    site.fine(&["init"]);
    site.merge("2026-11-20-jdoe-late", &grant("8h", GROUP));
    let plan = site.run(&["plan"]);
    assert!(plan.code == 2 && plan.out.contains("1 held"), "{plan}");
    site.fine(&["apply"]);
    assert_eq!(site.run(&["plan"]).code, 2);
    site.withdraw("2026-11-20-jdoe-late");
    site.fine(&["apply"]);
    assert_eq!(site.run(&["plan"]).code, 0);
}

#[test]
fn init_twice_is_refused_and_changes_nothing() {
    let site = Site::new();
    site.fine(&["init"]);
    let before = fs::read(site.segment()).unwrap();
    for arguments in [&["init"][..], &["init", "--existing"]] {
        let again = site.run(arguments);
        assert_eq!(again.code, 1, "{again}");
        assert!(again.err.contains("journal") && again.err.contains(&site.state().display().to_string()), "{again}");
    }
    assert_eq!(fs::read(site.segment()).unwrap(), before);
}

#[test]
fn files_that_were_there_grant_only_if_init_says_so() {
    for existing in [false, true] {
        let site = Site::new();
        site.merge("2026-11-20-jdoe-prior", &grant("8h", GROUP));
        site.fine(if existing { &["init", "--existing"] } else { &["init"] });
        let plan = site.run(&["plan"]);
        assert_eq!(plan.code, if existing { 2 } else { 0 }, "{plan}");
        site.fine(&["apply"]);
        assert_eq!(site.in_group(), existing);
    }
}

#[test]
fn plan_exits_0_2_and_1_and_changes_nothing() {
    let site = Site::new();
    site.fine(&["init"]);
    let plan = site.run(&["plan"]);
    assert_eq!(plan.code, 0, "{plan}");
    assert!(!plan.out.contains("digest"), "{plan}");

    site.merge("2026-11-20-jdoe-long", &grant("8h", &format!("{GROUP}{HOST}")));
    let (world, journal) = (fs::read(site.path("world.yaml")).unwrap(), fs::read(site.segment()).unwrap());
    for format in ["text", "json", "markdown"] {
        let plan = site.run(&["plan", "--format", format]);
        assert_eq!(plan.code, 2, "{plan}");
    }
    assert_eq!(fs::read(site.path("world.yaml")).unwrap(), world, "a plan changed the world");
    assert_eq!(fs::read(site.segment()).unwrap(), journal, "a plan wrote the journal");

    // A broken file is an error, and the others are planned all the same.
    site.merge("2026-11-20-jdoe-broken", "requester: no\n");
    let plan = site.run(&["plan"]);
    assert_eq!(plan.code, 1, "{plan}");
    assert!(plan.out.contains("2 to grant"), "{plan}");
    site.withdraw("2026-11-20-jdoe-broken");
    site.fine(&["apply"]);
    assert_eq!(site.run(&["plan"]).code, 0);

    // So is a repository that cannot be read.
    fs::rename(site.path("access.git"), site.path("elsewhere.git")).unwrap();
    let plan = site.run(&["plan"]);
    assert_eq!(plan.code, 1, "{plan}");
    assert!(plan.out.contains("Git: "), "{plan}");
    let apply = site.run(&["apply"]);
    assert_eq!(apply.code, 1, "{apply}");
}

#[test]
fn a_plan_of_a_revision_or_of_a_folder_shows_what_a_merge_would_do() {
    let site = Site::new();
    site.fine(&["init"]);
    // A pull request: a branch of the repository, beside the one that counts.
    site.git(&["checkout", "--quiet", "-b", "feature/oncall"]);
    fs::write(site.path("work/grants/2026-11-20-jdoe-long.yaml"), grant("8h", GROUP)).unwrap();
    let folder = site.path("work/grants").display().to_string();
    let plan = site.run(&["plan", "--path", &folder]);
    assert_eq!(plan.code, 2, "{plan}");
    assert!(plan.out.contains("1 to grant"), "{plan}");
    assert_eq!(site.run(&["plan"]).code, 0, "only merged files count");
    let done = site.run(&["plan", "--rev", "no-such-branch"]);
    assert_eq!(done.code, 1, "{done}");
    // Merged: by the branch's name, by the commit and by its beginning.
    site.git(&["checkout", "--quiet", "main"]);
    site.push();
    let commit = site.git(&["rev-parse", "HEAD"]);
    for rev in ["main", "HEAD", &commit, &commit[..10]] {
        let plan = site.run(&["plan", "--rev", rev]);
        assert_eq!(plan.code, 2, "{rev}: {plan}");
        assert!(plan.out.contains("1 to grant") && plan.out.contains(&commit[..10]), "{rev}: {plan}");
    }
    assert!(!site.in_group());
}

#[test]
fn apply_by_digest_does_only_what_was_reviewed() {
    let site = Site::new();
    site.fine(&["init"]);
    site.merge("2026-11-20-jdoe-one", &grant("8h", GROUP));
    let reviewed = site.json(&["plan"])["digest"].as_str().unwrap().to_owned();
    site.merge("2026-11-20-jdoe-two", &grant("8h", HOST));
    let done = site.run(&["apply", "--digest", &reviewed]);
    assert_eq!(done.code, 1, "{done}");
    assert!(done.err.contains("not the one that was reviewed"), "{done}");
    assert!(!site.in_group() && site.on_host() == 0, "it was applied all the same");
    let reviewed = site.json(&["plan"])["digest"].as_str().unwrap().to_owned();
    site.fine(&["apply", "--digest", &reviewed]);
    assert!(site.in_group() && site.on_host() == 1);
}

/// What is left of Markdown when code spans and escaped characters are taken out: what a renderer would interpret.
fn interpreted(line: &str) -> String {
    let (mut left, mut chars, mut code) = (String::new(), line.chars(), false);
    while let Some(c) = chars.next() {
        match c {
            // In a table a bar must be escaped within code, too.
            '\\' if !code => drop(chars.next()),
            '\\' if chars.clone().next() == Some('|') => drop(chars.next()),
            '`' => code = !code,
            '|' => left.push(c),
            c if !code => left.push(c),
            _ => {}
        }
    }
    assert!(!code, "code that does not end: {line}");
    left
}

#[test]
fn markdown_keeps_hostile_text_text() {
    let site = Site::new();
    site.fine(&["init"]);
    let hostile = "x|`<script>alert(1)";
    fs::write(site.path("work/grants").join(format!("{hostile}.yaml")), grant("8h", GROUP)).unwrap();
    let bad = grant("8h", GROUP).replace("account: prod", "account: \"a|`<script>**b**](x)@all\"");
    fs::write(site.path("work/grants/2026-11-20-jdoe-hostile.yaml"), bad).unwrap();
    let purpose = grant("8h", GROUP).replace("INC-4312: checkout", "|`<script>alert(2)</script>");
    site.merge("2026-11-20-jdoe-good", &purpose);
    let plan = site.run(&["plan", "--format", "markdown"]);
    assert_eq!(plan.code, 1, "{plan}");
    assert!(plan.out.contains("script>alert(1)") && plan.out.contains("@all"), "nothing hostile was shown: {plan}");
    let mut rows = 0;
    for line in plan.out.lines() {
        let left = interpreted(line);
        assert!(!left.contains(['<', '@', ']']), "{line}\nleaves {left}");
        let bars = left.matches('|').count();
        if line.starts_with("| ❌") {
            rows += 1;
            assert_eq!(bars, 5, "{line}");
        }
    }
    assert_eq!(rows, 2, "{plan}");
}
