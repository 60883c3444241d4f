//! What came into the repository where nobody holds anything, and is moved among the grants.

use super::*;

/// A file that nobody looks at, as nothing can come of it there; and a branch that moves it among the grants.
fn rename(town: &Town, from: &str, edit: impl Fn(&str) -> String) {
    let (from, to) = (town.sim.repo.path.join(from), town.sim.repo.path.join("grants/jdoe-one.yaml"));
    std::fs::create_dir_all(from.parent().unwrap()).unwrap();
    std::fs::write(&from, ask("jdoe", "Auditors", "ttl: 8h")).unwrap();
    town.commit(Who::Nobody);
    town.branch("topic");
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let text = std::fs::read_to_string(&from).unwrap();
    std::fs::remove_file(&from).unwrap();
    std::fs::write(to, edit(&text)).unwrap();
    town.commit(Who::Jdoe);
    town.switch("main");
}

#[tokio::test]
async fn what_is_renamed_from_no_grant_file_was_read_by_nobody() {
    for from in ["docs/example.yaml", "grants/.drafts/jdoe-one.yaml", "grants/jdoe-one.txt", "x"] {
        for edit in [str::to_owned, |text: &str| format!("# INC-1\n{text}")] {
            let mut town = Town::new(Trust::Approved).await;
            rename(&town, from, edit);
            town.merge(Who::Asmith, "topic");
            town.at("09:01").await;
            town.is_held("jdoe-one", ("jdoe", "Auditors"), "renamed what is no grant file");
            // In a commit of its own all of it is shown.
            town.delete(Who::Nobody, "jdoe-one");
            town.at("09:02").await;
            town.git(&["branch", "-D", "topic"]);
            town.propose(Who::Jdoe, "topic", "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
            town.merge(Who::Asmith, "topic");
            town.at("09:03").await;
            town.is_granted("jdoe-one", ("jdoe", "Auditors"));
        }
    }
}

#[tokio::test]
async fn what_goes_and_is_nothing_like_a_grant_disturbs_none() {
    let mut town = Town::new(Trust::Approved).await;
    std::fs::write(town.sim.repo.path.join("notes.txt"), "What we did in spring.\n".repeat(50)).unwrap();
    town.commit(Who::Nobody);
    town.branch("topic");
    std::fs::remove_file(town.sim.repo.path.join("notes.txt")).unwrap();
    town.put(Who::Jdoe, "jdoe-one", &ask("jdoe", "Auditors", "ttl: 8h"));
    town.switch("main");
    town.merge(Who::Asmith, "topic");
    town.at("09:01").await;
    town.is_granted("jdoe-one", ("jdoe", "Auditors"));
}
