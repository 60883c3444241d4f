//! The front server: who asks what is known here, recorded, spoiled on request, and passed on to moto.

use std::{
    collections::BTreeMap,
    io::{self, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use super::{
    caller::{Caller, one},
    fault::{Fault, How},
    fleet::Fleet,
    http::{Message, form},
    moto, run_command,
};

/// moto's default account.
pub const HOME: &str = "123456789012";

/// AWS, for one test. It answers for as long as the process lives.
pub struct Cloud {
    pub(super) shared: Arc<Shared>,
    port: u16,
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whose it concerns: the caller's account, or for `sts:AssumeRole` the role's.
    pub account: String,
    pub region: String,
    /// As policies write it: `iam:AttachRolePolicy`.
    pub action: String,
    /// Whether moto got it: not so what a fault answered, and not so SSM Run Command.
    pub by_moto: bool,
    /// As it came: a form, or JSON.
    pub body: String,
}

impl Cloud {
    /// An access key that nobody assumed belongs to [`HOME`], which all tests share.
    pub fn new() -> Self {
        Self::at_home(HOME)
    }

    /// An access key that nobody assumed belongs to this account.
    pub fn at_home(account: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { home: account.into(), moto: moto::port(), state: Mutex::default() });
        let serving = shared.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let serving = serving.clone();
                // One that hangs up early is its own trouble: the client says so.
                thread::spawn(move || serving.serve(connection.unwrap()).ok());
            }
        });
        Self { shared, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a process needs to take this for AWS, with its own credentials of the home account.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".into()),
            ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
        ]
    }

    /// One who asks this cloud, in the home account.
    pub fn caller(&self, region: &str) -> Caller {
        Caller { port: self.port, key: "AKIAIOSFODNN7EXAMPLE".into(), account: None, region: region.into() }
    }

    /// Every request so far, in their order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    pub fn clear_calls(&self) {
        self.shared.lock().calls.clear();
    }

    /// How often this action was asked for.
    pub fn count(&self, action: &str) -> usize {
        self.shared.lock().calls.iter().filter(|call| call.action == action).count()
    }

    /// How often each action was asked for.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.shared.lock().calls {
            *counts.entry(call.action.clone()).or_default() += 1;
        }
        counts
    }

    pub fn fault(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }
}

pub struct Shared {
    home: String,
    moto: u16,
    state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    /// The accounts of the access keys that AssumeRole gave out.
    keys: BTreeMap<String, String>,
    calls: Vec<Call>,
    faults: Vec<Fault>,
    pub fleet: Fleet,
}

impl State {
    /// How this call is spoiled. A fault that has spoiled its last is taken out.
    fn spoil(&mut self, request: &Request) -> Option<How> {
        let at = self.faults.iter().position(|fault| fault.fits(request))?;
        let how = self.faults[at].how;
        if let Some(times) = &mut self.faults[at].times {
            *times -= 1;
            if *times == 0 {
                self.faults.remove(at);
            }
        }
        Some(how)
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&self, mut connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut reader = BufReader::new(connection.try_clone()?);
        while let Some(message) = Message::read(&mut reader)? {
            let Some(answer) = self.answer(&self.understand(message)) else { break };
            answer.write(&mut connection)?;
        }
        Ok(())
    }

    /// Service and region are told by the signature's scope, the account by its access key.
    fn understand(&self, message: Message) -> Request {
        let scope = message.header("Authorization").and_then(|value| value.split_once("Credential="));
        let scope: Vec<_> = scope.map_or("", |(_, rest)| rest.split(',').next().unwrap()).split('/').collect();
        let (key, region, service) = match scope[..] {
            [key, _, region, service, _] => (key, region, service),
            // AssumeRoleWithWebIdentity is asked by one who has no key yet.
            _ => ("", "us-east-1", "sts"),
        };
        let target = message.header("X-Amz-Target").and_then(|target| target.split_once('.'));
        let pairs = if target.is_some() { Vec::new() } else { form(&message.body) };
        let named = || pairs.iter().find(|(name, _)| name == "Action").map(|(_, value)| value.as_str());
        let action = target.map(|(_, action)| action).or_else(named).unwrap_or("Unknown");
        Request {
            account: self.lock().keys.get(key).unwrap_or(&self.home).clone(),
            region: region.into(),
            action: format!("{service}:{action}"),
            pairs,
            message,
        }
    }

    /// `None`: hang up.
    fn answer(&self, request: &Request) -> Option<Message> {
        let how = {
            let mut state = self.lock();
            let how = state.spoil(request);
            let done = matches!(how, None | Some(How::Slow(_) | How::LostReply | How::Says(_)));
            state.calls.push(Call {
                account: request.place(),
                region: request.region.clone(),
                action: request.action.clone(),
                by_moto: done && !run_command::is_ours(request),
                body: request.message.text(),
            });
            how
        };
        if let Some(answer) = how.and_then(|how| how.answer(request)) {
            return Some(answer);
        }
        if how == Some(How::ResetBefore) {
            return None;
        }
        let mut answer =
            if run_command::is_ours(request) { run_command::answer(self, request) } else { self.pass(request) };
        match how {
            Some(How::LostReply) => return None,
            Some(How::Slow(length)) => thread::sleep(length),
            Some(How::Says(status)) => answer.body = answer.text().replace("SUCCEEDED", status).into(),
            _ => {}
        }
        Some(answer)
    }

    /// Passes it on to moto, and learns whose the keys are that AssumeRole gives out.
    pub fn pass(&self, request: &Request) -> Message {
        let mut message = request.message.clone();
        message.headers.push(("x-moto-account-id".into(), request.account.clone()));
        let mut answer = message.ask(self.moto).unwrap();
        if request.action.starts_with("sts:AssumeRole") && answer.status() == 200 {
            self.lock().keys.insert(one(&answer.text(), "AccessKeyId"), request.place());
        }
        answer.start = answer.start.replacen("HTTP/1.0", "HTTP/1.1", 1);
        answer.remove("Connection");
        answer
    }
}

/// A request that is understood.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller's.
    pub account: String,
    pub region: String,
    pub action: String,
    /// Of a form.
    pairs: Vec<(String, String)>,
    pub message: Message,
}

/// How a service writes what it asks and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Json,
    Query,
    Ec2,
}

impl Request {
    pub fn protocol(&self) -> Protocol {
        match self.message.header("X-Amz-Target") {
            Some(_) => Protocol::Json,
            None if self.action.starts_with("ec2:") => Protocol::Ec2,
            None => Protocol::Query,
        }
    }

    /// A form's value.
    pub fn pair(&self, name: &str) -> Option<String> {
        self.pairs.iter().find(|(each, _)| each == name).map(|(_, value)| value.clone())
    }

    /// The account that it concerns: that of the role that is to be assumed, or else the caller's.
    pub fn place(&self) -> String {
        let role = self.pair("RoleArn").filter(|_| self.action.starts_with("sts:AssumeRole"));
        role.and_then(|role| Some(role.split(':').nth(4)?.to_owned())).unwrap_or_else(|| self.account.clone())
    }
}
