//! The whole path, by the real program: decode, encode, hash, POST, watermark, checkpoints, audit;
//! against wrk with the same body, connections and sink.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use worldstream::envelope::Encoder;
use worldstream::plan::RangePlan;
use worldstream::time::EventTime;
use worldstream::view::{ReadLimits, RowReader};

use super::figures::{median, spread};
use super::process::{self, Usage};
use super::sink::Sink;
use super::worlds::{self, OUTPUT};
use super::{Goal, Measurement, Options, say};
use crate::{PLATFORM_RUN_ID, json_lines, program};

/// Rows of the large view and of the small one.
pub const LARGE: u64 = 5_000_000;
const SMALL: u64 = 200_000;
/// Requests in flight that are tried.
pub const IN_FLIGHT: [usize; 3] = [1, 16, 64];
/// Requests in flight, and what of wrk's rate is to be reached with them.
const CASES: [(usize, f64); 3] = [
    (IN_FLIGHT[0], 0.95),
    (IN_FLIGHT[1], 0.95),
    (IN_FLIGHT[2], 0.9),
];
const CPU_GOAL: f64 = 15.0;
const MEMORY_GOAL: f64 = 48.0;

/// A run of the program.
pub struct Ran {
    /// Events that it sent.
    pub events: u64,
    /// From `stream_start` to `stream_complete` in the session log: without process start and
    /// verification, but with the last save and the receipt.
    pub span: Duration,
    /// The process.
    pub usage: Usage,
    /// Its summary.
    pub summary: serde_json::Value,
}

impl Ran {
    /// Events a second.
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.span.as_secs_f64()
    }

    /// User and system time of an event, in µs.
    pub fn cpu_micros(&self) -> f64 {
        self.usage.cpu.as_secs_f64() * 1e6 / self.events.max(1) as f64
    }
}

/// Streams a world to `gate` from its beginning.
pub fn stream(
    options: &Options,
    world: &Path,
    gate: &str,
    in_flight: usize,
    more: &[&str],
    environment: &[(&str, &str)],
) -> Result<Ran, String> {
    let profile = worlds::profile(options)?;
    stream_as(options, &profile, world, gate, in_flight, more, environment)
}

/// The same with a profile of one's own.
pub fn stream_as(
    options: &Options,
    profile: &Path,
    world: &Path,
    gate: &str,
    in_flight: usize,
    more: &[&str],
    environment: &[(&str, &str)],
) -> Result<Ran, String> {
    let runs = options.dir.join("runs/process");
    match std::fs::remove_dir_all(&runs) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", runs.display()));
        }
        _ => {}
    }
    let usage = process::measure_done(
        Command::new(program())
            .args(["run", "--json", "--output", OUTPUT])
            .args(["--platform-run-id", PLATFORM_RUN_ID])
            .args(["--in-flight", &in_flight.to_string()])
            .args(["--gate-url", gate])
            .arg("--profile")
            .arg(profile)
            .arg("--engine-run-root")
            .arg(world)
            .arg("--runs-root")
            .arg(&runs)
            .args(more)
            .envs(environment.iter().copied()),
    )?;
    let summary: serde_json::Value = serde_json::from_str(&usage.stdout)
        .map_err(|error| format!("the summary: {error}: {}", usage.stdout))?;
    let events = summary["outputs"][0]["rows"]
        .as_u64()
        .ok_or("the summary has no rows")?;
    let session = runs.join(PLATFORM_RUN_ID).join("session.jsonl");
    let span = span(&json_lines(&session)).ok_or("the session log has no start or no end")?;
    Ok(Ran {
        events,
        span,
        usage,
        summary,
    })
}

fn span(session: &[serde_json::Value]) -> Option<Duration> {
    let at = |kind: &str| {
        let line = session.iter().find(|line| line["event_kind"] == kind)?;
        let time = EventTime::parse_rfc3339(line["ts_utc"].as_str()?).ok()?;
        Some(time.micros())
    };
    let micros = at("stream_complete")? - at("stream_start")?;
    Some(Duration::from_micros(u64::try_from(micros).ok()?))
}

