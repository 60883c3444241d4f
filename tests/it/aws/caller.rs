//! Calls in AWS's two old protocols, forms with XML answers and JSON, with a signature that nobody checks.

use std::io;

use serde_json::Value;

use super::http::{Message, encoded};

/// Who asks, whom, and for which region.
#[derive(Debug, Clone)]
pub struct Caller {
    pub port: u16,
    /// The access key: tells a [`Cloud`](super::Cloud) the account.
    pub key: String,
    /// Tells moto the account, whatever the key is.
    pub account: Option<String>,
    pub region: String,
}

impl Caller {
    /// One who may do everything in an account, and asks moto itself.
    pub fn of_moto(account: &str, region: &str) -> Self {
        let key = "AKIAIOSFODNN7EXAMPLE".into();
        Self { port: super::moto::port(), key, account: Some(account.into()), region: region.into() }
    }

    fn message(&self, service: &str) -> Message {
        let scope = format!("{}/20260101/{}/{service}/aws4_request", self.key, self.region);
        let authorization = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let mut headers = vec![("Host".into(), "127.0.0.1".into()), ("Authorization".into(), authorization)];
        headers.extend(self.account.iter().map(|account| ("x-moto-account-id".into(), account.clone())));
        Message { start: "POST / HTTP/1.1".into(), headers, body: Vec::new() }
    }

    /// A call of `iam`, `sts` or `ec2`.
    pub fn form(&self, service: &str, action: &str, pairs: &[(&str, &str)]) -> io::Result<Message> {
        let version = match service {
            "iam" => "2010-05-08",
            "sts" => "2011-06-15",
            _ => "2016-11-15",
        };
        let mut message = self.message(service);
        message.headers.push(("Content-Type".into(), "application/x-www-form-urlencoded".into()));
        let pairs = [&[("Action", action), ("Version", version)], pairs].concat();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        message.body = pairs.join("&").into();
        message.ask(self.port)
    }

    /// A call of `ssm`, `sso` or `identitystore`.
    pub fn json(&self, service: &str, action: &str, body: &Value) -> io::Result<Message> {
        let prefix = match service {
            "ssm" => "AmazonSSM",
            "sso" => "SWBExternalService",
            _ => "AWSIdentityStore",
        };
        let mut message = self.message(service);
        message.headers.push(("Content-Type".into(), "application/x-amz-json-1.1".into()));
        message.headers.push(("X-Amz-Target".into(), format!("{prefix}.{action}")));
        message.body = body.to_string().into();
        message.ask(self.port)
    }

    /// The XML answer; fails the test if it is an error.
    pub fn fine_form(&self, service: &str, action: &str, pairs: &[(&str, &str)]) -> String {
        let answer = self.form(service, action, pairs).unwrap();
        assert_eq!(answer.status(), 200, "{service}:{action} {pairs:?}: {}", answer.text());
        answer.text()
    }

    /// The JSON answer; fails the test if it is an error.
    pub fn fine_json(&self, service: &str, action: &str, body: &Value) -> Value {
        let answer = self.json(service, action, body).unwrap();
        assert_eq!(answer.status(), 200, "{service}:{action} {body}: {}", answer.text());
        if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body).unwrap() }
    }

    /// Takes on a role, and answers as it.
    pub fn assume(&self, role: &str) -> Self {
        let answer = self.fine_form("sts", "AssumeRole", &[("RoleArn", role), ("RoleSessionName", "test")]);
        Self { key: one(&answer, "AccessKeyId"), ..self.clone() }
    }
}

/// The texts of all elements of this name, which hold no other elements.
pub fn all(xml: &str, name: &str) -> Vec<String> {
    let begin = format!("<{name}>");
    let texts = xml.split(begin.as_str()).skip(1);
    texts.map(|rest| rest.split('<').next().unwrap_or_default().to_owned()).collect()
}

/// The text of the first.
pub fn one(xml: &str, name: &str) -> String {
    all(xml, name).into_iter().next().unwrap_or_else(|| panic!("no <{name}> in {xml}"))
}
