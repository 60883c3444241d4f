//! Ways to make what nobody signed look as if somebody had: by moves, by copies, by a second file of the same name.

use super::*;

async fn town() -> Town {
    Town::new(Trust::Signed).await
}

#[tokio::test]
async fn a_held_file_under_another_name_stays_held() {
    let mut town = town().await;
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.at("09:01").await;
    // What a reviewer sees is "renamed without changes".
    town.rename(Who::Jdoe, "jdoe-one", "jdoe-two");
    town.at("09:02").await;
    town.is_held("jdoe-two", ("jdoe", "Auditors"), "carries no signature");
    town.restart().await;
    town.rename(Who::Jdoe, "jdoe-two", "folder/jdoe-three");
    town.at("09:03").await;
    town.is_held("jdoe-three", ("jdoe", "Auditors"), "carries no signature");
}

#[tokio::test]
async fn a_held_file_with_a_twin_in_another_folder_stays_held_when_one_of_them_is_renamed() {
    let mut town = town().await;
    town.file("jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.put(Who::Nobody, "folder/jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.at("09:01").await;
    town.rename(Who::Jdoe, "jdoe-one", "jdoe-two");
    town.at("09:02").await;
    town.is_held("jdoe-two", ("jdoe", "Auditors"), "carries no signature");
}

#[tokio::test]
async fn a_name_that_was_there_for_a_moment_launders_no_rename() {
    let mut town = town().await;
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.put(Who::Nobody, "jdoe-two", "nothing");
    town.delete(Who::Nobody, "jdoe-two");
    town.rename(Who::Jdoe, "jdoe-one", "jdoe-two");
    town.at("09:01").await;
    town.is_held("jdoe-two", ("jdoe", "Auditors"), "carries no signature");
}

#[tokio::test]
async fn an_unsigned_edit_of_a_live_file_goes_along_with_a_rename() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 2h"));
    town.at("09:01").await;
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Readers", "ttl: 9h"));
    town.at("09:02").await;
    town.rename(Who::Jdoe, "jdoe-one", "jdoe-two");
    town.at("09:03").await;
    town.is_held("jdoe-two", ("jdoe", "Readers"), "carries no signature");
    assert!(!town.has("jdoe", "Auditors"), "its file is gone");
}

#[tokio::test]
async fn an_old_file_that_somebody_changed_after_its_end_launders_no_rename() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"));
    town.at("09:01").await;
    town.at("10:02").await;
    assert!(!town.has("jdoe", "Auditors"));
    // Nothing can come of it under this name, so nobody looks.
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Readers", "ttl: 9h"));
    town.at("10:10").await;
    town.rename(Who::Jdoe, "jdoe-one", "jdoe-two");
    town.at("10:20").await;
    town.is_held("jdoe-two", ("jdoe", "Readers"), "carries no signature");
}

#[tokio::test]
async fn a_file_that_is_renamed_after_it_ended_stays_ended() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"));
    town.at("09:01").await;
    town.at("10:02").await;
    for to in ["folder/jdoe-one", "jdoe-one"] {
        let from = if to == "jdoe-one" { "folder/jdoe-one" } else { "jdoe-one" };
        town.rename(Who::Jdoe, from, to);
        town.at("10:03").await;
        town.restart().await;
        assert!(town.terms("jdoe-one").is_none() && !town.has("jdoe", "Auditors"));
    }
    town.delete(Who::Jdoe, "jdoe-one");
    town.at("10:04").await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"));
    town.at("10:05").await;
    assert!(town.terms("jdoe-one").is_none() && !town.has("jdoe", "Auditors"));
}

#[tokio::test]
async fn a_second_file_of_a_held_name_frees_neither() {
    let mut town = town().await;
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.at("09:01").await;
    town.put(Who::Jdoe, "folder/jdoe-one", &ask("jdoe", "Readers", "ttl: 8h"));
    town.at("09:02").await;
    assert!(town.withheld("jdoe-one").is_some() && town.terms("jdoe-one").is_none());
    town.delete(Who::Jdoe, "jdoe-one");
    town.at("09:03").await;
    town.is_held("jdoe-one", ("jdoe", "Readers"), "carries no signature");
    assert!(!town.has("jdoe", "Auditors"));
}

