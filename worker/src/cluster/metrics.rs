//! A worker's metrics: what the board shows, in Prometheus's words. Nothing is counted here twice,
//! and no label has a value that is not known from the plan.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::access::Access;
use super::report::Snapshot;
use crate::clock::{ClockReader, Mono, Monotonic};
use crate::engine::{Board, LaneGauge, Lateness};
use crate::gate::GateClient;
use crate::report::figures;
use crate::time::EventTime;

/// One metric, as the documentation lists it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name as it is scraped.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels, by name.
    pub labels: &'static [&'static str],
    /// What it says, one sentence without a full stop.
    pub help: &'static str,
}

const LANE: &[&str] = &["output", "lane"];

/// Every metric of a worker, in the order of a scrape.
pub const METRICS: &[Metric] = &[
    EVENTS, SENT, IN_FLIGHT, BUFFERED, LAG, LATENESS, SPEEDUP, RETRIES, GATE_AWAY, STORE_AWAY,
    REVISION, SKEW,
];

const EVENTS: Metric = Metric {
    name: "worldstream_events_total",
    kind: "counter",
    labels: &["output", "lane", "decision"],
    help: "Events that the gate has taken since the attempt's start, by its decision",
};
const SENT: Metric = Metric {
    name: "worldstream_events_sent_total",
    kind: "counter",
    labels: LANE,
    help: "Events whose sending this worker has begun, repeats of one not counted",
};
const IN_FLIGHT: Metric = Metric {
    name: "worldstream_in_flight",
    kind: "gauge",
    labels: LANE,
    help: "Requests that were begun and not answered",
};
const BUFFERED: Metric = Metric {
    name: "worldstream_buffered_events",
    kind: "gauge",
    labels: LANE,
    help: "Events that are encoded and wait to be due, of the batch at hand",
};
const LAG: Metric = Metric {
    name: "worldstream_lag_seconds",
    kind: "gauge",
    labels: LANE,
    help: "How far the oldest event that is not taken is behind the clock, in wall time",
};
const LATENESS: Metric = Metric {
    name: "worldstream_lateness_seconds",
    kind: "histogram",
    labels: LANE,
    help: "How long after its due moment an event was sent",
};
const SPEEDUP: Metric = Metric {
    name: "worldstream_achieved_speedup",
    kind: "gauge",
    labels: LANE,
    help: "Event seconds a wall-clock second that were reached over the last ten seconds",
};
const RETRIES: Metric = Metric {
    name: "worldstream_gate_retries_total",
    kind: "counter",
    labels: &["output", "reason"],
    help: "Attempts that failed in a way that is tried again, by reason",
};
const GATE_AWAY: Metric = Metric {
    name: "worldstream_gate_away_seconds",
    kind: "gauge",
    labels: LANE,
    help: "For how long the gate has taken nothing at all; 0: it answers",
};
const STORE_AWAY: Metric = Metric {
    name: "worldstream_store_away_seconds",
    kind: "gauge",
    labels: LANE,
    help: "For how long nothing could be saved; 0: it can",
};
const REVISION: Metric = Metric {
    name: "worldstream_clock_revision",
    kind: "gauge",
    labels: &[],
    help: "The revision of the clock that is in force; 0 before the start",
};
const SKEW: Metric = Metric {
    name: "worldstream_clock_skew_seconds",
    kind: "gauge",
    labels: &[],
    help: "How far the wall clock is ahead of the API server's for certain; less than 0: behind",
};

