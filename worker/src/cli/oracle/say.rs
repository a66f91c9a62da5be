//! What the Oracle Store's tools say: for people, or as JSON.

use comfy_table::CellAlignment;
use indicatif::HumanBytes;
use serde::Serialize;
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};
use crate::oracle::check::{Report, State};
use crate::oracle::seal::Sealed;
use crate::oracle::show::{OutputShown, Shown};
use crate::oracle::upload::Uploaded;
use crate::report::figures::{second, thousands};
use crate::report::table;
use crate::view::build::Built;

/// A JSON document.
pub fn json<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Reason::StreamFailed, "output").cause(&error))?;
    Ok(text + "\n")
}

/// What a build did.
pub fn built(built: &Built) -> String {
    let id = &built.output_id;
    let rows = thousands(built.rows);
    if built.already_there {
        return format!("{id}: the view is there already, {rows} rows\n");
    }
    let resumed = match built.resumed_rows {
        0 => String::new(),
        resumed => format!(", {} of them sorted earlier", thousands(resumed)),
    };
    let [sorting, merging, checking] = built.seconds;
    format!(
        "{id}: {rows} rows{resumed}, {} to {}, in {} parts, {}\n  \
         from {} raw parts, {}; {} runs; sorted in {sorting:.1} s, merged in {merging:.1} s, \
         checked in {checking:.1} s\n",
        built.first.as_deref().unwrap_or("–"),
        built.last.as_deref().unwrap_or("–"),
        built.parts,
        HumanBytes(built.bytes),
        built.raw_parts,
        HumanBytes(built.raw_bytes),
        built.runs,
    )
}

/// What sealing did.
pub fn sealed(sealed: &Sealed, as_json: bool) -> Result<String> {
    if as_json {
        return json(sealed);
    }
    let said = |written| if written { "written" } else { "there already" };
    Ok(format!(
        "pack      {}\nmanifest  {}\nseal      {}\n",
        sealed.oracle_pack_id,
        said(sealed.manifest_written),
        said(sealed.seal_written)
    ))
}

/// What an upload did.
pub fn uploaded(uploaded: &Uploaded, as_json: bool) -> Result<String> {
    if as_json {
        return json(uploaded);
    }
    let mut text: String = uploaded
        .made_buckets
        .iter()
        .map(|bucket| format!("made the bucket {bucket}\n"))
        .collect();
    text += &match uploaded.already_there {
        true => format!("{}: the world is there already\n", uploaded.run_root),
        false => format!(
            "{}: {} files, {}\n",
            uploaded.run_root,
            thousands(uploaded.objects),
            HumanBytes(uploaded.bytes)
        ),
    };
    Ok(text)
}

/// A report of checks.
pub fn checked(report: &Report, as_json: bool) -> Result<String> {
    if as_json {
        return json(report);
    }
    let mut rows = table::plain();
    rows.set_header(["", "of", "check", "found"]);
    for check in &report.checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Failed => "FAILED",
            State::Skipped => "–",
        };
        let found = match check.reason {
            Some(reason) => format!("{reason}: {}", check.message),
            None => check.message.clone(),
        };
        rows.add_row([state, &check.of, &check.what, &found]);
    }
    let failed = report.checks.iter().filter(|it| it.state == State::Failed);
    let (failed, of) = (failed.count(), report.checks.len());
    let mut text = format!("{}\n\n", table::text(&mut rows));
    match report.first_failed() {
        None => text.push_str("everything holds\n"),
        Some(first) => {
            let advice = match (first.unavailable, first.reason) {
                (false, Some(reason)) => reason.advice(),
                _ => "Check again when the store answers; what could be looked at holds.",
            };
            text.push_str(&format!(
                "{failed} of {of} checks failed\n  what to do: {advice}\n"
            ));
        }
    }
    Ok(text)
}

/// A world.
pub fn shown(shown: &Shown, as_json: bool) -> Result<String> {
    if as_json {
        return json(shown);
    }
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<10}{value}\n"));
    line("world", &shown.engine_run_root);
    line("run", &shown.run_id);
    line("scenario", &shown.scenario_id);
    line("seed", &shown.seed.to_string());
    line("pack", &shown.pack.text);
    line("seal", &shown.seal.text);
    for gate in &shown.gates {
        let passed = if gate.passed { "passed" } else { "NOT PASSED" };
        line("gate", &format!("{passed}  {}", gate.gate_id));
    }
    if shown.outputs.is_empty() {
        text.push_str("\nno raw parts and no views\n");
        return Ok(text);
    }
    let mut rows = table::plain();
    rows.set_header([
        "output",
        "rows",
        "first event",
        "last event",
        "raw parts",
        "raw size",
        "view parts",
        "view size",
        "view",
    ]);
    for output in &shown.outputs {
        let time = |it: Option<crate::time::EventTime>| it.map_or("–".to_owned(), second);
        rows.add_row([
            output.output_id.clone(),
            output.rows.map_or("–".to_owned(), thousands),
            time(output.first),
            time(output.last),
            output.raw_parts.to_string(),
            HumanBytes(output.raw_bytes).to_string(),
            output.view_parts.to_string(),
            HumanBytes(output.view_bytes).to_string(),
            output.view.text.clone(),
        ]);
    }
    for index in [1, 4, 5, 6, 7] {
        if let Some(column) = rows.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    text.push_str(&format!("\n{}\n", table::text(&mut rows)));
    let drawn: Vec<&OutputShown> = shown
        .outputs
        .iter()
        .filter(|it| !it.histogram.is_empty())
        .collect();
    if !drawn.is_empty() {
        text.push_str("\nevents over time, from each output's first to its last\n");
        let width = drawn.iter().map(|it| it.output_id.len()).max().unwrap_or(0);
        for output in drawn {
            text.push_str(&format!(
                "  {:width$}  {}\n",
                output.output_id,
                sparkline(&output.histogram)
            ));
        }
    }
    Ok(text)
}

/// A bar for each count: empty for none, else by its share of the largest.
fn sparkline(counts: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| match count {
        0 => ' ',
        // Below or at the most, so below or at 7.
        count => BARS[(u128::from(*count) * 7).div_ceil(u128::from(most)) as usize],
    };
    counts.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn a_sparkline_rises_with_the_counts() {
        assert_eq!(sparkline(&[0, 1, 50, 100]), " ▂▅█");
        assert_eq!(sparkline(&[u64::MAX, 1]), "█▂");
        assert_eq!(sparkline(&[]), "");
    }
}
