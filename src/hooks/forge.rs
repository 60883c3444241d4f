use hyper::HeaderMap;

use super::keys::Key;

/// Who posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forge {
    GitHub,
    GitLab,
}

impl Forge {
    /// Who posts to a path.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/hooks/github" => Some(Self::GitHub),
            "/hooks/gitlab" => Some(Self::GitLab),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
        }
    }

    /// Whether the forge sent this, as far as the secret proves it. GitHub signs the body; GitLab sends the secret,
    /// which says nothing of the body.
    ///
    /// # Errors
    /// Why not, for the log.
    pub(super) fn check(self, key: &Key, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
        let good = match self {
            Self::GitHub => {
                let signature = only(headers, "x-hub-signature-256").ok_or("no signature by SHA-256, or several")?;
                let tag = tag(signature).ok_or("a signature in another form")?;
                key.signed(body, &tag)
            }
            Self::GitLab => key.is(only(headers, "x-gitlab-token").ok_or("no token, or several")?),
        };
        if good { Ok(()) } else { Err("another secret, or a changed body") }
    }

    /// Whether it tells of a push.
    pub(super) fn push(self, headers: &HeaderMap) -> bool {
        match self {
            Self::GitHub => only(headers, "x-github-event") == Some(b"push"),
            Self::GitLab => only(headers, "x-gitlab-event") == Some(b"Push Hook"),
        }
    }

    /// What is the same when the same delivery is sent again. Neither forge signs it.
    pub(super) fn delivery(self, headers: &HeaderMap) -> Option<&[u8]> {
        match self {
            Self::GitHub => only(headers, "x-github-delivery"),
            // Before GitLab 17.4 there was no key; the event's id is shared by events that a webhook's own work caused.
            Self::GitLab => only(headers, "idempotency-key").or_else(|| only(headers, "x-gitlab-event-uuid")),
        }
    }
}

/// A header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}

/// `sha256=` and 64 digits in lower case, as GitHub writes them.
fn tag(signature: &[u8]) -> Option<[u8; 32]> {
    let (pairs, rest) = signature.strip_prefix(b"sha256=")?.as_chunks::<2>();
    let mut tag = [0; 32];
    if !rest.is_empty() || pairs.len() != tag.len() {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    for (byte, [high, low]) in tag.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(tag)
}
