use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Hooks, Keys, Settings};

mod examples;
mod http;
mod keys;
mod parts;

const GITHUB: &str = "It's-a-Secret-to-Everybody";
const GITLAB: &str = "another-secret-of-the-tests";
/// How long a state is waited for before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listener on loopback with both secrets, or with GitHub's alone.
struct Post {
    address: SocketAddr,
    hints: Arc<AtomicUsize>,
    keys: Arc<Keys>,
    folder: TempDir,
    _runtime: Runtime,
}

impl Post {
    fn new() -> Self {
        Self::with(true, |_| {})
    }

    fn with(gitlab: bool, set: impl FnOnce(&mut Hooks)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("github"), format!("{GITHUB}\n")).unwrap();
        fs::write(folder.path().join("gitlab"), GITLAB).unwrap();
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            github: Some("credential:github".into()),
            gitlab: gitlab.then(|| folder.path().join("gitlab").display().to_string()),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut hooks = runtime.block_on(Hooks::open(&settings, Some(folder.path()))).unwrap();
        set(&mut hooks);
        let (address, keys, hints) = (hooks.address().unwrap(), hooks.keys(), Arc::new(AtomicUsize::new(0)));
        let heard = hints.clone();
        runtime.spawn(std::sync::Arc::new(hooks).serve(move || {
            heard.fetch_add(1, Ordering::SeqCst);
        }));
        Self { address, hints, keys, folder, _runtime: runtime }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn hints(&self) -> usize {
        self.hints.load(Ordering::SeqCst)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes and answers everything that comes back.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The listener may have had enough before the end.
        let _ = stream.write_all(bytes);
        heard(&mut stream)
    }

    /// Sends a request and answers its status.
    fn send(&self, request: &Sent) -> u16 {
        status(&self.raw(&request.bytes()))
    }
}

/// Everything until the other end hangs up.
fn heard(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .unwrap_or_else(|| panic!("{answer:?}"))
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A request as it goes over the wire.
#[derive(Clone)]
struct Sent {
    line: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Sent {
    /// What GitHub sends, signed.
    fn github(event: &str, id: &str, body: &[u8]) -> Self {
        let headers = vec![
            ("X-GitHub-Event", event.to_owned()),
            ("X-GitHub-Delivery", id.to_owned()),
            ("X-Hub-Signature-256", signature(GITHUB, body)),
            ("Content-Type", "application/json".to_owned()),
        ];
        Self { line: "POST /hooks/github", headers, body: body.into() }
    }

    /// What GitLab sends.
    fn gitlab(event: &str, id: &str, body: &[u8]) -> Self {
        let headers = vec![
            ("X-Gitlab-Event", event.to_owned()),
            ("Idempotency-Key", id.to_owned()),
            ("X-Gitlab-Token", GITLAB.to_owned()),
        ];
        Self { line: "POST /hooks/gitlab", headers, body: body.into() }
    }

    /// With this in place of a header.
    fn put(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(header, _)| *header != name);
        self.headers.push((name, value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        let before = self.headers.len();
        self.headers.retain(|(header, _)| *header != name);
        assert!(self.headers.len() < before, "there was no {name}");
        self
    }

    fn head(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{} HTTP/1.1\r\nHost: grantd\r\n{headers}", self.line)
    }

    fn bytes(&self) -> Vec<u8> {
        let head = format!("{}Content-Length: {}\r\n\r\n", self.head(), self.body.len());
        [head.as_bytes(), &self.body].concat()
    }

    /// In chunks of this many bytes.
    fn chunked(&self, size: usize) -> Vec<u8> {
        let mut bytes = format!("{}Transfer-Encoding: chunked\r\n\r\n", self.head()).into_bytes();
        for chunk in self.body.chunks(size) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }
}

fn signature(secret: &str, body: &[u8]) -> String {
    let tag = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize().into_bytes();
    let digits: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}
