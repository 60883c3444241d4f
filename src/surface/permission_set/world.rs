use std::collections::BTreeSet;

use super::{
    super::{
        model::{Binding, Seen, Step, Trouble, TroubleKind},
        world::{Caseless, Realm, State, missing},
    },
    PermissionSet,
};

impl Realm for PermissionSet {
    fn look(&self, state: &State, binding: &Binding) -> Result<Seen, Trouble> {
        let sets = &state.account(binding.place())?.permission_sets;
        let assigned =
            sets.get(binding.role()).ok_or_else(|| missing("permission set", binding.role(), sets.keys()))?;
        let present = assigned.contains(&Caseless(binding.who().into()));
        Ok(if present { Seen::Present { ours: None } } else { Seen::Absent })
    }

    fn add(&self, state: &mut State, step: &Step) -> Result<(), Trouble> {
        let who = step.binding.who();
        let directory = &state.directory;
        match who.split_once(':') {
            Some(("user", name)) if directory.users.contains(&Caseless(name.into())) => {}
            Some(("user", name)) => return Err(missing("Identity Center user", name, std::iter::empty())),
            Some(("group", name)) if directory.groups.contains(name) => {}
            Some(("group", name)) => return Err(missing("Identity Center group", name, directory.groups.iter())),
            _ => return Err(broken(who)),
        }
        assigned_mut(state, &step.binding)?.insert(Caseless(who.into()));
        Ok(())
    }

    fn remove(&self, state: &mut State, binding: &Binding) -> Result<(), Trouble> {
        assigned_mut(state, binding)?.remove(&Caseless(binding.who().into()));
        Ok(())
    }
}

/// Called after a look, which has told what is missing.
fn assigned_mut<'a>(state: &'a mut State, binding: &Binding) -> Result<&'a mut BTreeSet<Caseless>, Trouble> {
    let sets = &mut state.account_mut(binding.place())?.permission_sets;
    sets.get_mut(binding.role()).ok_or_else(|| broken(binding.role()))
}

fn broken(text: &str) -> Trouble {
    Trouble::new(TroubleKind::Broken, format!("`{text}` is not a part of a permission-set binding"))
}
