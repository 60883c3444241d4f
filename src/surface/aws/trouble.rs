//! What an error of the SDK means: by consequence, with the sentence that tells an operator what to do.

use std::error::Error;

use aws_sdk_sts::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::super::model::{Trouble, TroubleKind};

/// A call that did not come to its answer.
#[derive(Debug, Clone)]
pub struct Fault {
    pub trouble: Trouble,
    /// AWS's own code, such as `NoSuchEntity`; empty if there was no answer.
    pub code: String,
    /// AWS refused, so nothing was done. Otherwise nobody knows.
    pub refused: bool,
}

impl Fault {
    /// Whether what the call names is not there.
    pub fn missing(&self) -> bool {
        self.trouble.kind == TroubleKind::Gone
    }

    /// Whether the caller lacks the permission.
    pub fn denied(&self) -> bool {
        matches!(self.code.as_str(), "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation")
    }

    /// Whether the credentials are over, so that new ones may do.
    pub fn expired(&self) -> bool {
        matches!(self.code.as_str(), "ExpiredToken" | "ExpiredTokenException" | "RequestExpired")
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, code: String::new(), refused: true }
    }
}

/// Where a call went: `iam:AttachRolePolicy in 123456789012`.
#[derive(Debug, Clone, Copy)]
pub struct Called<'a> {
    pub action: &'a str,
    pub account: &'a str,
    /// Who called: the role's ARN, or words for the daemon's own credentials.
    pub caller: &'a str,
}

/// The longest text of AWS's that is passed on.
const LONGEST: usize = 400;

impl Called<'_> {
    pub fn fault<E, R>(self, error: &SdkError<E, R>) -> Fault
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let Self { action, account, caller } = self;
        let (code, said) = (error.code().unwrap_or_default(), error.message().unwrap_or_default());
        let status = match error {
            SdkError::ServiceError(_) => None,
            SdkError::ConstructionFailure(_) => {
                let detail =
                    format!("{action} in {account} was not sent: {}", clean(&DisplayErrorContext(error).to_string()));
                return Trouble::new(TroubleKind::Broken, detail).into();
            }
            SdkError::TimeoutError(_) => Some("AWS did not answer in time"),
            SdkError::DispatchFailure(_) => Some("AWS could not be reached"),
            _ => Some("the answer was lost"),
        };
        if let Some(what) = status {
            let detail = format!("{action} in {account}: {what}: {}", clean(&causes(error)));
            return Fault {
                trouble: Trouble::new(TroubleKind::Unreachable, detail),
                code: String::new(),
                refused: false,
            };
        }
        let kind = kind(code);
        let advice = match kind {
            TroubleKind::Denied if code.starts_with("LimitExceeded") || code.starts_with("ServiceQuota") => {
                "a quota is used up: free some of it, or have it raised".to_owned()
            }
            TroubleKind::Denied if code.contains("Expired") => {
                "the credentials are over and were not renewed".to_owned()
            }
            TroubleKind::Denied => format!("{caller} lacks the permission: allow it {action}"),
            TroubleKind::Throttled => "AWS says to slow down; it is tried again".to_owned(),
            TroubleKind::Gone => "what the grant names must be there, spelled as AWS has it".to_owned(),
            TroubleKind::Unreachable => "AWS itself failed; it is tried again".to_owned(),
            TroubleKind::Broken => "AWS does not take this call".to_owned(),
        };
        let detail = format!("{code} on {action} in {account}: {}; {advice}", clean(said));
        Fault { trouble: Trouble::new(kind, detail), code: code.to_owned(), refused: kind != TroubleKind::Unreachable }
    }
}

/// The consequence of AWS's code. A code that nobody knows is AWS's failure only if it says so.
fn kind(code: &str) -> TroubleKind {
    match code {
        _ if throttles(code) => TroubleKind::Throttled,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "OptInRequired"
        | "LimitExceeded"
        | "LimitExceededException"
        | "ServiceQuotaExceededException"
        | "UnmodifiableEntity"
        | "UnmodifiableEntityException" => TroubleKind::Denied,
        "NoSuchEntity"
        | "NoSuchEntityException"
        | "ResourceNotFoundException"
        | "InvalidInstanceId"
        | "InvalidDocument"
        | "InvalidInstanceID.NotFound" => TroubleKind::Gone,
        "InternalFailure"
        | "InternalError"
        | "InternalServerError"
        | "InternalServerException"
        | "InternalServiceError"
        | "ServiceFailure"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "Unavailable"
        | "" => TroubleKind::Unreachable,
        _ => TroubleKind::Broken,
    }
}

/// Whether AWS's code says to slow down. A conflict is one: another change of the same thing is under way.
pub fn throttles(code: &str) -> bool {
    code.contains("Throttl")
        || matches!(
            code,
            "RequestLimitExceeded"
                | "TooManyRequestsException"
                | "SlowDown"
                | "BandwidthLimitExceeded"
                | "ConflictException"
                | "ConcurrentModification"
                | "ConcurrentModificationException"
                | "EntityTemporarilyUnmodifiable"
                | "EntityTemporarilyUnmodifiableException"
        )
}

/// The deepest causes of an error say most.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts.dedup();
    texts.join(": ")
}

/// One line, of bounded length.
fn clean(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    text.trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_by_consequence() {
        for (code, expected) in [
            ("AccessDenied", TroubleKind::Denied),
            ("UnauthorizedOperation", TroubleKind::Denied),
            ("LimitExceeded", TroubleKind::Denied),
            ("ExpiredTokenException", TroubleKind::Denied),
            ("Throttling", TroubleKind::Throttled),
            ("ThrottlingException", TroubleKind::Throttled),
            ("RequestLimitExceeded", TroubleKind::Throttled),
            ("ConflictException", TroubleKind::Throttled),
            ("NoSuchEntity", TroubleKind::Gone),
            ("InvalidInstanceId", TroubleKind::Gone),
            ("ResourceNotFoundException", TroubleKind::Gone),
            ("InternalFailure", TroubleKind::Unreachable),
            ("ServiceUnavailable", TroubleKind::Unreachable),
            ("", TroubleKind::Unreachable),
            ("ValidationException", TroubleKind::Broken),
            ("SomethingNew", TroubleKind::Broken),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }

    #[test]
    fn what_aws_says_is_one_line_of_bounded_length() {
        assert_eq!(clean("User: a\nis not\u{7} authorized."), "User: a is not  authorized");
        assert_eq!(clean(&"x".repeat(5_000)).len(), LONGEST);
    }
}
