//! Identity Center: who and what its names stand for, and its assignments, which it makes and deletes in its own time.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use aws_sdk_identitystore::types::{AlternateIdentifier, UniqueAttribute};
use aws_sdk_ssoadmin::types::{PrincipalType, StatusValues, TargetType};
use aws_smithy_types::Document;
use tokio::{sync::Mutex, time::Instant};

use super::{
    super::model::{Trouble, TroubleKind},
    Aws, Call, Fault, Told, more,
};

/// How long Identity Center may take for one assignment.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long to wait before the first question whether it is through, and at most between two.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// What names stand for. Names of permission sets cannot change; what was deleted is forgotten when AWS says so.
#[derive(Debug, Default)]
pub struct Directory {
    instance: Option<Instance>,
    /// ARNs by name.
    sets: HashMap<String, String>,
    /// Ids by `user:NAME` and `group:NAME`.
    principals: HashMap<String, String>,
    /// Held by the one that lists the permission sets.
    listing: Arc<Mutex<()>>,
}

/// Identity Center as the configuration places it.
#[derive(Debug, Clone)]
pub struct Instance {
    account: String,
    region: String,
    pub(super) arn: String,
    pub(super) store: String,
}

impl Instance {
    pub(super) fn call(&self, action: &'static str, urgent: bool) -> Call<'_> {
        Call::new(&self.account, &self.region, action).urgent(urgent)
    }
}

/// One assignment, by AWS's ids.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub instance: Instance,
    /// The account that it is for.
    pub target: String,
    pub set: String,
    pub kind: PrincipalType,
    pub principal: String,
}

impl Aws {
    pub(super) async fn instance(&self, urgent: bool) -> Result<Instance, Fault> {
        let settings = self.settings();
        let Some(place) = &settings.permission_set else {
            let detail = "the configuration does not say where Identity Center is: write \
                          `permission-set: { account: NAME, region: REGION }` with the management account or the \
                          delegated administrator's";
            return Err(Trouble::new(TroubleKind::Denied, detail).into());
        };
        let (account, region) = (place.account.to_string(), place.region.to_string());
        if let Some(known) = self.known(&account, &region).await {
            return Ok(known);
        }
        // Whoever comes meanwhile finds what the first one learned.
        let _turn = self.lane("Identity Center").await;
        if let Some(known) = self.known(&account, &region).await {
            return Ok(known);
        }
        let call = Call::new(&account, &region, "sso:ListInstances").urgent(urgent);
        let answer = self.call(call, |session, region| session.at(region).sso.list_instances().send()).await?;
        let found = answer.instances().iter().find_map(|one| Some((one.instance_arn()?, one.identity_store_id()?)));
        let (arn, store) = found.ok_or_else(|| {
            let detail = format!(
                "there is no Identity Center in account {account}, {region}: `permission-set` names the account and \
                 region where it is"
            );
            Trouble::new(TroubleKind::Gone, detail)
        })?;
        let instance = Instance { arn: arn.to_owned(), store: store.to_owned(), account, region };
        // What names stood for in another one says nothing here.
        *self.shared.directory.lock().await = Directory { instance: Some(instance.clone()), ..Directory::default() };
        Ok(instance)
    }

    async fn known(&self, account: &str, region: &str) -> Option<Instance> {
        let known = self.shared.directory.lock().await.instance.clone()?;
        (known.account == account && known.region == region).then_some(known)
    }

    /// The ARN of a permission set. AWS knows no way from a name to it: those that are new are described, once each.
    async fn set(&self, instance: &Instance, name: &str, urgent: bool) -> Result<String, Fault> {
        let listing = self.shared.directory.lock().await.listing.clone();
        if let Some(arn) = self.shared.directory.lock().await.sets.get(name) {
            return Ok(arn.clone());
        }
        // Whoever came meanwhile may find what the one before learned.
        let _turn = listing.lock().await;
        if let Some(arn) = self.shared.directory.lock().await.sets.get(name) {
            return Ok(arn.clone());
        }
        let mut next: Option<String> = None;
        let mut unknown = None;
        loop {
            let call = instance.call("sso:ListPermissionSets", urgent);
            let page = self.call(call, |session, region| {
                let call = session.at(region).sso.list_permission_sets();
                call.instance_arn(&instance.arn).max_results(100).set_next_token(next.clone()).send()
            });
            let page = page.await?;
            let known: BTreeSet<String> = self.shared.directory.lock().await.sets.values().cloned().collect();
            for arn in page.permission_sets.unwrap_or_default() {
                if known.contains(&arn) {
                    continue;
                }
                let call = instance.call("sso:DescribePermissionSet", urgent);
                let answer = self.call(call, |session, region| {
                    let call = session.at(region).sso.describe_permission_set();
                    call.instance_arn(&instance.arn).permission_set_arn(&arn).send()
                });
                match answer.await.map(|answer| answer.permission_set.and_then(|set| set.name)) {
                    Ok(Some(found)) => drop(self.shared.directory.lock().await.sets.insert(found, arn)),
                    Ok(None) => {}
                    // One that cannot be described keeps no other from being found.
                    Err(fault) => unknown = Some(fault),
                }
            }
            next = more(page.next_token, next.as_deref());
            if next.is_none() {
                break;
            }
        }
        let directory = self.shared.directory.lock().await;
        let found = directory.sets.get(name).cloned();
        found.ok_or_else(|| unknown.unwrap_or_else(|| missing("permission set", name, directory.sets.keys())))
    }

