//! Whether the daemon may do what its surfaces need: asked by calls that change nothing. What is written is written to
//! names that nobody has, so that only the permission is found out.

use aws_sdk_identitystore::types::{AlternateIdentifier, UniqueAttribute};
use aws_sdk_ssoadmin::types::{PrincipalType, TargetType};
use aws_smithy_types::Document as Json;
use futures_util::future::join_all;
use jiff::SignedDuration;

use super::{
    super::{
        model::{Account, Check, Text, Trouble, TroubleKind},
        windows_admin::Document,
    },
    Aws, Call, Command, Fault, Kind, Partition,
};

/// How far the clock may be off without a word: AWS's own dates are whole seconds.
const SKEW: SignedDuration = SignedDuration::from_secs(5);
/// Nobody's: no AWS id looks like this.
const INSTANCE: &str = "i-00000000000000000";
const COMMAND: &str = "00000000-0000-4000-8000-000000000000";

impl Aws {
    /// Everything that the surfaces need, account by account, and whether our clock goes right.
    pub async fn check<'a>(&self, accounts: impl Iterator<Item = &'a Account>) -> Vec<Check> {
        let mut all: Vec<Check> =
            join_all(accounts.map(|account| self.examine(account))).await.into_iter().flatten().collect();
        if let Some(skew) = self.skew() {
            let found = if skew.abs() <= SKEW {
                Ok(())
            } else {
                let (far, way) = (skew.abs().as_secs(), if skew.is_positive() { "behind" } else { "ahead of" });
                let detail = format!("the clock is {far} s {way} AWS's: let chrony or systemd-timesyncd set it");
                Err(Trouble::new(TroubleKind::Broken, detail))
            };
            all.insert(0, Check { place: "here".into(), what: "clock".into(), found });
        }
        all
    }

    async fn examine(&self, account: &Account) -> Vec<Check> {
        let mut all = Vec::new();
        let session = self.session(&account.id).await;
        let what = match &account.role {
            Some(role) => format!("credentials: {role}"),
            None => "credentials: the daemon's own".to_owned(),
        };
        let reached = session.is_ok();
        all.push(Check {
            place: account.id.clone(),
            what: what.into(),
            found: session.map(|_| ()).map_err(|fault| fault.trouble),
        });
        if !reached {
            return all;
        }
        self.check_iam(&account.id, &mut all).await;
        for region in &account.regions {
            self.check_hosts(&account.id, region, &mut all).await;
        }
        let center = self.settings().permission_set.clone();
        if let Some(center) = center.filter(|center| center.account == account.id) {
            self.check_center(&center.account, &center.region, &mut all).await;
        }
        all
    }

    async fn check_iam(&self, account: &str, all: &mut Vec<Check>) {
        let nobody = match self.nonce() {
            Ok(nonce) => format!("grantd-doctor-{nonce}"),
            Err(trouble) => {
                return all.push(Check { place: account.into(), what: "random bytes".into(), found: Err(trouble) });
            }
        };
        let name = nobody.as_str();
        let partition = self.account(account).map_or("aws", |account| Partition::of(&account).name);
        let arn = format!("arn:{partition}:iam::{account}:policy/{name}");
        let arn = arn.as_str();
        let call = |action| Call::new(account, "", action);
        let mut note = |action: &str, answer: Result<(), Fault>| all.push(permission(account, action, answer));
        macro_rules! ask {
            ($action:literal, $($call:tt)+) => {
                let answer = self.call(call($action), |session, region| session.at(region).iam.$($call)+.send());
                note($action, answer.await.map(|_| ()));
            };
        }
        ask!("iam:GetAccountSummary", get_account_summary());
        ask!("iam:GetAccountAuthorizationDetails", get_account_authorization_details().max_items(1));
        for kind in [Kind::User, Kind::Role, Kind::Group] {
            let action = match kind {
                Kind::User => "iam:ListAttachedUserPolicies",
                Kind::Role => "iam:ListAttachedRolePolicies",
                Kind::Group => "iam:ListAttachedGroupPolicies",
            };
            note(action, self.attached(account, &(kind, name.to_owned()), false).await.map(|_| ()));
        }
        note("iam:ListGroupsForUser", self.groups(account, name, false).await.map(|_| ()));
        note("iam:GetGroup", self.members(account, name, false).await.map(|_| ()));
        ask!("iam:AttachUserPolicy", attach_user_policy().user_name(name).policy_arn(arn));
        ask!("iam:AttachRolePolicy", attach_role_policy().role_name(name).policy_arn(arn));
        ask!("iam:AttachGroupPolicy", attach_group_policy().group_name(name).policy_arn(arn));
        ask!("iam:DetachUserPolicy", detach_user_policy().user_name(name).policy_arn(arn));
        ask!("iam:DetachRolePolicy", detach_role_policy().role_name(name).policy_arn(arn));
        ask!("iam:DetachGroupPolicy", detach_group_policy().group_name(name).policy_arn(arn));
        ask!("iam:AddUserToGroup", add_user_to_group().user_name(name).group_name(name));
        ask!("iam:RemoveUserFromGroup", remove_user_from_group().user_name(name).group_name(name));
    }

    async fn check_hosts(&self, account: &str, region: &str, all: &mut Vec<Check>) {
        let place = format!("{account}/{region}");
        let call = |action| Call::new(account, region, action);
        let mut note = |what: &str, answer: Result<(), Fault>| all.push(permission(&place, what, answer));
        macro_rules! ask {
            ($service:ident, $action:literal, $($call:tt)+) => {
                let answer = self.call(call($action), |session, region| session.at(region).$service.$($call)+.send());
                note($action, answer.await.map(|_| ()));
            };
        }
        ask!(ec2, "ec2:DescribeInstances", describe_instances().max_results(5));
        ask!(ssm, "ssm:DescribeInstanceInformation", describe_instance_information().max_results(5));
        ask!(ssm, "ssm:ListCommands", list_commands().max_results(1));
        ask!(ssm, "ssm:ListCommandInvocations", list_command_invocations().command_id(COMMAND).max_results(1));
        ask!(ssm, "ssm:GetCommandInvocation", get_command_invocation().command_id(COMMAND).instance_id(INSTANCE));
        let settings = self.settings();
        for document in Document::ALL {
            let (name, content) = (settings.windows_admin.documents.get(document), document.content());
            let command = Command::of(account, region, name, &content);
            let pinned = self.pinned(&command).await;
            let there = pinned.is_ok();
            let found = pinned.map(|_| ()).map_err(|fault| fault.trouble);
            all.push(Check { place: Text::from(&*place), what: format!("document {name}").as_str().into(), found });
            if there {
                // No command goes to a host that is not there.
                let answer = self.call(call("ssm:SendCommand"), |session, region| {
                    let call = session.at(region).ssm.send_command().document_name(&**name);
                    let call = call.instance_ids(INSTANCE).comment("grantd doctor");
                    call.set_parameters(Some(document.example())).send()
                });
                let what = format!("ssm:SendCommand of {name}");
                all.push(permission(&place, &what, answer.await.map(|_| ())));
            }
        }
    }

    async fn check_center(&self, account: &str, region: &str, all: &mut Vec<Check>) {
        let place = format!("{account}/{region}");
        let mut note = |what: &str, answer: Result<(), Fault>| all.push(permission(&place, what, answer));
        let instance = match self.instance(false).await {
            Ok(instance) => instance,
            Err(fault) => {
                let found = Err(fault.trouble);
                return all.push(Check { place: place.into(), what: "Identity Center".into(), found });
            }
        };
        note("sso:ListInstances", Ok(()));
        let (arn, store) = (instance.arn.as_str(), instance.store.as_str());
        let id = arn.rsplit('/').next().unwrap_or_default();
        let partition = arn.split(':').nth(1).unwrap_or("aws");
        let set = format!("arn:{partition}:sso:::permissionSet/{id}/ps-0000000000000000");
        // Whoever may assign need not be allowed to assign on the account where Identity Center itself is.
        let target = self.accounts().into_iter().find(|id| **id != *account).unwrap_or_else(|| account.into());
        let target = target.as_ref();
        let call = |action| instance.call(action, false);
        macro_rules! ask {
            ($service:ident, $action:literal, $($call:tt)+) => {
                let answer = self.call(call($action), |session, region| session.at(region).$service.$($call)+.send());
                note($action, answer.await.map(|_| ()));
            };
        }
        ask!(sso, "sso:ListPermissionSets", list_permission_sets().instance_arn(arn).max_results(1));
        ask!(sso, "sso:DescribePermissionSet", describe_permission_set().instance_arn(arn).permission_set_arn(&set));
        ask!(
            sso,
            "sso:ListAccountAssignments",
            list_account_assignments().instance_arn(arn).account_id(target).permission_set_arn(&set).max_results(1)
        );
        ask!(
            sso,
            "sso:DescribeAccountAssignmentCreationStatus",
            describe_account_assignment_creation_status()
                .instance_arn(arn)
                .account_assignment_creation_request_id(COMMAND)
        );
        ask!(
            sso,
            "sso:DescribeAccountAssignmentDeletionStatus",
            describe_account_assignment_deletion_status()
                .instance_arn(arn)
                .account_assignment_deletion_request_id(COMMAND)
        );
        ask!(
            sso,
            "sso:DeleteAccountAssignment",
            delete_account_assignment()
                .instance_arn(arn)
                .target_id(target)
                .target_type(TargetType::AwsAccount)
                .permission_set_arn(&set)
                .principal_type(PrincipalType::User)
                .principal_id(COMMAND)
        );
        ask!(
            sso,
            "sso:CreateAccountAssignment",
            create_account_assignment()
                .instance_arn(arn)
                .target_id(target)
                .target_type(TargetType::AwsAccount)
                .permission_set_arn(&set)
                .principal_type(PrincipalType::User)
                .principal_id(COMMAND)
        );
        let nobody = |path: &str| {
            let unique = UniqueAttribute::builder().attribute_path(path);
            let unique = unique.attribute_value(Json::String("grantd-doctor-nobody".to_owned())).build();
            unique.ok().map(AlternateIdentifier::UniqueAttribute)
        };
        ask!(
            store,
            "identitystore:GetUserId",
            get_user_id().identity_store_id(store).set_alternate_identifier(nobody("userName"))
        );
        ask!(
            store,
            "identitystore:GetGroupId",
            get_group_id().identity_store_id(store).set_alternate_identifier(nobody("displayName"))
        );
    }
}

/// What AWS says of names that nobody has, once it has found that we may ask.
const NOBODY: [&str; 6] = [
    "NoSuchEntity",
    "NoSuchEntityException",
    "ResourceNotFoundException",
    "InvalidInstanceId",
    "InvalidCommandId",
    "InvocationDoesNotExist",
];

/// Another answer proves nothing, and is told.
fn permission(place: &str, what: &str, answer: Result<(), Fault>) -> Check {
    let found = match answer {
        Err(fault) if NOBODY.contains(&fault.code.as_str()) => Ok(()),
        Err(fault) => Err(fault.trouble),
        Ok(()) => Ok(()),
    };
    Check { place: place.into(), what: Text::from(what), found }
}
