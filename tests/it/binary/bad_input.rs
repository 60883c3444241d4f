//! What a requester may get wrong, each through the built `lint` and the built `apply`.

use std::{fs, os::unix::fs::symlink, process::Command};

use super::{GROUP, HOST, Site, grant, now, until};

/// Five lines, and nothing wrong.
const GOOD: &str = r#"requester: jdoe@corp.example
purpose: "INC-4312: checkout"
ttl: 8h
access:
  - iam-group: { account: prod, user: jdoe, group: Auditors }
"#;

/// A file, and what is said about it.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    /// Line and column; `None` if it is about the file as a whole.
    place: Option<(usize, usize)>,
    message: &'static str,
    help: &'static str,
}

/// Where `mark` stands last, in characters from 1.
fn place(text: &str, mark: &str) -> (usize, usize) {
    let at = text.rfind(mark).unwrap_or_else(|| panic!("no `{mark}` in {text}"));
    let line = text[..at].matches('\n').count() + 1;
    let begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    (line, text[begin..at].chars().count() + 1)
}

fn cases() -> Vec<Case> {
    let edit = |name, old: &str, new: &str, mark: &str, message, help| {
        assert!(GOOD.contains(old), "{old}");
        let text = GOOD.replacen(old, new, 1);
        Case { name, place: Some(place(&text, mark)), bytes: text.into_bytes(), message, help }
    };
    let add = |name, more: &str, mark: &str, message, help| {
        let text = format!("{GOOD}{more}");
        Case { name, place: Some(place(&text, mark)), bytes: text.into_bytes(), message, help }
    };
    let tags = |name, tags: &str, mark: &str, message, help| {
        let entry =
            format!("windows-admin: {{ user: 'CORP\\jdoe', account: prod, region: us-east-1, instances: {tags} }}");
        edit(name, "iam-group: { account: prod, user: jdoe, group: Auditors }", &entry, mark, message, help)
    };
    let whole = |name, bytes: Vec<u8>, message, help| Case { name, bytes, place: None, message, help };
    let quotes = "put it in quotes";
    let length = "one number and one unit: `90s`, `45m`, `8h` or `2d`";
    let name = "1 to 64 of letters, digits";
    let invisible = "an invisible character, U+";
    let mut cases = vec![
        add(
            "unknown-key",
            "tll: 8h\n",
            "tll",
            "unknown key `tll`",
            "a grant has requester, purpose, ttl, until, from, access",
        ),
        edit("unknown-key-below", "group: Au", "grupe: Au", "grupe", "unknown key `grupe`", "iam-group has account, "),
        add(
            "duplicate-key",
            "ttl: 4h\n",
            "ttl: 4h",
            "the key `ttl` stands here for the second time",
            "keep one of them",
        ),
        edit("plain-no", "jdoe@corp.example", "no", "no\n", "`requester` holds a boolean", quotes),
        edit("plain-hex", "\"INC-4312: checkout\"", "0x10", "0x10", "`purpose` holds a number", quotes),
        edit("plain-underscore", "user: jdoe", "user: 1_000", "1_000", "`user` holds a number", quotes),
        edit("anchor", "jdoe@", "&me jdoe@", "jdoe@", "anchors (`&name`) are not allowed", "write the value out"),
        edit(
            "alias",
            "\"INC-4312: checkout\"",
            "*me",
            "*me",
            "aliases (`*name`) are not allowed",
            "write the value out",
        ),
        add("merge-key", "<<: { ttl: 4h }\n", "<<", "merge keys (`<<`) are not allowed", "write the keys out"),
        edit("tag", "jdoe@", "!x jdoe@", "jdoe@", "tags (`!name`) are not allowed", "write the plain value"),
        edit("tag-str", "jdoe@", "!!str jdoe@", "jdoe@", "tags (`!!str`) are not allowed", "write the plain value"),
        add(
            "second-document",
            "---\nrequester: mallory\n",
            "---",
            "a grant file holds one document",
            "a file of its own",
        ),
        edit("lenient-length", "8h", "in 3 dayz", "in 3", "`ttl: in 3 dayz` cannot be read", length),
        edit("lenient-blank", "8h", "8 h", "8 h", "`ttl: 8 h` cannot be read", length),
        edit("lenient-time", "ttl: 8h", "until: tomorrow", "tomorrow", "`until: tomorrow` cannot be read", "2026-11-2"),
        edit("no-offset", "ttl: 8h", "until: 2026-11-21T02:00:00", "2026", "cannot be read", "2026-11-2"),
        edit(
            "end-before-start",
            "ttl: 8h",
            "from: 2026-11-21T02:00:00Z\nuntil: 2026-11-21T01:00:00Z",
            "2026-11-21T01",
            "the end is not after the start",
            "write an `until` after `from`",
        ),
        edit("too-long", "8h", "25h", "25h", "`ttl: 25h` is beyond `max_duration`, 1d", "ask for 1d at most"),
        tags("no-tags", "{ }", "{ }", "`instances` is empty: that would be every host", "at least one tag"),
        tags("tag-without-value", "{ Team: [] }", "[]", "tag `Team` has no value", "write at least one"),
        tags("tag-wildcard", "{ Team: 'a*' }", "'a*'", "`a*` is not a tag's value", "there are no wildcards"),
        tags("tag-key", "{ 'Te|am': a }", "'Te|am'", "`Te|am` is not a tag's key", "1 to 128 of letters"),
        tags("tag-twice", "{ Team: a, Team: b }", "Team: b", "the key `Team` stands here for the second", "keep one"),
        edit("homoglyph", "user: jdoe", "user: jd\u{43e}e", "jd\u{43e}e", "is not an IAM name", name),
        edit("bidi", "user: jdoe", "user: \u{202e}eodj", "\u{202e}", invisible, "take it out"),
        edit("zero-width", "user: jdoe", "user: jd\u{200b}oe", "\u{200b}", invisible, "take it out"),
        edit("nul", "user: jdoe", "user: jd\0oe", "\0", invisible, "take it out"),
        edit("quote", "user: jdoe", "user: \"j'doe\"", "\"j'doe", "`j'doe` is not an IAM name", name),
        edit(
            "unknown-account",
            "account: prod",
            "account: prd",
            "prd",
            "unknown account `prd`",
            "the configuration has prod",
        ),
        edit(
            "protected-set",
            "iam-group: { account: prod, user: jdoe, group: Auditors }",
            "permission-set: { account: prod, user: jdoe@corp.example, set: AdministratorAccess }",
            "AdministratorAccess",
            "`AdministratorAccess` is protected: no grant may give it",
            "`limits: protected:`",
        ),
        edit(
            "protected-policy",
            "iam-group: { account: prod, user: jdoe, group: Auditors }",
            "iam-policy: { account: prod, role: OpsOnCall, policy: AdministratorAccess }",
            "AdministratorAccess",
            "`AdministratorAccess` is protected: no grant may give it",
            "`limits: protected:`",
        ),
        edit(
            "protected-arn",
            "iam-group: { account: prod, user: jdoe, group: Auditors }",
            "iam-policy: { account: prod, role: OpsOnCall, policy: \"arn:aws:iam::aws:policy/AdministratorAccess\" }",
            "\"arn",
            "`AdministratorAccess` is protected: no grant may give it",
            "`limits: protected:`",
        ),
        edit(
            "missing",
            "ttl: 8h\naccess:\n  - iam-group: { account: prod, user: jdoe, group: Auditors }",
            "ttl: 8h",
            "requester",
            "`access` is missing",
            "add `access: [ … ]`",
        ),
        whole("brackets-80k", vec![b'['; 80 * 1024], "the file has ", "split it into several grants"),
        whole(
            "over-64k",
            format!("{GOOD}{}", "# more\n".repeat(10_000)).into_bytes(),
            "a grant has at most 64 KiB",
            "split it",
        ),
        whole(
            "latin-1",
            GOOD.replace("checkout", "?").into_bytes().iter().map(|b| if *b == b'?' { 0xe9 } else { *b }).collect(),
            "not UTF-8 (line 2)",
            "save the file as UTF-8",
        ),
    ];
    let host = grant("8h", &HOST.replace("us-east-1", "eu-west-9"));
    cases.push(Case {
        name: "unknown-region",
        place: Some(place(&host, "eu-west-9")),
        bytes: host.into_bytes(),
        message: "region `eu-west-9` is not one of this account's",
        help: "the configuration lists us-east-1",
    });
    cases.push(Case {
        name: "brackets-60k",
        bytes: vec![b'['; 60 * 1024],
        place: Some((1, 9)),
        message: "nested too deeply",
        help: "no more than the levels of the example",
    });
    cases
}

