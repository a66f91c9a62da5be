//! Misbehaviour on demand: the grammar of a fault, and which faults strike a push.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The grammar, for `--help` and messages.
pub const GRAMMAR: &str = "\
A fault is KIND[=VALUE][:OPTION=VALUE[,OPTION=VALUE]...].
Kinds:
  latency=TIME   the answer comes so much later
  refuse         nobody listens (with p or events: connections are reset as they come)
  429            answered 429, not taken; option retry-after=TIME (whole seconds, rounded up)
  5xx[=STATUS]   answered STATUS (503, or 500 to 599), not taken; 500 is short for 5xx=500
  stall          never answered, not taken
  reset          connection reset before the answer, not taken
  reset-middle   taken, connection reset in the middle of the answer
  no-answer      taken, connection closed without an answer
Options of every kind:
  p=SHARE        strikes this share of pushes (above 0, at most 1; 1 by default)
  from=TIME      strikes from so long after the faults were set (0s by default)
  for=TIME       for so long (to the end by default)
  events=A..B    strikes the pushes A to B-1, counted from 0 since the faults were set
                 (of refuse: connections); not together with from and for
TIME is like 50ms, 2s, 1m30s. Latencies add up; of the others the first that strikes wins.";

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The answer comes so much later.
    Latency(Duration),
    /// Nobody listens, or connections are reset as they come.
    Refuse,
    /// 429, not taken.
    TooMany {
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// Another failing status, not taken.
    Error {
        /// 500 to 599.
        status: u16,
    },
    /// Never answered, not taken.
    Stall,
    /// Connection reset before the answer, not taken.
    Reset,
    /// Taken, connection reset in the middle of the answer.
    ResetMiddle,
    /// Taken, connection closed without an answer.
    NoAnswer,
}

impl FaultKind {
    /// Every name, as in the grammar.
    pub const NAMES: &'static [&'static str] = &[
        "latency",
        "refuse",
        "429",
        "5xx",
        "stall",
        "reset",
        "reset-middle",
        "no-answer",
    ];

    /// The kind's name, as in the grammar.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Latency(_) => "latency",
            FaultKind::Refuse => "refuse",
            FaultKind::TooMany { .. } => "429",
            FaultKind::Error { .. } => "5xx",
            FaultKind::Stall => "stall",
            FaultKind::Reset => "reset",
            FaultKind::ResetMiddle => "reset-middle",
            FaultKind::NoAnswer => "no-answer",
        }
    }
}

/// When it may go wrong, counted from when the faults were set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// Wall time; no end: for ever.
    Time {
        /// Begins.
        from: Duration,
        /// Lasts.
        length: Option<Duration>,
    },
    /// Pushes (of [`FaultKind::Refuse`]: connections), counted from 0.
    Count(Range<u64>),
}

/// One fault: what, how often, when. Text form: [`GRAMMAR`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FaultSpec {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The share of pushes within the span that it strikes: above 0, at most 1.
    pub share: f64,
    /// When.
    pub span: Span,
}

impl FaultSpec {
    /// Whether nobody listens at all while the span lasts.
    fn closes_listener(&self) -> bool {
        self.kind == FaultKind::Refuse
            && self.share >= 1.0
            && matches!(self.span, Span::Time { .. })
    }

    /// Whether the gate, once it is struck, can never be reached again.
    pub fn locks_out(&self) -> bool {
        self.closes_listener() && matches!(self.span, Span::Time { length: None, .. })
    }

    fn covers(&self, elapsed: Duration, count: u64) -> bool {
        match &self.span {
            Span::Time { from, length } => {
                elapsed >= *from
                    && length.is_none_or(|length| elapsed < from.saturating_add(length))
            }
            Span::Count(range) => range.contains(&count),
        }
    }
}

impl FromStr for FaultSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, options) = match text.split_once(':') {
            Some((head, options)) => (head, options),
            None => (text, ""),
        };
        let (name, value) = match head.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (head, None),
        };
        let mut share = 1.0;
        let (mut from, mut length, mut events) = (None, None, None);
        let (mut status, mut retry_after) = (None, None);
        let mut seen = Vec::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| format!("option {option:?} has no value"))?;
            if seen.contains(&key) {
                return Err(format!("option {key} is given twice"));
            }
            seen.push(key);
            match key {
                "p" => share = parse_share(value)?,
                "from" => from = Some(parse_time(value)?),
                "for" => length = Some(parse_time(value)?),
                "events" => events = Some(parse_range(value)?),
                "status" if name == "5xx" => status = Some(parse_status(value)?),
                "retry-after" if name == "429" => {
                    retry_after = Some(parse_time(value)?.as_millis().div_ceil(1000) as u64)
                }
                _ => return Err(format!("{name} has no option {key}")),
            }
        }
        let kind = match (name, value) {
            ("latency", Some(value)) => FaultKind::Latency(parse_time(value)?),
            ("latency", None) => return Err("latency needs a time: latency=50ms".into()),
            ("5xx", Some(value)) => {
                if status.is_some() {
                    return Err("5xx has its status twice".into());
                }
                FaultKind::Error {
                    status: parse_status(value)?,
                }
            }
            ("5xx", None) => FaultKind::Error {
                status: status.unwrap_or(503),
            },
            (_, Some(_)) if FaultKind::NAMES.contains(&name) => {
                return Err(format!("{name} takes no value"));
            }
            (status, None) if (500..600).contains(&status.parse().unwrap_or(0)) => {
                FaultKind::Error {
                    status: parse_status(status)?,
                }
            }
            ("refuse", _) => FaultKind::Refuse,
            ("429", _) => FaultKind::TooMany { retry_after },
            ("stall", _) => FaultKind::Stall,
            ("reset", _) => FaultKind::Reset,
            ("reset-middle", _) => FaultKind::ResetMiddle,
            ("no-answer", _) => FaultKind::NoAnswer,
            _ => {
                return Err(format!(
                    "no fault {name:?}; there are {}",
                    FaultKind::NAMES.join(", ")
                ));
            }
        };
        let span = match (events, from, length) {
            (Some(range), None, None) => Span::Count(range),
            (Some(_), ..) => return Err("events does not go together with from and for".into()),
            (None, from, length) => Span::Time {
                from: from.unwrap_or_default(),
                length,
            },
        };
        Ok(FaultSpec { kind, share, span })
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| format!("p is {text:?}, expected a number above 0 and at most 1"))
}

