//! What the surfaces have in common whose access is one record in AWS: an attachment, a membership, an assignment.

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    super::{
        act::{Act, act, late},
        model::{
            Binding, BoxFuture, Event, Fate, Read, Reading, Seen, Selector, Step, Target, Trouble, TroubleKind, Verb,
            Write,
        },
    },
    Aws, Call, Fault, LOOKS,
};

/// Steps under way at a time; the budgets say how fast they go.
const ABREAST: usize = 64;

/// One surface on AWS.
pub trait Remote: Target + Default + 'static {
    /// Looks at bindings, in as few calls as may be; answers each, in their order.
    fn look(aws: &Aws, bindings: &[Binding], urgent: bool) -> impl Future<Output = Vec<Seen>> + Send;

    /// Makes it so; fine if it is so already.
    fn add(aws: &Aws, binding: &Binding, told: &Told) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Takes it away. A fault that says that it is missing is no trouble: the look after it proves that.
    fn remove(aws: &Aws, binding: &Binding, told: &Told) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Where a writer tells the ids of its requests.
pub struct Told {
    intent: u64,
    by: Option<Timestamp>,
    urgent: bool,
    off: Box<dyn Fn() -> bool + Send + Sync>,
    events: UnboundedSender<Event>,
}

impl Told {
    /// A call that does the step: in time, and while it is wanted, or not at all.
    pub fn call<'a>(&'a self, account: &'a str, action: &'static str) -> Call<'a> {
        self.bound(Call::new(account, "", action).urgent(self.urgent))
    }

    pub fn bound<'a>(&'a self, call: Call<'a>) -> Call<'a> {
        call.by(self.by).unless(&*self.off)
    }

    /// AWS named the request: the journal and CloudTrail meet by it. A receiver that went away is not our trouble.
    pub fn sent(&self, request: Option<&str>) {
        if let Some(request) = request.filter(|request| !request.is_empty()) {
            let _ = self.events.send(Event::Sent { intent: self.intent, request: request.into() });
        }
    }
}

/// A surface on AWS: its reader and its writer.
pub struct Adapter<R> {
    aws: Aws,
    surface: std::marker::PhantomData<fn() -> R>,
}

impl<R> Adapter<R> {
    pub fn new(aws: &Aws) -> Self {
        Self { aws: aws.clone(), surface: std::marker::PhantomData }
    }
}

impl<R: Remote> Adapter<R> {
    async fn perform(&self, step: &Step, told: &Told) -> Fate {
        if let Some(trouble) = late(step, self.aws.clock().now()) {
            return Fate::Failed(trouble);
        }
        let seen = match step.verb {
            // To take away what is not there does no harm: a revocation waits for no look before it.
            Verb::Revoke => Seen::Present { ours: None },
            // Always right before the call, whatever the plan saw: AWS has no "add unless it is there", and adds in silence what
            // is there already. What somebody adds while our own call is on its way is taken for ours all the same, and so is
            // what AWS does not show yet: the window is one round trip, and for some seconds, minutes at the worst, what IAM
            // and Identity Center take to show a change.
            Verb::Grant | Verb::Renew => self.look(&step.binding, false).await,
        };
        match (act(step, &seen), &seen) {
            (Act::Settled(fate), _) => fate,
            // The record carries no end of ours: there is nothing to move.
            (Act::Add, Seen::Present { .. }) => Fate::Done,
            (Act::Add, _) => {
                let done = R::add(&self.aws, &step.binding, told).await;
                self.prove(step, done, |seen| matches!(seen, Seen::Present { .. })).await
            }
            (Act::Remove, _) => {
                let mut done = R::remove(&self.aws, &step.binding, told).await;
                // An answer of ours before it may have been lost; otherwise somebody else took it away.
                let absent = done.as_ref().is_err_and(|fault| fault.missing() && fault.refused);
                if done.as_ref().is_err_and(Fault::missing) {
                    done = Ok(());
                }
                match self.prove(step, done, |seen| matches!(seen, Seen::Absent | Seen::Gone)).await {
                    Fate::Done if absent => Fate::Absent,
                    fate => fate,
                }
            }
        }
    }

