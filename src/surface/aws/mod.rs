//! AWS itself: one daemon, many accounts and regions. Sessions, budgets, and what every call has in common.
//!
//! Each call goes through [`Aws::call`]: with the account's session, within the budget of its API, in time or not at all, and
//! with an error that says what follows from it. Whether a write was refused or may have landed is the difference that
//! matters: see [`Fault`].
//!
//! | file | does |
//! |---|---|
//! | `session` | credentials account by account, clients, partitions |
//! | `budget` | how many calls a second each API gets |
//! | `trouble` | errors by consequence |
//! | `adapter` | what surfaces have in common whose access is one record: look, act, read back |
//! | `iam`, `sso`, `ssm`, `recall`, `documents` | the services, as the surfaces need them |
//! | `check` | what `grantd doctor` asks |
//! | `wire` | the connections, by themselves or through a proxy |

mod adapter;
mod budget;
mod check;
mod documents;
mod iam;
mod recall;
mod session;
mod ssm;
mod sso;
mod trouble;
pub mod wire;

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, OnceCell, OwnedMutexGuard, Semaphore};

use super::{
    Settings,
    act::called_off,
    model::{Account, Clock, Text, Trouble, TroubleKind, moment},
};

pub use adapter::{Adapter, Remote, Told, blind, parts};
pub use documents::Installed;
pub use iam::{Kind, Principal};
pub use recall::{Sought, Trace};
pub use session::{Partition, Session};
pub use ssm::{Answer, Command};
pub use trouble::Fault;

use budget::{Api, Budget};

/// Calls under way in one account and region at a time.
const ABREAST: usize = 16;

/// A handle on AWS; clones share sessions and budgets.
#[derive(Clone)]
pub struct Aws {
    shared: Arc<Shared>,
}

/// Reads the secret behind `credential:NAME` or a path.
pub type Secrets = Box<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// What the edge knows of the process and its surroundings.
pub struct Edge {
    pub clock: Arc<dyn Clock>,
    /// The daemon's name in CloudTrail, such as the host's.
    pub daemon: String,
    /// Reads a secret that the configuration names as `credential:NAME`.
    pub secret: Secrets,
    /// Sixteen random bytes.
    pub random: fn() -> std::io::Result<[u8; 16]>,
    /// How AWS is reached, and with whose credentials; otherwise what the SDK's default chain finds around the process.
    pub base: Option<aws_config::SdkConfig>,
    /// The connections by which it is reached.
    pub http: SharedHttpClient,
}

struct Shared {
    edge: Edge,
    /// By their 12 digits.
    accounts: RwLock<BTreeMap<Text, Account>>,
    settings: RwLock<Arc<Settings>>,
    base: OnceCell<aws_config::SdkConfig>,
    sessions: Mutex<HashMap<Text, Arc<Mutex<Option<Session>>>>>,
    gates: std::sync::Mutex<HashMap<(Text, Text), Arc<Semaphore>>>,
    documents: Mutex<HashMap<String, Arc<Mutex<Option<documents::Pinned>>>>>,
    directory: Mutex<sso::Directory>,
    /// Identity Center changes one thing at a time in an account.
    lanes: Mutex<HashMap<Text, Arc<Mutex<()>>>>,
    budget: Arc<Budget>,
    /// AWS's time less ours, by its last answer.
    skew: Arc<std::sync::Mutex<Option<SignedDuration>>>,
}

/// Where a call goes, and what it is.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    account: &'a str,
    region: &'a str,
    action: &'static str,
    urgent: bool,
    by: Option<Timestamp>,
    off: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl<'a> Call<'a> {
    /// `region`: empty for a global service (IAM), which answers in one region of the account's partition. `action`: as in a
    /// policy, `iam:AttachRolePolicy`.
    pub fn new(account: &'a str, region: &'a str, action: &'static str) -> Self {
        Self { account, region, action, urgent: false, by: None, off: None }
    }

    /// A revocation, or the look that proves it: may use what is kept for these.
    pub fn urgent(self, urgent: bool) -> Self {
        Self { urgent, ..self }
    }

    /// Must not go out after this moment.
    pub fn by(self, by: Option<Timestamp>) -> Self {
        Self { by, ..self }
    }

    /// Must not go out once this says that it is called off.
    pub fn unless(self, off: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { off: Some(off), ..self }
    }
}

tokio::task_local! {
    /// Whether an attempt of the call under way came to no answer, so that it may have been done whatever a later one says.
    static DOUBT: Cell<bool>;
}

impl Aws {
    pub fn new(mut edge: Edge) -> Self {
        let base = OnceCell::new_with(edge.base.take());
        let shared = Shared {
            edge,
            accounts: RwLock::default(),
            settings: RwLock::default(),
            base,
            sessions: Mutex::default(),
            gates: std::sync::Mutex::default(),
            documents: Mutex::default(),
            directory: Mutex::default(),
            lanes: Mutex::default(),
            budget: Arc::default(),
            skew: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes accounts and settings of a configuration. Accounts are added and changed, never taken out: access may be owed
    /// there.
    pub fn configure<'a>(&self, accounts: impl Iterator<Item = &'a Account>, settings: &Settings) {
        let mut known = self.shared.accounts.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(accounts.map(|account| (account.id.clone(), account.clone())));
        *self.shared.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.clone());
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        self.shared.edge.clock.clone()
    }