#[tokio::test]
async fn a_second_file_of_a_live_name_brings_no_end_that_nobody_signed() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 2h"));
    town.at("09:01").await;
    town.put(Who::Nobody, "folder/jdoe-one", &ask("jdoe", "Auditors", "ttl: 20h"));
    town.at("09:02").await;
    assert!(town.has("jdoe", "Auditors"), "the newcomer disturbed what was there");
    town.restart().await;
    // The first one goes, the second one gets a comment: to git a rename.
    std::fs::remove_file(town.sim.repo.path.join("grants/jdoe-one.yaml")).unwrap();
    town.comment(Who::Jdoe, "folder/jdoe-one");
    town.at("09:03").await;
    let end = town.terms("jdoe-one").map(|terms| terms.until);
    assert!(end.is_none_or(|end| end == kit::moment("11:01")), "extended to {end:?}");
    town.at("11:02").await;
    assert!(!town.has("jdoe", "Auditors"));
}

#[tokio::test]
async fn a_history_that_an_operator_accepts_frees_nothing_of_what_is_held_in_it() {
    let mut town = town().await;
    town.put(Who::Eve, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.at("09:01").await;
    town.is_held("jdoe-one", ("jdoe", "Auditors"), "which is not among the signers");
    // The same name, in another history, unsigned.
    town.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Readers", "ttl: 9h"));
    town.at("09:02").await;
    assert!(town.sim.outlook.standstill.is_some());
    town.sim.accept("CHG-1").await;
    town.start().await;
    assert!(town.withheld("jdoe-one").is_some() && !town.has("jdoe", "Readers"));
    // And now the key of the commit that is history no more is allowed.
    town.allow(&[(Who::Jdoe, ""), (Who::Eve, "")]);
    town.at("09:03").await;
    town.is_held("jdoe-one", ("jdoe", "Readers"), "carries no signature");
}

#[tokio::test]
async fn a_signed_comment_on_top_of_a_history_that_an_operator_accepts_frees_nothing() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 2h"));
    town.at("09:01").await;
    // Another end, unsigned, where history was rewritten; accepted, and commented on before the daemon is back.
    town.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 9h"));
    town.at("09:02").await;
    town.sim.accept("CHG-1").await;
    town.comment(Who::Jdoe, "jdoe-one");
    town.start().await;
    assert!(town.held("jdoe-one").unwrap().contains("carries no signature"));
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("11:01"));
    town.restart().await;
    town.comment(Who::Jdoe, "jdoe-one");
    town.at("09:03").await;
    assert_eq!(town.terms("jdoe-one").unwrap().until, kit::moment("11:01"));
}

#[tokio::test]
async fn what_was_held_of_a_live_file_is_held_after_its_end_under_another_name() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"));
    town.at("09:01").await;
    town.put(Who::Nobody, "jdoe-one", &ask("jdoe", "Readers", "ttl: 9h"));
    town.at("09:02").await;
    town.at("10:02").await;
    assert!(town.terms("jdoe-one").is_none());
    town.restart().await;
    town.rename(Who::Jdoe, "jdoe-one", "jdoe-two");
    town.at("10:20").await;
    town.is_held("jdoe-two", ("jdoe", "Readers"), "carries no signature");
}

#[tokio::test]
async fn an_old_file_that_nobody_changed_disturbs_no_new_one() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 1h"));
    town.at("09:01").await;
    town.at("10:02").await;
    // Tidied up, in the commit that brings another one; its signer has left by now.
    town.revoke(&[Who::Jdoe]);
    town.restart().await;
    std::fs::remove_file(town.sim.repo.path.join("grants/jdoe-one.yaml")).unwrap();
    town.put(Who::Asmith, "jdoe-two", &ask("jdoe", "Readers", "ttl: 1h"));
    town.at("10:10").await;
    town.is_granted("jdoe-two", ("jdoe", "Readers"));
}

