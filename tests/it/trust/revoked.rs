//! Keys that count no more, and lists that cannot be read.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

async fn town() -> Town {
    Town::new(Trust::Signed).await
}

const LATER: &str = "ttl: 2h\nfrom: 2026-11-20T12:00:00Z";

#[tokio::test]
async fn a_revoked_key_begins_nothing_more_and_what_is_live_goes_on() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 2h"));
    town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", LATER));
    town.put(Who::Asmith, "maria-later", &ask("maria", "Writers", LATER));
    town.at("09:01").await;
    town.is_granted("jdoe-one", ("jdoe", "Auditors"));
    assert!(town.terms("jdoe-later").is_some());
    town.revoke(&[Who::Jdoe]);
    town.restart().await;
    town.put(Who::Jdoe, "jdoe-new", &ask("jdoe", "Writers", "ttl: 2h"));
    town.at("09:10").await;
    town.is_held("jdoe-new", ("jdoe", "Writers"), "which is revoked");
    assert!(town.held("jdoe-later").unwrap().contains("which is revoked; it has not begun, and does not begin so"));
    assert!(town.withheld("jdoe-later").unwrap().whole);
    assert!(town.has("jdoe", "Auditors"), "a live grant was taken away");
    town.at("11:02").await;
    assert!(!town.has("jdoe", "Auditors"), "a live grant did not end");
    town.at("12:01").await;
    assert!(!town.has("jdoe", "Readers") && town.has("maria", "Writers"));
    town.restart().await;
    assert!(!town.has("jdoe", "Readers"));
    // Taken back before the end.
    town.revoke(&[]);
    town.restart().await;
    town.at("13:00").await;
    assert_eq!((town.held("jdoe-later"), town.withheld("jdoe-later")), (None, None));
    assert!(town.has("jdoe", "Readers"));
    town.at("14:01").await;
    assert!(!town.has("jdoe", "Readers"));
}

#[tokio::test]
async fn a_revocation_is_noticed_at_the_next_poll_without_a_new_commit() {
    let mut town = town().await;
    town.revoke(&[]);
    town.restart().await;
    town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", LATER));
    town.at("09:01").await;
    town.revoke(&[Who::Jdoe]);
    town.at("09:02").await;
    assert!(town.withheld("jdoe-later").unwrap().whole);
    town.at("12:01").await;
    assert!(!town.has("jdoe", "Readers"));
}

#[tokio::test]
async fn a_key_that_is_revoked_while_the_daemon_is_down_begins_nothing_at_its_start() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", LATER));
    town.at("09:01").await;
    town.sim.kill();
    town.revoke(&[Who::Jdoe]);
    town.sim.clock.set(kit::moment("12:30"));
    town.start().await;
    assert!(!town.has("jdoe", "Readers"), "it began before anybody looked");
    town.at("12:31").await;
    assert!(!town.has("jdoe", "Readers"));
    assert!(town.held("jdoe-later").unwrap().contains("which is revoked"));
}

#[tokio::test]
async fn a_key_that_is_revoked_while_git_is_away_begins_nothing() {
    let mut town = town().await;
    town.revoke(&[]);
    town.restart().await;
    town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", LATER));
    town.at("09:01").await;
    let away = town.sim.folder.path().join("away");
    fs::rename(&town.sim.repo.path, &away).unwrap();
    town.revoke(&[Who::Jdoe]);
    town.at("11:59").await;
    town.at("12:01").await;
    assert!(!town.has("jdoe", "Readers"));
    town.restart().await;
    town.at("12:02").await;
    assert!(!town.has("jdoe", "Readers"), "a restart forgot it");
}

#[tokio::test]
async fn an_extension_before_the_start_waits_for_its_own_signer_too() {
    let mut town = town().await;
    town.put(Who::Asmith, "jdoe-later", &ask("jdoe", "Readers", LATER));
    town.at("09:01").await;
    town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", "ttl: 9h\nfrom: 2026-11-20T12:00:00Z"));
    town.at("09:02").await;
    assert_eq!(town.terms("jdoe-later").unwrap().until, kit::moment("21:00"));
    town.revoke(&[Who::Jdoe]);
    town.restart().await;
    town.at("09:10").await;
    assert!(town.held("jdoe-later").is_some_and(|why| why.contains("which is revoked")));
    town.at("12:01").await;
    assert!(!town.has("jdoe", "Readers"));
}

