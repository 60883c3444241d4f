use std::{path::Path, process::ExitStatus, time::Duration};

use super::child::{Failure, Limits};

const MIB: u64 = 1024 * 1024;

/// One question to the remote: a few round trips, one line of an answer.
const ASK: Limits = Limits {
    time: Duration::from_secs(30),
    cpu: 5,
    memory: 128 * MIB,
    space: 1024 * MIB,
    file: MIB,
    output: 64 * 1024,
};

/// The first fetch brings the whole history, and an operator waits for it: 15 minutes, 10 of them of one processor,
/// 2 GiB of memory, a pack of 2 GiB with 5,000,000 objects of any size. (50,000 commits of 10,000 files take seconds.)
const FIRST: Caps = Caps {
    child: Limits {
        time: Duration::from_secs(15 * 60),
        cpu: 10 * 60,
        memory: 2048 * MIB,
        space: 4096 * MIB,
        file: 2048 * MIB,
        output: 64 * 1024,
    },
    pack: 2048 * MIB,
    objects: 5_000_000,
    object: None,
};

/// Later fetches bring some commits with some small files each: two minutes on the network, 3 s of processor time in each
/// process, 128 MiB of memory, a pack of 128 MiB with 100,000 objects, each of at most 32 MiB. Git unpacks zeros faster
/// than a disk reads (1 MB of pack is 1 GiB of them), so it is the processor time that ends a bomb while it still
/// unfolds, and the look into the quarantine that finds the smaller one.
const LATER: Caps = Caps {
    child: Limits {
        time: Duration::from_secs(120),
        cpu: 3,
        memory: 128 * MIB,
        space: 1024 * MIB,
        file: 128 * MIB,
        output: 64 * 1024,
    },
    pack: 128 * MIB,
    objects: 100_000,
    object: Some(32 * MIB),
};

/// Joining small packs, which are ours already.
const TIDY: Limits = Limits { cpu: 5 * 60, time: Duration::from_secs(5 * 60), ..FIRST.child };

/// How many packs may lie side by side: each look for an object goes through all of them.
const PACKS: usize = 50;

/// What one fetch may use, and what it may bring.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    pub child: Limits,
    /// Bytes of its packs together.
    pub pack: u64,
    /// Objects in them.
    pub objects: usize,
    /// The largest object, bytes when unpacked; `None`: any.
    pub object: Option<u64>,
}

/// All that the remote may cost us.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub ask: Limits,
    pub first: Caps,
    pub later: Caps,
    pub tidy: Limits,
    pub packs: usize,
}

impl Bounds {
    pub const USUAL: Self = Self { ask: ASK, first: FIRST, later: LATER, tidy: TIDY, packs: PACKS };

    /// What an operator can do about a fetch that broke its limits, as the end of a sentence.
    pub fn help(first: bool, bare: &Path) -> String {
        if first {
            return "; keep the grants in a repository of their own, without what made it so large".into();
        }
        format!(
            "; nothing of it was kept, and what was granted still ends; undo it in the branch, or, if it is meant, stop \
             grantd and remove {} to fetch all anew under the larger limits of a first fetch",
            bare.display()
        )
    }
}

impl Limits {
    /// Which of the limits a child broke, as far as one can tell from how it ended.
    pub fn broken(&self, said: &str, status: ExitStatus) -> Option<String> {
        use std::os::unix::process::ExitStatusExt;
        let signal = |number: i32| status.signal() == Some(number) || said.contains(&format!("signal {number}"));
        if signal(24) {
            Some(format!("it needs more than {} s of processor time", self.cpu))
        } else if signal(25) || said.contains("File too large") {
            Some(format!("it is larger than a fetch may be ({} bytes)", self.file))
        } else if said.contains("ut of memory")
            || said.contains("annot allocate memory")
            || said.contains("mmap failed")
        {
            Some(format!("it needs more than {} bytes of memory", self.memory))
        } else {
            None
        }
    }
}

impl Failure {
    /// Whether the child was ended because it took too much.
    pub fn is_breach(&self) -> bool {
        matches!(self, Self::Time(_) | Self::Output(_))
    }
}
