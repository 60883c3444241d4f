//! IAM's attachments and memberships, by the cheapest calls: one snapshot of the account, or principal by principal.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::types::{EntityType, SummaryKeyType};

use super::{
    super::model::{Trouble, TroubleKind},
    Aws, Call, Fault, Partition, more,
};

/// Up to how many principals are asked one by one without a thought.
const FEW: usize = 16;
/// How many entities a page of a snapshot holds at least, in an account of usual policies.
const PAGE: i32 = 100;

/// Who holds managed policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    User,
    Role,
    Group,
}

impl Kind {
    pub fn parse(text: &str) -> Result<Self, Trouble> {
        match text {
            "user" => Ok(Self::User),
            "role" => Ok(Self::Role),
            "group" => Ok(Self::Group),
            _ => Err(Trouble::new(TroubleKind::Broken, format!("`{text}` is no kind of IAM principal"))),
        }
    }
}

pub type Principal = (Kind, String);

/// All attachments and memberships of an account.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Every principal there is, with the policies attached to it, by ARN.
    pub attached: BTreeMap<Principal, BTreeSet<String>>,
    /// Every user there is, with its groups.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl Aws {
    /// The policies attached to one principal.
    pub async fn attached(
        &self,
        account: &str,
        (kind, name): &Principal,
        urgent: bool,
    ) -> Result<BTreeSet<String>, Fault> {
        let mut all = BTreeSet::new();
        let mut marker: Option<String> = None;
        loop {
            let call = |action| Call::new(account, "", action).urgent(urgent);
            let (policies, next) = match kind {
                Kind::User => {
                    let page = self.call(call("iam:ListAttachedUserPolicies"), |session, region| {
                        let call = session.at(region).iam.list_attached_user_policies();
                        call.user_name(name).set_marker(marker.clone()).send()
                    });
                    let page = page.await?;
                    (page.attached_policies, page.marker)
                }
                Kind::Role => {
                    let page = self.call(call("iam:ListAttachedRolePolicies"), |session, region| {
                        let call = session.at(region).iam.list_attached_role_policies();
                        call.role_name(name).set_marker(marker.clone()).send()
                    });
                    let page = page.await?;
                    (page.attached_policies, page.marker)
                }
                Kind::Group => {
                    let page = self.call(call("iam:ListAttachedGroupPolicies"), |session, region| {
                        let call = session.at(region).iam.list_attached_group_policies();
                        call.group_name(name).set_marker(marker.clone()).send()
                    });
                    let page = page.await?;
                    (page.attached_policies, page.marker)
                }
            };
            all.extend(policies.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn));
            marker = more(next, marker.as_deref());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// Whether a snapshot costs fewer calls than `asks` single ones. To know costs one more.
    pub async fn snapshot_pays(&self, account: &str, asks: usize) -> bool {
        if asks <= FEW {
            return false;
        }
        let call = Call::new(account, "", "iam:GetAccountSummary");
        let summary = self.call(call, |session, region| session.at(region).iam.get_account_summary().send()).await;
        let Ok(Some(summary)) = summary.map(|summary| summary.summary_map) else { return false };
        let count = |key| summary.get(&key).copied().unwrap_or_default();
        let entities = count(SummaryKeyType::Users) + count(SummaryKeyType::Roles) + count(SummaryKeyType::Groups);
        usize::try_from(entities / PAGE + 1).is_ok_and(|pages| pages < asks)
    }

    /// Everything at once, page by page.
    pub async fn snapshot(&self, account: &str) -> Result<Snapshot, Fault> {
        let mut all = Snapshot::default();
        let mut marker: Option<String> = None;
        loop {
            let call = Call::new(account, "", "iam:GetAccountAuthorizationDetails");
            let page = self.call(call, |session, region| {
                let call = session.at(region).iam.get_account_authorization_details();
                let kinds = [EntityType::User, EntityType::Role, EntityType::Group];
                call.set_filter(Some(kinds.into())).max_items(1000).set_marker(marker.clone()).send()
            });
            let page = page.await?;
            let arns = |policies: Option<Vec<aws_sdk_iam::types::AttachedPolicy>>| -> BTreeSet<String> {
                policies.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn).collect()
            };
            for user in page.user_detail_list.unwrap_or_default() {
                let Some(name) = user.user_name else { continue };
                all.groups.insert(name.clone(), user.group_list.unwrap_or_default().into_iter().collect());
                all.attached.insert((Kind::User, name), arns(user.attached_managed_policies));
            }
            for role in page.role_detail_list.unwrap_or_default() {
                let Some(name) = role.role_name else { continue };
                all.attached.insert((Kind::Role, name), arns(role.attached_managed_policies));
            }
            for group in page.group_detail_list.unwrap_or_default() {
                let Some(name) = group.group_name else { continue };
                all.attached.insert((Kind::Group, name), arns(group.attached_managed_policies));
            }
            marker = more(page.marker, marker.as_deref());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// The members of a group.
    pub async fn members(&self, account: &str, group: &str, urgent: bool) -> Result<BTreeSet<String>, Fault> {
        let mut all = BTreeSet::new();
        let mut marker: Option<String> = None;
        loop {
            let call = Call::new(account, "", "iam:GetGroup").urgent(urgent);
            let page = self.call(call, |session, region| {
                let call = session.at(region).iam.get_group();
                call.group_name(group).max_items(1000).set_marker(marker.clone()).send()
            });
            let page = page.await?;
            if let Some(found) = page.group.filter(|found| found.group_name != group) {
                let detail = format!("there is no IAM group `{group}`; it is spelled `{}`", found.group_name);
                return Err(Trouble::new(TroubleKind::Gone, detail).into());
            }
            all.extend(page.users.into_iter().map(|user| user.user_name));
            marker = more(page.marker, marker.as_deref());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// The groups of a user.
    pub async fn groups(&self, account: &str, user: &str, urgent: bool) -> Result<BTreeSet<String>, Fault> {
        let mut all = BTreeSet::new();
        let mut marker: Option<String> = None;
        loop {
            let call = Call::new(account, "", "iam:ListGroupsForUser").urgent(urgent);
            let page = self.call(call, |session, region| {
                let call = session.at(region).iam.list_groups_for_user();
                call.user_name(user).set_marker(marker.clone()).send()
            });
            let page = page.await?;
            all.extend(page.groups.into_iter().map(|group| group.group_name));
            marker = more(page.marker, marker.as_deref());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// An ARN of AWS's own policies as the account's partition has it. A binding always says `arn:aws:`.
    pub fn arn(&self, account: &str, arn: &str) -> Result<String, Fault> {
        let Partition { name, .. } = Partition::of(&self.account(account)?);
        Ok(localised(arn, name))
    }
}

fn localised(arn: &str, partition: &str) -> String {
    match arn.strip_prefix("arn:aws:iam::aws:") {
        Some(rest) => format!("arn:{partition}:iam::aws:{rest}"),
        None => arn.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_awss_own_policies_take_the_partition_of_the_account() {
        let own = "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess";
        assert_eq!(localised(own, "aws-cn"), "arn:aws-cn:iam::aws:policy/job-function/ViewOnlyAccess");
        assert_eq!(localised(own, "aws"), own);
        let theirs = "arn:aws-us-gov:iam::123456789012:policy/Ops";
        assert_eq!(localised(theirs, "aws-us-gov"), theirs);
    }
}
