use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use anyhow::Result;

use crate::{
    command::{print, setup::Setup},
    decide::fold,
    journal,
    model::{Cause, Clock, Fate, JournalError, Ledger, Line, Record, Verb},
    surface::world::{State, World},
};

use super::{
    CONFIG,
    stage::{clock, picture, say},
};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const CHANGE: Style = AnsiColor::Yellow.on_default();
const CHAPTER: Style = AnsiColor::Cyan.on_default().bold();
const STRONG: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();

/// How wide a heading is.
const WIDTH: usize = 78;
/// How often the journal is looked at while the story waits, in real time.
const GLANCE: Duration = Duration::from_millis(40);
/// The longest that the story waits for anything, in real time. A busy machine needs a part of it, a broken promise all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Follows the journal beside the daemon, as any reader may, tells what is new, and counts the promises.
pub struct Teller {
    journal: PathBuf,
    clock: Arc<dyn Clock>,
    world: World,
    pub ledger: Ledger,
    pub lines: Vec<Line>,
    chapter: usize,
    kept: usize,
    broken: usize,
    /// Somebody watches: waiting shows the time.
    lively: bool,
}

impl Teller {
    pub fn new(setup: &Setup) -> Result<Self> {
        let lively = !matches!(anstream::stdout().current_choice(), anstream::ColorChoice::Never);
        Ok(Self {
            journal: setup.config.state.clone(),
            clock: setup.clock(),
            world: setup.world()?.clone(),
            ledger: Ledger::default(),
            lines: Vec::new(),
            chapter: 0,
            kept: 0,
            broken: 0,
            lively,
        })
    }

    pub fn title(&self, speed: u32) {
        print(&format!(
            "{STRONG}grantd{STRONG:#}: access as code that ends by itself\n\
             {QUIET}Engine, Git source and journal are the real ones. Only the cloud is a world in a\n\
             file, where {} minutes pass in a second. Nothing of yours is touched.{QUIET:#}\n",
            speed / 60
        ));
    }

    pub fn chapter(&mut self, title: &str) {
        self.clear();
        self.chapter += 1;
        let rule = "─".repeat(WIDTH.saturating_sub(title.chars().count() + 6));
        print(&format!("\n{CHAPTER}── {} {title} {rule}{CHAPTER:#}\n", self.chapter));
    }

    /// A sentence of the story, at the world's time.
    pub fn say(&self, text: &str) {
        self.clear();
        print(&format!("{QUIET}{}{QUIET:#}  {text}\n", clock(self.clock.now())));
    }

    /// What somebody would have typed.
    pub fn command(&self, text: &str) {
        self.say(&format!("{STRONG}$ {text}{STRONG:#}"));
    }

    /// A text as it is, indented.
    pub fn quote(&self, text: &str) {
        self.clear();
        for line in text.lines() {
            print(&format!("    {line}\n"));
        }
    }

    /// Who has what in the world.
    pub fn picture(&self) -> Result<()> {
        self.clear();
        for (name, who) in picture(&self.world.state()?) {
            print(&format!("          {QUIET}{name:<11}{QUIET:#} {who}\n"));
        }
        Ok(())
    }

    /// Checked by the caller's code, counted here.
    pub fn promise(&mut self, kept: bool, text: &str) {
        self.clear();
        if kept {
            self.kept += 1;
            print(&format!("        {GOOD}✓ {text}{GOOD:#}\n"));
        } else {
            self.broken += 1;
            print(&format!("        {BAD}✗ {text}{BAD:#}\n"));
        }
    }

    /// Tells what the journal has that was not told yet.
    pub fn follow(&mut self) -> Result<()> {
        let lines = match journal::read(&self.journal) {
            Err(JournalError::None(_)) => Vec::new(),
            lines => lines?,
        };
        let told = self.lines.last().map_or(0, |line| line.seq);
        for line in lines.into_iter().filter(|line| line.seq > told) {
            if let Some(text) = self.sentence(&line)? {
                self.clear();
                print(&format!("{QUIET}{}{QUIET:#}  {text}\n", clock(line.at)));
            }
            fold(&mut self.ledger, &line);
            self.lines.push(line);
        }
        Ok(())
    }