    /// Reads back. AWS shows a change late, for minutes at the worst: it is looked at some times.
    async fn prove(&self, step: &Step, done: Result<(), Fault>, proven: impl Fn(&Seen) -> bool) -> Fate {
        if let Err(fault) = &done
            && fault.refused
        {
            return Fate::Failed(fault.trouble.clone());
        }
        let urgent = step.verb == Verb::Revoke;
        let mut seen = Seen::Unread;
        for wait in LOOKS {
            tokio::time::sleep(wait).await;
            seen = self.look(&step.binding, urgent).await;
            // What was never answered is looked at once: whether it landed is for the next plan to find out.
            if proven(&seen) || done.is_err() {
                break;
            }
        }
        match (done, seen) {
            (_, seen) if proven(&seen) => Fate::Done,
            (Err(fault), _) => Fate::Unknown(fault.trouble),
            // AWS said that it is so.
            (Ok(()), Seen::Blind(_)) if !urgent => Fate::Done,
            (Ok(()), Seen::Blind(trouble)) => Fate::Unknown(trouble),
            (Ok(()), _) => {
                let shown = if urgent { "still shows it" } else { "does not show it yet" };
                let detail = format!("AWS took the change and {shown}; it is looked at again");
                Fate::Unknown(Trouble::new(TroubleKind::Unreachable, detail))
            }
        }
    }

    async fn look(&self, binding: &Binding, urgent: bool) -> Seen {
        let seen = R::look(&self.aws, std::slice::from_ref(binding), urgent).await;
        match seen.into_iter().next() {
            // Nothing is added where nobody looked.
            None | Some(Seen::Unread) => Seen::Blind(Trouble::new(TroubleKind::Broken, "nobody looked")),
            Some(seen) => seen,
        }
    }
}

impl<R: Remote> Read for Adapter<R> {
    fn read<'a>(&'a self, selectors: &'a [Selector], bindings: &'a [Binding]) -> BoxFuture<'a, Vec<Reading>> {
        Box::pin(async move {
            let seen = if bindings.is_empty() { Vec::new() } else { R::look(&self.aws, bindings, false).await };
            let answers = selectors.iter().map(|selector| {
                let detail = format!("{} has nothing to select", selector.surface);
                let places = Err(Trouble::new(TroubleKind::Broken, detail));
                Reading::Answer { selector: selector.clone(), places }
            });
            let sights = bindings.iter().zip(seen);
            let sights = sights.map(|(binding, seen)| Reading::Sight { binding: binding.clone(), seen });
            answers.chain(sights).collect()
        })
    }
}

impl<R: Remote> Write for Adapter<R> {
    fn write(&self, steps: Vec<Step>, events: UnboundedSender<Event>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let work = stream::iter(steps).for_each_concurrent(ABREAST, |step| {
                let urgent = step.verb == Verb::Revoke;
                let by = step.act_by.filter(|_| !urgent);
                let (off, intent) = (step.off.clone(), step.intent);
                // What is owed is never called off.
                let off = Box::new(move || !urgent && off.called(intent));
                let told = Told { intent, by, urgent, off, events: events.clone() };
                async move {
                    let fate = self.perform(&step, &told).await;
                    let _ = told.events.send(Event::Done { intent: step.intent, fate });
                }
            });
            work.await;
        })
    }
}

/// The parts of a place: `ACCOUNT/KIND/NAME`.
pub fn parts<const N: usize>(place: &str) -> Result<[&str; N], Trouble> {
    let parts: Vec<&str> = place.splitn(N, '/').collect();
    parts.try_into().map_err(|_| Trouble::new(TroubleKind::Broken, format!("`{place}` is not a place of this surface")))
}

/// What a failed look says of each binding that it was for.
pub fn blind(fault: Fault) -> Seen {
    Seen::Blind(fault.trouble)
}
