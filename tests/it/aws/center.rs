//! An Identity Center, with its directory, and what people put there by hand.

use serde_json::{Value, json};

use super::caller::Caller;

/// The Identity Center of a management account. moto has one in every account and region.
pub struct Center {
    caller: Caller,
    /// Its ARN.
    pub instance: String,
    /// The id of its directory.
    pub store: String,
}

impl Center {
    pub fn of(account: &str, region: &str) -> Self {
        let caller = Caller::of_moto(account, region);
        let answer = caller.fine_json("sso", "ListInstances", &json!({}));
        let text = |name: &str| answer["Instances"][0][name].as_str().unwrap().to_owned();
        Self { instance: text("InstanceArn"), store: text("IdentityStoreId"), caller }
    }

    /// Makes a permission set. Answers its ARN. Without a duration moto would tell one as a number, which no SDK reads.
    pub fn permission_set(&self, name: &str) -> String {
        let answer = self.sso("CreatePermissionSet", json!({ "Name": name, "SessionDuration": "PT1H" }));
        answer["PermissionSet"]["PermissionSetArn"].as_str().unwrap().into()
    }

    /// Makes a user. Answers its id.
    pub fn user(&self, name: &str) -> String {
        let person = json!({ "GivenName": "J", "FamilyName": "Doe" });
        let answer = self.directory("CreateUser", json!({ "UserName": name, "DisplayName": name, "Name": person }));
        answer["UserId"].as_str().unwrap().into()
    }

    /// Makes a group. Answers its id.
    pub fn group(&self, name: &str) -> String {
        let answer = self.directory("CreateGroup", json!({ "DisplayName": name }));
        answer["GroupId"].as_str().unwrap().into()
    }

    /// Takes a user out of the directory. Assignments to it stay, as they do in AWS.
    pub fn delete_user(&self, id: &str) {
        self.directory("DeleteUser", json!({ "UserId": id }));
    }

    /// Assigns a permission set on an account to a `USER` or `GROUP`.
    pub fn assign(&self, account: &str, set: &str, kind: &str, id: &str) {
        self.sso("CreateAccountAssignment", assignment(account, set, kind, id));
    }

    pub fn unassign(&self, account: &str, set: &str, kind: &str, id: &str) {
        self.sso("DeleteAccountAssignment", assignment(account, set, kind, id));
    }

    /// Who has a permission set on an account: `USER` or `GROUP`, and the id.
    pub fn assignments(&self, account: &str, set: &str) -> Vec<(String, String)> {
        let answer = self.sso("ListAccountAssignments", json!({ "AccountId": account, "PermissionSetArn": set }));
        let text = |each: &Value, name: &str| each[name].as_str().unwrap().to_owned();
        let all = answer["AccountAssignments"].as_array().unwrap().iter();
        all.map(|each| (text(each, "PrincipalType"), text(each, "PrincipalId"))).collect()
    }

    fn sso(&self, action: &str, mut asked: Value) -> Value {
        asked["InstanceArn"] = self.instance.clone().into();
        self.caller.fine_json("sso", action, &asked)
    }

    fn directory(&self, action: &str, mut asked: Value) -> Value {
        asked["IdentityStoreId"] = self.store.clone().into();
        self.caller.fine_json("identitystore", action, &asked)
    }
}

fn assignment(account: &str, set: &str, kind: &str, id: &str) -> Value {
    json!({
        "TargetId": account,
        "TargetType": "AWS_ACCOUNT",
        "PermissionSetArn": set,
        "PrincipalType": kind,
        "PrincipalId": id,
    })
}