    async fn principal(&self, instance: &Instance, who: &str, urgent: bool) -> Result<String, Fault> {
        if let Some(id) = self.shared.directory.lock().await.principals.get(who) {
            return Ok(id.clone());
        }
        let (kind, name) = who.split_once(':').unwrap_or(("user", who));
        let attribute = if kind == "user" { "userName" } else { "displayName" };
        let unique = UniqueAttribute::builder()
            .attribute_path(attribute)
            .attribute_value(Document::String(name.to_owned()))
            .build()
            .map_err(|error| Trouble::new(TroubleKind::Broken, error.to_string()))?;
        let asked = AlternateIdentifier::UniqueAttribute(unique);
        let found = if kind == "user" {
            let answer = self.call(instance.call("identitystore:GetUserId", urgent), |session, region| {
                let call = session.at(region).store.get_user_id();
                call.identity_store_id(&instance.store).alternate_identifier(asked.clone()).send()
            });
            answer.await.map(|answer| answer.user_id)
        } else {
            let answer = self.call(instance.call("identitystore:GetGroupId", urgent), |session, region| {
                let call = session.at(region).store.get_group_id();
                call.identity_store_id(&instance.store).alternate_identifier(asked.clone()).send()
            });
            answer.await.map(|answer| answer.group_id)
        };
        let id = found.map_err(|fault| match fault.missing() {
            true => missing(&format!("Identity Center {kind}"), name, [].iter()),
            false => fault,
        })?;
        self.shared.directory.lock().await.principals.insert(who.to_owned(), id.clone());
        Ok(id)
    }

    /// What an assignment's names stand for.
    pub async fn assignment(&self, target: &str, set: &str, who: &str, urgent: bool) -> Result<Assignment, Fault> {
        let instance = self.instance(urgent).await?;
        let kind = if who.starts_with("group:") { PrincipalType::Group } else { PrincipalType::User };
        let (set, principal) = (self.set(&instance, set, urgent).await?, self.principal(&instance, who, urgent).await?);
        Ok(Assignment { instance, target: target.to_owned(), set, kind, principal })
    }

    /// Forgets what names stood for: something that one of them stood for is gone.
    pub async fn forget_names(&self) {
        let mut directory = self.shared.directory.lock().await;
        directory.sets.clear();
        directory.principals.clear();
    }