/// Where the figures come from.
pub struct Sources {
    /// What the lanes show.
    pub board: Arc<Board>,
    /// The clock.
    pub clock: ClockReader,
    /// The client of the output's gate.
    pub gate: GateClient,
    /// The API server.
    pub access: Access,
    /// Since when nothing could be saved; not of the snapshot, which cannot be written either where
    /// the API server keeps the cursors.
    pub store_away: Arc<dyn Fn() -> Option<EventTime> + Send + Sync>,
    /// The snapshot of the worker that was written last.
    pub shown: Arc<dyn Fn() -> Option<Snapshot> + Send + Sync>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// A scrape, in the OpenMetrics text format.
pub fn scrape(sources: &Arc<Sources>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(sources.clone()));
    let mut page = String::new();
    // Writing to a string fails only where a metric does, and ours do not.
    if text::encode(&mut page, &registry).is_err() {
        tracing::warn!("the metrics could not be written");
    }
    page
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let now = Mono::now();
        let timeline = self.clock.borrow().clone();
        let lanes = &self.board.lanes;
        let mut each = |metric: &Metric, value: &dyn Fn(&LaneGauge) -> Option<f64>| {
            let mut family = family(&mut encoder, metric)?;
            for lane in lanes {
                if let Some(value) = value(lane) {
                    sample(&mut family, metric, &labels(lane), value)?;
                }
            }
            Ok::<_, fmt::Error>(())
        };
        each(&SENT, &|lane| Some(lane.sent.load(Relaxed) as f64))?;
        each(
            &IN_FLIGHT,
            &|lane| Some(lane.in_flight.load(Relaxed) as f64),
        )?;
        each(&BUFFERED, &|lane| Some(lane.buffered.load(Relaxed) as f64))?;
        each(
            &GATE_AWAY,
            &|lane| Some(lane.gate_away.load(Relaxed) as f64),
        )?;
        each(&LAG, &|lane| {
            figures::lag(lane, &timeline, now).map(|lag| lag.as_secs_f64())
        })?;
        let shown = (self.shown)().unwrap_or_default();
        each(&SPEEDUP, &|_| shown.achieved_speedup)?;
        let away = (self.store_away)().map_or(0, |since| {
            let micros = EventTime::wall_now().micros() - since.micros();
            micros.max(0) / 1_000_000
        });
        each(&STORE_AWAY, &|_| Some(away as f64))?;

        let mut events = family(&mut encoder, &EVENTS)?;
        for lane in lanes {
            let taken = lane.taken.load(Relaxed);
            let decided = [
                ("admitted", lane.admitted.load(Relaxed)),
                ("duplicate", lane.duplicate.load(Relaxed)),
                ("quarantined", lane.quarantined.load(Relaxed)),
            ];
            let undecided = taken.saturating_sub(decided.iter().map(|(_, count)| count).sum());
            for (decision, count) in decided.into_iter().chain([("undecided", undecided)]) {
                let mut labels = labels(lane);
                labels.push(("decision", decision.to_owned()));
                sample(&mut events, &EVENTS, &labels, count as f64)?;
            }
        }
        let mut late = family(&mut encoder, &LATENESS)?;
        for lane in lanes {
            let (counts, micros) = lane.lateness.snapshot();
            let bounds = Lateness::BOUNDS.iter().map(|micros| *micros as f64 / 1e6);
            let buckets: Vec<_> = bounds
                .chain([f64::INFINITY])
                .zip(counts.iter().copied())
                .collect();
            late.encode_family(&labels(lane))?
                .encode_histogram::<NoLabelSet>(
                    micros as f64 / 1e6,
                    counts.iter().sum(),
                    &buckets,
                    None,
                )?;
        }
        let mut retries = family(&mut encoder, &RETRIES)?;
        if let Some(lane) = lanes.first() {
            for (reason, count) in self.gate.counts().retries {
                let labels = [
                    ("output", lane.output_id.clone()),
                    ("reason", reason.as_str().to_owned()),
                ];
                sample(&mut retries, &RETRIES, &labels, count as f64)?;
            }
        }
        let revision = timeline.at(now).map_or(0, |revision| revision.number);
        let none: [(&str, String); 0] = [];
        sample(
            &mut family(&mut encoder, &REVISION)?,
            &REVISION,
            &none,
            revision as f64,
        )?;
        if let Some(millis) = self.access.skew_millis() {
            sample(
                &mut family(&mut encoder, &SKEW)?,
                &SKEW,
                &none,
                millis as f64 / 1e3,
            )?;
        }
        Ok(())
    }
}

static SECONDS: Unit = Unit::Seconds;

fn labels(lane: &LaneGauge) -> Vec<(&'static str, String)> {
    vec![
        ("output", lane.output_id.clone()),
        ("lane", lane.lane.index.to_string()),
    ]
}