/// The first envelope of a world.
pub fn first_envelope(options: &Options, world: &Path) -> Result<Vec<u8>, String> {
    let opened = worlds::open(options, world)?;
    let view = &opened.world.outputs[0].view;
    let all = RangePlan::default();
    let mut reader = RowReader::open(&opened.world.store, view, None, all, ReadLimits::default())
        .map_err(|failure| failure.to_string())?;
    let rows = reader
        .next()
        .map_err(|failure| failure.to_string())?
        .ok_or("the world is empty")?;
    let mut encoder = Encoder::new(opened.context()).map_err(|failure| failure.to_string())?;
    let batch = encoder.encode(&rows, "the first part", &all).batch;
    if batch.events.is_empty() {
        return Err("the first row has no envelope".to_owned());
    }
    Ok(batch.envelope(0).to_vec())
}

/// `whole_path_N` and `cpu_per_event_N`.
pub fn measure(options: &Options, show: &mut dyn FnMut(Measurement)) -> Result<(), String> {
    let names = |n: usize| (format!("whole_path_{n}"), format!("cpu_per_event_{n}"));
    let wanted = |n: usize| {
        let (path, cpu) = names(n);
        options.wants_any(&[&path, &cpu])
    };
    if !CASES.iter().any(|(n, _)| wanted(*n)) {
        return Ok(());
    }
    let world = worlds::sample(options, LARGE)?;
    let body = first_envelope(options, &world)?;
    let sink = Sink::start()?;
    let (pairs, seconds) = if options.quick { (3, 2) } else { (7, 8) };
    let time = Duration::from_secs(seconds);
    for (in_flight, goal) in CASES.into_iter().filter(|(n, _)| wanted(*n)) {
        say(&format!(
            "{in_flight} in flight, {pairs} pairs of {seconds} s"
        ));
        // How many events that time takes.
        let rate = sink.wrk(&body, in_flight, Duration::from_secs(1))?.rate;
        let events = ((rate * seconds as f64) as u64).clamp(1, LARGE).to_string();
        let (mut rates, mut ours_cpu, mut wrk_cpu) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..pairs {
            let ours = || {
                let more = ["--speedup", "0", "--max-events-per-output", &events];
                stream(options, &world, &sink.url, in_flight, &more, &[])
            };
            let wrk = || sink.wrk(&body, in_flight, time);
            let (ours, wrk) = if pair % 2 == 0 {
                let ours = ours()?;
                (ours, wrk()?)
            } else {
                let wrk = wrk()?;
                (ours()?, wrk)
            };
            say(&format!(
                "{:.0} ours, {:.0} wrk, {:.3}; {:.1} µs, {:.1} µs; {:.1} MiB",
                ours.rate(),
                wrk.rate,
                ours.rate() / wrk.rate,
                ours.cpu_micros(),
                wrk.cpu_micros,
                ours.usage.peak_mib,
            ));
            rates.push((ours.rate(), wrk.rate));
            ours_cpu.push(ours.cpu_micros());
            wrk_cpu.push(wrk.cpu_micros);
        }
        let (path, cpu) = names(in_flight);
        let note = format!(
            "wrk -t1 -c{in_flight}, {} bytes a body, {pairs} pairs of about {seconds} s",
            body.len()
        );
        show(Measurement::paired(
            &path,
            "events/s",
            &rates,
            Goal::Ratio(goal),
            note,
        ));
        let note = format!(
            "user and system time of the process / events, {}; wrk {:.1} µs",
            spread(&ours_cpu),
            median(&wrk_cpu)
        );
        let micros = median(&ours_cpu);
        show(Measurement::alone(
            &cpu,
            "µs",
            micros,
            Goal::AtMost(CPU_GOAL),
            note,
        ));
    }
    Ok(())
}

/// `memory_200k` and `memory_5m`: whole views.
pub fn memory(options: &Options, show: &mut dyn FnMut(Measurement)) -> Result<(), String> {
    for (name, rows) in [("memory_200k", SMALL), ("memory_5m", LARGE)] {
        if !options.wants(name) {
            continue;
        }
        let world = worlds::sample(options, rows)?;
        let sink = Sink::start()?;
        say(&format!("streaming {rows} rows"));
        // The most memory is taken with the most in flight.
        let ran = stream(options, &world, &sink.url, 64, &["--speedup", "0"], &[])?;
        let note = format!(
            "VmHWM over {} events of a view of {rows} rows, 64 in flight, {:.0} events/s",
            ran.events,
            ran.rate()
        );
        let goal = Goal::AtMost(MEMORY_GOAL);
        show(Measurement::alone(
            name,
            "MiB",
            ran.usage.peak_mib,
            goal,
            note,
        ));
    }
    Ok(())
}
