//! What people and programs see, word for word. `GRANTD_UPDATE=1 cargo test --test it snapshots` writes it anew; then
//! look at the difference.

use std::{fs, path::Path, process::Command};

use regex::Regex;

use super::{Done, GROUP, HOST, Site, grant};

const FOUR: &str = r"  - windows-admin: { user: CORP\jdoe, account: prod, region: us-east-1, instances: { AccessGroup: [JITAdmins, OnCall] } }
  - iam-policy: { account: prod, role: OpsOnCall, policy: AmazonEC2ReadOnlyAccess }
  - iam-group: { account: prod, user: jdoe, group: Auditors }
  - permission-set: { account: prod, user: jdoe@corp.example, set: PowerUser }
";

/// What differs from run to run, and nothing else: folders, times, what is reckoned from times, and how records fell
/// into batches.
fn redact(site: &Site, text: &str) -> String {
    let mut text = text.replace(&site.folder.path().display().to_string(), "DIR");
    for (pattern, instead) in [
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z", "TIME"),
        (r"(?-u:\b)[0-9a-f]{64}(?-u:\b)", "HASH"),
        (r#"("(seq|intent|batches)": ?)[0-9]+"#, "${1}N"),
        (r"(?-u:\b)[0-9]+ batches", "N batches"),
        (r"(?-u:\b)head [0-9]+:", "head N:"),
        // Times in a line of the journal have as many digits as they need.
        (r"at line 1 column [0-9]+", "at line 1 column N"),
        (r"(?m)^ *[0-9]+ +TIME", "N TIME"),
        (r#""boot":"[^"]*","steady":[0-9]+"#, r#""boot":"BOOT","steady":N"#),
        (r#""nonce":"[0-9a-f]{32}""#, r#""nonce":"NONCE""#),
        (r"(?-u:\b)0\.1\.[0-9]+(?-u:\b)", "VERSION"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}

/// Compares with the file in `tests/snapshots`.
fn same(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("GRANTD_UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected == text {
        return;
    }
    let line = expected.lines().zip(text.lines()).take_while(|(old, new)| old == new).count();
    panic!(
        "tests/snapshots/{name} differs from line {} on (GRANTD_UPDATE=1 writes it anew)\nexpected: {:?}\nfound:    {:?}\n\n{text}",
        line + 1,
        expected.lines().nth(line),
        text.lines().nth(line),
    );
}

/// The exit code, standard output and standard error as one text.
fn shown(site: &Site, done: &Done) -> String {
    let err = if done.err.is_empty() { String::new() } else { format!("--- standard error\n{}", done.err) };
    redact(site, &format!("exit {}\n{}{err}", done.code, done.out))
}

fn snap(site: &Site, name: &str, arguments: &[&str]) {
    same(&format!("{name}.txt"), &shown(site, &site.run(arguments)));
}

#[test]
fn help() {
    let site = Site::bare();
    let verbs: [&[&str]; 21] = [
        &[],
        &["lint"],
        &["plan"],
        &["apply"],
        &["init"],
        &["run"],
        &["status"],
        &["history"],
        &["audit"],
        &["audit", "verify"],
        &["audit", "archive"],
        &["source"],
        &["source", "accept"],
        &["clock"],
        &["clock", "accept"],
        &["doctor"],
        &["documents"],
        &["documents", "show"],
        &["documents", "install"],
        &["schema"],
        &["demo"],
    ];
    for verb in verbs {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grantd"));
        let output = command.args(verb).arg("--help").env_clear().output().unwrap();
        let name = if verb.is_empty() { "grantd".into() } else { verb.join("-") };
        same(&format!("help/{name}.txt"), &shown(&site, &Done::of(&output)));
    }
    let output = Command::new(env!("CARGO_BIN_EXE_grantd")).arg("--version").env_clear().output().unwrap();
    let done = Done::of(&output);
    assert_eq!((done.code, done.out.as_str()), (0, concat!("grantd ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn schemas() {
    let site = Site::bare();
    for kind in ["grant", "config", "world"] {
        let done = site.fine(&["schema", kind]);
        done.json();
        same(&format!("schema/{kind}.json"), &redact(&site, &done.out));
    }
}

#[test]
fn the_commands_on_a_fixed_world() {
    let site = Site::fixed();
    snap(&site, "init", &["init"]);
    snap(&site, "init-again", &["init", "--format", "json"]);
    let broken = grant("8 h", GROUP).replace("account: prod", "account: prd");
    fs::write(site.path("work/grants/2026-11-20-jdoe-broken.yaml"), broken).unwrap();
    site.merge("2026-11-20-jdoe-checkout", &grant("8h", HOST));
    let config = site.path("grantd.yaml").display().to_string();
    for format in ["text", "json"] {
        snap(&site, &format!("lint-{format}"), &["lint", "--format", format, "work/grants"]);
        snap(
            &site,
            &format!("lint-configured-{format}"),
            &["lint", "--config", &config, "--format", format, "work/grants"],
        );
    }
    for format in ["text", "json", "markdown"] {
        snap(&site, &format!("plan-{format}"), &["plan", "--format", format]);
    }
    snap(&site, "apply-text", &["apply"]);
    for format in ["text", "json"] {
        snap(&site, &format!("status-live-{format}"), &["status", "--format", format]);
    }
    site.withdraw("2026-11-20-jdoe-broken");
    site.withdraw("2026-11-20-jdoe-checkout");
    snap(&site, "plan-withdrawn-text", &["plan"]);
    snap(&site, "apply-json", &["apply", "--format", "json"]);
    for format in ["text", "json"] {
        snap(&site, &format!("status-{format}"), &["status", "--format", format]);
        snap(&site, &format!("history-{format}"), &["history", "--format", format]);
        snap(&site, &format!("audit-verify-{format}"), &["audit", "verify", "--format", format]);
    }
    snap(&site, "history-one", &["history", "2026-11-20-jdoe-checkout"]);
    snap(&site, "history-unknown", &["history", "2026-11-20-nobody"]);
    snap(&site, "plan-nothing", &["plan"]);
}

#[test]
fn a_plan_of_every_surface_without_a_journal() {
    let site = Site::fixed();
    site.merge("2026-11-20-jdoe-all", &grant("2h", FOUR));
    for format in ["text", "json", "markdown"] {
        snap(&site, &format!("plan-unjournaled-{format}"), &["plan", "--format", format]);
    }
}

#[test]
fn a_journal_that_is_not_whole() {
    let site = Site::fixed();
    site.fine(&["init"]);
    super::flip(&site.segment(), 3);
    for format in ["text", "json"] {
        snap(&site, &format!("audit-broken-{format}"), &["audit", "verify", "--format", format]);
    }
}
