use super::{
    super::{
        model::{Binding, Seen, Selector, Step, Text, Trouble, TroubleKind},
        world::{Agent, Caseless, Host, Marker, Member, Power, Realm, State},
    },
    WindowsAdmin,
};

impl Realm for WindowsAdmin {
    /// Those that are stopped or whose agent is silent too: they are given the access when they are back.
    fn list(&self, state: &State, selector: &Selector) -> Result<Vec<Text>, Trouble> {
        let (account, region) = selector.scope.split_once('/').ok_or_else(|| broken(&selector.scope))?;
        let hosts = state.account(account)?.hosts.get(region);
        let matching = hosts.into_iter().flatten().filter(|(_, host)| {
            host.state != Power::Terminated
                && selector.tags.iter().all(|(key, any)| host.tags.get(key).is_some_and(|value| any.contains(value)))
        });
        Ok(matching.map(|(instance, _)| format!("{}/{instance}", selector.scope).into()).collect())
    }

    fn look(&self, state: &State, binding: &Binding) -> Result<Seen, Trouble> {
        let (account, region, instance) = parts(binding.place())?;
        let hosts = state.account(account)?.hosts.get(region);
        let host = hosts.and_then(|hosts| hosts.get(instance)).ok_or_else(|| missing_host(binding.place()))?;
        if host.state == Power::Terminated {
            return Ok(Seen::Gone);
        }
        reachable(host)?;
        let user = Caseless(binding.who().into());
        let mut found = host.administrators.iter().filter(|member| member.user == user).peekable();
        if found.peek().is_none() {
            return Ok(Seen::Absent);
        }
        Ok(Seen::Present { ours: found.find_map(|member| member.marker.as_ref()).map(|marker| marker.until) })
    }

    fn add(&self, state: &mut State, step: &Step) -> Result<(), Trouble> {
        let user = Caseless(step.binding.who().into());
        if !state.directory.windows.contains(&user) {
            return Err(Trouble::new(TroubleKind::Gone, "the host's domain knows no such user"));
        }
        let marker = Marker { until: step.until, grants: step.holders.keys().cloned().collect() };
        let host = host_mut(state, step.binding.place())?;
        match host.administrators.iter_mut().find(|member| member.user == user) {
            Some(member) => member.marker = Some(marker),
            None => host.administrators.push(Member { user, marker: Some(marker) }),
        }
        Ok(())
    }

    /// With our mark or without it: what is to be removed was ours, or may have been. Ends the sessions as well.
    fn remove(&self, state: &mut State, binding: &Binding) -> Result<(), Trouble> {
        let user = Caseless(binding.who().into());
        let host = host_mut(state, binding.place())?;
        host.administrators.retain(|member| member.user != user);
        host.sessions.remove(&user);
        Ok(())
    }
}

fn reachable(host: &Host) -> Result<(), Trouble> {
    let (kind, detail) = match (host.domain_controller, host.state, host.agent) {
        (true, _, _) => (
            TroubleKind::Denied,
            "the host is a domain controller: it has no local groups, and its Administrators are the domain's",
        ),
        (false, Power::Stopped | Power::Terminated, _) => (TroubleKind::Unreachable, "the instance is stopped"),
        (false, Power::Running, Agent::Offline) => (TroubleKind::Unreachable, "the SSM agent does not answer"),
        (false, Power::Running, Agent::Online) => return Ok(()),
    };
    Err(Trouble::new(kind, detail))
}

fn host_mut<'a>(state: &'a mut State, place: &str) -> Result<&'a mut Host, Trouble> {
    let (account, region, instance) = parts(place)?;
    let hosts = state.account_mut(account)?.hosts.get_mut(region);
    hosts.and_then(|hosts| hosts.get_mut(instance)).ok_or_else(|| missing_host(place))
}

/// `ACCOUNT/REGION/INSTANCE`.
fn parts(place: &str) -> Result<(&str, &str, &str), Trouble> {
    let (account, rest) = place.split_once('/').ok_or_else(|| broken(place))?;
    let (region, instance) = rest.split_once('/').ok_or_else(|| broken(place))?;
    Ok((account, region, instance))
}

fn missing_host(place: &str) -> Trouble {
    Trouble::new(TroubleKind::Gone, format!("InvalidInstanceId: {place} is not known, which does not prove it gone"))
}

fn broken(place: &str) -> Trouble {
    Trouble::new(TroubleKind::Broken, format!("`{place}` is not a place of windows-admin"))
}
