use std::collections::BTreeSet;

use super::{
    super::{
        model::{Binding, Seen, Step, Text, Trouble, TroubleKind},
        world::{Account, Realm, State, missing},
    },
    ATTACH, AWS_MANAGED, IamPolicy,
};

/// IAM's quota of managed policies on one user, role or group.
const QUOTA: usize = 10;

impl Realm for IamPolicy {
    fn look(&self, state: &State, binding: &Binding) -> Result<Seen, Trouble> {
        let (account, kind, name) = parts(binding.place())?;
        let attached = attached(state.account(account)?, kind, name)?;
        let present = spellings(arn(binding)?).any(|policy| attached.contains(policy));
        Ok(if present { Seen::Present { ours: None } } else { Seen::Absent })
    }

    fn add(&self, state: &mut State, step: &Step) -> Result<(), Trouble> {
        let arn = arn(&step.binding)?;
        if !spellings(arn).any(|policy| state.policies.contains(policy)) {
            let bare = spellings(arn).last().unwrap_or(arn);
            return Err(missing("policy", bare, state.policies.iter()));
        }
        let attached = attached_mut(state, &step.binding)?;
        if spellings(arn).any(|policy| attached.contains(policy)) {
            return Ok(());
        }
        if attached.len() >= QUOTA {
            let detail = format!(
                "LimitExceeded: {} has {QUOTA} managed policies, the quota; detach one or have it raised",
                step.binding.place()
            );
            return Err(Trouble::new(TroubleKind::Denied, detail));
        }
        attached.insert(arn.into());
        Ok(())
    }

    fn remove(&self, state: &mut State, binding: &Binding) -> Result<(), Trouble> {
        let arn = arn(binding)?;
        let attached = attached_mut(state, binding)?;
        for policy in spellings(arn) {
            attached.remove(policy);
        }
        Ok(())
    }
}

/// The ARN and, for AWS's own policies, the bare name, which a person may have written in the file.
fn spellings(arn: &str) -> impl Iterator<Item = &str> {
    [Some(arn), arn.strip_prefix(AWS_MANAGED)].into_iter().flatten()
}

fn arn(binding: &Binding) -> Result<&str, Trouble> {
    binding.role().strip_prefix(ATTACH).ok_or_else(|| broken(binding.role()))
}

fn attached<'a>(account: &'a Account, kind: &str, name: &str) -> Result<&'a BTreeSet<Text>, Trouble> {
    match kind {
        "user" => account
            .users
            .get(name)
            .map(|user| &user.policies)
            .ok_or_else(|| missing("IAM user", name, account.users.keys())),
        "role" => account
            .roles
            .get(name)
            .map(|role| &role.policies)
            .ok_or_else(|| missing("IAM role", name, account.roles.keys())),
        "group" => account
            .groups
            .get(name)
            .map(|group| &group.policies)
            .ok_or_else(|| missing("IAM group", name, account.groups.keys())),
        _ => Err(broken(kind)),
    }
}

/// Called after a look, which has told what is missing.
fn attached_mut<'a>(state: &'a mut State, binding: &Binding) -> Result<&'a mut BTreeSet<Text>, Trouble> {
    let (account, kind, name) = parts(binding.place())?;
    let account = state.account_mut(account)?;
    let found = match kind {
        "user" => account.users.get_mut(name).map(|user| &mut user.policies),
        "role" => account.roles.get_mut(name).map(|role| &mut role.policies),
        "group" => account.groups.get_mut(name).map(|group| &mut group.policies),
        _ => None,
    };
    found.ok_or_else(|| broken(binding.place()))
}

/// `ACCOUNT/KIND/NAME`.
fn parts(place: &str) -> Result<(&str, &str, &str), Trouble> {
    let (account, rest) = place.split_once('/').ok_or_else(|| broken(place))?;
    let (kind, name) = rest.split_once('/').ok_or_else(|| broken(place))?;
    Ok((account, kind, name))
}

fn broken(text: &str) -> Trouble {
    Trouble::new(TroubleKind::Broken, format!("`{text}` is not a part of an iam-policy binding"))
}