fn family<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    metric: &Metric,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    // The encoder writes the unit and the ending of counters by itself.
    let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    let (name, unit) = match name.strip_suffix("_seconds") {
        Some(name) => (name, Some(&SECONDS)),
        None => (name, None),
    };
    let kind = match metric.kind {
        "counter" => MetricType::Counter,
        "histogram" => MetricType::Histogram,
        _ => MetricType::Gauge,
    };
    encoder.encode_descriptor(name, metric.help, unit, kind)
}

fn sample(
    family: &mut MetricEncoder<'_>,
    metric: &Metric,
    labels: &[(&str, String)],
    value: f64,
) -> fmt::Result {
    let write = |encoder: &mut MetricEncoder<'_>| match metric.kind {
        "counter" => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None),
        _ => encoder.encode_gauge(&value),
    };
    if labels.is_empty() {
        return write(family);
    }
    let labels: Vec<(&str, &str)> = labels
        .iter()
        .map(|(name, it)| (*name, it.as_str()))
        .collect();
    write(&mut family.encode_family(&labels)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::clock_channel;
    use crate::plan::{Lane, RunFlags};
    use worldstream_crds::Overload;

    fn sources() -> Arc<Sources> {
        let plan = crate::plan::plan(&RunFlags {
            profile: Some("local".into()),
            engine_run_root: Some("/worlds/mu".into()),
            platform_run_id: Some("platform_20260202T000000Z".into()),
            ..RunFlags::default()
        });
        let lane = Lane { count: 4, index: 3 };
        let gauge = Arc::new(LaneGauge::new("ledger_9X", lane, 50));
        gauge.sent.store(12, Relaxed);
        gauge.taken.store(11, Relaxed);
        gauge.admitted.store(8, Relaxed);
        gauge.quarantined.store(1, Relaxed);
        for micros in [90, 100, 101, 40_000_000] {
            gauge.lateness.record(micros);
        }
        let config = kube::Config::new(http::Uri::from_static("http://127.0.0.1:1"));
        Arc::new(Sources {
            board: Arc::new(Board {
                lanes: vec![gauge],
                overload: Overload::Hold,
                max_lag: std::time::Duration::from_secs(5),
                look: tokio::sync::Notify::new(),
            }),
            clock: clock_channel().1,
            gate: GateClient::new(&plan.unwrap().gate).unwrap(),
            access: Access::of(kube::Client::try_from(config).unwrap(), "team-c"),
            store_away: Arc::new(|| None),
            shown: Arc::new(|| {
                Some(Snapshot {
                    achieved_speedup: Some(59.5),
                    ..Snapshot::default()
                })
            }),
        })
    }

    #[tokio::test]
    async fn a_scrape_has_every_metric_and_no_other_label() {
        let page = scrape(&sources());
        for sample in [
            r#"worldstream_events_total{output="ledger_9X",lane="3",decision="admitted"} 8.0"#,
            r#"worldstream_events_total{output="ledger_9X",lane="3",decision="undecided"} 2.0"#,
            r#"worldstream_events_sent_total{output="ledger_9X",lane="3"} 12.0"#,
            r#"worldstream_achieved_speedup{output="ledger_9X",lane="3"} 59.5"#,
            r#"worldstream_lateness_seconds_count{output="ledger_9X",lane="3"} 4"#,
            r#"worldstream_lateness_seconds_bucket{le="0.0001",output="ledger_9X",lane="3"} 2"#,
            r#"worldstream_lateness_seconds_bucket{le="+Inf",output="ledger_9X",lane="3"} 4"#,
            "worldstream_clock_revision 0.0",
        ] {
            assert!(page.lines().any(|line| line == sample), "{sample}: {page}");
        }
        for metric in METRICS {
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            // What nothing is known of yet is left out.
            let known = *metric.name != *SKEW.name;
            assert_eq!(
                page.contains(&format!("# TYPE {name} {}\n", metric.kind)),
                known,
                "{page}"
            );
        }
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let metric = METRICS.iter().find(|it| it.name == base.unwrap_or(name));
            let metric = metric.unwrap_or_else(|| panic!("{line} is not documented"));
            let labels = line.split(['{', '}']).nth(1).unwrap_or_default();
            for label in labels
                .split(',')
                .filter_map(|label| label.split('=').next())
            {
                let listed = metric.labels.contains(&label) || label == "le" || label.is_empty();
                assert!(listed, "{line}");
            }
        }
    }
}
