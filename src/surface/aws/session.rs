//! Credentials, account by account, and the clients that carry them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sts::{
    config::{
        ConfigBag, Credentials, Intercept, RuntimeComponents, SharedCredentialsProvider,
        interceptors::FinalizerInterceptorContextRef,
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use jiff::{SignedDuration, fmt::rfc2822};
use tokio::time::Instant;

use super::{
    super::model::{Account, Clock, Text, Trouble, TroubleKind},
    Aws, DOUBT,
    budget::{Api, Budget},
    trouble::{Called, Fault, throttles},
};

/// How long a session is asked for: the longest that a role may assume another for.
const SESSION: Duration = Duration::from_secs(3600);
/// How much of it is left unused.
const MARGIN: Duration = Duration::from_secs(300);

/// Credentials in one account, with a client a service and region.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Inner>,
}

struct Inner {
    config: SdkConfig,
    account: Text,
    partition: Partition,
    caller: String,
    /// The configuration that it was made by.
    by: Account,
    born: Instant,
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    skew: Arc<std::sync::Mutex<Option<SignedDuration>>>,
    clients: std::sync::Mutex<HashMap<Text, Arc<Clients>>>,
}

/// The clients of one region.
pub struct Clients {
    pub ec2: aws_sdk_ec2::Client,
    pub iam: aws_sdk_iam::Client,
    pub ssm: aws_sdk_ssm::Client,
    pub sso: aws_sdk_ssoadmin::Client,
    pub store: aws_sdk_identitystore::Client,
}

/// A partition of AWS: regions that share ARNs and one IAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// As in ARNs.
    pub name: &'static str,
    home: &'static str,
    prefix: &'static str,
}

/// The first is the one whose regions have no prefix of their own.
const PARTITIONS: [Partition; 8] = [
    Partition { name: "aws", home: "us-east-1", prefix: "" },
    Partition { name: "aws-cn", home: "cn-north-1", prefix: "cn-" },
    Partition { name: "aws-us-gov", home: "us-gov-west-1", prefix: "us-gov-" },
    Partition { name: "aws-iso", home: "us-iso-east-1", prefix: "us-iso-" },
    Partition { name: "aws-iso-b", home: "us-isob-east-1", prefix: "us-isob-" },
    Partition { name: "aws-iso-e", home: "eu-isoe-west-1", prefix: "eu-isoe-" },
    Partition { name: "aws-iso-f", home: "us-isof-south-1", prefix: "us-isof-" },
    Partition { name: "aws-eusc", home: "eusc-de-east-1", prefix: "eusc-" },
];

impl Partition {
    /// By the ARN of the role, or the regions.
    pub fn of(account: &Account) -> Self {
        let [aws, others @ ..] = PARTITIONS;
        let named = account.role.as_deref().and_then(|role| role.split(':').nth(1));
        let found = others.into_iter().find(|partition| match named {
            Some(name) => partition.name == name,
            None => account.regions.first().is_some_and(|region| region.starts_with(partition.prefix)),
        });
        found.unwrap_or(aws)
    }

    /// The region in which the partition's global services answer.
    pub fn home(self) -> &'static str {
        self.home
    }
}

impl Session {
    pub fn partition(&self) -> Partition {
        self.shared.partition
    }

    /// Who calls, for sentences.
    pub fn caller(&self) -> &str {
        &self.shared.caller
    }

    pub fn at(&self, region: &str) -> Arc<Clients> {
        let Inner { config, account, budget, clock, skew, clients, .. } = &*self.shared;
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let config = config.to_builder().region(Region::new(region.to_owned())).build();
            let meter = |service| Meter {
                place: format!("{account}/{region}/{service}:"),
                budget: budget.clone(),
                clock: clock.clone(),
                skew: skew.clone(),
            };
            Arc::new(Clients {
                ec2: aws_sdk_ec2::Client::from_conf(
                    aws_sdk_ec2::config::Builder::from(&config).interceptor(meter("ec2")).build(),
                ),
                iam: aws_sdk_iam::Client::from_conf(
                    aws_sdk_iam::config::Builder::from(&config).interceptor(meter("iam")).build(),
                ),
                ssm: aws_sdk_ssm::Client::from_conf(
                    aws_sdk_ssm::config::Builder::from(&config).interceptor(meter("ssm")).build(),
                ),
                sso: aws_sdk_ssoadmin::Client::from_conf(
                    aws_sdk_ssoadmin::config::Builder::from(&config).interceptor(meter("sso")).build(),
                ),
                store: aws_sdk_identitystore::Client::from_conf(
                    aws_sdk_identitystore::config::Builder::from(&config).interceptor(meter("identitystore")).build(),
                ),
            })
        };
        clients.entry(region.into()).or_insert_with(make).clone()
    }

    /// Whether it is near its end, or the configuration says another way in by now.
    fn over(&self, account: &Account) -> bool {
        let Account { id: _, role, external_id, regions: _ } = &self.shared.by;
        self.shared.born.elapsed() >= SESSION - MARGIN || (role, external_id) != (&account.role, &account.external_id)
    }
}

