use std::{io, process::ExitStatus, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, prlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

/// What one child and all that it starts may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From its start to its end.
    pub time: Duration,
    /// Processor time of each process, seconds.
    pub cpu: u64,
    /// What each process may write to of its memory (heap, stacks, own mappings), bytes.
    pub memory: u64,
    /// Address space of each process, bytes: also what it maps of files and only reads.
    pub space: u64,
    /// The largest file that it may write, bytes.
    pub file: u64,
    /// The most that it may print, bytes.
    pub output: usize,
}

#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// The last whole lines, at most [`STDERR`] bytes.
    pub stderr: Vec<u8>,
}

/// Why a child has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("git cannot be started: {0}; install git 2.32 or later in /usr/local/bin, /usr/bin or /bin")]
    Start(io::Error),
    #[error("git cannot be limited: {0}")]
    Limit(rustix::io::Errno),
    #[error("git did not end within {} s and was killed", .0.as_secs_f64())]
    Time(Duration),
    #[error("git printed more than {0} bytes and was killed")]
    Output(usize),
    #[error("git's output cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// How much of the standard error is kept, bytes.
const STDERR: usize = 16 * 1024;

/// Runs a child to its end, in a process group of its own, which is killed whole when the time is over, when it prints
/// too much, and when this future is dropped.
pub async fn run(mut command: Command, limits: &Limits) -> Result<Output, Failure> {
    use std::process::Stdio;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(Failure::Start)?;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    // Dropped before the child is: until the child is reaped, its id is no other group's.
    let mut group = Group(pid);
    if let Some(pid) = pid {
        limits.put_on(pid).map_err(Failure::Limit)?;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (stdout, stderr) = tokio::try_join!(whole(stdout, limits.output), last_lines(stderr))?;
        let status = child.wait().await?;
        Ok(Output { status, stdout, stderr })
    };
    let output = timeout(limits.time, work).await.unwrap_or(Err(Failure::Time(limits.time)))?;
    group.0 = None;
    Ok(output)
}

impl Limits {
    /// Sets the limits from outside, right after the start: what the child starts inherits them.
    fn put_on(&self, pid: Pid) -> Result<(), rustix::io::Errno> {
        for (resource, most, hard) in [
            // At the first the kernel sends SIGXCPU, by which we know why it ended; at the second it kills.
            (Resource::Cpu, self.cpu, self.cpu + 1),
            (Resource::Data, self.memory, self.memory),
            (Resource::As, self.space, self.space),
            (Resource::Fsize, self.file, self.file),
            (Resource::Core, 0, 0),
        ] {
            // Nobody may raise his own hard limit.
            let ours = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let limit = Rlimit { current: Some(most.min(ours)), maximum: Some(hard.min(ours)) };
            match prlimit(Some(pid), resource, limit) {
                Ok(_) | Err(rustix::io::Errno::SRCH) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// A process group that is killed when it is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It fails only for a group that has ended.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn whole(from: Option<impl AsyncRead + Unpin>, most: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(most as u64 + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() > most { Err(Failure::Output(most)) } else { Ok(bytes) }
}

async fn last_lines(from: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let Some(mut from) = from else { return Ok(bytes) };
    while from.read_buf(&mut bytes).await? > 0 {
        if bytes.len() > 2 * STDERR {
            // A line that lost its beginning goes too: what is left of a secret could no longer be recognised.
            let cut = bytes.len() - STDERR;
            let line = bytes.iter().skip(cut).position(|b| *b == b'\n').map_or(bytes.len(), |at| cut + at + 1);
            bytes.drain(..line);
        }
    }
    Ok(bytes)
}
