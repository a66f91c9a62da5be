//! What a gate recorded, read back.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

/// One push that arrived, as the gate's `--record-all` has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Arrival {
    /// Nanoseconds of the monotonic clock, which all processes of a machine share.
    pub at: u64,
    /// What was decided; none: it was not taken.
    pub decision: Option<String>,
    /// The status of the answer; none: there was none, or only a part of it.
    pub status: Option<u16>,
    /// The fault that struck it.
    pub fault: Option<String>,
    /// The event's id.
    pub event_id: String,
    /// The event's type, which is the output.
    pub event_type: String,
    /// The event's time.
    pub ts_utc: String,
}

/// The lines of a JSONL file; none if there is no such file.
pub fn json_lines<T: serde::de::DeserializeOwned>(path: &Path) -> Vec<T> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Vec::new();
    };
    text.lines()
        .map(|line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()))
        })
        .collect()
}

/// Envelopes as JSON values.
pub fn envelopes(path: &Path) -> Vec<serde_json::Value> {
    json_lines(path)
}

/// Arrivals in order.
pub fn arrivals(path: &Path) -> Vec<Arrival> {
    json_lines(path)
}

/// Now, in [`Arrival::at`]'s nanoseconds.
pub fn monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How often events arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeats {
    /// Different events.
    pub events: u64,
    /// Those that arrived twice or more.
    pub twice: u64,
    /// How often the one arrived that arrived most.
    pub most: u64,
}

impl Repeats {
    /// Of what arrived.
    pub fn of(arrivals: &[Arrival]) -> Repeats {
        let mut times: HashMap<&str, u64> = HashMap::new();
        for arrival in arrivals {
            *times.entry(&arrival.event_id).or_default() += 1;
        }
        Repeats {
            events: times.len() as u64,
            twice: times.values().filter(|times| **times > 1).count() as u64,
            most: times.values().max().copied().unwrap_or(0),
        }
    }

    /// In words, of so many events that there are.
    pub fn told(&self, of: u64) -> String {
        format!(
            "{of} events, {} sent twice or more, none more than {} times, {} lost",
            self.twice,
            self.most,
            of - self.events
        )
    }
}
