//! The three SSM documents by which hosts are told: add a local administrator, remove one, list them.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::model::Text;

/// The `windows-admin` block of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "WindowsAdmin")]
pub struct Settings {
    /// What the SSM documents are called in the accounts.
    pub documents: Names,
}

/// Names of SSM documents: 3 to 128 of letters, digits and `_-.`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    /// Makes a domain user a local administrator.
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]{3,128}$"))]
    pub add: Text,
    /// Takes one away.
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]{3,128}$"))]
    pub remove: Text,
    /// Lists them.
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]{3,128}$"))]
    pub list: Text,
}

impl Default for Names {
    fn default() -> Self {
        Self { add: "AddLocalAdminADUser".into(), remove: "RemoveLocalADUser".into(), list: "ListLocalAdmins".into() }
    }
}

impl Names {
    pub fn get(&self, what: Document) -> &Text {
        match what {
            Document::Add => &self.add,
            Document::Remove => &self.remove,
            Document::List => &self.list,
        }
    }

    /// What is wrong with them, in whole sentences.
    pub fn check(&self) -> Vec<String> {
        let Self { add, remove, list } = self;
        let mut wrong = Vec::new();
        for (key, name) in [("add", add), ("remove", remove), ("list", list)] {
            let good = (3..=128).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
            let reserved = ["aws", "amazon", "amzn"].iter().any(|word| name.to_ascii_lowercase().starts_with(word));
            if !good || reserved {
                wrong.push(format!(
                    "windows-admin: documents: {key}: `{}` is no name for a document: write 3 to 128 of letters, digits \
                     and `_-.`, not beginning with aws, amazon or amzn",
                    name.escape_debug()
                ));
            }
        }
        if add == remove || add == list || remove == list {
            wrong.push("windows-admin: documents: each of the three needs a name of its own".to_owned());
        }
        wrong
    }
}

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Document {
    Add,
    Remove,
    List,
}

/// `corp\jdoe`, as a binding has it.
const USER: &str = r"^[a-z0-9][a-z0-9_-]{0,14}\\[a-z0-9_]([a-z0-9._-]{0,18}[a-z0-9_-])?$";
const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$";
const VERB: &str = "^(grant|renew)$";
const GRANTS: &str = "^[a-z0-9][a-z0-9-]{2,63}(,[a-z0-9][a-z0-9-]{2,63})*$";
const NONCE: &str = "^[0-9a-f]{32}$";
const NOBODYS: &str = "00000000000000000000000000000000";
/// Seconds that a script may take on the host.
pub const TIMEOUT: u32 = 60;

impl Document {
    pub const ALL: [Self; 3] = [Self::Add, Self::Remove, Self::List];

