//! The table at the end of a run.

use comfy_table::{CellAlignment, LineStyle, Table, presets};

use super::figures::thousands;
use crate::engine::Board;
use crate::engine::replay::ReplayEnd;

/// Rows, sent, decisions, retries, lateness and time of each output (and lane).
///
/// `rows` and the decisions count since the attempt's start, however often it was interrupted;
/// `sent`, `retries`, lateness and seconds are this process's.
pub fn of(end: &ReplayEnd, board: &Board) -> String {
    let mut table = plain();
    table.set_header([
        "output",
        "rows",
        "sent",
        "admitted",
        "duplicate",
        "quarantined",
        "retries",
        "p99 late",
        "seconds",
        "",
    ]);
    let micros = end.summary.ended_at_utc.micros() - end.summary.started_at_utc.micros();
    for (lane, lateness) in board.lanes.iter().zip(&end.lateness) {
        let receipt = end
            .summary
            .outputs
            .iter()
            .find(|receipt| receipt.output_id == lane.output_id && receipt.lane == lane.lane);
        let Some(receipt) = receipt else { continue };
        let name = match lane.lane.count {
            1 => lane.output_id.clone(),
            count => format!("{} lane {}/{count}", lane.output_id, lane.lane.index),
        };
        let late = match lateness.len() {
            0 => "–".to_owned(),
            _ => milliseconds(lateness.value_at_quantile(0.99)),
        };
        let sent = lane.sent.load(std::sync::atomic::Ordering::Relaxed);
        let retried = lane.retried.load(std::sync::atomic::Ordering::Relaxed);
        table.add_row([
            name,
            thousands(receipt.rows),
            thousands(sent),
            thousands(receipt.admitted),
            thousands(receipt.duplicate),
            thousands(receipt.quarantined),
            thousands(retried),
            late,
            format!("{:.1}", micros as f64 / 1e6),
            format!("{:?}", receipt.outcome).to_lowercase(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(8) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    text(&mut table)
}

/// A table with one thin line, below its header.
pub fn plain() -> Table {
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(presets::NOTHING.header_separator(line));
    table
}

/// The table with two blanks between its columns and none at the ends of its lines.
pub fn text(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

fn milliseconds(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1_000.0)
}
