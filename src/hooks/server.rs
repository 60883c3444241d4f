use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Keys, Settings,
    judge::{Judge, Refusal, Word},
    memory::Hush,
};

/// However many webhooks come, there is one fetch in this time at most.
pub const WINDOW: Duration = Duration::from_secs(5);
/// How long a request may take, from the connection to the last byte of its body.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the answer may take after that.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest body, bytes.
pub(super) const BODY: usize = 64 * 1024;
/// Of a longer one so much is read and thrown away, bytes: who still sends does not hear that it is too long.
const DISCARD: usize = 1024 * 1024;
/// The longest headers, bytes.
const HEAD: usize = 16 * 1024;
/// How many connections are served at once. Others wait in the kernel.
pub(super) const CONNECTIONS: usize = 64;
/// After an accept that failed, for want of file descriptors mostly.
const BREATH: Duration = Duration::from_millis(100);

/// A listener for webhooks.
pub struct Hooks {
    listener: TcpListener,
    judge: Judge,
    heard: Notify,
    hush: Mutex<Hush>,
    pub(super) patience: Duration,
    pub(super) window: Duration,
}

impl Hooks {
    /// Reads the secrets and listens. Nothing is answered before [`Hooks::serve`]. `credentials` is systemd's
    /// credentials directory.
    ///
    /// # Errors
    /// A sentence that says what to change: a secret that cannot be used, an address that cannot be had.
    pub async fn open(settings: &Settings, credentials: Option<&Path>) -> Result<Self, String> {
        let keys = Keys::open(settings, credentials)?;
        let listen = settings.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            format!(
                "hooks: {listen} cannot be listened on: {error}; end what listens there, or write another address and \
                 port to `listen`"
            )
        })?;
        Ok(Self {
            listener,
            judge: Judge::new(keys),
            heard: Notify::new(),
            hush: Mutex::default(),
            patience: PATIENCE,
            window: WINDOW,
        })
    }

    /// Where it listens: the port, too, if the settings left it to the kernel by 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// The secrets, for who wants them read again.
    pub fn keys(&self) -> Arc<Keys> {
        self.judge.keys.clone()
    }

    /// Answers for ever. `hint` hears of pushes: of the first at once, then at most once in [`WINDOW`]; what came in
    /// between is one hint at its end, and none is lost. It must not block. May be called again after it broke off.
    pub async fn serve(self: Arc<Self>, hint: impl Fn()) {
        tokio::select! {
            biased;
            () = pace(&self.heard, || sleep(self.window), hint) => {}
            () = self.listen() => {}
        }
    }

    async fn listen(&self) {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = open.next(), if !open.is_empty() => {}
                (stream, peer) = self.accept(), if open.len() < CONNECTIONS => open.push(self.attend(stream, peer)),
            }
        }
    }

    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    if let Some(silent) = self.hush() {
                        tracing::warn!(error = %error, silent, "a webhook's connection cannot be taken");
                    }
                    sleep(BREATH).await;
                }
            }
        }
    }

    /// One connection: one request, one answer, within the time.
    async fn attend(&self, stream: TcpStream, peer: SocketAddr) {
        let deadline = Instant::now() + self.patience;
        let service = service_fn(|request| self.answer(request, peer, deadline));
        let connection = http1::Builder::new()
            .keep_alive(false)
            .half_close(true)
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        match timeout_at(deadline + FAREWELL, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.tell("no whole HTTP request", peer),
            Err(_) => self.tell("too slow", peer),
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        deadline: Instant,
    ) -> Result<Response<Empty<Bytes>>, Infallible> {
        let mut answer = Response::new(Empty::new());
        *answer.status_mut() = match self.hear(request, deadline).await {
            Ok(Word::Pushed) => {
                self.heard.notify_one();
                StatusCode::ACCEPTED
            }
            Ok(Word::Again | Word::Other) => StatusCode::OK,
            Err(Refusal { status, reason }) => {
                self.tell(reason, peer);
                status
            }
        };
        if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        Ok(answer)
    }

    async fn hear(&self, request: Request<Incoming>, deadline: Instant) -> Result<Word, Refusal> {
        let (head, body) = request.into_parts();
        let (forge, key) = self.judge.admit(&head)?;
        let slow = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "too slow");
        let body = timeout_at(deadline, read(body)).await.map_err(slow)??;
        let word = self.judge.word(forge, &key, &head, &body)?;
        tracing::debug!(forge = forge.name(), ?word, "webhook");
        Ok(word)
    }

    /// Tells the log of a refusal, now and then.
    fn tell(&self, reason: &'static str, peer: SocketAddr) {
        if let Some(silent) = self.hush() {
            tracing::info!(reason, peer = %peer, silent, "a webhook is refused");
        }
    }

    fn hush(&self) -> Option<u64> {
        self.hush.lock().unwrap_or_else(PoisonError::into_inner).tell(Instant::now())
    }
}

/// A whole body, as its bytes are on the wire.
async fn read(mut body: Incoming) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut size = 0usize;
    while let Some(frame) = body.frame().await {
        let cut = |_| Refusal::new(StatusCode::BAD_REQUEST, "a body that was cut off");
        let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
        size = size.saturating_add(data.len());
        if size <= BODY {
            bytes.extend_from_slice(&data);
        } else if size > DISCARD {
            break;
        }
    }
    if size > BODY { Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "a body over 64 KiB")) } else { Ok(bytes) }
}

/// Joins hints: the first is told at once; those that come during the rest after it are one, told when it is over.
pub(super) async fn pace<F: Future<Output = ()>>(heard: &Notify, rest: impl Fn() -> F, hint: impl Fn()) {
    loop {
        // It keeps one hint, and no more, while nobody waits.
        heard.notified().await;
        tracing::info!("a webhook tells of a push: the branch is asked");
        hint();
        rest().await;
    }
}
