use super::{
    super::{
        model::{Binding, Seen, Step, Trouble, TroubleKind},
        world::{Account, Realm, State, missing},
    },
    IamGroup,
};

/// IAM's quota of groups for one user.
const QUOTA: usize = 10;

impl Realm for IamGroup {
    /// As the group lists its members: a user that does not exist is in no group.
    fn look(&self, state: &State, binding: &Binding) -> Result<Seen, Trouble> {
        let (account, group) = parts(binding.place())?;
        let account = existing(state.account(account)?, group)?;
        let present = account.users.get(binding.who()).is_some_and(|user| user.groups.contains(group));
        Ok(if present { Seen::Present { ours: None } } else { Seen::Absent })
    }

    fn add(&self, state: &mut State, step: &Step) -> Result<(), Trouble> {
        let (account, group) = parts(step.binding.place())?;
        let account = state.account_mut(account)?;
        let who = step.binding.who();
        if !account.users.contains_key(who) {
            return Err(missing("IAM user", who, account.users.keys()));
        }
        let Some(user) = account.users.get_mut(who).filter(|user| !user.groups.contains(group)) else { return Ok(()) };
        if user.groups.len() >= QUOTA {
            let detail = format!("LimitExceeded: user `{who}` is in {QUOTA} groups, the quota; take it out of one");
            return Err(Trouble::new(TroubleKind::Denied, detail));
        }
        user.groups.insert(group.into());
        Ok(())
    }

    fn remove(&self, state: &mut State, binding: &Binding) -> Result<(), Trouble> {
        let (account, group) = parts(binding.place())?;
        if let Some(user) = state.account_mut(account)?.users.get_mut(binding.who()) {
            user.groups.remove(group);
        }
        Ok(())
    }
}

fn existing<'a>(account: &'a Account, group: &str) -> Result<&'a Account, Trouble> {
    match account.groups.get(group) {
        Some(_) => Ok(account),
        None => Err(missing("IAM group", group, account.groups.keys())),
    }
}

/// `ACCOUNT/group/NAME`.
fn parts(place: &str) -> Result<(&str, &str), Trouble> {
    place
        .split_once("/group/")
        .ok_or_else(|| Trouble::new(TroubleKind::Broken, format!("`{place}` is not a place of iam-group")))
}