#[tokio::test]
async fn a_key_that_ended_signs_nothing_whatever_date_it_writes() {
    let mut town = town().await;
    town.allow(&[(Who::Jdoe, r#"valid-before="20261120090000Z""#), (Who::Asmith, r#"valid-after="20261120100000Z""#)]);
    for (who, user, group) in [(Who::Jdoe, "jdoe", "Auditors"), (Who::Asmith, "maria", "Readers")] {
        town.file(&format!("{user}-one"), &ask(user, group, "ttl: 8h"));
        town.git(&["add", "--all"]);
        // As if it were signed while both keys count.
        let date = if who == Who::Jdoe { "2026-11-20T08:00:00Z" } else { "2026-11-20T10:30:00Z" };
        town.sign_at(date.parse().unwrap(), who, "commit", &["--quiet", "--message=change"]);
    }
    town.at("09:30").await;
    town.is_held("jdoe-one", ("jdoe", "Auditors"), "was valid until");
    town.is_held("maria-one", ("maria", "Readers"), "is valid from");
}

#[tokio::test]
async fn without_a_list_that_can_be_read_nothing_begins_and_ends_go_on() {
    for breaks in ["gone", "nonsense", "writable"] {
        let mut town = town().await;
        town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"));
        town.put(Who::Jdoe, "maria-one", &ask("maria", "Auditors", "ttl: 8h"));
        town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", "ttl: 2h\nfrom: 2026-11-20T09:30:00Z"));
        town.at("09:01").await;
        match breaks {
            "gone" => fs::remove_file(town.path("signers")).unwrap(),
            "nonsense" => town.write("signers", "jdoe@corp.example ssh-ed25519 AAAA"),
            _ => fs::set_permissions(town.path("signers"), fs::Permissions::from_mode(0o666)).unwrap(),
        }
        town.put(Who::Jdoe, "jdoe-new", &ask("jdoe", "Writers", "ttl: 2h"));
        town.delete(Who::Jdoe, "maria-one");
        for time in ["09:05", "09:40"] {
            town.at(time).await;
            town.restart().await;
            let why = town.sim.outlook.standstill.as_deref().unwrap_or_default().to_owned();
            assert!(why.contains("nobody can be trusted: `signers`"), "{breaks}: {why}");
            assert!(!town.has("jdoe", "Writers") && !town.has("jdoe", "Readers"), "{breaks}: it granted");
            assert!(!town.has("maria", "Auditors"), "{breaks}: a withdrawal waited");
            assert!(town.has("jdoe", "Auditors"), "{breaks}: it revoked");
        }
        town.at("10:02").await;
        assert!(!town.has("jdoe", "Auditors"), "{breaks}: an end waited");
        // Mended, all goes on.
        let _ = fs::remove_file(town.path("signers"));
        town.allow(&[(Who::Jdoe, "")]);
        town.at("10:05").await;
        assert_eq!(town.sim.outlook.standstill, None);
        assert!(town.has("jdoe", "Writers") && town.has("jdoe", "Readers"), "{breaks}");
    }
}

#[tokio::test]
async fn a_key_that_is_added_later_lets_go_on_what_waited_for_it() {
    let mut town = town().await;
    town.put(Who::Eve, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.at("09:01").await;
    town.is_held("jdoe-one", ("jdoe", "Auditors"), "which is not among the signers");
    town.allow(&[(Who::Jdoe, ""), (Who::Eve, "")]);
    town.at("09:02").await;
    town.is_granted("jdoe-one", ("jdoe", "Auditors"));
}

#[tokio::test]
async fn what_waits_and_may_not_begin_does_not_begin_by_an_edit() {
    for editor in [Who::Nobody, Who::Asmith] {
        let mut town = town().await;
        town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", LATER));
        town.at("09:01").await;
        town.revoke(&[Who::Jdoe]);
        town.restart().await;
        town.at("12:01").await;
        // By nobody, or by somebody whose signature counts: what it rests on is the same.
        town.comment(editor, "jdoe-later");
        town.at("12:02").await;
        assert!(!town.has("jdoe", "Readers"), "{editor:?}");
        town.restart().await;
        town.at("12:03").await;
        assert!(!town.has("jdoe", "Readers") && town.withheld("jdoe-later").unwrap().whole, "{editor:?}");
        // Nor by a file that cannot be read any more.
        town.put(editor, "jdoe-later", "nothing");
        town.at("12:04").await;
        assert!(!town.has("jdoe", "Readers") && town.withheld("jdoe-later").unwrap().whole, "{editor:?}");
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_for_a_while_lets_nothing_begin_that_was_stopped() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", LATER));
    town.at("09:01").await;
    town.revoke(&[Who::Jdoe]);
    town.restart().await;
    town.at("09:02").await;
    assert!(town.withheld("jdoe-later").unwrap().whole);
    town.write("signers", "nonsense");
    town.at("09:03").await;
    assert!(town.withheld("jdoe-later").unwrap().whole, "it was forgotten");
    town.allow(&[(Who::Jdoe, "")]);
    town.at("12:01").await;
    assert!(!town.has("jdoe", "Readers"));
}

#[tokio::test]
async fn what_has_begun_is_judged_no_more() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", LATER));
    town.at("09:01").await;
    town.at("12:01").await;
    assert!(town.has("jdoe", "Readers") && town.terms("jdoe-later").unwrap().links.is_empty());
    town.revoke(&[Who::Jdoe]);
    town.restart().await;
    town.at("12:30").await;
    assert!(town.has("jdoe", "Readers") && town.held("jdoe-later").is_none());
    town.at("14:01").await;
    assert!(!town.has("jdoe", "Readers"));
}

#[tokio::test]
async fn a_key_that_ends_before_the_start_begins_nothing_though_it_was_good_when_it_was_looked_at() {
    let mut town = town().await;
    town.allow(&[(Who::Jdoe, "valid-before=\"202611201100Z\""), (Who::Asmith, "")]);
    town.put(Who::Jdoe, "jdoe-later", &ask("jdoe", "Readers", LATER));
    town.put(Who::Asmith, "maria-later", &ask("maria", "Writers", LATER));
    town.at("09:01").await;
    assert!(town.terms("jdoe-later").is_some() && town.withheld("jdoe-later").is_none());
    town.restart().await;
    for time in ["10:59", "11:01", "12:01"] {
        town.at(time).await;
    }
    assert!(!town.has("jdoe", "Readers") && town.has("maria", "Writers"));
    assert!(town.held("jdoe-later").unwrap().contains("was valid until"), "{:?}", town.held("jdoe-later"));
}
