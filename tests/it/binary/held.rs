//! What the guard against mass withdrawal holds: shown wherever it stands, and let go on by whoever reviewed it.

use std::fs;

use super::{Site, grant};

/// Twelve grants that are live, each of somebody else.
fn twelve() -> Site {
    let site = Site::new();
    let users: String = (0..12).map(|number| format!("      u{number:03}: {{}}\n")).collect();
    site.edit_world(|world| world.replace("      jdoe: {}\n", &users));
    site.fine(&["init"]);
    for number in 0..12 {
        let ask = format!("  - iam-group: {{ account: prod, user: u{number:03}, group: Auditors }}\n");
        let path = site.path(&format!("work/grants/g-{number:03}.yaml"));
        fs::write(path, grant("8h", &ask)).unwrap();
    }
    site.push();
    site.fine(&["apply"]);
    assert_eq!(auditors(&site), 12);
    for number in 0..12 {
        fs::remove_file(site.path(&format!("work/grants/g-{number:03}.yaml"))).unwrap();
    }
    site
}

fn auditors(site: &Site) -> usize {
    site.world().accounts["123456789012"].users.values().filter(|user| user.groups.contains("Auditors")).count()
}

/// Whatever keeps the head from being accepted, and whoever deleted them: what the guard holds is shown, and can be let go on.
#[test]
fn what_the_guard_holds_is_shown_and_let_go_on_by_digest() {
    for (way, state) in [("accepted", "withdrawal"), ("refused", "suspension"), ("refused later", "withdrawal")] {
        let site = twelve();
        let refuse = || {
            fs::write(site.path("work/grants/dup.yaml"), "x").unwrap();
            fs::write(site.path("work/grants/DUP.yaml"), "x").unwrap();
        };
        if way == "refused" {
            refuse();
        }
        site.push();
        // Before it is on record, and after.
        for again in [false, true] {
            let plan = site.json(&["plan"]);
            let held = plan["held"].as_array().unwrap();
            assert_eq!(held.len(), 12, "{way}, {again}: {plan}");
            assert!(held.iter().all(|held| held["until"].is_string()), "{way}: {plan}");
            site.run(&["apply"]);
            if way == "refused later" {
                refuse();
                site.push();
            }
        }
        assert_eq!(auditors(&site), 12, "{way}");
        let status = site.fine(&["status"]);
        assert!(status.out.contains(&format!("{state} held")) && status.out.contains("12 held"), "{way}: {status}");
        let plan = site.run(&["plan"]);
        assert!(plan.code != 0 && plan.out.contains("12 held"), "{way}: {plan}");
        let digest = site.json(&["plan"])["digest"].as_str().unwrap().to_owned();
        assert!(plan.out.contains(&digest), "{way}: {plan}");
        site.run(&["apply", "--digest", &digest]);
        assert_eq!(auditors(&site), 0, "{way}");
        assert!(site.run(&["plan"]).out.contains("0 held"), "{way}");
        if way == "refused" {
            // It is suspended still: the old content brings it back.
            site.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
            site.git(&["push", "--quiet", "--force", "origin", "main"]);
            site.fine(&["apply"]);
            assert_eq!(auditors(&site), 12);
        }
    }
}

/// Nobody has to wait for Git to let go on what it said before.
#[test]
fn what_the_guard_holds_can_be_let_go_on_while_git_is_away() {
    let site = twelve();
    site.push();
    site.fine(&["apply"]);
    fs::rename(site.path("access.git"), site.path("gone.git")).unwrap();
    let plan = site.json(&["plan"]);
    assert_eq!(plan["held"].as_array().unwrap().len(), 12, "{plan}");
    site.run(&["apply", "--digest", plan["digest"].as_str().unwrap()]);
    assert_eq!(auditors(&site), 0);
}
