use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    cli::{Configured, Format, Init},
    command::{init, plan, setup::Setup},
    decide::{
        fold,
        render::{Shown, plan_text, status_text},
        status,
    },
    engine::Order,
    journal,
    model::{Cause, Fate, Ledger, Record, Span, Verb},
    surface::world::{Agent, Caseless, State},
};

use super::{
    CONFIG, SPEED,
    repo::Repo,
    stage::{self, FIRST, SECOND, THIRD, attached, auditor, clock, logged_on, marked, power_user, standing},
    teller::Teller,
};

const JDOE: &str = r"CORP\jdoe";
const MARIA: &str = r"CORP\maria";
const OPS: &str = r"CORP\ops";
/// How late an end may come in the world: a second of real time, most of which a busy machine takes.
const LATE: Span = Span::seconds(SPEED as i64);

/// Without fractions of a second, which in a fast world mean nothing.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Whether everybody is there who was there before grantd.
fn stand(state: &State) -> bool {
    let hosts = [("checkout-1", OPS), ("checkout-2", MARIA), ("ledger-db", OPS)];
    hosts.iter().all(|(host, user)| standing(state, host, user))
}

pub struct Story<'a> {
    setup: &'a Setup,
    repo: &'a Repo,
    teller: &'a mut Teller,
    orders: UnboundedSender<Order>,
    /// The cloud before anything was granted.
    before: State,
}

impl<'a> Story<'a> {
    pub fn new(setup: &'a Setup, repo: &'a Repo, teller: &'a mut Teller, orders: UnboundedSender<Order>) -> Self {
        Self { setup, repo, teller, orders, before: State::default() }
    }

    fn now(&self) -> Timestamp {
        self.setup.clock().now()
    }

    fn state(&self) -> Result<State> {
        Ok(self.setup.world()?.state()?)
    }

    /// The daemon is told of news in the repository, as its watcher would tell it.
    fn news(&self) {
        let _ = self.orders.send(Order::Fetch);
    }

    /// Nobody has anything from grantd.
    pub async fn beginning(&mut self) -> Result<()> {
        self.teller.chapter("A beginning");
        self.repo.begin(self.now())?;
        self.before = stage::cloud(&self.state()?);
        self.teller.say("A Git repository without grants, and who has what in the cloud today:");
        self.teller.picture()?;
        self.teller.command("grantd init");
        let configured = Configured { config: self.repo.path().with_file_name(CONFIG) };
        let arguments = Init { configured, rev: None, existing: false, format: Format::Text };
        self.teller.quote(&init::begin(self.setup, &arguments).await?);
        self.teller.pause(1.0).await
    }

    /// A grant, and what a plan says to it. The daemon does not run yet.
    pub async fn first_grant(&mut self) -> Result<()> {
        self.teller.chapter("A pull request is merged");
        let (id, text) = FIRST;
        self.teller.say(&format!("jdoe asks for access, Ann approves: grants/{id}.yaml"));
        self.teller.quote(text);
        self.repo.merge(self.now(), id, text)?;
        self.teller.pause(2.0).await?;
        self.teller.command("grantd plan");
        let (mut cycle, unjournaled) = plan::reader(self.setup)?;
        cycle.fetch();
        cycle.sweep();
        let outlook = cycle.settle().await;
        let shown = Shown {
            at: whole(cycle.now()),
            plan: &outlook.plan,
            findings: &outlook.findings,
            head: outlook.head.as_ref(),
            standstill: outlook.standstill.as_deref(),
            source: outlook.source.as_deref(),
            unjournaled,
        };
        self.teller.quote(&plan_text(&shown));
        let untouched = stage::cloud(&self.state()?) == self.before && self.setup.world()?.calls().writes.is_empty();
        self.teller.promise(
            outlook.plan.steps.len() == 5 && untouched,
            "The plan has five steps, and planning changed nothing",
        );
        self.teller.pause(2.5).await
    }

    /// From the daemon's start to its end.
    pub async fn go_on(&mut self) -> Result<()> {
        self.teller.command("grantd run");
        self.granted().await?;
        self.overlap().await?;
        self.withdrawal().await?;
        self.offline().await?;
        self.epilogue().await
    }