impl Aws {
    /// The session of an account, made anew when it is over.
    pub async fn session(&self, account: &str) -> Result<Session, Fault> {
        let by = self.account(account)?;
        let slot = self.shared.sessions.lock().await.entry(account.into()).or_default().clone();
        // Whoever comes meanwhile waits for the one that is being made; other accounts do not.
        let mut slot = slot.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.over(&by)) {
            return Ok(session.clone());
        }
        let session = self.begin(by).await?;
        *slot = Some(session.clone());
        Ok(session)
    }

    /// Drops an account's session: the next call makes a new one.
    pub(super) async fn forget(&self, account: &str, over: &Session) {
        let slot = self.shared.sessions.lock().await.get(account).cloned();
        let Some(slot) = slot else { return };
        let mut slot = slot.lock().await;
        // Somebody may have made a new one already.
        if slot.as_ref().is_some_and(|session| Arc::ptr_eq(&session.shared, &over.shared)) {
            *slot = None;
        }
    }

    async fn begin(&self, account: Account) -> Result<Session, Fault> {
        let id = &*account.id;
        let partition = Partition::of(&account);
        let base = self.base().await;
        let region = base.region().cloned().unwrap_or(Region::from_static(partition.home));
        let base = base.to_builder().region(region).build();
        let sts = aws_sdk_sts::Client::new(&base);
        let (config, caller) = match account.role.as_deref() {
            Some(role) => {
                let credentials = self.assume(&sts, &account, role).await?;
                let provider = SharedCredentialsProvider::new(credentials);
                (base.to_builder().credentials_provider(provider).build(), format!("the role {role}"))
            }
            None => {
                itself(&sts, id).await?;
                (base, "the daemon's own identity".to_owned())
            }
        };
        tracing::info!(account = id, caller, "session");
        let inner = Inner {
            config,
            account: id.into(),
            partition,
            caller,
            by: account.clone(),
            born: Instant::now(),
            budget: self.shared.budget.clone(),
            clock: self.clock(),
            skew: self.shared.skew.clone(),
            clients: std::sync::Mutex::default(),
        };
        Ok(Session { shared: Arc::new(inner) })
    }

    /// What the SDK's default chain finds: environment, profile, SSO, a broker, the instance's role. Loaded once, unless the
    /// edge brought it; the credentials behind it renew themselves.
    async fn base(&self) -> &SdkConfig {
        let load = || async {
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .operation_attempt_timeout(Duration::from_secs(20))
                .operation_timeout(Duration::from_secs(60));
            aws_config::defaults(BehaviorVersion::latest())
                .http_client(self.shared.edge.http.clone())
                .timeout_config(timeouts.build())
                .retry_config(RetryConfig::standard().with_max_attempts(3))
                .load()
                .await
        };
        self.shared.base.get_or_init(load).await
    }

    /// The session's name says in CloudTrail which daemon it was, and when it began.
    async fn assume(&self, sts: &aws_sdk_sts::Client, account: &Account, role: &str) -> Result<Credentials, Fault> {
        let external = account.external_id.as_deref().map(|name| (self.shared.edge.secret)(name));
        let external = external.transpose().map_err(|why| {
            Trouble::new(
                TroubleKind::Denied,
                format!("the external id of account {} cannot be read: {why}", account.id),
            )
        })?;
        let began = self.clock().now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let called = Called { action: "sts:AssumeRole", account: &account.id, caller: "the daemon's own identity" };
        let request = sts
            .assume_role()
            .role_arn(role)
            .role_session_name(format!("grantd-{}-{began}", self.shared.edge.daemon))
            .duration_seconds(i32::try_from(SESSION.as_secs()).unwrap_or(3600))
            .set_external_id(external);
        let answer = request.send().await.map_err(|error| {
            let mut fault = called.fault(&error);
            if fault.trouble.kind == TroubleKind::Denied {
                fault.trouble.detail = format!(
                    "{}, and let {role} trust it (with its external id, if it asks for one)",
                    fault.trouble.detail
                );
            }
            fault
        })?;
        let credentials = answer.credentials().ok_or_else(|| {
            Trouble::new(TroubleKind::Broken, format!("sts:AssumeRole in {} brought no credentials", account.id))
        })?;
        Ok(Credentials::new(
            credentials.access_key_id(),
            credentials.secret_access_key(),
            Some(credentials.session_token().to_owned()),
            None,
            "grantd",
        ))
    }
}

