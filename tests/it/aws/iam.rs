//! What is in an account's IAM, and what people put there by hand.

use super::caller::{Caller, all, one};

/// An account's IAM.
pub struct Realm {
    caller: Caller,
    account: String,
}

impl Realm {
    pub fn of(account: &str) -> Self {
        Self { caller: Caller::of_moto(account, "us-east-1"), account: account.into() }
    }

    pub fn user(&self, name: &str) -> &Self {
        self.done("CreateUser", &[("UserName", name)])
    }

    pub fn group(&self, name: &str) -> &Self {
        self.done("CreateGroup", &[("GroupName", name)])
    }

    pub fn role(&self, name: &str) -> &Self {
        self.done("CreateRole", &[("RoleName", name), ("AssumeRolePolicyDocument", r#"{"Statement":[]}"#)])
    }

    /// Makes a managed policy of the account's own. Answers its ARN.
    pub fn policy(&self, name: &str) -> String {
        let action = r#"{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}"#;
        let document = format!(r#"{{"Version":"2012-10-17","Statement":[{action}]}}"#);
        self.done("CreatePolicy", &[("PolicyName", name), ("PolicyDocument", &document)]);
        format!("arn:aws:iam::{}:policy/{name}", self.account)
    }

    pub fn join(&self, group: &str, user: &str) -> &Self {
        self.done("AddUserToGroup", &[("GroupName", group), ("UserName", user)])
    }

    pub fn leave(&self, group: &str, user: &str) -> &Self {
        self.done("RemoveUserFromGroup", &[("GroupName", group), ("UserName", user)])
    }

    /// Attaches a managed policy to a `user`, `role` or `group`.
    pub fn attach(&self, kind: &str, name: &str, policy: &str) -> &Self {
        let (kind, key) = named(kind);
        self.done(&format!("Attach{kind}Policy"), &[(&key, name), ("PolicyArn", policy)])
    }

    pub fn detach(&self, kind: &str, name: &str, policy: &str) -> &Self {
        let (kind, key) = named(kind);
        self.done(&format!("Detach{kind}Policy"), &[(&key, name), ("PolicyArn", policy)])
    }

    /// Takes away a `user`, `role` or `group` that has nothing left.
    pub fn delete(&self, kind: &str, name: &str) -> &Self {
        let (kind, key) = named(kind);
        self.done(&format!("Delete{kind}"), &[(&key, name)])
    }

    /// The ARNs of the managed policies at a `user`, `role` or `group`.
    pub fn attached(&self, kind: &str, name: &str) -> Vec<String> {
        let (kind, key) = named(kind);
        let answer = self.caller.fine_form("iam", &format!("ListAttached{kind}Policies"), &[(&key, name)]);
        all(&answer, "PolicyArn")
    }

    /// The names of a group's users.
    pub fn members(&self, group: &str) -> Vec<String> {
        all(&self.caller.fine_form("iam", "GetGroup", &[("GroupName", group)]), "UserName")
    }

    /// The unique id of a `user`, `role` or `group`: another one when it was made anew.
    pub fn id(&self, kind: &str, name: &str) -> String {
        let (kind, key) = named(kind);
        one(&self.caller.fine_form("iam", &format!("Get{kind}"), &[(&key, name)]), &format!("{kind}Id"))
    }

    fn done(&self, action: &str, pairs: &[(&str, &str)]) -> &Self {
        self.caller.fine_form("iam", action, pairs);
        self
    }
}

/// `role`: as in `AttachRolePolicy`, and as in `RoleName`.
fn named(kind: &str) -> (&'static str, String) {
    let kind = match kind {
        "user" => "User",
        "role" => "Role",
        "group" => "Group",
        _ => panic!("{kind} is no user, role or group"),
    };
    (kind, format!("{kind}Name"))
}