    async fn granted(&mut self) -> Result<()> {
        let hosts = ["checkout-1", "checkout-2"];
        let all = move |state: &State, _: &Ledger| {
            hosts.iter().all(|host| marked(state, host, JDOE).is_some())
                && attached(state)
                && auditor(state)
                && power_user(state)
        };
        let kept = self.teller.until(all).await?;
        self.teller.say("Now the cloud has it:");
        self.teller.picture()?;
        self.teller
            .promise(kept && stand(&self.state()?), "All five accesses are there, and what stood there before stands");
        self.setup.world()?.edit(|state| {
            stage::change(state, "checkout-2", |host| {
                host.sessions.insert(Caseless(JDOE.into()));
            });
        })?;
        self.teller.say("jdoe logs on to checkout-2.");
        self.teller.pause(1.0).await
    }

    /// Two more grants: on the same access with another end, and for what is standing already.
    async fn overlap(&mut self) -> Result<()> {
        self.teller.chapter("Two more ask for what is there already");
        let long = self.ends(FIRST.0);
        let at = self.now();
        self.teller.say("jdoe and maria are on call for 36 minutes. maria has checkout-2 already.");
        self.repo.merge(at, SECOND.0, SECOND.1)?;
        self.repo.merge(at, THIRD.0, THIRD.1)?;
        self.news();
        let shared =
            |ledger: &Ledger| ledger.owned.values().filter(|owned| owned.holders.keys().count() == 2).count() == 3;
        let noted = |ledger: &Ledger| ledger.standing.keys().any(|binding| binding.place().ends_with("i-0a02"));
        let done = |state: &State, ledger: &Ledger| {
            shared(ledger) && noted(ledger) && marked(state, "checkout-1", MARIA).is_some()
        };
        let done = self.teller.until(done).await?;
        let state = self.state()?;
        let latest = ["checkout-1", "checkout-2"].iter().all(|host| marked(&state, host, JDOE) == long);
        self.teller.promise(done && latest, "Two grants hold the same access: the later end counts");
        let untouched = standing(&state, "checkout-2", MARIA) && marked(&state, "checkout-2", MARIA).is_none();
        self.teller.promise(done && untouched, "Standing access is noted and left alone: it is not grantd's to remove");
        self.teller.pause(2.0).await
    }

    async fn withdrawal(&mut self) -> Result<()> {
        self.teller.chapter("A grant is withdrawn");
        self.teller.say(&format!("The incident is over. A merge deletes grants/{}.yaml.", FIRST.0));
        self.repo.withdraw(self.now(), FIRST.0)?;
        self.news();
        let short = self.ends(SECOND.0);
        let gone = |state: &State| !auditor(state) && !power_user(state);
        let hosts = ["checkout-1", "checkout-2"];
        let rest = move |state: &State| hosts.iter().all(|host| marked(state, host, JDOE) == short) && attached(state);
        let kept = self.teller.until(|state, _| gone(state) && rest(state)).await?;
        let state = self.state()?;
        self.teller.promise(kept || gone(&state), "What only this grant held is gone");
        self.teller.promise(kept, "What the other one holds too stays, to the other's end");
        self.teller.pause(1.0).await?;
        self.teller.say("Somebody reverts the deletion.");
        let commit = self.repo.revert(self.now())?;
        self.news();
        let read = self.teller.until(|_, ledger| ledger.head.as_ref() == Some(&commit)).await?;
        self.teller.pause(0.5).await?;
        let over = self.teller.ledger.grants.keys().all(|id| id.as_str() != FIRST.0) && gone(&self.state()?);
        self.teller.promise(read && over, "Finished is finished: the file is back, the access is not");
        self.teller.pause(0.5).await
    }

