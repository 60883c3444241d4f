use std::collections::BTreeMap;

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
        let answers = join_all(asked.into_values().map(|indices| async move {
            let mut found = None;
            let mut seen = Vec::new();
            for (index, binding) in indices.into_iter().filter_map(|index| Some((index, bindings.get(index)?))) {
                let one = async {
                    let one = aws.assignment(binding.place(), binding.role(), binding.who()).await?;
                    if found.is_none() {
                        found = Some(aws.assigned(&one, urgent).await?);
                    }
                    let key = (one.kind.as_str().to_owned(), one.principal);
                    Ok::<_, Fault>(found.as_ref().is_some_and(|found| found.contains(&key)))
                };
                seen.push((index, one.await));
            }
            seen
        }));
        let mut all = vec![Seen::Unread; bindings.len()];
        let mut gone = false;
        for (index, answer) in answers.await.into_iter().flatten() {
            gone |= answer.as_ref().is_err_and(Fault::missing);
            if let Some(seen) = all.get_mut(index) {
                *seen = match answer {
                    Ok(true) => Seen::Present { ours: None },
                    Ok(false) => Seen::Absent,
                    Err(fault) => blind(fault),
                };
            }
        }
        if gone {
            aws.forget_names().await;
        }
        all
    }

    async fn add(aws: &Aws, binding: &Binding, told: &Told) -> Result<(), Fault> {
        let one = aws.assignment(binding.place(), binding.role(), binding.who()).await?;
        aws.assign(&one, |request| told.sent(request)).await
    }

    async fn remove(aws: &Aws, binding: &Binding, told: &Told) -> Result<(), Fault> {
        let one = aws.assignment(binding.place(), binding.role(), binding.who()).await?;
        match aws.unassign(&one, |request| told.sent(request)).await {
            // It was not there, or an answer before was lost: the look after it tells.
            Err(fault) if fault.missing() => Ok(()),
            answer => answer,
        }
    }
}
