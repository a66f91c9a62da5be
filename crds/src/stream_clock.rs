//! StreamClock: the clock that all outputs of a stream follow, as the operator publishes it. One
//! for each WorldStream, of the same name; workers watch it and nothing that changes more often.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The newest revision of a stream's clock. An event is due at
/// `wallEpoch + (event time − eventEpoch) / speedup`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "worldstream.io",
    version = "v1alpha1",
    kind = "StreamClock",
    plural = "streamclocks",
    namespaced,
    shortname = "sclk",
    category = "worldstream-all",
    derive = "PartialEq",
    doc = "The clock that all outputs of a WorldStream of the same name follow; the operator alone writes it."
)]
#[serde(default, rename_all = "camelCase")]
pub struct StreamClockSpec {
    /// Number of the newest revision, from 1; 0 before the stream has started. It only grows.
    #[schemars(range(min = 0))]
    pub revision: u64,
    /// From when the newest revision counts, wall clock, RFC 3339 with microseconds. A little in
    /// the future when it is published. Example: `2026-01-01T09:00:01.000000Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub effective_at: Option<String>,
    /// The event time that is due at `wallEpoch`. Left out where nothing is paced: while it is
    /// paused, and with speedup 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub event_epoch: Option<String>,
    /// When `eventEpoch` is due, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub wall_epoch: Option<String>,
    /// Event seconds a wall-clock second; 0 is no waiting. While it is paused: the speedup at
    /// which it will go on.
    #[schemars(range(min = 0))]
    pub speedup: f64,
    /// Nothing is due, not even what is overdue.
    pub paused: bool,
    /// The event time at which the clock stands for an output that is behind: what is due up to
    /// it is sent, nothing after it. Left out: the clock does not stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub held_at: Option<String>,
    /// The revision that counts until `effectiveAt`. Left out: none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<RevisionSpec>,
    /// What the operator is doing with the clock, from which it goes on when it is restarted.
    pub mode: ClockMode,
    /// The last 32 changes, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub ledger: Vec<LedgerEntry>,
}

/// One revision of a clock; the fields are as in the clock itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RevisionSpec {
    /// Its number, from 1.
    #[schemars(range(min = 0))]
    pub revision: u64,
    /// From when it counts, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub effective_at: Option<String>,
    /// The event time that is due at `wallEpoch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub event_epoch: Option<String>,
    /// When `eventEpoch` is due, wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub wall_epoch: Option<String>,
    /// Event seconds a wall-clock second; 0 is no waiting.
    #[schemars(range(min = 0))]
    pub speedup: f64,
    /// Nothing is due, not even what is overdue.
    pub paused: bool,
    /// The event time at which the clock stands for an output that is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub held_at: Option<String>,
}

/// What the operator is doing with a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClockMode {
    /// Event time runs, or nothing waits.
    #[default]
    Going,
    /// Everything stands because the WorldStream says so.
    Paused,
    /// Everything stands until all workers know that it does.
    Settling,
    /// It stands for an output that is behind.
    Holding,
}

/// One change of a clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LedgerEntry {
    /// The revision that it made. Several changes at once make one revision; a speed that is
    /// changed while the clock is paused makes none, and has the pause's.
    #[schemars(range(min = 0))]
    pub revision: u64,
    /// The event time from which the change counts. Left out: no event time was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub event_time: Option<String>,
    /// The wall-clock time from which it counts; of a speed that is changed while the clock is
    /// paused: when it was noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub wall_time: Option<String>,
    /// What changed.
    pub change: ClockChange,
    /// The speedup from then on.
    #[schemars(range(min = 0))]
    pub speedup: f64,
    /// Whether event time stands from then on: paused, settling or held.
    pub stands: bool,
    /// The field manager that asked for it, or the operator's own where nobody did. Example:
    /// `kubectl-patch`.
    pub by: String,
}

/// What changed in a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClockChange {
    /// It was started.
    #[default]
    Started,
    /// Somebody paused it.
    Paused,
    /// It goes on after a pause.
    Resumed,
    /// Somebody gave it another speed.
    SpeedChanged,
    /// It stands for an output that is behind.
    Held,
    /// It no longer stands for an output: that has caught up, or somebody paused the clock or took
    /// its waiting away.
    Released,
    /// It stands until all workers know that it does, to see where each of them is.
    Settled,
    /// It was lost, and made anew from the workers' cursors.
    Rebuilt,
}

impl StreamClockSpec {
    /// The newest revision; none before the start.
    pub fn newest(&self) -> Option<RevisionSpec> {
        (self.revision > 0).then(|| RevisionSpec {
            revision: self.revision,
            effective_at: self.effective_at.clone(),
            event_epoch: self.event_epoch.clone(),
            wall_epoch: self.wall_epoch.clone(),
            speedup: self.speedup,
            paused: self.paused,
            held_at: self.held_at.clone(),
        })
    }

    /// Takes a revision as the newest; the one before it becomes `previous`, unless it never came
    /// to count because the new one counts from the same moment or earlier.
    pub fn publish(&mut self, newest: RevisionSpec) {
        let counted = |it: &RevisionSpec| it.effective_at < newest.effective_at;
        if let Some(before) = self.newest().filter(counted) {
            self.previous = Some(before);
        }
        let RevisionSpec {
            revision,
            effective_at,
            event_epoch,
            wall_epoch,
            speedup,
            paused,
            held_at,
        } = newest;
        self.revision = revision;
        self.effective_at = effective_at;
        self.event_epoch = event_epoch;
        self.wall_epoch = wall_epoch;
        self.speedup = speedup;
        self.paused = paused;
        self.held_at = held_at;
    }

    /// Adds a change to the ledger, which keeps the last [`LEDGER_LENGTH`].
    pub fn note(&mut self, entry: LedgerEntry) {
        self.ledger.push(entry);
        let surplus = self.ledger.len().saturating_sub(LEDGER_LENGTH);
        self.ledger.drain(..surplus);
    }
}

/// How many changes a clock's ledger keeps.
pub const LEDGER_LENGTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64, effective_at: &str) -> RevisionSpec {
        RevisionSpec {
            revision: number,
            effective_at: Some(effective_at.into()),
            speedup: number as f64,
            ..RevisionSpec::default()
        }
    }

    #[test]
    fn previous_is_what_counted_before() {
        let mut clock = StreamClockSpec::default();
        assert_eq!(clock.newest(), None);
        let first = revision(1, "2026-01-01T00:00:01.000000Z");
        clock.publish(first.clone());
        assert_eq!(
            (clock.newest(), &clock.previous),
            (Some(first.clone()), &None)
        );
        let second = revision(2, "2026-01-01T00:00:09.000000Z");
        clock.publish(second);
        assert_eq!(clock.previous, Some(first.clone()));
        // The third counts before the second would have: the first is what it follows.
        clock.publish(revision(3, "2026-01-01T00:00:05.000000Z"));
        assert_eq!(clock.previous, Some(first));
        assert_eq!(clock.newest().unwrap().revision, 3);
    }

    #[test]
    fn the_ledger_keeps_the_newest_changes() {
        let mut clock = StreamClockSpec::default();
        for revision in 1..=40 {
            clock.note(LedgerEntry {
                revision,
                ..LedgerEntry::default()
            });
        }
        let kept: Vec<u64> = clock.ledger.iter().map(|entry| entry.revision).collect();
        assert_eq!(kept, (9..=40).collect::<Vec<_>>());
    }
}
