//! Progress while a replay runs: a bar an output under one world clock on a terminal, a line an
//! output every few seconds elsewhere. Everything goes to stderr.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures::{self, OutputFigures, second, thousands};
use crate::clock::{ClockReader, Mono, Monotonic};
use crate::engine::Board;

/// How often bars are drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often lines are written.
const LINES: Duration = Duration::from_secs(5);

/// The bars of this process: logs are written above them.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));

/// Writes to stderr so that lines do not tear the bars.
pub fn above_bars(
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    BARS.suspend(|| write(&mut std::io::stderr().lock()))
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bars if stderr is a terminal, lines if not.
    Auto,
    /// Nothing: machines read the result.
    Silent,
}

/// Shows progress until it is dropped.
pub async fn show(board: Arc<Board>, clock: ClockReader, style: Style) {
    match style {
        Style::Silent => std::future::pending().await,
        Style::Auto if std::io::stderr().is_terminal() => bars(&board, &clock).await,
        Style::Auto => lines(&board, &clock).await,
    }
}

/// Rates between two looks.
#[derive(Default)]
struct Rates(HashMap<String, (Mono, u64, f64)>);

impl Rates {
    /// Events a second, smoothed over about a second.
    fn of(&mut self, output: &OutputFigures, now: Mono) -> f64 {
        let entry = self
            .0
            .entry(output.output_id.clone())
            .or_insert((now, output.taken, 0.0));
        let seconds = now.since(entry.0).as_secs_f64();
        if seconds > 0.0 {
            let rate = output.taken.saturating_sub(entry.1) as f64 / seconds;
            let weight = (seconds / 1.0).min(1.0);
            let smooth = entry.2 + (rate - entry.2) * weight;
            *entry = (now, output.taken, smooth);
        }
        entry.2
    }
}

/// The bars are taken away when the drawing is dropped, so that what follows starts clean.
struct Cleared;

impl Drop for Cleared {
    fn drop(&mut self) {
        let _ = BARS.clear();
        BARS.set_draw_target(ProgressDrawTarget::hidden());
    }
}

async fn bars(board: &Board, clock: &ClockReader) {
    BARS.set_draw_target(ProgressDrawTarget::stderr());
    let _cleared = Cleared;
    let line = |template: &str| {
        // Templates are constants of this file.
        ProgressStyle::with_template(template).expect("a constant template")
    };
    let head = BARS.add(ProgressBar::new_spinner().with_style(line("{spinner:.cyan} {msg:.bold}")));
    let width = name_width(board);
    let template = format!("  {{prefix:{width}}} {{wide_bar:.cyan/dim}} {{percent:>3}}% {{msg}}");
    let mut drawn: HashMap<String, ProgressBar> = HashMap::new();
    let mut rates = Rates::default();
    let mut frames = tokio::time::interval(FRAME);
    loop {
        frames.tick().await;
        let now = Mono::now();
        let timeline = clock.borrow().clone();
        head.set_message(format!("world clock {}", figures::clock(&timeline, now)));
        head.tick();
        for output in figures::of(board, &timeline, now) {
            let bar = drawn.entry(output.output_id.clone()).or_insert_with(|| {
                BARS.add(
                    ProgressBar::new(output.rows.max(1))
                        .with_style(line(&template))
                        .with_prefix(output.output_id.clone()),
                )
            });
            let rate = rates.of(&output, now);
            bar.set_position(if output.finished && output.rows == 0 {
                1
            } else {
                output.behind
            });
            bar.set_message(short(&output, rate));
        }
    }
}

async fn lines(board: &Board, clock: &ClockReader) {
    let width = name_width(board);
    let mut rates = Rates::default();
    let mut every = tokio::time::interval(LINES);
    every.tick().await;
    for output in figures::of(board, &clock.borrow().clone(), Mono::now()) {
        rates.of(&output, Mono::now());
    }
    loop {
        every.tick().await;
        let now = Mono::now();
        let timeline = clock.borrow().clone();
        let mut said = format!("world clock {}\n", figures::clock(&timeline, now));
        for output in figures::of(board, &timeline, now) {
            let rate = rates.of(&output, now);
            let percent = (output.behind * 100)
                .checked_div(output.rows)
                .unwrap_or(100);
            said.push_str(&format!(
                "  {:width$} {percent:>3}% {}\n",
                output.output_id,
                text(&output, rate)
            ));
        }
        // Nobody may be listening on stderr.
        let _ = above_bars(|stderr| stderr.write_all(said.as_bytes()));
    }
}

/// The longest output id.
fn name_width(board: &Board) -> usize {
    let ids = board.lanes.iter().map(|lane| lane.output_id.len());
    ids.max().unwrap_or(0)
}

/// What stands beside a bar: events, event time reached, rate and lag in the 80 columns of a
/// narrow terminal. The year is on the world clock.
fn short(output: &OutputFigures, rate: f64) -> String {
    let mut text = format!("{:>7}", thousands(output.taken));
    match output.reached {
        Some(ts) => text.push_str(&format!(" {}", &second(ts)[5..16])),
        None => text.push_str(&format!(" {:11}", "at start")),
    }
    if output.finished {
        text.push_str(" done");
    } else {
        text.push_str(&format!(" {:>6}/s", thousands(rate.round() as u64)));
        if let Some(lag) = output.lag {
            text.push_str(&format!(" lag {:.1}s", lag.as_secs_f64()));
        }
    }
    troubles(output, &mut text);
    text
}

/// Events, event time reached, rate, lag; retries and quarantines where there are any.
fn text(output: &OutputFigures, rate: f64) -> String {
    let mut text = format!("{:>9} events", thousands(output.taken));
    match output.reached {
        Some(ts) => text.push_str(&format!("  at {}", second(ts))),
        None => text.push_str("  at the start"),
    }
    if output.finished {
        text.push_str("  done");
    } else {
        text.push_str(&format!("  {:>7}/s", thousands(rate.round() as u64)));
        if let Some(lag) = output.lag {
            text.push_str(&format!("  lag {:.1} s", lag.as_secs_f64()));
        }
    }
    troubles(output, &mut text);
    text
}

fn troubles(output: &OutputFigures, text: &mut String) {
    if !output.finished && !output.gate_away.is_zero() {
        text.push_str(&format!("  gate away {} s", output.gate_away.as_secs()));
    }
    if output.retried > 0 {
        text.push_str(&format!("  {} retries", thousands(output.retried)));
    }
    if output.quarantined > 0 {
        text.push_str(&format!("  {} quarantined", thousands(output.quarantined)));
    }
}
