//! 10,000 grant files: as the daemon reads them from Git, and as `grantd lint` reads them from a folder.

use std::{process::Command, sync::Arc, time::Duration};

use grantd::{
    command::setup,
    engine::{Counted, Cycle, Happening},
    model::{Commit, Source},
    surface::world::{ManualClock, State, World},
};

use crate::{
    report::{Runs, row, timed},
    town::{self, Repo},
};

const FILES: usize = 10_000;

pub fn measure() {
    folder();
    setup::runtime().unwrap().block_on(repository());
}

fn folder() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..FILES {
        let path = folder.path().join(town::path(number));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, town::grant(number)).unwrap();
    }
    let runs = Runs::of(5, || {
        let (time, output) = timed(|| {
            Command::new(env!("CARGO_BIN_EXE_grantd")).arg("lint").arg(folder.path().join("grants")).output().unwrap()
        });
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        time
    });
    row(
        "`grantd lint` over a folder of 10,000 grant files",
        "< 1 s",
        &runs.to_string(),
        runs.median() < Duration::from_secs(1),
    );
}

async fn repository() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut repo = Repo::new(folder.path().join("origin.git"));
    town::init(&repo, &state, town::nine()).await;
    repo.merge_grants(FILES);
    let source = Arc::new(repo.source(&state));
    let head = source.fetch().await.unwrap();
    let clock = Arc::new(ManualClock::new(town::nine()));
    let world = World::new(State::default(), clock.clone());
    let mut cold = Vec::new();
    for _ in 0..5 {
        let mut cycle = town::cycle(source.clone(), &state, &world, clock.clone());
        cold.push(take(&mut cycle, head.clone()).await);
    }
    let cold = Runs::new(cold);
    let what = "a revision with 10,000 new files, from Git: tree, log, blobs, parse";
    row(what, "< 1 s", &cold.to_string(), cold.median() < Duration::from_secs(1));

    let mut cycle = town::cycle(source.clone(), &state, &world, clock.clone());
    take(&mut cycle, head).await;
    let (accept, outlook) = timed(|| cycle.turn(&Counted::default()));
    assert!(outlook.findings.is_empty(), "{:?}", outlook.findings.first());
    assert_eq!(cycle.ledger().grants.len(), FILES);
    let (mut read, mut decided) = (Vec::new(), Vec::new());
    for number in 0..7 {
        let text = town::grant(number).replace("ttl: 4h", "ttl: 3h");
        repo.merge(town::nine(), [(town::path(number), text)]);
        let head = source.fetch().await.unwrap();
        read.push(take(&mut cycle, head).await);
        decided.push(timed(|| cycle.turn(&Counted::default())).0);
    }
    let (read, decided) = (Runs::new(read), Runs::new(decided));
    let good = read.median() < Duration::from_millis(100);
    row("the next revision, one file of the 10,000 changed", "< 100 ms", &read.to_string(), good);
    let measured = format!("{decided}; the turn that accepts all 10,000: {}", crate::report::short(accept));
    row("the turn after it: admit, desire, plan, journal", "", &measured, true);
}

/// Reads a revision as the daemon does.
async fn take(cycle: &mut Cycle, head: Commit) -> Duration {
    let begin = std::time::Instant::now();
    cycle.take(head);
    loop {
        let happening = cycle.next().await;
        let time = begin.elapsed();
        let taken = matches!(happening, Happening::Taken(_));
        cycle.absorb(happening);
        if taken {
            return time;
        }
    }
}
