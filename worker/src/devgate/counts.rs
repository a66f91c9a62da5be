//! What the gate has seen, counted once and shown twice: as Prometheus metrics and as a summary.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde::{Deserialize, Serialize};

use super::check::Refusal;
use super::faults::FaultKind;
use super::outputs::{OUTPUTS, Output};
use crate::gate::Decision;
use crate::time::EventTime;

/// The label of an event type that is no output of ours.
const OTHER: &str = "other";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabel {
    output: &'static str,
    decision: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The counters. Labels are status codes, the six outputs and `other`, decisions, reasons and
/// kinds of fault: never an id.
#[derive(Debug)]
pub struct Counts {
    registry: Registry,
    requests: Family<CodeLabel, Counter>,
    decisions: Family<DecisionLabel, Counter>,
    quarantined: Family<ReasonLabel, Counter>,
    faults: Family<KindLabel, Counter>,
    pushes: Counter,
    connections: Counter,
    in_flight: Gauge,
    seconds: Histogram,
    first: AtomicI64,
    last: AtomicI64,
}

/// What the gate has seen since it started, as `/v1/ops/summary` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Pushes that arrived, whatever became of them.
    pub pushes: u64,
    /// Of those, admitted.
    pub admitted: u64,
    /// Of those, recognised as repeats of an admitted event with the same payload.
    pub duplicates: u64,
    /// Of those, put aside.
    pub quarantined: u64,
    /// By event type (`other` for what is no output of ours).
    pub by_event_type: BTreeMap<String, Decisions>,
    /// Quarantined by reason code.
    pub quarantined_by_reason: BTreeMap<String, u64>,
    /// Answers by status code, of every route.
    pub answers: BTreeMap<String, u64>,
    /// Faults injected by kind; of `refuse` the connections that were reset and, where the
    /// listener is closed, the closings.
    pub faults: BTreeMap<String, u64>,
    /// Connections accepted.
    pub connections: u64,
    /// Pushes that are being handled.
    pub in_flight: i64,
    /// Events that a repeat would be recognised of, those of an earlier record among them.
    pub known_events: u64,
    /// Wall time of the first push.
    pub first_arrival_utc: Option<EventTime>,
    /// Wall time of the last push.
    pub last_arrival_utc: Option<EventTime>,
}

/// How many events were decided how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decisions {
    /// Admitted.
    pub admitted: u64,
    /// Repeats.
    pub duplicates: u64,
    /// Put aside.
    pub quarantined: u64,
}

/// A push that is being handled; dropped when it was answered or given up.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Counts {
    fn default() -> Self {
        Counts::new()
    }
}

impl Counts {
    /// All at zero, every series there from the start.
    pub fn new() -> Self {
        let counts = Counts {
            registry: Registry::with_prefix("worldstream_dev_gate"),
            requests: Family::default(),
            decisions: Family::default(),
            quarantined: Family::default(),
            faults: Family::default(),
            pushes: Counter::default(),
            connections: Counter::default(),
            in_flight: Gauge::default(),
            seconds: Histogram::new([
                0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1.0,
            ]),
            first: AtomicI64::new(i64::MAX),
            last: AtomicI64::new(i64::MIN),
        };
        for output in OUTPUTS.iter().map(|output| output.id).chain([OTHER]) {
            for decision in [Decision::Admit, Decision::Duplicate, Decision::Quarantine] {
                counts.decided(output, decision);
            }
        }
        for refusal in Refusal::ALL {
            let reason = refusal.as_str();
            drop(counts.quarantined.get_or_create(&ReasonLabel { reason }));
        }
        for kind in FaultKind::NAMES {
            drop(counts.faults.get_or_create(&KindLabel { kind }));
        }
        counts.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("requests", "Answers by status code", self.requests.clone());
        registry.register("decisions", "Decisions by output", self.decisions.clone());
        registry.register(
            "quarantined",
            "Quarantined events by reason",
            self.quarantined.clone(),
        );
        registry.register("faults_injected", "Faults by kind", self.faults.clone());
        registry.register("pushes", "Pushes that arrived", self.pushes.clone());
        registry.register(
            "connections",
            "Connections accepted",
            self.connections.clone(),
        );
        registry.register(
            "pushes_in_flight",
            "Pushes that are being handled",
            self.in_flight.clone(),
        );
        registry.register_with_unit(
            "decision_duration",
            "From the arrival of a push to its decision",
            Unit::Seconds,
            self.seconds.clone(),
        );
        self
    }

