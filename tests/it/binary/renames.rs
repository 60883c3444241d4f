//! Renames of what was not accepted yet, merged between two looks: what a few commits bring is never more than what they hold.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{Site, until};

/// How many files each commit renames.
const FILES: usize = 60;

impl Site {
    /// Commits that many grants, and then renames all of them so many times, with one more comment in each if `edited`.
    fn renames(&self, times: usize, edited: bool) {
        let path = |round: usize, file: usize| self.path(&format!("work/grants/round-{round}-{file:02}.yaml"));
        for file in 0..FILES {
            let entry = "  - iam-group: { account: prod, user: jdoe, group: Auditors }\n";
            let text = format!("requester: jdoe@corp.example\npurpose: \"INC-{file}\"\nttl: 8h\naccess:\n{entry}");
            fs::write(path(0, file), text).unwrap();
        }
        self.push();
        for round in 1..=times {
            for file in 0..FILES {
                let comment = if edited { format!("# round {round}\n") } else { String::new() };
                let text = fs::read_to_string(path(round - 1, file)).unwrap();
                fs::write(path(round, file), text + &comment).unwrap();
                fs::remove_file(path(round - 1, file)).unwrap();
            }
            self.push();
        }
    }

    /// Bytes of all its segments.
    fn journal(&self) -> u64 {
        let segments = fs::read_dir(self.state().join("journal")).unwrap();
        segments.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }
}

/// Each commit once multiplied what was remembered by 60: 4 GiB and an abort, again at each start.
#[test]
fn commits_that_rename_many_files_each_cost_no_more_than_they_hold() {
    for edited in [false, true] {
        let site = Site::new();
        site.fine(&["init"]);
        let before = site.journal();
        site.renames(6, edited);
        let daemon = site.daemon();
        // Far more than it needs, far less than it took.
        let limit = Rlimit { current: Some(1 << 30), maximum: Some(1 << 30) };
        prlimit(Some(Pid::from_child(&daemon.child)), Resource::As, limit).unwrap();
        until("jdoe is in the group", || site.in_group().then_some(()));
        // On a branch that nobody needs to sign for, no number of changes holds anything.
        let status = site.json(&["status"]);
        assert_eq!(status["grants"].as_array().unwrap().len(), FILES, "{status}");
        assert!(status["held"].as_array().unwrap().is_empty(), "{status}");
        let written = site.journal() - before;
        assert!(written < 200_000, "{written} bytes of journal");
        daemon.stop();
    }
}
