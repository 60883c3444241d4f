use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::operation::RequestId;
use futures_util::future::join_all;

use super::{
    super::{
        aws::{Aws, Fault, Kind, Principal, Remote, Told, blind, parts},
        model::{Binding, Seen, Trouble, TroubleKind},
    },
    ATTACH, IamPolicy,
};

/// Account, principal, and the policy's ARN as the account's partition has it.
fn attachment<'a>(aws: &Aws, binding: &'a Binding) -> Result<(&'a str, Principal, String), Fault> {
    let [account, kind, name] = parts(binding.place())?;
    let arn = binding.role().strip_prefix(ATTACH).ok_or_else(|| {
        Trouble::new(
            TroubleKind::Broken,
            format!("`{}` is no form of iam-policy that this version knows", binding.role()),
        )
    })?;
    Ok((account, (Kind::parse(kind)?, name.to_owned()), aws.arn(account, arn)?))
}

/// What is attached to whom, or why that cannot be told.
type Attached = BTreeMap<Principal, Result<BTreeSet<String>, Fault>>;

async fn look(aws: &Aws, account: &str, asked: BTreeSet<Principal>, urgent: bool) -> Attached {
    // Where the snapshot cannot be had, the principals are asked all the same.
    if aws.snapshot_pays(account, asked.len()).await
        && let Ok(mut snapshot) = aws.snapshot(account).await
    {
        let found = |principal: Principal| {
            let missing = || Fault::from(Trouble::new(TroubleKind::Gone, missing(&principal)));
            let found = snapshot.attached.remove(&principal).ok_or_else(missing);
            (principal, found)
        };
        return asked.into_iter().map(found).collect();
    }
    let answers = join_all(asked.into_iter().map(|principal| async move {
        let found = aws.attached(account, &principal, urgent).await;
        (principal, found)
    }));
    answers.await.into_iter().collect()
}

fn missing((kind, name): &Principal) -> String {
    let kind = match kind {
        Kind::User => "user",
        Kind::Role => "role",
        Kind::Group => "group",
    };
    format!("there is no IAM {kind} `{name}`")
}

impl Remote for IamPolicy {
    async fn look(aws: &Aws, bindings: &[Binding], urgent: bool) -> Vec<Seen> {
        let mut asked: BTreeMap<&str, BTreeSet<Principal>> = BTreeMap::new();
        for binding in bindings {
            if let Ok((account, principal, _)) = attachment(aws, binding) {
                asked.entry(account).or_default().insert(principal);
            }
        }
        let found = join_all(
            asked.into_iter().map(|(account, asked)| async move { (account, look(aws, account, asked, urgent).await) }),
        );
        let found: BTreeMap<&str, Attached> = found.await.into_iter().collect();
        let seen = |binding: &Binding| -> Result<Seen, Fault> {
            let (account, principal, arn) = attachment(aws, binding)?;
            match found.get(account).and_then(|attached| attached.get(&principal)) {
                Some(Err(fault)) => Err(fault.clone()),
                Some(Ok(arns)) if arns.contains(&arn) => Ok(Seen::Present { ours: None }),
                Some(Ok(_)) => Ok(Seen::Absent),
                None => Ok(Seen::Unread),
            }
        };
        bindings.iter().map(|binding| seen(binding).unwrap_or_else(blind)).collect()
    }

    async fn add(aws: &Aws, binding: &Binding, told: &Told) -> Result<(), Fault> {
        let (account, (kind, name), arn) = attachment(aws, binding)?;
        let call = |action| told.call(account, action);
        match kind {
            Kind::User => {
                let answer = aws.call(call("iam:AttachUserPolicy"), |session, region| {
                    session.at(region).iam.attach_user_policy().user_name(&name).policy_arn(&arn).send()
                });
                told.sent(answer.await?.request_id());
            }
            Kind::Role => {
                let answer = aws.call(call("iam:AttachRolePolicy"), |session, region| {
                    session.at(region).iam.attach_role_policy().role_name(&name).policy_arn(&arn).send()
                });
                told.sent(answer.await?.request_id());
            }
            Kind::Group => {
                let answer = aws.call(call("iam:AttachGroupPolicy"), |session, region| {
                    session.at(region).iam.attach_group_policy().group_name(&name).policy_arn(&arn).send()
                });
                told.sent(answer.await?.request_id());
            }
        }
        Ok(())
    }

    async fn remove(aws: &Aws, binding: &Binding, told: &Told) -> Result<(), Fault> {
        let (account, (kind, name), arn) = attachment(aws, binding)?;
        let call = |action| told.call(account, action);
        let request = match kind {
            Kind::User => {
                let answer = aws.call(call("iam:DetachUserPolicy"), |session, region| {
                    session.at(region).iam.detach_user_policy().user_name(&name).policy_arn(&arn).send()
                });
                answer.await.map(|answer| answer.request_id().map(str::to_owned))
            }
            Kind::Role => {
                let answer = aws.call(call("iam:DetachRolePolicy"), |session, region| {
                    session.at(region).iam.detach_role_policy().role_name(&name).policy_arn(&arn).send()
                });
                answer.await.map(|answer| answer.request_id().map(str::to_owned))
            }
            Kind::Group => {
                let answer = aws.call(call("iam:DetachGroupPolicy"), |session, region| {
                    session.at(region).iam.detach_group_policy().group_name(&name).policy_arn(&arn).send()
                });
                answer.await.map(|answer| answer.request_id().map(str::to_owned))
            }
        };
        told.sent(request?.as_deref());
        Ok(())
    }
}
