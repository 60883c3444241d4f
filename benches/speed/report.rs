//! Figures and how they are told.

use std::{
    fmt,
    path::Path,
    time::{Duration, Instant},
};

pub const MIB: f64 = 1024.0 * 1024.0;

/// One row of the table.
pub fn row(what: &str, target: &str, measured: &str, good: bool) {
    println!("| {what} | {target} | {measured} | {} |", if good { "ok" } else { "**short**" });
}

/// Durations of several runs, shortest first.
pub struct Runs(Vec<Duration>);

impl Runs {
    pub fn new(mut runs: Vec<Duration>) -> Self {
        runs.sort();
        Self(runs)
    }

    /// Runs it so many times; it answers how long its measured part took.
    pub fn of(count: usize, mut run: impl FnMut() -> Duration) -> Self {
        Self::new((0..count).map(|_| run()).collect())
    }

    pub fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(runs) = self;
        write!(f, "{}", short(self.median()))?;
        if let [first, .., last] = &runs[..] {
            write!(f, " ({} to {}, {} runs)", short(*first), short(*last), runs.len())?;
        }
        Ok(())
    }
}

/// With three digits that count.
pub fn short(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.1 => format!("{:.0} ms", s * 1e3),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s => format!("{:.0} µs", s * 1e6),
    }
}

/// How long something takes, and what it answers.
pub fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let answer = run();
    (begin.elapsed(), answer)
}

/// A line of `/proc/PID/status`, in MiB: `VmRSS`, or `VmHWM` for the highest so far.
pub fn resident(pid: &str, line: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')).unwrap();
    found.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

pub fn binary() {
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_grantd")).map_or(0, |about| about.len());
    row("size of the release binary", "", &format!("{:.1} MiB", size as f64 / MIB), true);
}

/// One line on what it was measured.
pub fn machine() {
    let word = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("", |(_, word)| word).trim().to_owned()
    };
    let memory = word("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse::<f64>().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let temporary = std::env::temp_dir();
    println!(
        "\nMeasured on {cores} cores ({}), {:.0} GiB of memory, kernel {}, temporary files in {}.",
        word("/proc/cpuinfo", "model name"),
        memory / 1024.0 / 1024.0,
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        Path::display(&temporary),
    );
}