/// What a terminal shows about a place: the path, the line itself, a caret below the column, and what to write instead.
fn block(path: &str, case: &Case) -> String {
    let Some((line, column)) = case.place else { return format!("--> {path}\n  = ") };
    let text = String::from_utf8(case.bytes.clone()).unwrap();
    let hidden = |c: char| matches!(c, '\0' | '\u{200b}' | '\u{202e}');
    let shown: String =
        text.lines().nth(line - 1).unwrap().chars().take(200).map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect();
    let gutter = " ".repeat(line.to_string().len());
    format!("{gutter}--> {path}:{line}:{column}\n{gutter} |\n{line} | {shown}\n{gutter} | {}^ ", " ".repeat(column - 1))
}

/// Checks one file's finding in text and in JSON.
fn told(case: &Case, path: &str, text: &str, findings: &[serde_json::Value]) {
    let Case { name, place, message, help, .. } = case;
    let of: Vec<_> = findings.iter().filter(|finding| finding["path"] == path).collect();
    let said = |finding: &&&serde_json::Value| {
        let has = |key: &str, part: &str| finding[key].as_str().unwrap().contains(part);
        let at = |key: &str, is: Option<usize>| finding[key].as_u64() == is.map(|is| is as u64);
        has("message", message)
            && has("help", help)
            && at("line", place.map(|p| p.0))
            && at("column", place.map(|p| p.1))
    };
    let Some(finding) = of.iter().find(said) else {
        panic!("{name}: expected {place:?} {message} ({help}) in {of:#?}")
    };
    assert_eq!(finding["level"], "error", "{name}");
    let block = block(path, case);
    assert!(text.contains(&block), "{name}: expected\n{block}\nin\n{text}");
    let after = text.split(&block).nth(1).unwrap().lines().next().unwrap();
    assert!(after.contains(help), "{name}: expected `{help}`, found `{after}`");
    assert!(text.contains(message), "{name}: {text}");
}

