//! How soon the first event is there when a stream goes on in the last file of a large view.

use std::path::Path;
use std::time::{Duration, Instant};

use worldstream::checkpoint::{self, Checkpoint, Cursor};
use worldstream::engine::replay::checkpoint_key;
use worldstream::envelope::{Encoder, event_times};
use worldstream::plan::{Lane, RangePlan};
use worldstream::time::EventTime;
use worldstream::view::{ReadLimits, ResumeAt, RowPlace, RowReader};

use super::figures::{median, spread};
use super::sink::Sink;
use super::whole_path::{self, LARGE};
use super::worlds::{self, OUTPUT, Opened};
use super::{Goal, Measurement, Options, say};

const NAME: &str = "resume_first_event";
const PROCESS: &str = "resume_whole_process";
/// Milliseconds.
const GOAL: f64 = 20.0;

/// `resume_first_event`, and `resume_whole_process` for information.
pub fn measure(options: &Options, show: &mut dyn FnMut(Measurement)) -> Result<(), String> {
    if !options.wants_any(&[NAME, PROCESS]) {
        return Ok(());
    }
    let path = worlds::sample(options, LARGE)?;
    let world = worlds::open(options, &path)?;
    let view = &world.world.outputs[0].view;
    let part = view.parts.len() - 1;
    let rows = view.parts[part].rows;
    // Over the whole file, within row groups and at their ends.
    let places: Vec<RowPlace> = (0..40)
        .map(|step| RowPlace {
            part,
            row: (rows - 2) * step / 39,
        })
        .collect();
    say(&format!(
        "going on at {} places of the last of {} files",
        places.len(),
        part + 1
    ));
    let mut times = Vec::new();
    for place in &places {
        times.push(first_event(&world, *place)?.as_secs_f64() * 1e3);
    }
    let note = format!(
        "RowReader::open behind a cursor to the first batch of envelopes, in process, median of {} places in the last file of {LARGE} rows, {}",
        places.len(),
        spread(&times)
    );
    show(Measurement::alone(
        NAME,
        "ms",
        median(&times),
        Goal::AtMost(GOAL),
        note,
    ));
    if options.wants(PROCESS) {
        let place = places[places.len() / 2];
        let took = whole_process(options, &path, &world, place)?;
        let note = "process start, verification, cursor, one event to the sink, save, receipt, \
                    process end"
            .to_owned();
        show(Measurement::alone(
            PROCESS,
            "ms",
            took.as_secs_f64() * 1e3,
            Goal::None,
            note,
        ));
    }
    Ok(())
}

fn first_event(world: &Opened, place: RowPlace) -> Result<Duration, String> {
    let failed = |failure: worldstream::Failure| failure.to_string();
    let view = &world.world.outputs[0].view;
    let all = RangePlan::default();
    let resume = Some(ResumeAt { place, ts: None });
    let mut encoder = Encoder::new(world.context()).map_err(failed)?;
    let began = Instant::now();
    let mut reader = RowReader::open(&world.world.store, view, resume, all, ReadLimits::default())
        .map_err(failed)?;
    let rows = reader.next().map_err(failed)?.ok_or("no row is left")?;
    let batch = encoder
        .encode(&rows, &view.parts[place.part].name, &all)
        .batch;
    let took = began.elapsed();
    match batch.events.first() {
        Some(event) if event.place.row == place.row + 1 => Ok(took),
        other => Err(format!("the first event behind {place:?} is {other:?}")),
    }
}

/// One event by the real program, from a cursor that is put there first.
fn whole_process(
    options: &Options,
    path: &Path,
    world: &Opened,
    place: RowPlace,
) -> Result<Duration, String> {
    let failed = |failure: worldstream::Failure| failure.to_string();
    let output = &world.world.outputs[0];
    // The cursor's row comes behind the row before it.
    let before = Some(ResumeAt {
        place: RowPlace {
            row: place.row - 1,
            ..place
        },
        ts: None,
    });
    let mut reader = RowReader::open(
        &world.world.store,
        &output.view,
        before,
        RangePlan::default(),
        ReadLimits::default(),
    )
    .map_err(failed)?;
    let rows = reader.next().map_err(failed)?.ok_or("no row is left")?.rows;
    let column = rows.column_by_name("ts_utc").ok_or("no event times")?;
    let mut micros = Vec::new();
    event_times(column, &mut micros).map_err(|_| "unreadable event times")?;
    let time = micros.first().copied().and_then(EventTime::from_micros);
    let cursor = Cursor {
        last_file: output.view.parts[place.part].name.clone(),
        last_row_index: place.row,
        last_ts_utc: time.map(|time| time.to_string()),
    };
    let sink = Sink::start()?;
    let root = options.dir.join("runs/resume");
    match std::fs::remove_dir_all(&root) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", root.display()));
        }
        _ => {}
    }
    let scenario_run_id = world.world.receipt.run_id.clone();
    let key = checkpoint_key(
        &world.plan,
        &world.world,
        &scenario_run_id,
        OUTPUT,
        Lane::WHOLE,
    );
    let store =
        checkpoint::open(&worldstream::plan::CheckpointStorePlan::File { root: root.clone() })
            .expect("a file store opens");
    let saved = worlds::runtime()?.block_on(async {
        let mut lease = store.take(&key).await?;
        lease
            .save(&Checkpoint {
                cursor: Some(cursor),
                progress: None,
            })
            .await
    });
    saved.map_err(failed)?;
    let root = root.display().to_string();
    let more = [
        "--speedup",
        "0",
        "--max-events-per-output",
        "1",
        "--checkpoint-root",
        &root,
    ];
    let ran = whole_path::stream(options, path, &sink.url, 1, &more, &[])?;
    if ran.events != 1 {
        return Err(format!("{} events instead of one", ran.events));
    }
    Ok(ran.usage.took)
}
