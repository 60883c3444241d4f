//! Answers that never came, and hosts whose new administrators take our marks off: SSM remembers what was sent, by a nonce that
//! is in the journal before anything is sent.

use std::{fs, process::Command};

use serde_json::json;

use super::*;
use crate::aws::{Fault, How, Stuck};

/// Lets a process find itself on a machine that was restarted, some time later: by another boot's id, and a clock that is ahead.
const AHEAD: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *ts) {
    int done = syscall(SYS_clock_gettime, id, ts);
    const char *ahead = getenv("AHEAD");
    if (done == 0 && ahead && id == CLOCK_REALTIME) ts->tv_sec += atol(ahead);
    return done;
}
int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;
    va_end(more);
    const char *boot = getenv("BOOT");
    return syscall(SYS_openat, AT_FDCWD, boot && strstr(path, "/boot_id") ? boot : path, flags, mode);
}
"#;

impl Stage {
    /// A daemon after the machine was restarted, this much later.
    fn daemon_later(&self, seconds: u32) -> Daemon {
        let [source, library, boot] = ["ahead.c", "ahead.so", "boot"].map(|name| self.site.path(name));
        fs::write(&source, AHEAD).unwrap();
        fs::write(&boot, "00000000-0000-4000-8000-000000000000\n").unwrap();
        let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
        assert!(made.success());
        self.site.daemon_with(|command| {
            command.env("LD_PRELOAD", &library).env("AHEAD", seconds.to_string()).env("BOOT", &boot);
        })
    }

    /// A host on which whoever becomes an administrator takes our marks off at once.
    fn unmarked(&self) -> String {
        let host = self.host(&self.prod, EAST);
        self.cloud.stuck(&self.prod, EAST, &host, Stuck::Unmarked);
        host
    }

    /// Waits until the grant is live, though nothing marks it, and then gone.
    fn lives_and_ends(&self, daemon: &Daemon, host: &str) {
        self.until(daemon, "the answer is fetched", || {
            self.fates().iter().any(|fate| fate == "grant windows-admin done")
        });
        assert!(
            self.local(&self.prod, EAST, host) && !self.admin(&self.prod, EAST, host),
            "it is there, without a mark"
        );
        assert_eq!(self.site.count("dispute", "") + self.site.count("standing", ""), 0, "{}", daemon.log());
        self.until(daemon, "it is taken away", || !self.local(&self.prod, EAST, host));
        self.until(daemon, "that is told", || self.fates().contains(&"revoke windows-admin done".to_owned()));
        assert_eq!(self.fates().iter().filter(|fate| *fate == "grant windows-admin standing").count(), 0);
    }
}

fn spoil(stage: &Stage, action: &'static str, how: How, times: usize) {
    stage.cloud.fault(Fault { times: Some(times), ..Fault::of(action, how) });
}

#[test]
fn a_lost_answer_is_fetched_and_the_access_ends_though_its_mark_is_gone() {
    let stage = Stage::new();
    let host = stage.unmarked();
    // It is done, and nobody hears of it, however often the SDK asks.
    spoil(&stage, "ssm:SendCommand", How::LostReply, 1);
    spoil(&stage, "ssm:SendCommand", How::Error500, 2);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "20s", &[windows("prod", EAST)]);
    stage.lives_and_ends(&daemon, &host);
    assert_eq!(stage.site.count("sent", "grant"), 0, "no id was told: it was known by its nonce");
    daemon.stop();
}

#[test]
fn what_the_sdks_second_attempt_found_standing_is_what_its_first_one_did() {
    let stage = Stage::new();
    let host = stage.unmarked();
    spoil(&stage, "ssm:SendCommand", How::LostReply, 1);
    stage.cloud.agent_time(Duration::ZERO);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "20s", &[windows("prod", EAST)]);
    stage.lives_and_ends(&daemon, &host);
    assert_eq!(stage.sends(ADD), 2, "by one nonce");
    daemon.stop();
}

/// The daemon is killed before the answer, and started again.
fn killed(stage: &Stage, sent: usize) {
    let host = stage.unmarked();
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "30s", &[windows("prod", EAST)]);
    stage.until(&daemon, "the command is sent", || stage.sends(ADD) == 1 && stage.site.count("sent", "") == sent);
    assert_eq!(stage.site.count("fate", ""), 0, "nobody has heard the answer");
    daemon.kill();
    stage.cloud.clear_faults();
    stage.until_landed(&host);
    // Others send commands too: ours is not on the first page.
    let ssm = stage.cloud.caller(EAST).assume(&format!("arn:aws:iam::{}:role/grantd", stage.prod));
    let nonce = "0123456789abcdef0123456789abcdef";
    let asked = json!({ "DocumentName": LIST, "InstanceIds": [host], "Parameters": { "Nonce": [nonce] } });
    for _ in 0..60 {
        ssm.fine_json("ssm", "SendCommand", &asked);
    }
    stage.cloud.clear_calls();
    let daemon = stage.site.daemon();
    stage.lives_and_ends(&daemon, &host);
    let listed = stage.cloud.count("ssm:ListCommands");
    assert_eq!(listed, if sent == 0 { 2 } else { 0 }, "two pages, unless the id is known");
    daemon.stop();
}