#[test]
fn lint_tells_each_mistake_with_its_place_and_what_to_write_instead() {
    let site = Site::new();
    let config = site.path("grantd.yaml").display().to_string();
    for case in cases() {
        let path = format!("bad/{}.yaml", case.name);
        fs::create_dir_all(site.path("bad")).unwrap();
        fs::write(site.path(&path), &case.bytes).unwrap();
        let text = site.run(&["lint", "--config", &config, &path]);
        assert_eq!(text.code, 1, "{}: {text}", case.name);
        let json = site.run(&["lint", "--config", &config, "--format", "json", &path]);
        assert_eq!(json.code, 1, "{}: {json}", case.name);
        let json = json.json();
        assert!(json["errors"].as_u64().unwrap() >= 1, "{json}");
        told(&case, &path, &text.out, json["findings"].as_array().unwrap());
        // Nothing that hides or moves text reaches the terminal.
        assert!(!text.out.contains(['\0', '\u{200b}', '\u{202e}', '\u{1b}']), "{}: {text}", case.name);
    }
}

#[test]
fn lint_tells_all_mistakes_of_all_files_at_once() {
    let site = Site::new();
    let config = site.path("grantd.yaml").display().to_string();
    fs::create_dir_all(site.path("bad/team")).unwrap();
    let cases = cases();
    for case in &cases {
        fs::write(site.path(&format!("bad/{}.yaml", case.name)), &case.bytes).unwrap();
    }
    fs::write(site.path("bad/2026-11-20-good.yaml"), GOOD).unwrap();
    fs::write(site.path("bad/twins.yaml"), GOOD).unwrap();
    fs::write(site.path("bad/team/twins.yml"), GOOD).unwrap();
    fs::write(site.path("bad/Upper Case.yaml"), GOOD).unwrap();
    symlink("2026-11-20-good.yaml", site.path("bad/link.yaml")).unwrap();
    let text = site.run(&["lint", "--config", &config, "bad"]);
    assert_eq!(text.code, 1, "{text}");
    let json = site.run(&["lint", "--config", &config, "--format", "json", "bad"]).json();
    let findings = json["findings"].as_array().unwrap();
    for case in &cases {
        told(case, &format!("bad/{}.yaml", case.name), &text.out, findings);
    }
    let said = |path: &str, message: &str, help: &str| {
        let found = findings.iter().any(|finding| {
            finding["path"].as_str().unwrap().starts_with(path)
                && finding["message"].as_str().unwrap().contains(message)
                && finding["help"].as_str().unwrap().contains(help)
        });
        assert!(found, "{path}: {message} ({help})\n{json:#}");
        assert!(text.out.contains(message) && text.out.contains(help), "{message}: {text}");
    };
    said("bad/t", "the id `twins` is also that of bad/team/twins.yml", "a name of its own");
    said("bad/link.yaml", "a symbolic link is not followed", "commit the file itself");
    said("bad/Upper Case.yaml", "", "rename the file");
    assert!(!findings.iter().any(|finding| finding["path"] == "bad/2026-11-20-good.yaml"), "{json:#}");
    let sum = format!("{} files, {} errors, {} warnings\n", json["files"], json["errors"], json["warnings"]);
    assert!(text.out.ends_with(&sum), "{text}\nends not with {sum}");
    assert_eq!(json["files"], cases.len() + 4);
}

