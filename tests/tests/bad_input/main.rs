//! Broken worlds, documents, flags, checkpoints and credentials, one thing broken at a time: the
//! program itself must say which by code and message, before the first event wherever that can be
//! known, and after exactly the rows before the broken one where it cannot.

mod bed;
mod checkpoints;
mod documents;
mod policy;
mod rows;
mod streaming;
mod views;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bed::{Bench, Case, Cases, Sent, TRAFFIC};

/// Cases that run at the same time: they mostly wait for processes and disks.
const WORKERS: usize = 6;

#[test]
fn every_case_is_refused_with_its_code_in_time() {
    let mut cases = Cases::default();
    world::add(&mut cases);
    policy::add(&mut cases);
    views::add(&mut cases);
    documents::add(&mut cases);
    checkpoints::add(&mut cases);
    rows::add(&mut cases);
    let cases = cases.0;
    let mut names = BTreeSet::new();
    let twice: Vec<_> = cases
        .iter()
        .filter(|case| !names.insert(&case.name))
        .collect();
    assert!(
        twice.is_empty(),
        "{:?}",
        twice.iter().map(|case| &case.name).collect::<Vec<_>>()
    );
    assert!(cases.len() >= 130, "{} cases", cases.len());

    let dir = tempfile::tempdir().unwrap();
    let template = bed::template(dir.path());
    // Built before the threads ask for it.
    worldstream_tests::program();
    let clean = clean(&mut Bench::new(&dir.path().join("clean"), &template));
    let next = AtomicUsize::new(0);
    let wrong: Mutex<Vec<String>> = Mutex::default();
    let counts: Mutex<BTreeMap<&str, usize>> = Mutex::default();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let mut bench = Bench::new(&dir.path().join(worker.to_string()), &template);
            let (cases, next, wrong, counts, clean) = (&cases, &next, &wrong, &counts, &clean);
            scope.spawn(move || {
                while let Some((index, case)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(index).map(|case| (index, case))
                } {
                    *counts.lock().unwrap().entry(case.code).or_default() += 1;
                    if let Err(text) = try_case(&mut bench, case, index % 3 == 0, clean) {
                        wrong.lock().unwrap().push(format!("{}: {text}", case.name));
                    }
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    println!("{} cases: {counts:#?}", cases.len());
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// The traffic's event ids of the sound world, in order.
fn clean(bench: &mut Bench) -> Vec<String> {
    let mut setup = bench.setup();
    setup.traffic_only();
    let outcome = bench.call(&setup, "run", false);
    assert_eq!(outcome.finished.code, Some(0), "{:#?}", outcome.finished);
    let ids: Vec<String> = outcome
        .arrived
        .iter()
        .map(|event| event.event_id.clone())
        .collect();
    assert_eq!(ids.len(), 2 * bed::PART_ROWS);
    // All that cases start from is sound, the whole world too.
    let whole = bench.setup();
    bench.call(&whole, "plan", false).finished.expect(0);
    bench.call(&whole, "run", false).finished.expect(0);
    ids
}

fn try_case(bench: &mut Bench, case: &Case, json: bool, clean: &[String]) -> Result<(), String> {
    let mut setup = bench.setup();
    (case.spoil)(&mut setup);
    let first = bench.call(&setup, "run", json);
    let explain = |outcome: &bed::Outcome, text: String| {
        format!(
            "{text}; expected {} {:?}\n    {}",
            case.code, case.words, outcome.finished.stderr
        )
    };
    let message = first
        .check(case, json)
        .map_err(|text| explain(&first, text))?;
    if std::env::var_os("SHOW").is_some() {
        println!("{}\n    {}: {message}", case.name, case.code);
    }
    let ids: Vec<&String> = first.arrived.iter().map(|event| &event.event_id).collect();
    match case.sent {
        Sent::Nothing | Sent::NothingButPlanned => {
            if !ids.is_empty() {
                return Err(explain(&first, format!("{} events arrived", ids.len())));
            }
            if case.sent == Sent::NothingButPlanned {
                return Ok(());
            }
            let plan = bench.call(&setup, "plan", json);
            let planned = plan
                .check(case, json)
                .map_err(|text| explain(&plan, format!("plan: {text}")))?;
            if planned != message {
                return Err(explain(
                    &plan,
                    format!("run says {message}, plan says {planned}"),
                ));
            }
        }
        Sent::Rows(rows) => {
            let expected: Vec<&String> = clean.iter().take(rows).collect();
            if ids != expected {
                return Err(explain(
                    &first,
                    format!("{} events arrived, not the first {rows}", ids.len()),
                ));
            }
            let cursor = std::fs::read_to_string(setup.cursor());
            let cursor = cursor.map_err(|error| format!("no cursor: {error}"))?;
            let cursor: serde_json::Value = serde_json::from_str(&cursor).unwrap();
            let row = (rows - 1) % bed::PART_ROWS;
            if cursor["last_row_index"] != row || cursor["output_id"] != TRAFFIC {
                return Err(format!("the cursor is {cursor}, not at row {row}"));
            }
            // Started again it says the same, and sends nothing twice.
            let again = bench.call(&setup, "run", json);
            again
                .check(case, json)
                .map_err(|text| explain(&again, format!("again: {text}")))?;
            if !again.arrived.is_empty() {
                return Err(format!("{} events arrived again", again.arrived.len()));
            }
        }
    }
    Ok(())
}
