//! Dates of commits are text.

use super::*;

#[tokio::test]
async fn a_commit_dated_2099_ends_no_later_and_one_dated_1970_is_held_as_stale() {
    let mut town = Town::new(Trust::Signed).await;
    for (name, group, date) in
        [("jdoe-far", "Auditors", "2099-01-01T00:00:00Z"), ("jdoe-old", "Readers", "1970-01-02T00:00:00Z")]
    {
        town.file(name, &ask("jdoe", group, "ttl: 8h"));
        town.git(&["add", "--all"]);
        town.sign_at(date.parse().unwrap(), Who::Jdoe, "commit", &["--quiet", "--message=change"]);
    }
    town.at("09:01").await;
    town.is_granted("jdoe-far", ("jdoe", "Auditors"));
    assert_eq!(town.terms("jdoe-far").unwrap().until, kit::moment("17:01"));
    assert!(town.held("jdoe-old").unwrap().contains("committed at 1970-01-02T00:00:00Z, more than 1d"));
    assert!(town.terms("jdoe-old").is_none() && !town.has("jdoe", "Readers"));
    town.restart().await;
    assert!(town.held("jdoe-old").is_some() && !town.has("jdoe", "Readers"));
    town.at("17:02").await;
    assert!(!town.has("jdoe", "Auditors"));
    // Somebody who looks at it again today brings it to life.
    town.comment(Who::Jdoe, "jdoe-old");
    town.at("17:03").await;
    town.is_granted("jdoe-old", ("jdoe", "Readers"));
}