    /// Waits until the world and the ledger are as expected, and answers whether they came to be so in time.
    pub async fn until(&mut self, done: impl Fn(&State, &Ledger) -> bool) -> Result<bool> {
        let began = Instant::now();
        loop {
            self.follow()?;
            if done(&self.world.state()?, &self.ledger) {
                return Ok(true);
            }
            if began.elapsed() > PATIENCE {
                return Ok(false);
            }
            self.tick();
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Lets people read, while the story's time goes on.
    pub async fn pause(&mut self, seconds: f64) -> Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            self.follow()?;
            self.tick();
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    /// The time goes by where somebody watches.
    fn tick(&self) {
        if self.lively {
            print(&format!("\r{QUIET}{}  …{QUIET:#}\x1b[K", clock(self.clock.now())));
        }
    }

    pub fn clear(&self) {
        if self.lively {
            print("\r\x1b[K");
        }
    }

    /// One line of the journal for people; `None` for what only machines need.
    fn sentence(&self, line: &Line) -> Result<Option<String>> {
        let state = self.world.state()?;
        Ok(match &line.record {
            Record::Accept { grant, until, .. } => {
                Some(format!("accepted {STRONG}{grant}{STRONG:#}, until {}", clock(*until)))
            }
            Record::Withdraw { grant, .. } => Some(format!("withdrawn {STRONG}{grant}{STRONG:#}: its file is gone")),
            // Its withdrawal was told.
            Record::Finish { cause: Cause::Withdrawn, .. } => None,
            Record::Finish { grant, cause } => Some(format!("finished {STRONG}{grant}{STRONG:#}: {cause}")),
            Record::Join { binding, holders, .. } if holders.keys().count() > 1 => Some(format!(
                "{QUIET}= shared   {}: {} grants hold it{QUIET:#}",
                say(&state, binding),
                holders.keys().count()
            )),
            Record::Standing { binding, .. } => {
                Some(format!("{CHANGE}· standing {}: not ours{CHANGE:#}", say(&state, binding)))
            }
            // The first failure is news; how often it was tried again, the status says.
            Record::Fate { binding, fate: Fate::Failed(_), .. }
                if self.ledger.owned.get(binding).is_some_and(|owned| owned.hold.retry().is_some()) =>
            {
                None
            }
            Record::Fate { verb, binding, until, fate, .. } => {
                let what = say(&state, binding);
                Some(match (fate, verb) {
                    (Fate::Done, Verb::Grant) => format!("{GOOD}+ granted  {what}{GOOD:#}"),
                    (Fate::Done, Verb::Renew) => format!("{CHANGE}~ end moved{CHANGE:#} {what}: {}", clock(*until)),
                    (Fate::Done, Verb::Revoke) => format!("{BAD}- revoked  {what}{BAD:#}"),
                    (Fate::Standing, _) => format!("{CHANGE}· standing {what}: not ours, noted{CHANGE:#}"),
                    (Fate::Absent, Verb::Revoke) => format!("{BAD}- revoked  {what}: it was not there any more{BAD:#}"),
                    (Fate::Absent, _) => format!("{CHANGE}· absent   {what}: somebody took it away{CHANGE:#}"),
                    (Fate::Gone, _) => format!("{CHANGE}· gone     {what}{CHANGE:#}"),
                    (Fate::Failed(trouble) | Fate::Unknown(trouble), _) => {
                        format!("{CHANGE}! failed   {what}: {}{CHANGE:#}", trouble.detail)
                    }
                })
            }
            _ => None,
        })
    }

    /// Closes the story. Answers whether every promise was kept.
    pub fn end(&self, took: Duration, kept: Option<&Path>) -> bool {
        let Self { kept: good, broken, .. } = self;
        self.clear();
        let verdict = match broken {
            0 => format!("{GOOD}✓ All {good} promises were kept{GOOD:#}"),
            _ => format!("{BAD}✗ {broken} of {} promises were broken{BAD:#}", good + broken),
        };
        print(&format!("\n{verdict}, in {:.0} seconds.\n", took.as_secs_f64()));
        if let Some(folder) = kept {
            let config = folder.join(CONFIG);
            let config = config.display();
            print(&format!(
                "\nWhat was played with is in {}:\n  grantd history --config {config}\n  grantd audit verify --config {config}\n",
                folder.display()
            ));
        } else {
            print("\nNext:\n  grantd demo --keep DIR   keep repository, journal and world to look at\n");
        }
        print("  grantd lint FOLDER       check grant files of your own; see the README\n");
        *broken == 0
    }
}