impl Stage {
    /// Waits until the member is on the host.
    fn until_landed(&self, host: &str) {
        let begun = Instant::now();
        while !self.local(&self.prod, EAST, host) {
            assert!(begun.elapsed() < PATIENCE, "it never landed");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_daemon_that_is_killed_before_it_is_told_the_id_finds_its_command_by_the_nonce() {
    let stage = Stage::new();
    spoil(&stage, "ssm:SendCommand", How::Slow(Duration::from_secs(10)), 1);
    killed(&stage, 0);
}

#[test]
fn a_daemon_that_is_killed_before_the_host_answers_asks_by_the_id() {
    let stage = Stage::new();
    stage.cloud.agent_time(Duration::from_secs(3));
    killed(&stage, 1);
}

#[test]
fn a_daemon_that_is_killed_before_it_sent_anything_finds_that_out_and_standing_access_stays() {
    let stage = Stage::new();
    let host = stage.host(&stage.prod, EAST);
    stage.by_hand(&stage.prod, EAST, &host);
    // The document is looked at after the intent, and before the command.
    spoil(&stage, "ssm:DescribeDocument", How::Slow(Duration::from_secs(10)), 1);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "10m", &[windows("prod", EAST)]);
    stage.until(&daemon, "the intent is durable", || stage.site.count("intend", "grant") == 1);
    daemon.kill();
    assert_eq!(stage.sends(ADD), 0, "nothing was sent");
    stage.cloud.clear_faults();
    // At first nobody can say so: a command may be on its way.
    let daemon = stage.site.daemon();
    stage.until(&daemon, "SSM was asked", || stage.cloud.count("ssm:ListCommands") == 1);
    stage.pass(2);
    assert_eq!((stage.site.count("fate", ""), stage.sends(ADD)), (0, 0), "{}", daemon.log());
    daemon.kill();
    // By then, somebody can.
    let six = jiff::SignedDuration::from_mins(6);
    stage.cloud.pass(six);
    let daemon = stage.daemon_later(360);
    stage.until(&daemon, "nothing was ever sent, and what is there is not ours", || {
        stage.fates() == ["grant windows-admin failed"] && stage.site.count("standing", "") == 1
    });
    let told = stage.site.history().into_iter().find(|line| line["kind"] == "fate").unwrap();
    assert!(told.to_string().contains("it was never sent"), "{told}");
    stage.site.withdraw("jdoe-checkout");
    stage.until(&daemon, "it is over", || stage.site.count("finish", "") == 1);
    stage.pass(2);
    assert!(stage.local(&stage.prod, EAST, &host), "the standing member stays");
    assert_eq!(stage.site.count("intend", "revoke"), 0, "{}", daemon.log());
    daemon.stop();
}

#[test]
fn where_commands_may_not_be_listed_what_is_there_may_be_ours_and_ends() {
    let stage = Stage::new();
    let host = stage.unmarked();
    spoil(&stage, "ssm:SendCommand", How::Slow(Duration::from_secs(10)), 1);
    stage.cloud.fault(Fault::of("ssm:ListCommands", How::Deny));
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "25s", &[windows("prod", EAST)]);
    stage.until(&daemon, "the command is sent", || stage.sends(ADD) == 1);
    daemon.kill();
    stage.until_landed(&host);
    let daemon = stage.site.daemon();
    stage.until(&daemon, "it is told as disputed", || stage.site.count("dispute", "") == 1);
    stage.until(&daemon, "it is taken away", || !stage.local(&stage.prod, EAST, &host));
    daemon.stop();
}

#[test]
fn while_commands_cannot_be_listed_nothing_is_decided_and_then_the_answer_counts() {
    let stage = Stage::new();
    let host = stage.unmarked();
    spoil(&stage, "ssm:SendCommand", How::Slow(Duration::from_secs(10)), 1);
    let daemon = stage.site.daemon();
    stage.merge("jdoe-checkout", "8h", &[windows("prod", EAST)]);
    stage.until(&daemon, "the command is sent", || stage.sends(ADD) == 1);
    daemon.kill();
    stage.until_landed(&host);
    spoil(&stage, "ssm:ListCommands", How::Error500, 3);
    let daemon = stage.site.daemon();
    stage.until(&daemon, "SSM was asked in vain", || stage.cloud.count("ssm:ListCommands") == 3);
    stage.pass(3);
    assert_eq!((stage.site.count("fate", ""), stage.site.count("dispute", "")), (0, 0), "{}", daemon.log());
    // An end waits for nobody.
    stage.site.withdraw("jdoe-checkout");
    stage.until(&daemon, "it is taken away", || !stage.local(&stage.prod, EAST, &host));
    daemon.stop();
}
