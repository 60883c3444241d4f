use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::{
    super::{
        aws::{Aws, Fault, Remote, Told, blind},
        model::{Binding, Seen},
    },
    PermissionSet,
};

impl Remote for PermissionSet {
    /// One question a permission set and account.
    async fn look(aws: &Aws, bindings: &[Binding], urgent: bool) -> Vec<Seen> {
        let mut asked: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (index, binding) in bindings.iter().enumerate() {
            asked.entry((binding.place(), binding.role())).or_default().push(index);
        }
        let looks = asked.into_values().map(|indices| async move {
            let mut listed: Option<Result<BTreeSet<(String, String)>, Fault>> = None;
            let mut seen = Vec::new();
            for (index, binding) in indices.into_iter().filter_map(|index| Some((index, bindings.get(index)?))) {
                let answer = match aws.assignment(binding.place(), binding.role(), binding.who(), urgent).await {
                    Ok(one) => {
                        if listed.is_none() {
                            listed = Some(aws.assigned(&one, urgent).await);
                        }
                        let key = (one.kind.as_str().to_owned(), one.principal);
                        listed.clone().map_or(Ok(false), |listed| listed.map(|listed| listed.contains(&key)))
                    }
                    Err(fault) => Err(fault),
                };
                seen.push((index, answer));
            }
            // What a name stood for is gone: it may stand for another by now.
            if listed.is_some_and(|listed| listed.is_err_and(|fault| fault.missing())) {
                aws.forget_names().await;
            }
            seen
        });
        let mut all = vec![Seen::Unread; bindings.len()];
        for (index, answer) in join_all(looks).await.into_iter().flatten() {
            if let Some(seen) = all.get_mut(index) {
                *seen = match answer {
                    Ok(true) => Seen::Present { ours: None },
                    Ok(false) => Seen::Absent,
                    Err(fault) => blind(fault),
                };
            }
        }
        all
    }

    async fn add(aws: &Aws, binding: &Binding, told: &Told) -> Result<(), Fault> {
        let one = aws.assignment(binding.place(), binding.role(), binding.who(), false).await?;
        let answer = aws.assign(&one, told).await;
        // Somebody deleted it and made it anew under the same name: the next attempt finds the new one.
        if answer.as_ref().is_err_and(Fault::missing) {
            aws.forget_names().await;
        }
        answer
    }

    async fn remove(aws: &Aws, binding: &Binding, told: &Told) -> Result<(), Fault> {
        let one = aws.assignment(binding.place(), binding.role(), binding.who(), true).await?;
        let answer = aws.unassign(&one, told).await;
        if answer.as_ref().is_err_and(Fault::missing) {
            aws.forget_names().await;
        }
        answer
    }
}
