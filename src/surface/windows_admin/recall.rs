//! What became of grants whose answers were lost: SSM remembers each command by its nonce, and what its host said.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{
    super::{
        aws::{Aws, Sought, Trace, parts},
        model::{Fate, Recall, Recalled, Trouble, TroubleKind},
    },
    answer::Told,
};

/// Answers each once, in their order; the calls of one account and region by one list.
pub async fn recall(aws: &Aws, calls: &[Recall]) -> Vec<Recalled> {
    let mut regions: BTreeMap<(&str, &str), Vec<(usize, Sought<'_>)>> = BTreeMap::new();
    for (index, call) in calls.iter().enumerate() {
        // Without a nonce no answer can be told from another: a release before nonces were kept asked for it.
        if let (Ok([account, region, host]), Some(nonce)) = (parts(call.binding.place()), call.nonce.as_deref()) {
            let (user, request, age) = (call.binding.who(), call.request.as_deref(), call.age);
            let sought = Sought { host, user, nonce, request, age };
            regions.entry((account, region)).or_default().push((index, sought));
        }
    }
    let traces = join_all(regions.into_iter().map(|((account, region), sought)| async move {
        let (indices, sought): (Vec<usize>, Vec<_>) = sought.into_iter().unzip();
        indices.into_iter().zip(aws.recall(account, region, &sought).await)
    }));
    let mut all = vec![Recalled::Lost; calls.len()];
    for (index, traces) in traces.await.into_iter().flatten() {
        if let Some(recalled) = all.get_mut(index) {
            *recalled = verdict(traces);
        }
    }
    all
}

/// What several commands of one call come to. One that was done settles it, whatever the others found there: it was ours
/// that they found.
fn verdict(traces: Vec<Trace>) -> Recalled {
    let rank = |recalled: &Recalled| match recalled {
        Recalled::Came(Fate::Done) => 0,
        Recalled::Later(_) => 1,
        Recalled::Lost => 2,
        Recalled::Came(Fate::Standing) => 3,
        Recalled::Came(_) => 4,
    };
    traces.into_iter().map(recalled).min_by_key(rank).unwrap_or(Recalled::Lost)
}

fn recalled(trace: Trace) -> Recalled {
    match trace {
        Trace::Answer(answer) => match Told::Answer(answer).fate() {
            // A script that broke off: how far it came, the host shows.
            Fate::Unknown(_) => Recalled::Lost,
            fate => Recalled::Came(fate),
        },
        Trace::Never => {
            let trouble = Trouble::new(TroubleKind::Unreachable, "it was never sent: nothing was changed");
            Recalled::Came(Fate::Failed(trouble))
        }
        Trace::Later(trouble) => Recalled::Later(trouble),
        Trace::Lost => Recalled::Lost,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(result: &str) -> Trace {
        Trace::Answer(json!({ "result": result, "detail": "" }))
    }

    #[test]
    fn what_was_done_once_is_done_whatever_a_later_command_found() {
        let later = || Trace::Later(Trouble::new(TroubleKind::Unreachable, "under way"));
        assert_eq!(verdict(vec![answer("standing"), answer("done")]), Recalled::Came(Fate::Done));
        assert_eq!(verdict(vec![answer("done"), Trace::Lost, later()]), Recalled::Came(Fate::Done));
        // Another may have done it yet.
        assert!(matches!(verdict(vec![answer("standing"), later()]), Recalled::Later(_)));
        assert_eq!(verdict(vec![answer("standing"), Trace::Lost]), Recalled::Lost);
        assert_eq!(verdict(vec![answer("late"), answer("standing")]), Recalled::Came(Fate::Standing));
    }

    #[test]
    fn an_answer_counts_as_if_it_had_never_been_lost_and_a_broken_one_says_nothing() {
        assert_eq!(verdict(vec![answer("standing")]), Recalled::Came(Fate::Standing));
        for certain in ["late", "no-such-user", "domain-controller"] {
            assert!(matches!(verdict(vec![answer(certain)]), Recalled::Came(Fate::Failed(_))), "{certain}");
        }
        assert!(matches!(verdict(vec![Trace::Never]), Recalled::Came(Fate::Failed(_))));
        for nothing in [answer("failed"), answer(""), Trace::Lost] {
            assert_eq!(verdict(vec![nothing]), Recalled::Lost);
        }
        assert_eq!(verdict(Vec::new()), Recalled::Lost);
    }
}
