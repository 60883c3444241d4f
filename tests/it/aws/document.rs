//! A command document, as moto keeps it, and what it takes.

use std::collections::BTreeMap;

use regex::bytes::RegexBuilder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    cloud::{Request, Shared},
    run_command::Refusal,
};

pub struct Document {
    pub name: String,
    /// The name of its only step.
    pub step: String,
    hash: String,
    content: Value,
}

impl Document {
    /// Asks moto in the caller's name. The version is a number, `$DEFAULT` or `$LATEST`.
    pub fn of_moto(shared: &Shared, request: &Request, name: &str, version: &str) -> Result<Self, Refusal> {
        let ask = |version: &str| {
            let mut request = request.clone();
            request.message.remove("X-Amz-Target");
            request.message.headers.push(("X-Amz-Target".into(), "AmazonSSM.GetDocument".into()));
            let mut asked = json!({ "Name": name, "DocumentVersion": version });
            if version == "$DEFAULT" {
                // moto does not know this word, but means it when it hears none.
                asked.as_object_mut().unwrap().remove("DocumentVersion");
            }
            request.message.body = asked.to_string().into();
            let answer = shared.pass(&request);
            (answer.status() == 200).then(|| serde_json::from_slice::<Value>(&answer.body).unwrap())
        };
        let Some(answer) = ask(version) else {
            let code = if ask("$LATEST").is_some() { "InvalidDocumentVersion" } else { "InvalidDocument" };
            return Err((code, format!("Document {name} with version {version} does not exist.")));
        };
        let text = answer["Content"].as_str().unwrap();
        let content: Value = serde_json::from_str(text).unwrap();
        let step = content["mainSteps"][0]["name"].as_str().unwrap_or_default().to_owned();
        let hash = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name: name.into(), step, hash, content })
    }

    /// Whether it is the one that the sender means.
    pub fn check_hash(&self, asked: &Value) -> Result<(), Refusal> {
        match (asked["DocumentHash"].as_str(), asked["DocumentHashType"].as_str()) {
            (Some(_), Some("Sha1")) => Err(("ValidationException", "Sha1 hashes have been deprecated.".into())),
            (Some(hash), _) if hash != self.hash => {
                Err(("InvalidDocumentVersion", format!("The hash is not that of document {}.", self.name)))
            }
            _ => Ok(()),
        }
    }

    /// The values for its parameters: those asked for and its own defaults.
    pub fn parameters(&self, asked: &Value) -> Result<BTreeMap<String, String>, Refusal> {
        let empty = serde_json::Map::new();
        let known = self.content["parameters"].as_object().unwrap_or(&empty);
        let asked = asked.as_object().unwrap_or(&empty);
        if let Some(name) = asked.keys().find(|name| !known.contains_key(*name)) {
            return Err(invalid(name, "is not defined in the document"));
        }
        let mut values = BTreeMap::new();
        for (name, rules) in known {
            let value = match asked.get(name) {
                None => rules["default"].as_str().ok_or_else(|| invalid(name, "is required"))?,
                Some(list) => match list.as_array().map(Vec::as_slice) {
                    Some([Value::String(value)]) => value,
                    _ => return Err(invalid(name, "takes a list of one string")),
                },
            };
            if let Err(why) = check(value, rules) {
                return Err(invalid(name, why));
            }
            values.insert(name.clone(), value.to_owned());
        }
        Ok(values)
    }
}

fn check(value: &str, rules: &Value) -> Result<(), &'static str> {
    let length = value.chars().count() as u64;
    // In any part of the value, as the service searches: a pattern without `^` and `$` lets everything around pass.
    let pattern = rules["allowedPattern"].as_str().unwrap_or_default();
    let pattern = RegexBuilder::new(pattern).unicode(false).build().map_err(|_| "has a pattern that is none")?;
    if !pattern.is_match(value.as_bytes()) {
        Err("does not match its allowedPattern")
    } else if rules["allowedValues"].as_array().is_some_and(|all| !all.iter().any(|each| each == value)) {
        Err("is none of its allowedValues")
    } else if rules["minChars"].as_u64().is_some_and(|least| length < least) {
        Err("is shorter than its minChars")
    } else if rules["maxChars"].as_u64().is_some_and(|most| length > most) {
        Err("is longer than its maxChars")
    } else {
        Ok(())
    }
}

fn invalid(name: &str, why: &str) -> Refusal {
    ("InvalidParameters", format!("Parameter {name} {why}."))
}