fn parse_time(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| format!("{text:?} is no time such as 50ms or 2s"))
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    text.split_once("..")
        .and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?))
        .filter(|range| !range.is_empty())
        .ok_or_else(|| format!("events is {text:?}, expected A..B with A below B"))
}

fn parse_status(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|status| (500..600).contains(status))
        .ok_or_else(|| format!("status is {text:?}, expected 500 to 599"))
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        let mut options = Vec::new();
        match self.kind {
            FaultKind::Latency(time) => write!(f, "={}", show(time))?,
            FaultKind::Error { status } => write!(f, "={status}")?,
            FaultKind::TooMany {
                retry_after: Some(seconds),
            } => options.push(format!("retry-after={seconds}s")),
            _ => {}
        }
        if self.share < 1.0 {
            options.push(format!("p={}", self.share));
        }
        match &self.span {
            Span::Time { from, length } => {
                if !from.is_zero() {
                    options.push(format!("from={}", show(*from)));
                }
                if let Some(length) = length {
                    options.push(format!("for={}", show(*length)));
                }
            }
            Span::Count(range) => options.push(format!("events={}..{}", range.start, range.end)),
        }
        if !options.is_empty() {
            write!(f, ":{}", options.join(","))?;
        }
        Ok(())
    }
}

/// A duration in the form that is read, without spaces. What was read always fits.
fn show(time: Duration) -> String {
    SignedDuration::try_from(time)
        .map_or_else(|_| format!("{time:?}"), |time| format!("{time:#}"))
        .replace(' ', "")
}

impl TryFrom<String> for FaultSpec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<FaultSpec> for String {
    fn from(spec: FaultSpec) -> String {
        spec.to_string()
    }
}

/// The faults in force, with what was counted since they were set.
#[derive(Debug)]
pub struct FaultSet {
    since: Instant,
    pushes: u64,
    connections: u64,
    faults: Vec<(FaultSpec, ChaCha8Rng)>,
}

/// What strikes one push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Struck {
    /// All latencies together.
    pub latency: Duration,
    /// How many latencies those are.
    pub latencies: u64,
    /// The fault besides.
    pub fault: Option<FaultKind>,
}

impl FaultSet {
    /// Faults that count from `now`. Each draws from its own generator, so that what strikes
    /// which push depends only on seed, faults and the order of pushes.
    pub fn new(specs: Vec<FaultSpec>, seed: u64, now: Instant) -> Self {
        let faults = specs.into_iter().zip(0..).map(|(spec, stream)| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(stream);
            (spec, random)
        });
        FaultSet {
            since: now,
            pushes: 0,
            connections: 0,
            faults: faults.collect(),
        }
    }

    /// The faults as they were given.
    pub fn specs(&self) -> Vec<FaultSpec> {
        self.faults.iter().map(|(spec, _)| spec.clone()).collect()
    }

    /// Counts a push and says what strikes it.
    pub fn on_push(&mut self, now: Instant) -> Struck {
        let elapsed = now.saturating_duration_since(self.since);
        let count = self.pushes;
        self.pushes += 1;
        let mut struck = Struck::default();
        for (spec, random) in &mut self.faults {
            if spec.kind == FaultKind::Refuse || !spec.covers(elapsed, count) {
                continue;
            }
            // Drawn even if an earlier fault has won, so that faults do not depend on each other.
            if !random.random_bool(spec.share) {
                continue;
            }
            match spec.kind {
                FaultKind::Latency(time) => {
                    struck.latency = struck.latency.saturating_add(time);
                    struck.latencies += 1;
                }
                kind => struck.fault = struck.fault.or(Some(kind)),
            }
        }
        struck
    }

    /// Counts a connection and says whether it is reset.
    pub fn on_connection(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.since);
        let count = self.connections;
        self.connections += 1;
        let mut reset = false;
        for (spec, random) in &mut self.faults {
            if spec.kind == FaultKind::Refuse && spec.covers(elapsed, count) {
                reset |= random.random_bool(spec.share);
            }
        }
        reset
    }

    /// Whether nobody listens now, and when that may change.
    pub fn listening(&self, now: Instant) -> (bool, Option<Instant>) {
        let elapsed = now.saturating_duration_since(self.since);
        let closing = || {
            self.faults
                .iter()
                .map(|(spec, _)| spec)
                .filter(|spec| spec.closes_listener())
        };
        let closed = closing().any(|spec| spec.covers(elapsed, 0));
        let edges = closing().flat_map(|spec| match &spec.span {
            Span::Time { from, length } => [
                Some(*from),
                length.map(|length| from.saturating_add(length)),
            ],
            Span::Count(_) => [None, None],
        });
        let next = edges.flatten().filter(|edge| *edge > elapsed).min();
        (!closed, next.and_then(|edge| self.since.checked_add(edge)))
    }
}

#[cfg(test)]
mod tests;