    /// How far AWS's clock is ahead of ours, if it has answered.
    pub fn skew(&self) -> Option<SignedDuration> {
        *self.shared.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// 32 hexadecimal digits that nobody can guess.
    pub fn nonce(&self) -> Result<String, Trouble> {
        let bytes = (self.shared.edge.random)()
            .map_err(|error| Trouble::new(TroubleKind::Broken, format!("the kernel gives no random bytes: {error}")))?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.shared.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The account as the configuration has it.
    pub fn account(&self, id: &str) -> Result<Account, Trouble> {
        let accounts = self.shared.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.get(id).cloned().ok_or_else(|| {
            let detail = format!("account {id} is not in the configuration: put it back under `accounts`");
            Trouble::new(TroubleKind::Denied, detail)
        })
    }

    /// The ids of all accounts.
    pub fn accounts(&self) -> Vec<Text> {
        self.shared.accounts.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Makes one call, within the budget, with fresh credentials. An answer that says the credentials are over is asked for
    /// again with new ones, once.
    pub async fn call<T, E, R, F>(&self, call: Call<'_>, send: impl Fn(&Session, &str) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, SdkError<E, R>>>,
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        self.doubtful(call, send).await.map(|(answer, _)| answer)
    }

    /// The same. Says too whether an attempt before the one that was answered came to no answer: then it may have been done
    /// twice.
    async fn doubtful<T, E, R, F>(&self, call: Call<'_>, send: impl Fn(&Session, &str) -> F) -> Result<(T, bool), Fault>
    where
        F: Future<Output = Result<T, SdkError<E, R>>>,
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        // Without a session nothing goes out.
        let unsent = |fault: Fault| Fault { refused: true, ..fault };
        let session = self.session(call.account).await.map_err(unsent)?;
        match self.attempt(call, &session, &send).await {
            Err(first) if first.expired() => {
                self.forget(call.account, &session).await;
                let again = match self.session(call.account).await.map_err(unsent) {
                    Ok(session) => {
                        let answer = self.attempt(call, &session, &send).await;
                        answer.map(|(answer, doubt)| (answer, doubt || !first.refused))
                    }
                    Err(fault) => Err(fault),
                };
                again.map_err(|fault| Fault { refused: fault.refused && first.refused, ..fault })
            }
            answer => answer,
        }
    }

    async fn attempt<T, E, R, F>(
        &self,
        call: Call<'_>,
        session: &Session,
        send: &impl Fn(&Session, &str) -> F,
    ) -> Result<(T, bool), Fault>
    where
        F: Future<Output = Result<T, SdkError<E, R>>>,
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let Call { account, region, action, urgent, by, off } = call;
        let region = if region.is_empty() { session.partition().home() } else { region };
        let api: Api = format!("{account}/{region}/{action}").into();
        self.shared.budget.take(&api, urgent).await;
        // A revocation never waits behind grants.
        let gate = self.gate(account, region);
        let _pass = if urgent { None } else { gate.acquire().await.ok() };
        if off.is_some_and(|off| off()) {
            return Err(called_off().into());
        }
        let now = self.clock().now();
        if let Some(by) = by.filter(|by| now > *by) {
            let detail = format!(
                "{action} waited until {} for its turn, and was to be made by {}: it was not",
                moment(now),
                moment(by)
            );
            return Err(Trouble::new(TroubleKind::Unreachable, detail).into());
        }
        tracing::debug!(%api, "call");
        let sent = async {
            let answer = send(session, region).await;
            (answer, DOUBT.with(Cell::get))
        };
        let (answer, doubt) = DOUBT.scope(Cell::new(false), sent).await;
        answer.map(|answer| (answer, doubt)).map_err(|error| {
            let caller = session.caller();
            let fault = trouble::Called { action, account, caller }.fault(&error);
            Fault { refused: fault.refused && !doubt, ..fault }
        })
    }

    async fn lane(&self, account: &str) -> OwnedMutexGuard<()> {
        let lane = self.shared.lanes.lock().await.entry(account.into()).or_default().clone();
        lane.lock_owned().await
    }

    fn gate(&self, account: &str, region: &str) -> Arc<Semaphore> {
        let mut gates = self.shared.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry((account.into(), region.into())).or_insert_with(|| Arc::new(Semaphore::new(ABREAST))).clone()
    }
}

/// Where the next page begins, if there is one. Some services end with an empty token, and one that repeats itself would
/// never end.
pub fn more(token: Option<String>, before: Option<&str>) -> Option<String> {
    token.filter(|token| !token.is_empty() && Some(token.as_str()) != before)
}

/// How long to wait before each look again at something that AWS shows late, and how often at most.
pub const LOOKS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