#[tokio::test]
async fn a_moved_file_that_a_rewritten_head_deletes_is_suspended() {
    let mut town = town().await;
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.put(Who::Jdoe, "asmith-two", &ask("asmith", "Readers", "ttl: 8h"));
    town.at("09:01").await;
    town.rename(Who::Nobody, "jdoe-one", "folder/jdoe-one");
    town.at("09:02").await;
    assert!(town.has("jdoe", "Auditors"));
    town.sign(Who::Nobody, "commit", &["--quiet", "--amend", "--allow-empty", "--message=another"]);
    town.delete(Who::Nobody, "folder/jdoe-one");
    town.at("09:03").await;
    assert!(town.sim.outlook.standstill.is_some(), "history was rewritten");
    assert!(!town.has("jdoe", "Auditors") && town.has("asmith", "Readers"));
}

/// Renames all grants in one commit; with another comment in each if `edited`.
fn move_all(town: &Town, who: Who, round: usize, edited: bool) {
    for file in 0..60 {
        let path = |round: usize| town.sim.repo.path.join(format!("grants/r{round}-{file:02}.yaml"));
        let comment = if edited { format!("# {round}\n") } else { String::new() };
        let text = std::fs::read_to_string(path(round - 1)).unwrap();
        std::fs::write(path(round), text + &comment).unwrap();
        std::fs::remove_file(path(round - 1)).unwrap();
    }
    town.commit(who);
}

#[tokio::test]
async fn honest_files_that_are_renamed_together_between_two_looks_are_not_held_for_their_number() {
    let mut town = town().await;
    for file in 0..60 {
        town.file(&format!("r0-{file:02}"), &ask("jdoe", "Auditors", &format!("ttl: {}m", 100 + file)));
    }
    town.commit(Who::Jdoe);
    (1..=3).for_each(|round| move_all(&town, Who::Jdoe, round, false));
    town.at("09:01").await;
    for file in 0..60 {
        town.is_granted(&format!("r3-{file:02}"), ("jdoe", "Auditors"));
    }
}

#[tokio::test]
async fn no_number_of_renames_buries_what_nobody_signed() {
    for edited in [false, true] {
        let mut town = town().await;
        for file in 0..60 {
            town.file(&format!("r0-{file:02}"), &ask("asmith", "Readers", "ttl: 8h"));
        }
        town.commit(Who::Jdoe);
        // One of sixty.
        town.put(Who::Nobody, "r0-07", &ask("jdoe", "Auditors", "ttl: 8h"));
        (1..=5).for_each(|round| move_all(&town, Who::Jdoe, round, edited));
        town.at("09:01").await;
        let why = if edited { "more than 100 changes" } else { "carries no signature" };
        town.is_held("r5-07", ("jdoe", "Auditors"), why);
        let links: usize = town.ledger().withheld.values().map(|withheld| withheld.chain.links.len()).sum();
        assert!(links <= 60 * 2, "{links} links are remembered");
        town.restart().await;
        town.is_held("r5-07", ("jdoe", "Auditors"), why);
        if edited {
            // Deleted, and added again by somebody who looked at all of it.
            town.delete(Who::Jdoe, "r5-08");
            town.at("09:02").await;
            town.put(Who::Jdoe, "r5-08", &ask("asmith", "Readers", "ttl: 8h"));
            town.at("09:03").await;
            town.is_granted("r5-08", ("asmith", "Readers"));
        }
    }
}

#[tokio::test]
async fn what_came_by_more_changes_than_are_judged_does_not_begin_when_more_is_asked_for_by_then() {
    let mut town = Town::new(Trust::Branch).await;
    for file in 0..60 {
        town.file(&format!("r0-{file:02}"), &ask("jdoe", "Auditors", "from: 2026-11-20T10:00:00Z\nttl: 8h"));
    }
    town.commit(Who::Nobody);
    (1..=3).for_each(|round| move_all(&town, if round < 3 { Who::Nobody } else { Who::Jdoe }, round, true));
    town.at("09:01").await;
    assert!(town.terms("r3-07").is_some(), "on the branch it is accepted");
    town.configure(|policy| policy.trust.level = Trust::Signed).await;
    town.at("10:01").await;
    assert!(town.held("r3-07").unwrap_or_default().contains("more than 100 changes"), "{:?}", town.held("r3-07"));
    assert!(!town.has("jdoe", "Auditors"));
}
