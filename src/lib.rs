//! grantd: access as code that ends by itself. This page is the ten-minute tour.
//!
//! Requesters open a pull request that adds a grant file; approvers merge it; the daemon makes it true in the cloud, and
//! untrue again when its time is over. It removes what it added, tries until that is proven, and records every action.
//!
//! # Words
//!
//! - A [`model::Grant`] is one YAML file: who asks, for what, why, for how long. Its id is its file's stem, used once and
//!   never again.
//! - A [`model::Binding`] is the atom of access: on one surface, at one place, in one role, one principal. Everything is
//!   a set of bindings, and several grants may hold one: its end is the latest of theirs.
//! - A **surface** is one kind of target: `windows-admin`, `iam-policy`, `iam-group`, `permission-set`.
//! - The **journal** is the append-only, hash-chained record of everything done; the [`model::Ledger`] is its fold: what we
//!   own, owe and hold. There is no second database, so state and audit trail cannot disagree.
//! - The [`model::Survey`] is what was seen of the cloud; the [`model::Plan`] is what to do now, what is held, and when to
//!   look again.
//! - The [`surface::world`] is an in-memory cloud for trials, tests and the demo; `surface::aws` is AWS, behind the default
//!   feature `aws`.
//!
//! # The way of the data
//!
//! ```text
//! Git ──source──▶ revision ──parse──▶ grants ──admit──┐
//!                                                     ├─desire─▶ wanted ─┐
//! cloud ──read──▶ Survey ─────────────────────────────┴───────── seen ───┼─plan─▶ Plan ─apply─▶ one fate a step ─▶ journal
//! journal ──fold──▶ Ledger ───────────────────────────────────── owned ──┘                                            │
//!    ▲────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! One turn of the loop ([`engine::Cycle::turn`]):
//!
//! 1. [`decide::close`] ends the grants whose time is over. It needs neither Git nor the cloud.
//! 2. [`decide::admit`] says what the revision begins, moves and ends: acceptances with their start and end, permitted edits,
//!    withdrawals (found commit by commit), what is held and why. Each change of a file since its content was verified last
//!    ([`decide::chains`]) must pass what the configuration asks of it: the source proves facts ([`model::Proof`]: who signed,
//!    what the forge has on record), the judgement is made here. These become journal lines before anything else happens.
//! 3. [`decide::desire`] says which bindings are wanted now, from the ledger alone. What a grant's tags come to is asked once, when it
//!    begins, and becomes a journal line.
//! 4. [`decide::plan()`] compares them with what is owned and seen. Revocations first; what must be looked at, and which lost
//!    answers must be fetched, before more can be decided is asked for. All of this is pure: `now` is an argument.
//! 5. [`engine::Executor::start`] writes the intents, then makes the calls beside the loop; each call's fate is a journal
//!    line when it comes. A failed call stops no other, and a revocation is tried for ever.
//!
//! A turn in which nothing moved that a decision rests on decides nothing: the last one stands (`engine::still` says what that is).
//! Then the daemon ([`engine::Daemon::run`]) sleeps until the plan's next edge, the next poll or sweep, or until something
//! happens. A dry run is *not calling write*: `plan`, `lint` and `status` are built without writers.
//!
//! # Map
//!
//! | module | holds |
//! |---|---|
//! | [`model`] | nouns and ports; everything may use it, it uses nothing of the house |
//! | [`decide`] | the pure verbs |
//! | [`source`] | Git: the system's `git` fetches in a child process, `git2` reads, nothing is checked out |
//! | [`surface`] | the adapters, a folder each; the world; AWS with its sessions, budgets and errors by consequence |
//! | [`hooks`] | webhooks of the forges: a hint to fetch, nothing more |
//! | [`journal`] | the chain and its file backend; old segments, compressed and archived |
//! | [`engine`] | joins them: cycle, executor, daemon; tasks are spawned only here and at the edge |
//! | [`config`], [`cli`], [`command`] | the edge: configuration, flags, one file a verb |
//!
//! `decide`, `source`, `surface`, `hooks` and `journal` use only `model`; `engine` joins them; `command` joins engine and edge. A
//! test reads the sources and holds it.
//!
//! # Asymmetry
//!
//! Fail closed for grants, fail toward revocation: whatever is missing (Git, journal, disk, a clock to trust) stops grants
//! and extensions only. [`engine::Book`] is where that is so for the journal, and the `standstill` of a plan for the rest.
//! [`engine::Cycle::now`] is the engine's own time: it hangs on the steady clock of the boot, so that a step of the machine's clock
//! stops grants and makes no end late.
//!
//! What is ours is a state, [`model::Hold`], and `decide::hold` is the table of how one becomes another. What may be ours, because an
//! answer was lost, is owed like what is. What somebody took away by hand belongs to those from whom it was taken (`Owned::lost`). What we added and confirmed is ours, whoever took our mark off; what was there at our first
//! call is not. A renewal gives nothing back. What failed pauses only the verb that failed.
//!
//! An error of Git's is one of three, and its type says what follows ([`model::SourceError`]): bad by content, final for a commit; not
//! read here, tried again; or an operator's to decide. A list that could not be
//! read is never an empty one, and a task that breaks off ([`engine::keep`]) is told and made good.

pub mod cli;
pub mod command;
pub mod config;
pub mod decide;
pub mod engine;
pub mod hooks;
pub mod journal;
pub mod model;
pub mod source;
pub mod surface;
