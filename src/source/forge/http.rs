use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderValue},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{settings::address, wire::Wire};
use crate::{
    model::{Outside, Said, Text, moment},
    source::{login::Token, words::clean},
};

/// Why there is no review to be told of, in a sentence.
#[derive(Debug)]
pub enum Failure {
    Away(String),
    Missing(String),
}

impl From<Failure> for Said {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(why) => Self::Away(Text::from(why.as_str())),
            Failure::Missing(why) => Self::Missing(Text::from(why.as_str())),
        }
    }
}

/// What one answer, and one question made of many, may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connect: Duration,
    /// One request, to the last byte of its answer.
    pub request: Duration,
    /// All requests for one commit.
    pub whole: Duration,
    /// Bytes of one answer.
    pub body: usize,
    /// Pages of one list.
    pub pages: usize,
}

pub const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    request: Duration::from_secs(15),
    whole: Duration::from_secs(60),
    body: 8 * 1024 * 1024,
    pages: 20,
};
/// How long a forge is left alone that says "too much" and not how long: GitHub asks for a minute.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);
/// However long it says: its limits are by the hour, and a wrong clock must not silence us for ever.
const MOST_PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// A connection to one forge, kept open between questions.
#[derive(Debug)]
pub struct Forge {
    http: Wire,
    api: Uri,
    token: PathBuf,
    headers: &'static [(&'static str, &'static str)],
    pub limits: Limits,
    /// Before this moment the forge does not want to be asked.
    quiet: Mutex<Option<Timestamp>>,
}

impl Forge {
    pub fn new(
        api: &str,
        token: PathBuf,
        headers: &'static [(&'static str, &'static str)],
        limits: Limits,
        outside: &Outside,
    ) -> Result<Self, String> {
        let api = address(api)?;
        let http = Wire::new(&api, outside, &limits)?;
        Ok(Self { http, api, token, headers, limits, quiet: Mutex::new(None) })
    }

    /// Begins a question. Reads the token, because tokens are renewed.
    pub async fn begin(&self, now: Timestamp) -> Result<Asking<'_>, Failure> {
        if let Some(until) = self.quiet().filter(|until| now < *until) {
            return Err(Failure::Away(format!("{} wants to be asked again after {}", self.host(), moment(until))));
        }
        let token = Token::load(&self.token).await.map_err(Failure::Away)?;
        Ok(Asking { forge: self, token, now })
    }

    pub fn host(&self) -> &str {
        self.api.host().unwrap_or("the forge")
    }

    fn hush(&self, until: Timestamp) {
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = (*quiet).max(Some(until));
    }

    /// Until when it wants to be left alone.
    fn quiet(&self) -> Option<Timestamp> {
        *self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self, path: &str) -> Result<Uri, Failure> {
        let api = self.api.to_string();
        let url = format!("{}/{path}", api.trim_end_matches('/'));
        url.parse().map_err(|_| Failure::Away(format!("{path} cannot be asked for: its name makes no address")))
    }

    /// The address of a next page. It is the forge's own word, so the token is sent nowhere but where it came from.
    fn next(&self, link: &str) -> Result<Uri, Failure> {
        let place = |uri: &Uri| {
            let secure = uri.scheme_str() == Some("https");
            let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
            (uri.scheme_str().map(str::to_owned), uri.host().map(str::to_ascii_lowercase), port)
        };
        match link.parse::<Uri>() {
            Ok(next)
                if place(&next) == place(&self.api) && !next.authority().is_some_and(|a| a.as_str().contains('@')) =>
            {
                Ok(next)
            }
            _ => Err(Failure::Away(format!(
                "{} says that its next page is at another place, where nothing is read: correct `api`",
                self.host()
            ))),
        }
    }
}

/// One question to a forge, made of several requests.
pub struct Asking<'a> {
    forge: &'a Forge,
    token: Token,
    now: Timestamp,
}

