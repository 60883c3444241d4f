//! What goes wrong on purpose, and how AWS says it in each of its protocols.

use std::time::Duration;

use serde_json::json;

use super::{
    cloud::{Protocol, Request},
    http::{Message, REQUEST_ID},
};

/// Calls that go wrong. The first fault that fits a call counts.
#[derive(Debug, Clone)]
pub struct Fault {
    /// `iam:AttachRolePolicy`, `iam:*` or `*`.
    pub action: &'static str,
    /// In this account only.
    pub account: Option<String>,
    /// Only calls that speak of this.
    pub about: Option<String>,
    pub how: How,
    /// How many calls it spoils. `None`: all, until it is cleared.
    pub times: Option<usize>,
}

impl Fault {
    /// Everywhere, and until it is cleared.
    pub fn of(action: &'static str, how: How) -> Self {
        Self { action, account: None, about: None, how, times: None }
    }

    pub fn fits(&self, request: &Request) -> bool {
        let action = match self.action.strip_suffix('*') {
            Some(begin) => request.action.starts_with(begin),
            None => request.action == self.action,
        };
        let about = self.about.as_ref().is_none_or(|text| request.message.text().contains(text));
        action && about && self.account.as_ref().is_none_or(|account| *account == request.place())
    }
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Throttle,
    Deny,
    /// The caller's credentials have ended.
    Expired,
    Error500,
    /// It is done, and answered this much later.
    Slow(Duration),
    /// The connection ends, and nothing was done.
    ResetBefore,
    /// It is done, and the connection ends without an answer.
    LostReply,
    /// It is done, and the answer says this in place of `SUCCEEDED`: Identity Center takes its time, and moto none.
    Says(&'static str),
}

impl How {
    /// AWS's answer, if it is one of those that are answered and not done.
    pub fn answer(self, request: &Request) -> Option<Message> {
        use Protocol::{Ec2, Json, Query};
        let (status, code, message) = match (self, request.protocol()) {
            (Self::Throttle, Query) => (400, "Throttling", "Rate exceeded".into()),
            (Self::Throttle, Ec2) => (503, "RequestLimitExceeded", "Request limit exceeded.".into()),
            (Self::Throttle, Json) => (400, "ThrottlingException", "Rate exceeded".into()),
            (Self::Deny, Query) => (403, "AccessDenied", denied(request)),
            (Self::Deny, Ec2) => {
                let message = format!("You are not authorized to perform this operation. {}", denied(request));
                (403, "UnauthorizedOperation", message)
            }
            (Self::Deny, Json) => (400, "AccessDeniedException", denied(request)),
            (Self::Expired, Query) => (403, "ExpiredToken", EXPIRED.into()),
            (Self::Expired, Ec2) => (400, "RequestExpired", "Request has expired.".into()),
            (Self::Expired, Json) => (400, "ExpiredTokenException", EXPIRED.into()),
            (Self::Error500, Ec2) => (500, "InternalError", "An internal error has occurred".into()),
            (Self::Error500, _) => (500, "InternalFailure", "The request processing has failed.".into()),
            (Self::Slow(_) | Self::ResetBefore | Self::LostReply | Self::Says(_), _) => return None,
        };
        Some(error(request.protocol(), status, code, &message))
    }
}

const EXPIRED: &str = "The security token included in the request is expired";

fn denied(request: &Request) -> String {
    let Request { account, action, .. } = request;
    let named = ["RoleArn", "RoleName", "UserName", "GroupName"].map(|name| (name, request.pair(name)));
    let resource = match named.into_iter().find_map(|(name, value)| Some((name, value?))) {
        None => "*".into(),
        Some(("RoleArn", arn)) => arn,
        Some((name, value)) => format!("{} {value}", name.trim_end_matches("Name").to_lowercase()),
    };
    format!(
        "User: arn:aws:sts::{account}:assumed-role/grantd/grantd is not authorized to perform: {action} on resource: \
         {resource} because no identity-based policy allows the {action} action"
    )
}

/// An error in a protocol's form.
pub fn error(protocol: Protocol, status: u16, code: &str, message: &str) -> Message {
    let inner = format!("<Code>{code}</Code><Message>{message}</Message>");
    match protocol {
        Protocol::Json => {
            let name = if code == "ThrottlingException" { "message" } else { "Message" };
            Message::response(
                status,
                "application/x-amz-json-1.1",
                json!({ "__type": code, name: message }).to_string(),
            )
        }
        Protocol::Query => {
            let fault = if status < 500 { "Sender" } else { "Receiver" };
            let error = format!("<Error><Type>{fault}</Type>{inner}</Error><RequestId>{REQUEST_ID}</RequestId>");
            Message::response(status, "text/xml", format!("<ErrorResponse>{error}</ErrorResponse>"))
        }
        Protocol::Ec2 => {
            let errors = format!("<Errors><Error>{inner}</Error></Errors><RequestID>{REQUEST_ID}</RequestID>");
            Message::response(status, "text/xml;charset=UTF-8", format!("<Response>{errors}</Response>"))
        }
    }
}
