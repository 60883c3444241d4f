use std::fmt::{self, Display};

use super::state::{Agent, Caseless, Host, Member, Power, State};

/// Who has what: one line a host, IAM principal that has something, and permission set, in order.
///
/// ```text
/// 123456789012/us-east-1/i-0abc (checkout-1): CORP\ops, corp\jdoe until 2026-11-21T02:00:00Z; sessions: corp\jdoe
/// 123456789012/user/jdoe: arn:aws:iam::aws:policy/ReadOnlyAccess
/// 123456789012/role/OpsOnCall: -
/// 123456789012/group/Auditors: arn:aws:iam::aws:policy/SecurityAudit; members: jdoe
/// 123456789012/set/PowerUser: user:boss@corp.example
/// ```
impl Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, account) in &self.accounts {
            for (region, hosts) in &account.hosts {
                for (instance, host) in hosts {
                    writeln!(f, "{id}/{region}/{instance}{host}")?;
                }
            }
            for (name, user) in &account.users {
                writeln!(f, "{id}/user/{name}: {}", list(&user.policies))?;
            }
            for (name, role) in &account.roles {
                writeln!(f, "{id}/role/{name}: {}", list(&role.policies))?;
            }
            for (name, group) in &account.groups {
                let members = account.users.iter().filter(|(_, user)| user.groups.contains(name)).map(|(user, _)| user);
                writeln!(f, "{id}/group/{name}: {}; members: {}", list(&group.policies), list(members))?;
            }
            for (name, assigned) in &account.permission_sets {
                writeln!(f, "{id}/set/{name}: {}", list(assigned))?;
            }
        }
        Ok(())
    }
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        match (self.state, self.agent) {
            (Power::Terminated, _) => f.write_str(" terminated")?,
            (Power::Stopped, _) => f.write_str(" stopped")?,
            (Power::Running, Agent::Offline) => f.write_str(" offline")?,
            (Power::Running, Agent::Online) => {}
        }
        write!(f, ": {}", list(&self.administrators))?;
        if !self.sessions.is_empty() {
            write!(f, "; sessions: {}", list(&self.sessions))?;
        }
        Ok(())
    }
}

impl Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user)?;
        self.marker.as_ref().map_or(Ok(()), |marker| write!(f, " until {}", marker.until))
    }
}

impl Display for Caseless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}