    /// Who has a permission set on an account: kind and id of each.
    pub async fn assigned(&self, one: &Assignment, urgent: bool) -> Result<BTreeSet<(String, String)>, Fault> {
        let Assignment { instance, target, set, .. } = one;
        let mut all = BTreeSet::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.call(instance.call("sso:ListAccountAssignments", urgent), |session, region| {
                let call = session.at(region).sso.list_account_assignments();
                let call = call.instance_arn(&instance.arn).account_id(target).permission_set_arn(set);
                call.max_results(100).set_next_token(next.clone()).send()
            });
            let page = page.await?;
            for found in page.account_assignments.unwrap_or_default() {
                if let (Some(kind), Some(id)) = (found.principal_type, found.principal_id) {
                    all.insert((kind.as_str().to_owned(), id));
                }
            }
            next = more(page.next_token, next.as_deref());
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// Asks for an assignment and waits until it is made. The request's id is told at once.
    pub async fn assign(&self, one: &Assignment, told: &Told) -> Result<(), Fault> {
        let Assignment { instance, target, set, kind, principal } = one;
        let _lane = self.lane(target).await;
        let answer = self.call(told.bound(instance.call("sso:CreateAccountAssignment", false)), |session, region| {
            let call = session.at(region).sso.create_account_assignment();
            let call = call.instance_arn(&instance.arn).target_id(target).target_type(TargetType::AwsAccount);
            call.permission_set_arn(set).principal_type(kind.clone()).principal_id(principal).send()
        });
        let mut status = answer.await?.account_assignment_creation_status;
        let request = status.as_ref().and_then(|status| status.request_id.clone()).unwrap_or_default();
        told.sent(Some(&request));
        let mut waits = Waits::new();
        loop {
            match status.as_ref().and_then(|status| status.status.clone()) {
                Some(StatusValues::Succeeded) => return Ok(()),
                Some(StatusValues::Failed) => {
                    let why = status.and_then(|status| status.failure_reason).unwrap_or_default();
                    let detail = format!("Identity Center could not assign it: {why}");
                    // An attempt before, whose answer was lost, may be what it clashed with: the look after it tells.
                    return Err(begun(Trouble::new(TroubleKind::Broken, detail).into()));
                }
                _ => waits.next(&request).await?,
            }
            let answer =
                self.call(instance.call("sso:DescribeAccountAssignmentCreationStatus", false), |session, region| {
                    let call = session.at(region).sso.describe_account_assignment_creation_status();
                    let call = call.instance_arn(&instance.arn);
                    call.account_assignment_creation_request_id(&request).send()
                });
            status = answer.await.map_err(begun)?.account_assignment_creation_status;
        }
    }

    /// Asks for the end of an assignment and waits until it is gone.
    pub async fn unassign(&self, one: &Assignment, told: &Told) -> Result<(), Fault> {
        let Assignment { instance, target, set, kind, principal } = one;
        let _lane = self.lane(target).await;
        let answer = self.call(instance.call("sso:DeleteAccountAssignment", true), |session, region| {
            let call = session.at(region).sso.delete_account_assignment();
            let call = call.instance_arn(&instance.arn).target_id(target).target_type(TargetType::AwsAccount);
            call.permission_set_arn(set).principal_type(kind.clone()).principal_id(principal).send()
        });
        let mut status = answer.await?.account_assignment_deletion_status;
        let request = status.as_ref().and_then(|status| status.request_id.clone()).unwrap_or_default();
        told.sent(Some(&request));
        let mut waits = Waits::new();
        loop {
            match status.as_ref().and_then(|status| status.status.clone()) {
                Some(StatusValues::Succeeded) => return Ok(()),
                Some(StatusValues::Failed) => {
                    let why = status.and_then(|status| status.failure_reason).unwrap_or_default();
                    let detail = format!("Identity Center could not take it away: {why}");
                    // What was not there cannot be deleted either: the look after it tells.
                    return Err(begun(Trouble::new(TroubleKind::Broken, detail).into()));
                }
                _ => waits.next(&request).await?,
            }
            let answer =
                self.call(instance.call("sso:DescribeAccountAssignmentDeletionStatus", true), |session, region| {
                    let call = session.at(region).sso.describe_account_assignment_deletion_status();
                    let call = call.instance_arn(&instance.arn);
                    call.account_assignment_deletion_request_id(&request).send()
                });
            status = answer.await.map_err(begun)?.account_assignment_deletion_status;
        }
    }
}

/// A fault of a question about a request that is under way says nothing about that.
fn begun(fault: Fault) -> Fault {
    Fault { refused: false, ..fault }
}

/// Growing intervals, up to [`PATIENCE`] in all.
struct Waits {
    last: Duration,
    began: Instant,
}

impl Waits {
    fn new() -> Self {
        Self { last: Duration::ZERO, began: Instant::now() }
    }

    async fn next(&mut self, request: &str) -> Result<(), Fault> {
        if self.began.elapsed() >= PATIENCE {
            let detail =
                format!("Identity Center is not through with request {request} after {} s", PATIENCE.as_secs());
            return Err(begun(Trouble::new(TroubleKind::Unreachable, detail).into()));
        }
        self.last = if self.last.is_zero() { FIRST } else { (self.last * 2).min(LONGEST) };
        tokio::time::sleep(self.last).await;
        Ok(())
    }
}

fn missing<'a>(what: &str, name: &str, mut known: impl Iterator<Item = &'a String>) -> Fault {
    let twin = known.find(|known| known.eq_ignore_ascii_case(name));
    let twin = twin.map(|twin| format!("; it is spelled `{twin}`")).unwrap_or_default();
    Trouble::new(TroubleKind::Gone, format!("there is no {what} `{name}`{twin}")).into()
}
