//! Looks at the children of a fetch from outside, as the kernel shows them.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// One process as it was seen last.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    pub arguments: String,
    pub environment: String,
    /// The highest resident memory, KiB.
    pub peak: u64,
    /// Processor time, hundredths of a second.
    pub ticks: u64,
}

/// A thread that looks every two milliseconds at the process group of each git that works for one state folder.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<u32, Sight>>,
}

impl Watch {
    pub fn new(state: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, state) = (stop.clone(), state.to_str().unwrap().to_owned());
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeMap::new();
            while !ended.load(Ordering::Relaxed) {
                look(&state, &mut seen);
                std::thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        Self { stop, thread }
    }

    pub fn end(self) -> Vec<Sight> {
        self.stop.store(true, Ordering::Relaxed);
        let seen: Vec<Sight> = self.thread.join().unwrap().into_values().collect();
        assert!(!seen.is_empty(), "no child was seen");
        seen
    }
}

/// The processes of this state folder that live now.
pub fn living(state: &Path) -> usize {
    let mut seen = BTreeMap::new();
    look(state.to_str().unwrap(), &mut seen);
    seen.len()
}

fn look(state: &str, seen: &mut BTreeMap<u32, Sight>) {
    let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<(u32, u64, Sight)> = numbers.filter_map(|pid| Some((pid, group(pid)?, sight(pid)?))).collect();
    let ours: Vec<u64> =
        all.iter().filter(|(_, _, sight)| sight.arguments.contains(state)).map(|(_, group, _)| *group).collect();
    for (pid, group, sight) in all {
        // Between fork and exec a child still looks like the test itself.
        if ours.contains(&group) && sight.environment.contains("GIT_CONFIG_NOSYSTEM") {
            let last: &mut Sight = seen.entry(pid).or_default();
            *last = Sight { peak: sight.peak.max(last.peak), ticks: sight.ticks.max(last.ticks), ..sight };
        }
    }
}

fn group(pid: u32) -> Option<u64> {
    stat(pid)?.get(2)?.parse().ok()
}

/// What follows the name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn sight(pid: u32) -> Option<Sight> {
    let text = |name: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', "\n"))
    };
    let times = stat(pid)?;
    let status = text("status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse();
    Some(Sight {
        arguments: text("cmdline")?,
        environment: text("environ")?,
        peak: peak.ok()?,
        ticks: times.get(11)?.parse::<u64>().ok()? + times.get(12)?.parse::<u64>().ok()?,
    })
}
