use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::{
    super::{
        aws::{Aws, Fault, Remote, Told, blind, parts},
        model::{Binding, Seen, Trouble, TroubleKind},
    },
    IamGroup,
};

/// `ACCOUNT/group/NAME`.
fn group(binding: &Binding) -> Result<(&str, &str), Fault> {
    let [account, _, group] = parts(binding.place())?;
    Ok((account, group))
}

impl Remote for IamGroup {
    /// Asks the groups for their members or the users for their groups, whichever are fewer.
    async fn look(aws: &Aws, bindings: &[Binding], urgent: bool) -> Vec<Seen> {
        let mut asked: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
        for binding in bindings {
            if let Ok((account, group)) = group(binding) {
                let (groups, users) = asked.entry(account).or_default();
                groups.insert(group);
                users.insert(binding.who());
            }
        }
        // Pairs of group and user that are so, or the trouble of the group or the user.
        let found = join_all(asked.into_iter().map(|(account, (groups, users))| async move {
            let by_group = groups.len() <= users.len();
            let names = if by_group { groups } else { users };
            let answers = join_all(names.into_iter().map(|name| async move {
                let answer = match by_group {
                    true => aws.members(account, name, urgent).await,
                    false => aws.groups(account, name, urgent).await,
                };
                (name, answer)
            }));
            (account, (by_group, answers.await.into_iter().collect::<BTreeMap<_, _>>()))
        }));
        let found: BTreeMap<&str, _> = found.await.into_iter().collect();
        let seen = |binding: &Binding| -> Result<Seen, Fault> {
            let (account, group) = group(binding)?;
            let Some((by_group, answers)) = found.get(account) else { return Ok(Seen::Unread) };
            let (asked, other) = if *by_group { (group, binding.who()) } else { (binding.who(), group) };
            match answers.get(asked) {
                Some(Err(fault)) => Err(fault.clone()),
                Some(Ok(names)) if names.contains(other) => Ok(Seen::Present { ours: None }),
                // IAM knows no two names that differ by case only: it is the same one, and may be there by another's hand.
                Some(Ok(names)) => match names.iter().find(|name| name.eq_ignore_ascii_case(other)) {
                    Some(twin) => {
                        let detail = format!("there is no `{other}`; it is spelled `{twin}`");
                        Err(Trouble::new(TroubleKind::Gone, detail).into())
                    }
                    None => Ok(Seen::Absent),
                },
                None => Ok(Seen::Unread),
            }
        };
        bindings.iter().map(|binding| seen(binding).unwrap_or_else(blind)).collect()
    }

    async fn add(aws: &Aws, binding: &Binding, told: &Told) -> Result<(), Fault> {
        use aws_sdk_iam::operation::RequestId;
        let (account, group) = group(binding)?;
        let call = told.call(account, "iam:AddUserToGroup");
        let answer = aws.call(call, |session, region| {
            session.at(region).iam.add_user_to_group().group_name(group).user_name(binding.who()).send()
        });
        told.sent(answer.await?.request_id());
        Ok(())
    }

    async fn remove(aws: &Aws, binding: &Binding, told: &Told) -> Result<(), Fault> {
        use aws_sdk_iam::operation::RequestId;
        let (account, group) = group(binding)?;
        let call = told.call(account, "iam:RemoveUserFromGroup");
        let answer = aws.call(call, |session, region| {
            session.at(region).iam.remove_user_from_group().group_name(group).user_name(binding.who()).send()
        });
        told.sent(answer.await?.request_id());
        Ok(())
    }
}