#[test]
fn two_mistakes_in_one_file_are_both_told() {
    let site = Site::new();
    let text = GOOD.replace("8h", "8 hours").replace("user: jdoe", "user: j*").replace(" group:", " grupe:");
    fs::write(site.path("two.yaml"), text).unwrap();
    let done = site.run(&["lint", "two.yaml"]);
    assert_eq!(done.code, 1);
    for part in
        ["`ttl: 8 hours` cannot be read", "`j*` is not an IAM name", "unknown key `grupe`", "`group` is missing"]
    {
        assert!(done.out.contains(part), "{part}: {done}");
    }
}

#[test]
fn a_clean_folder_exits_0_and_says_what_was_not_checked() {
    let site = Site::new();
    fs::write(site.path("work/grants/2026-11-20-good.yaml"), GOOD).unwrap();
    let done = site.run(&["lint", "work/grants"]);
    assert_eq!(done.code, 0, "{done}");
    assert!(
        done.out.contains("1 file, 0 errors, 0 warnings (form and built-in protections; --config checks"),
        "{done}"
    );
    let done = site.run(&["lint", "nowhere"]);
    assert_eq!(done.code, 1, "{done}");
    assert!(done.err.contains("nowhere cannot be read"), "{done}");
}

#[test]
fn in_the_repository_bad_files_have_no_effect_and_the_good_one_is_granted() {
    let site = Site::new();
    site.fine(&["init"]);
    let cases = cases();
    let grants = site.path("work/grants");
    for case in &cases {
        fs::write(grants.join(format!("{}.yaml", case.name)), &case.bytes).unwrap();
    }
    fs::create_dir(grants.join("team")).unwrap();
    fs::write(grants.join("twins.yaml"), GOOD).unwrap();
    fs::write(grants.join("team/twins.yaml"), GOOD).unwrap();
    symlink("twins.yaml", grants.join("link.yaml")).unwrap();
    let head = site.git(&["rev-parse", "HEAD"]);
    site.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},grants/submodule.yaml")]);
    fs::create_dir(grants.join("submodule.yaml")).unwrap();
    site.merge("2026-11-20-jdoe-good", &grant("8h", HOST));
    assert!(site.git(&["ls-tree", "-r", "HEAD"]).contains("160000 commit"), "there is no submodule");

    let plan = site.run(&["plan", "--format", "json"]);
    assert_eq!(plan.code, 1);
    let plan = plan.json();
    let findings = plan["findings"].as_array().unwrap();
    let apply = site.fine(&["apply"]);
    for case in &cases {
        told(case, &format!("grants/{}.yaml", case.name), &apply.out, findings);
    }
    for (path, message) in [
        ("grants/link.yaml", "a symbolic link is not followed"),
        ("grants/submodule.yaml", "submodule"),
        ("grants/twins.yaml", "the id `twins` is also that of grants/team/twins.yaml"),
        ("grants/team/twins.yaml", "the id `twins` is also that of grants/twins.yaml"),
    ] {
        let found = findings
            .iter()
            .any(|finding| finding["path"] == path && finding["message"].as_str().unwrap().contains(message));
        assert!(found, "{path}: {message}\n{findings:#?}");
        assert!(apply.out.contains(message), "{apply}");
    }
    let accepted: Vec<_> = site.history().into_iter().filter(|line| line["kind"] == "accept").collect();
    assert_eq!(accepted.len(), 1, "{accepted:#?}");
    assert_eq!(accepted[0]["grant"], "2026-11-20-jdoe-good");
    assert_eq!(site.on_host(), 1, "the good one was not granted");
    assert!(!site.in_group(), "a bad one was granted");
    let account = &site.world().accounts["123456789012"];
    assert!(account.roles["OpsOnCall"].policies.is_empty() && account.permission_sets["PowerUser"].is_empty());

    // The same under the daemon: what is mended counts, the rest stays out.
    let daemon = site.daemon();
    daemon.said("revision read");
    site.merge("lenient-length", GOOD);
    until("the mended file is granted", || site.in_group().then_some(()));
    daemon.stop();
    assert_eq!(site.count("accept", ""), 2);
}