    fn decided(&self, output: &'static str, decision: Decision) -> Counter {
        let decision = word(decision);
        self.decisions
            .get_or_create_owned(&DecisionLabel { output, decision })
    }

    /// A push arrived, at this wall time.
    pub fn arrived(&self, wall_micros: i64) -> InFlight<'_> {
        self.pushes.inc();
        self.first.fetch_min(wall_micros, Ordering::Relaxed);
        self.last.fetch_max(wall_micros, Ordering::Relaxed);
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    /// A push was decided upon, so many seconds after it arrived.
    pub fn decision(
        &self,
        output: Option<&Output>,
        decision: Decision,
        refusal: Option<Refusal>,
        seconds: f64,
    ) {
        // `OUTPUTS` is static, so is the id.
        let id = output.map_or(OTHER, |output| output.id);
        let decision = word(decision);
        self.decisions
            .get_or_create(&DecisionLabel {
                output: id,
                decision,
            })
            .inc();
        if let Some(refusal) = refusal {
            let reason = refusal.as_str();
            self.quarantined
                .get_or_create(&ReasonLabel { reason })
                .inc();
        }
        self.seconds.observe(seconds);
    }

    /// A request was answered.
    pub fn answered(&self, code: u16) {
        self.requests.get_or_create(&CodeLabel { code }).inc();
    }

    /// A fault was injected so many times.
    pub fn fault(&self, kind: &'static str, times: u64) {
        self.faults.get_or_create(&KindLabel { kind }).inc_by(times);
    }

    /// A connection was accepted.
    pub fn connected(&self) {
        self.connections.inc();
    }

    /// The metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    /// The summary.
    pub fn summary(&self, known_events: u64) -> Summary {
        let mut summary = Summary {
            pushes: self.pushes.get(),
            connections: self.connections.get(),
            in_flight: self.in_flight.get(),
            known_events,
            first_arrival_utc: EventTime::from_micros(self.first.load(Ordering::Relaxed)),
            last_arrival_utc: EventTime::from_micros(self.last.load(Ordering::Relaxed)),
            ..Summary::default()
        };
        for id in OUTPUTS.iter().map(|output| output.id).chain([OTHER]) {
            let decisions = Decisions {
                admitted: self.decided(id, Decision::Admit).get(),
                duplicates: self.decided(id, Decision::Duplicate).get(),
                quarantined: self.decided(id, Decision::Quarantine).get(),
            };
            if decisions != Decisions::default() {
                summary.by_event_type.insert(id.into(), decisions);
            }
            summary.admitted += decisions.admitted;
            summary.duplicates += decisions.duplicates;
            summary.quarantined += decisions.quarantined;
        }
        for refusal in Refusal::ALL {
            let reason = refusal.as_str();
            let count = self
                .quarantined
                .get_or_create(&ReasonLabel { reason })
                .get();
            put(&mut summary.quarantined_by_reason, reason, count);
        }
        for kind in FaultKind::NAMES {
            put(
                &mut summary.faults,
                kind,
                self.faults.get_or_create(&KindLabel { kind }).get(),
            );
        }
        for code in 200..600 {
            if let Some(count) = self.requests.get(&CodeLabel { code }) {
                put(&mut summary.answers, &code.to_string(), count.get());
            }
        }
        summary
    }
}

fn put(map: &mut BTreeMap<String, u64>, key: &str, count: u64) {
    if count > 0 {
        map.insert(key.into(), count);
    }
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Admit => "admit",
        Decision::Duplicate => "duplicate",
        Decision::Quarantine => "quarantine",
    }
}