    pub const fn key(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::List => "list",
        }
    }

    /// Parameters of the right form, in the past and for nobody.
    pub fn example(self) -> HashMap<String, Vec<String>> {
        let past = "2000-01-01T00:00:00Z";
        let all = [
            ("Verb", "grant"),
            ("User", r"grantd\nobody"),
            ("Until", past),
            ("ActBy", past),
            ("Grants", "none"),
            ("Nonce", NOBODYS),
        ];
        let taken = all.into_iter().filter(|(name, _)| match self {
            Self::Add => true,
            Self::Remove => matches!(*name, "User" | "Nonce"),
            Self::List => *name == "Nonce",
        });
        taken.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).collect()
    }

    /// The whole document, as it is brought into an account: schema 2.2, and every parameter reaches the script by the
    /// environment, so that no text of anybody's becomes part of it.
    pub fn content(self) -> String {
        let (about, script, parameters): (_, _, &[(&str, &str, &str)]) = match self {
            Self::Add => (
                "Makes a domain user a local administrator until an end, with grantd's marker, or moves that end.",
                include_str!("documents/add.ps1"),
                &[
                    ("Verb", VERB, "grant, or renew: a renewal gives back nothing that was taken away."),
                    ("User", USER, r"The domain user, as corp\jdoe."),
                    ("Until", TIME, "The end of the access, UTC."),
                    ("ActBy", TIME, "After this moment, UTC, nothing is done."),
                    ("Grants", GRANTS, "The grants that ask for it."),
                ],
            ),
            Self::Remove => (
                "Takes away a local administrator that grantd added, whoever took its marker off.",
                include_str!("documents/remove.ps1"),
                &[("User", USER, r"The domain user, as corp\jdoe.")],
            ),
            Self::List => {
                ("Lists the local administrators and grantd's markers.", include_str!("documents/list.ps1"), &[])
            }
        };
        let nonce = ("Nonce", NONCE, "Comes back with the answer, to tell it from any other.");
        let parameters: serde_json::Map<String, Value> = parameters
            .iter()
            .chain([&nonce])
            .map(|(name, pattern, about)| {
                let parameter = json!({
                    "type": "String",
                    "description": about,
                    "allowedPattern": pattern,
                    "interpolationType": "ENV_VAR",
                });
                ((*name).to_owned(), parameter)
            })
            .collect();
        let document = json!({
            "schemaVersion": "2.2",
            "description": format!("grantd: {about}"),
            "parameters": parameters,
            "mainSteps": [{
                "action": "aws:runPowerShellScript",
                "name": self.key(),
                "precondition": { "StringEquals": ["platformType", "Windows"] },
                "inputs": {
                    "timeoutSeconds": TIMEOUT.to_string(),
                    "runCommand": script.lines().collect::<Vec<_>>(),
                },
            }],
        });
        // Two spaces and a line end: a person may read it and compare it with what is in an account.
        serde_json::to_string_pretty(&document).map(|text| text + "\n").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_the_rules_of_ssm() {
        for document in Document::ALL {
            let text = document.content();
            assert!(text.len() < 64 * 1024, "{} has {} bytes", document.key(), text.len());
            // Nothing is put into a script as text: not even an older agent that knows no ENV_VAR can be made to.
            assert!(!text.contains("{{"), "{}", document.key());
            assert!(text.is_ascii(), "{}", document.key());
            let parsed: Value = serde_json::from_str(&text).unwrap();
            for (name, parameter) in parsed["parameters"].as_object().unwrap() {
                assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()), "{name}");
                let pattern = parameter["allowedPattern"].as_str().unwrap();
                // The agent's own check is not anchored.
                assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{name}: {pattern}");
                assert_eq!(parameter["interpolationType"], "ENV_VAR", "{name}");
                assert!(text.contains(&format!("Read-Parameter '{name}' ")), "{} does not read {name}", document.key());
            }
        }
    }

    #[test]
    fn what_scripts_share_is_the_same_in_each() {
        let scripts = [
            include_str!("documents/add.ps1"),
            include_str!("documents/remove.ps1"),
            include_str!("documents/list.ps1"),
        ];
        let block = |script: &str, title: &str| {
            let (_, rest) = script.split_once(title).unwrap();
            rest.split_once("# ---- End of what is the same. ----").unwrap().0.to_owned()
        };
        let [add, remove, list] = scripts.map(|script| block(script, "# ---- The same in add, remove and list:"));
        assert!(add == remove && remove == list && add.lines().count() > 100);
        let [add, remove, _] = scripts;
        let title = "# ---- The same in add and remove. ----";
        assert_eq!(block(add, title), block(remove, title));
    }

    #[test]
    fn names_are_checked() {
        let check = |add: &str| Names { add: add.into(), ..Names::default() }.check();
        assert_eq!(check("AddLocalAdminADUser"), Vec::<String>::new());
        for bad in ["ab", "AWS-Add", "amazonAdd", "a b c", "add\n", "ListLocalAdmins", &"a".repeat(129)] {
            assert_eq!(check(bad).len(), 1, "{bad:?}");
        }
    }
}