#[test]
fn lint_reads_no_pipe_and_no_device() {
    let site = Site::new();
    fs::create_dir(site.path("bad")).unwrap();
    assert!(Command::new("mkfifo").arg(site.path("bad/pipe.yaml")).status().unwrap().success());
    let done = site.run(&["lint", "bad/pipe.yaml"]);
    assert_eq!(done.code, 1, "{done}");
    let done = site.run(&["lint", "/dev/zero"]);
    assert_eq!(done.code, 1, "{done}");
}

/// What freezes granting after the merge, lint says before it.
#[test]
fn lint_refuses_what_the_daemon_would_refuse_whole() {
    let site = Site::new();
    fs::create_dir(site.path("work/Grants")).unwrap();
    site.merge("jdoe-one", &grant("8h", GROUP));
    let told = site.run(&["lint", site.path("work/grants").to_str().unwrap()]);
    assert!(told.code == 1 && told.out.contains("`Grants` lies beside it"), "{told}");
    fs::remove_dir(site.path("work/Grants")).unwrap();
    let many = site.path("work/grants/many");
    fs::create_dir(&many).unwrap();
    for number in 0..19_998 {
        fs::write(many.join(number.to_string()), "").unwrap();
    }
    let lint = || site.run(&["lint", site.path("work/grants").to_str().unwrap()]);
    assert_eq!(lint().code, 0);
    fs::write(many.join("more"), "").unwrap();
    let told = lint();
    assert!(told.code == 1 && told.out.contains("there are 20001 files and folders"), "{told}");
    site.fine(&["init"]);
    site.push();
    let plan = site.run(&["plan"]);
    assert!(plan.code == 2 && plan.out.contains("more than 20000 files and folders"), "{plan}");
}

/// What is asked for and cannot be read is told with the grant's own question, and is no success.
#[test]
fn what_cannot_be_read_is_no_success() {
    let site = Site::new();
    site.fine(&["init"]);
    site.edit_world(|text| format!("{text}faults: [{{ on: read, trouble: denied }}]\n"));
    site.merge("jdoe-one", &grant("8h", HOST));
    let plan = site.run(&["plan"]);
    assert!(plan.code == 1 && plan.out.contains("its hosts cannot be listed: "), "{plan}");
    assert_eq!(site.json(&["plan"])["unread"], 1);
    assert_eq!(site.run(&["apply"]).code, 1);
    site.merge("jdoe-one", &grant("8h", HOST));
    site.merge("jdoe-two", &grant("8h", GROUP));
    let plan = site.run(&["plan"]);
    assert!(plan.code == 1 && plan.out.contains("it cannot be read: "), "{plan}");
    assert_eq!(site.run(&["apply"]).code, 1);
}

/// Rules go by where a file lies in the repository, however the folder is named on the command line.
#[test]
fn rules_by_path_count_however_the_folder_is_named() {
    let site = Site::new();
    site.configure("", "rules: [{ match: { path: 'grants/prod/*' }, max_duration: 1h }]\n");
    fs::create_dir(site.path("work/grants/prod")).unwrap();
    let until = now().checked_add(jiff::SignedDuration::from_hours(2)).unwrap().round(jiff::Unit::Second).unwrap();
    let text = grant("2h", GROUP).replace("ttl: 2h", &format!("until: {until}"));
    fs::write(site.path("work/grants/prod/jdoe-one.yaml"), &text).unwrap();
    fs::write(site.path("work/grants/jdoe-two.yaml"), &text).unwrap();
    fs::create_dir_all(site.path("work/grants/prod/grants")).unwrap();
    symlink(site.path("work/grants/prod"), site.path("link")).unwrap();
    site.push();
    site.fine(&["init"]);
    let work = site.path("work");
    for folder in ["work/grants", "work/./grants", "work/grants/", "work/grants/prod", "work/grants/prod/jdoe-one.yaml"]
    {
        let told = site.run(&["lint", "--config", "grantd.yaml", folder]);
        assert!(told.code == 1 && told.out.contains("jdoe-one.yaml"), "{folder}: {told}");
        assert!(!told.out.contains("jdoe-two"), "{folder}: {told}");
    }
    for (place, folder) in [(work.clone(), "grants"), (work.clone(), "./grants"), (work.join("grants"), ".")] {
        let mut command = site.command(&["lint", "--config", site.path("grantd.yaml").to_str().unwrap(), folder]);
        let told = super::Done::of(&command.current_dir(&place).output().unwrap());
        assert!(told.code == 1 && told.out.contains("prod/jdoe-one.yaml"), "{folder}: {told}");
        let mut command = site.command(&["plan", "--path", folder]);
        let told = super::Done::of(&command.current_dir(&place).output().unwrap());
        assert!(told.code == 1 && told.out.contains("prod/jdoe-one.yaml"), "{folder}: {told}");
    }
}