/// Without a role the daemon's own credentials count, and they must be of that account: whoever acts in another one grants
/// and revokes at the wrong place.
async fn itself(sts: &aws_sdk_sts::Client, id: &str) -> Result<(), Fault> {
    let called = Called { action: "sts:GetCallerIdentity", account: id, caller: "the daemon's own identity" };
    let answer = sts.get_caller_identity().send().await.map_err(|error| called.fault(&error))?;
    match answer.account() {
        Some(account) if account == id => Ok(()),
        other => {
            let other = other.unwrap_or("no account");
            let detail = format!(
                "the daemon's own identity belongs to {other}: name the role to assume in account {id} under `accounts`"
            );
            Err(Trouble::new(TroubleKind::Denied, detail).into())
        }
    }
}

/// Tells the budget how AWS takes each attempt, also those that the SDK repeats by itself; and compares clocks.
struct Meter {
    /// `ACCOUNT/REGION/SERVICE:`
    place: String,
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    skew: Arc<std::sync::Mutex<Option<SignedDuration>>>,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meter({})", self.place)
    }
}

/// How much of an error's body is looked through for its code.
const HEAD: usize = 1024;

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let status = context.response().map_or(u16::MAX, |response| response.status().as_u16());
        let answered = match context.output_or_error() {
            Some(Ok(_)) => true,
            // AWS's own word. A status without its body is none.
            Some(Err(error)) => error.is_operation_error() && status < 500,
            None => false,
        };
        if !answered {
            // Outside of a call of ours there is nobody to tell.
            let _ = DOUBT.try_with(|doubt| doubt.set(true));
        }
        let (Some(operation), Some(response)) = (bag.load::<Metadata>(), context.response()) else { return Ok(()) };
        let api: Api = format!("{}{}", self.place, operation.name()).into();
        if let Some(date) = response.headers().get("date").and_then(|date| rfc2822::parse(date).ok()) {
            let skew = date.timestamp().duration_since(self.clock.now());
            *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
        }
        if response.status().is_success() {
            self.budget.answered(&api);
            return Ok(());
        }
        let header = response.headers().get("x-amzn-errortype").unwrap_or_default();
        let body = response.body().bytes().unwrap_or_default();
        let body = String::from_utf8_lossy(body.get(..HEAD).unwrap_or(body)).into_owned();
        let words = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(throttles);
        if response.status().as_u16() == 429 || words(header) || words(&body) {
            self.budget.throttled(&api);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(role: Option<&str>, region: &str) -> (&'static str, &'static str) {
        let account =
            Account { id: "1".into(), role: role.map(Into::into), external_id: None, regions: vec![region.into()] };
        let Partition { name, home, .. } = Partition::of(&account);
        (name, home)
    }

    #[test]
    fn the_partition_is_that_of_the_role_or_of_the_regions() {
        assert_eq!(partition(None, "eu-central-1"), ("aws", "us-east-1"));
        assert_eq!(partition(None, "cn-north-1"), ("aws-cn", "cn-north-1"));
        assert_eq!(partition(None, "us-gov-east-1"), ("aws-us-gov", "us-gov-west-1"));
        assert_eq!(partition(None, "us-isob-east-1"), ("aws-iso-b", "us-isob-east-1"));
        assert_eq!(partition(Some("arn:aws-cn:iam::1:role/grantd"), ""), ("aws-cn", "cn-north-1"));
        assert_eq!(partition(Some("arn:aws:iam::1:role/grantd"), "cn-north-1"), ("aws", "us-east-1"));
    }
}
