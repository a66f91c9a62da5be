//! A paced stream of evenly spaced events: how late they are sent, how much of the schedule is
//! kept, and, by a gate that notes when what arrives, that none is early.

use std::time::Duration;

use super::figures::{median, spread};
use super::sink::Sink;
use super::{Goal, Measurement, Options, say, whole_path, worlds};
use crate::GateProcess;
use worldstream::time::EventTime;

const LATE: &str = "paced_lateness_p99";
const KEPT: &str = "paced_schedule_kept";
const EARLY: &str = "paced_early";

/// Events a wall second, an event each 50 µs.
const RATE: u64 = 20_000;
/// Event seconds a wall second.
const SPEEDUP: u64 = 3_600;
/// Event time between two events, in µs.
const SPACING: i64 = (SPEEDUP * 1_000_000 / RATE) as i64;
/// What the profiles have.
const IN_FLIGHT: usize = 16;
/// Seconds that the world lasts.
const SECONDS: u64 = 20;

/// `paced_lateness_p99`, `paced_schedule_kept`, `paced_early`.
pub fn measure(options: &Options, show: &mut dyn FnMut(Measurement)) -> Result<(), String> {
    if !options.wants_any(&[LATE, KEPT, EARLY]) {
        return Ok(());
    }
    let world = worlds::even(options, RATE * SECONDS, SPACING)?;
    let speedup = SPEEDUP.to_string();
    if options.wants_any(&[LATE, KEPT]) {
        let (runs, seconds) = if options.quick { (1, 4) } else { (5, SECONDS) };
        let events = RATE * seconds;
        say(&format!(
            "{RATE} events a second for {seconds} s, {runs} times"
        ));
        let sink = Sink::start()?;
        let (mut late, mut kept, mut p50, mut max) = (vec![], vec![], vec![], vec![]);
        for _ in 0..runs {
            let cap = events.to_string();
            let more = ["--speedup", &speedup, "--max-events-per-output", &cap];
            let ran = whole_path::stream(options, &world, &sink.url, IN_FLIGHT, &more, &[])?;
            let lateness = &ran.summary["lateness"][0];
            let figure = |name: &str| {
                lateness[name]
                    .as_f64()
                    .map(|micros| micros / 1e3)
                    .ok_or_else(|| format!("the summary has no lateness: {lateness}"))
            };
            if ran.events != events {
                return Err(format!("{} events instead of {events}", ran.events));
            }
            // From the first due moment to the last.
            let scheduled = (events - 1) as f64 / RATE as f64;
            late.push(figure("p99_us")?);
            p50.push(figure("p50_us")?);
            max.push(figure("max_us")?);
            kept.push(scheduled / ran.span.as_secs_f64());
            say(&format!(
                "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms, kept {:.5}, {:.1} µs CPU",
                figure("p50_us")?,
                figure("p99_us")?,
                figure("max_us")?,
                scheduled / ran.span.as_secs_f64(),
                ran.usage.cpu.as_secs_f64() * 1e6 / events as f64,
            ));
        }
        let note = format!(
            "from the moment due to sending, {runs} runs of {events} events 50 µs apart, {IN_FLIGHT} in flight: p99 {}, p50 {} ms, max {} ms",
            spread(&late),
            spread(&p50),
            spread(&max)
        );
        show(Measurement::alone(
            LATE,
            "ms",
            median(&late),
            Goal::AtMost(1.0),
            note,
        ));
        let note = format!(
            "scheduled span / span from stream_start to stream_complete, with the first connections and the last save in it, {}",
            spread(&kept)
        );
        show(Measurement::alone(
            KEPT,
            "share",
            median(&kept),
            Goal::AtLeast(0.999),
            note,
        ));
    }
    if options.wants(EARLY) {
        let (early, arrived, closest) = early(options, &world, &speedup)?;
        let note = format!(
            "arrivals at the development gate before they were due, of {arrived}; the closest was {closest:?} after its moment"
        );
        show(Measurement::alone(
            EARLY,
            "events",
            early as f64,
            Goal::AtMost(0.0),
            note,
        ));
    }
    Ok(())
}

/// Arrivals that were early, all arrivals, and how close to its moment one came.
fn early(
    options: &Options,
    world: &std::path::Path,
    speedup: &str,
) -> Result<(usize, usize, Duration), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let gate = GateProcess::start(dir.path(), &[]);
    // As many as the development gate takes in time: one that runs late shows nothing.
    let events = "20000";
    say(&format!("{events} events to the development gate"));
    let more = [
        "--speedup",
        speedup,
        "--max-events-per-output",
        events,
        "--overload",
        "catch-up",
        "--log-format",
        "json",
    ];
    let log = [("RUST_LOG", "worldstream::engine::conductor=debug")];
    let ran = whole_path::stream(options, world, &gate.url, IN_FLIGHT, &more, &log)?;
    let (event_epoch, wall_epoch) =
        anchor(&ran.usage.stderr).ok_or("the log does not say how the clock runs")?;
    gate.signal("TERM");
    let arrivals = gate.recorded();
    let speedup: f64 = speedup.parse().map_err(|_| "the speedup is no number")?;
    let (mut early, mut closest) = (0, i64::MAX);
    for arrival in &arrivals {
        let ts = EventTime::parse_rfc3339(&arrival.ts_utc).map_err(|error| error.to_string())?;
        let micros = (ts.micros() - event_epoch.micros()) as f64;
        let due = wall_epoch + (micros * 1e3 / speedup) as i64;
        let after = i64::try_from(arrival.at).map_err(|error| error.to_string())? - due;
        early += usize::from(after < 0);
        closest = closest.min(after);
    }
    if arrivals.len() as u64 != ran.events {
        return Err(format!(
            "{} of {} events arrived",
            arrivals.len(),
            ran.events
        ));
    }
    let closest = Duration::from_nanos(u64::try_from(closest).unwrap_or(0));
    Ok((early, arrivals.len(), closest))
}

/// The event time and the moment of the monotonic clock, in ns, that the schedule counts from, as
/// the log has them.
fn anchor(log: &str) -> Option<(EventTime, i64)> {
    let line = log.lines().find(|line| line.contains("wall_epoch"))?;
    let event = line.split_once("event_epoch: ")?.1;
    let digits = |text: &str| {
        let start = text.find(|c: char| c.is_ascii_digit())?;
        let text = &text[start..];
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text[..end].parse::<i64>().ok()
    };
    let wall = line.split_once("wall_epoch: ")?.1;
    Some((EventTime::from_micros(digits(event)?)?, digits(wall)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anchor_is_read_as_it_is_logged() {
        let anchor = worldstream::clock::Anchor {
            event_epoch: EventTime::from_micros(1_767_225_600_000_000).unwrap(),
            wall_epoch: worldstream::clock::Mono(4_711),
            speedup: 3_600.0,
        };
        let line = format!("{{\"motion\":\"{anchor:?}\"}}");
        let read = super::anchor(&line).unwrap();
        assert_eq!(read, (anchor.event_epoch, anchor.wall_epoch.0), "{line}");
    }
}
