//! How far a build is: counted by the threads that work, shown by whoever asked for it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// What a build is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking at what is there.
    Looking = 0,
    /// Reading raw parts, sorting and spilling runs.
    Sorting = 1,
    /// Merging runs into the view's parts.
    Merging = 2,
    /// Reading the view back.
    Checking = 3,
    /// Putting it in its place.
    Publishing = 4,
}

impl Phase {
    /// In one word, for people.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Looking => "looking",
            Phase::Sorting => "sorting",
            Phase::Merging => "merging",
            Phase::Checking => "checking",
            Phase::Publishing => "publishing",
        }
    }
}

/// Counters of one build.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    rows: AtomicU64,
    of: AtomicU64,
    bytes: AtomicU64,
}

/// A look at the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What it is doing.
    pub phase: Phase,
    /// Rows that are through this phase.
    pub rows: u64,
    /// Rows of the table.
    pub of: u64,
    /// Bytes read, written or sent in this phase.
    pub bytes: u64,
}

impl Standing {
    /// What is done of the whole build, 0 to 1: sorting, merging and checking count by their
    /// usual cost.
    pub fn share(&self) -> f64 {
        let (before, weight) = match self.phase {
            Phase::Looking => (0.0, 0.0),
            Phase::Sorting => (0.0, 0.4),
            Phase::Merging => (0.4, 0.45),
            Phase::Checking => (0.85, 0.14),
            Phase::Publishing => (0.99, 0.0),
        };
        before + weight * (self.rows as f64 / self.of.max(1) as f64).min(1.0)
    }
}

impl Progress {
    /// Where the build stands.
    pub fn standing(&self) -> Standing {
        Standing {
            phase: match self.phase.load(Relaxed) {
                0 => Phase::Looking,
                1 => Phase::Sorting,
                2 => Phase::Merging,
                3 => Phase::Checking,
                _ => Phase::Publishing,
            },
            rows: self.rows.load(Relaxed),
            of: self.of.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }

    pub(super) fn begin(&self, phase: Phase) {
        self.rows.store(0, Relaxed);
        self.bytes.store(0, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    pub(super) fn of(&self, rows: u64) {
        self.of.store(rows, Relaxed);
    }

    pub(super) fn rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Relaxed);
    }

    pub(super) fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }
}