struct Answer {
    body: Vec<u8>,
    next: Option<Uri>,
}

impl Asking<'_> {
    /// One thing; none if the forge knows no such thing or does not show it.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        let answer = self.ask(self.forge.url(path)?).await?;
        answer.map(|answer| self.read(path, &answer.body)).transpose()
    }

    /// A whole list; none if the forge knows no such list.
    pub async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Option<Vec<T>>, Failure> {
        self.list_until(path, |_| false).await
    }

    /// A list up to the page after which `enough` holds of all that was read.
    pub async fn list_until<T: DeserializeOwned>(
        &self,
        path: &str,
        enough: impl Fn(&[T]) -> bool + Send,
    ) -> Result<Option<Vec<T>>, Failure> {
        let mut url = self.forge.url(path)?;
        let mut all = Vec::new();
        for _ in 0..self.forge.limits.pages {
            let Some(answer) = self.ask(url).await? else { return Ok(None) };
            all.extend(self.read::<Vec<T>>(path, &answer.body)?);
            match answer.next {
                Some(next) if !enough(&all) => url = next,
                _ => return Ok(Some(all)),
            }
        }
        Err(Failure::Missing(format!(
            "{} lists more under {} than the {} pages that are read",
            self.forge.host(),
            name(path),
            self.forge.limits.pages
        )))
    }

    fn read<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, Failure> {
        // The place alone: what stands there is the forge's word, and may be anything.
        serde_json::from_slice(body).map_err(|e| {
            let (host, name) = (self.forge.host(), name(path));
            Failure::Away(format!(
                "{host} answers {name} with what makes no sense at line {}, column {}",
                e.line(),
                e.column()
            ))
        })
    }

    async fn ask(&self, url: Uri) -> Result<Option<Answer>, Failure> {
        let limits = &self.forge.limits;
        let path = url.path().to_owned();
        match timeout(limits.request, self.ask_patiently(url, &path)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.away(format!("does not answer {path} within {:?}", limits.request))),
        }
    }

    async fn ask_patiently(&self, url: Uri, path: &str) -> Result<Option<Answer>, Failure> {
        let response = self.forge.http.request(self.request(url)?).await;
        let response =
            response.map_err(|e| self.away(format!("cannot be reached{}: {}", self.forge.http.way(), causes(&e))))?;
        let status = response.status();
        // A page that cannot be named is not the last one: what is said there may take an approval back.
        let next = next_link(response.headers()).map_err(|_| self.away("names its next page unreadably".into()))?;
        let next = next.map(str::to_owned);
        if status == StatusCode::OK {
            let body = self.body(response, path).await?;
            let next = next.map(|link| self.forge.next(&link)).transpose()?;
            return Ok(Some(Answer { body, next }));
        }
        if let Some(until) = self.patience(status, response.headers()) {
            self.forge.hush(until);
            return Err(self.away(format!("has been asked too much: it will be asked again after {}", moment(until))));
        }
        let headers = response.headers().clone();
        let said = self.excerpt(response, path).await;
        match status {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE | StatusCode::UNPROCESSABLE_ENTITY => {
                Ok(None)
            }
            StatusCode::UNAUTHORIZED => {
                Err(self.away(format!("does not accept the token in {}: renew it{said}", self.forge.token.display())))
            }
            // GitHub says some of its limits in prose alone.
            StatusCode::FORBIDDEN if said.contains("rate limit") => {
                let until = self.until(&headers);
                self.forge.hush(until);
                Err(self.away(format!("has been asked too much: it will be asked again after {}", moment(until))))
            }
            StatusCode::FORBIDDEN => Err(self.away(format!(
                "forbids to read {path}: give the token in {} the right to read it{said}",
                self.forge.token.display()
            ))),
            status if status.is_redirection() => Err(self.away(format!(
                "answers {path} with a redirect, which is not followed: correct `repository` and `api`"
            ))),
            status => Err(self.away(format!("answers {path} with {}{said}", status.as_u16()))),
        }
    }

    fn request(&self, url: Uri) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut token = HeaderValue::from_str(&format!("Bearer {}", self.token.plain()))
            .map_err(|_| self.away("cannot be sent the token: it holds what no header can".into()))?;
        token.set_sensitive(true);
        let mut request = Request::get(url)
            .header(header::AUTHORIZATION, token)
            .header(header::USER_AGENT, concat!("grantd/", env!("CARGO_PKG_VERSION")));
        for (name, value) in self.forge.headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).map_err(|e| self.away(format!("cannot be asked: {e}")))
    }

    async fn body(&self, response: Response<Incoming>, path: &str) -> Result<Vec<u8>, Failure> {
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|e| self.away(format!("breaks off its answer to {path}: {}", causes(&e))))?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > self.forge.limits.body {
                let most = self.forge.limits.body;
                return Err(self.away(format!("answers {path} with more than {most} bytes, which are not read")));
            }
            body.extend_from_slice(&data);
        }
        Ok(body)
    }

    /// What the forge says of its refusal, as the end of a sentence, cut and without secrets.
    async fn excerpt(&self, response: Response<Incoming>, path: &str) -> String {
        const CHARACTERS: usize = 200;
        #[derive(Deserialize)]
        struct Message {
            message: String,
        }
        let body = self.body(response, path).await.unwrap_or_default();
        let Ok(Message { message }) = serde_json::from_slice(&body) else { return String::new() };
        let said: String = clean(&message, Some(&self.token)).chars().take(CHARACTERS).collect();
        format!(" (it says: {said})")
    }

    /// Until when the forge wants to be left alone, if it says so.
    fn patience(&self, status: StatusCode, headers: &HeaderMap) -> Option<Timestamp> {
        let limited = match status {
            StatusCode::TOO_MANY_REQUESTS => true,
            StatusCode::FORBIDDEN => {
                headers.contains_key(header::RETRY_AFTER) || number(headers, "x-ratelimit-remaining") == Some(0)
            }
            StatusCode::SERVICE_UNAVAILABLE => headers.contains_key(header::RETRY_AFTER),
            _ => false,
        };
        limited.then(|| self.until(headers))
    }

    fn until(&self, headers: &HeaderMap) -> Timestamp {
        let after = |wait: SignedDuration| self.now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let reset = || {
            let none_left =
                number(headers, "x-ratelimit-remaining").or(number(headers, "ratelimit-remaining")) == Some(0);
            let at = number(headers, "x-ratelimit-reset").or(number(headers, "ratelimit-reset"))?;
            if none_left { Timestamp::from_second(at).ok() } else { None }
        };
        let until =
            number(headers, "retry-after").map(|seconds| after(SignedDuration::from_secs(seconds))).or_else(reset);
        until.unwrap_or_else(|| after(PATIENCE)).clamp(self.now, after(MOST_PATIENCE))
    }

    pub fn away(&self, what: String) -> Failure {
        Failure::Away(format!("{} {what}", self.forge.host()))
    }

    pub fn missing(&self, what: String) -> Failure {
        Failure::Missing(format!("{} {what}", self.forge.host()))
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// What a person knows of an address: without its query.
fn name(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// The target of `rel="next"` in the header `Link`.
fn next_link(headers: &HeaderMap) -> Result<Option<&str>, header::ToStrError> {
    for value in headers.get_all(header::LINK) {
        let next = value.to_str()?.split('<').filter_map(|part| part.split_once('>')).find_map(|(url, parameters)| {
            let mut parameters = parameters.split([';', ',']).map(str::trim);
            parameters.any(|p| matches!(p, r#"rel="next""# | "rel=next")).then_some(url)
        });
        if next.is_some() {
            return Ok(next);
        }
    }
    Ok(None)
}

/// An error with what is behind it: hyper's own words say little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    clean(&text, None)
}