    async fn offline(&mut self) -> Result<()> {
        self.teller.chapter("Time is up, and a host does not answer");
        let end = self.ends(SECOND.0).ok_or_else(|| anyhow!("{} was never accepted", SECOND.0))?;
        self.agent(Agent::Offline)?;
        self.teller.say(&format!("checkout-2 goes offline. Both grants end at {}.", clock(end)));
        let others = |state: &State| {
            marked(state, "checkout-1", JDOE).is_none()
                && marked(state, "checkout-1", MARIA).is_none()
                && !attached(state)
        };
        // Until the others are forgotten: what is left is what is owed.
        let kept = self.teller.until(|state, ledger| others(state) && ledger.owned.len() == 1).await?;
        self.teller.command("grantd status");
        let overdue = status(&self.teller.ledger, &self.setup.config.policy(), whole(self.now()));
        self.teller.quote(&status_text(&overdue));
        let late = self.lateness();
        let on_time = kept && late.is_some_and(|late| late <= LATE.as_seconds() as f64);
        let late = late.unwrap_or_default();
        self.teller.promise(
            on_time,
            &format!(
                "Everything else ended on time, at most {late:.1} s late ({:.3} s of yours)",
                late / f64::from(SPEED)
            ),
        );
        let owing =
            overdue.owed.iter().any(|owing| owing.state == "overdue" && owing.binding.place().ends_with("i-0a02"));
        self.teller.promise(owing, "What could not end is owed, told as overdue, and tried again and again");
        self.teller.pause(1.0).await?;
        self.agent(Agent::Online)?;
        self.teller.say("checkout-2 is back.");
        let gone = |state: &State| marked(state, "checkout-2", JDOE).is_none();
        let kept = self
            .teller
            .until(|state, ledger| gone(state) && ledger.owned.values().all(|owned| owned.hold.retry().is_none()))
            .await?;
        self.teller.promise(kept, "The debt is paid at the next attempt");
        let state = self.state()?;
        let sessions = !logged_on(&state, "checkout-2", JDOE) && logged_on(&state, "checkout-2", MARIA);
        self.teller.promise(sessions, "jdoe's session there was ended, maria's was not");
        self.teller.pause(0.5).await
    }

    async fn epilogue(&mut self) -> Result<()> {
        self.teller.chapter("What is left");
        self.teller.say("Five minutes after it revoked, grantd looks again. The cloud has:");
        let settled = self.teller.until(|_, ledger| ledger.owned.is_empty() && ledger.grants.is_empty()).await?;
        let state = self.state()?;
        self.teller.picture()?;
        self.teller.promise(stand(&state), "The standing administrators are all still there");
        let same = stage::cloud(&state) == self.before;
        self.teller.promise(settled && same, "Nothing that grantd granted is left: the cloud is what it was before");
        self.teller.command("grantd audit verify");
        let _ = self.orders.send(Order::Stop);
        let mut ledger = Ledger::default();
        let verdict = journal::verify(&self.setup.config.state, None, None, |line| -> Result<()> {
            if let Record::Checkpoint { ledger: kept } = &line.record
                && **kept != ledger
            {
                bail!("line {}: the checkpoint is not what the lines before it come to", line.seq);
            }
            fold(&mut ledger, &line);
            Ok(())
        });
        match verdict {
            Ok(verdict) => {
                let journal::Verdict { lines, batches, head, .. } = &verdict;
                self.teller
                    .quote(&format!("whole: {lines} lines in {batches} batches\nhead {}:{}", head.seq, head.hash));
                let agrees = ledger == self.teller.ledger;
                self.teller
                    .promise(agrees, &format!("The journal is one whole chain: {lines} lines tell all of this again"));
            }
            Err(error) => self.teller.promise(false, &format!("The journal is one whole chain: {error:#}")),
        }
        Ok(())
    }

    /// The end of an accepted grant.
    fn ends(&self, id: &str) -> Option<Timestamp> {
        let mut grants = self.teller.ledger.grants.iter();
        grants.find(|(grant, _)| grant.as_str() == id).map(|(_, terms)| terms.until)
    }

    fn agent(&self, agent: Agent) -> Result<()> {
        Ok(self.setup.world()?.edit(|state| stage::change(state, "checkout-2", |host| host.agent = agent))?)
    }

    /// How many seconds of the world the slowest revocation came after its end, of those that expired and could be done.
    fn lateness(&self) -> Option<f64> {
        let late = self.teller.lines.iter().filter_map(|line| match &line.record {
            Record::Fate { verb: Verb::Revoke, cause: Cause::Expired, until, fate: Fate::Done, knew, .. } => {
                Some(knew.duration_since(*until).as_secs_f64())
            }
            _ => None,
        });
        late.reduce(f64::max)
    }
}
