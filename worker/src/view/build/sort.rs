//! The first half of a build: raw parts read in order, rows held, sorted and spilled in runs that
//! fit the memory. One thread reads, another sorts and spills.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use arrow_schema::ArrowError;
use worldstream_crds::Reason;

use super::super::reader::Columns;
use super::super::{ResumeAt, RowPlace, RowReader, ViewPlan};
use super::coding::{Coder, Coding};
use super::journal::{Journal, Standing};
use super::parts::RawParts;
use super::progress::Progress;
use super::recount::LIMITS;
use super::runs::{Gathered, spill};
use super::stats::{Scratch, Stats};
use super::{Budget, MERGE_BATCH, layout};
use crate::failure::{Failure, Result};
use crate::plan::RangePlan;
use crate::world::WorldStore;

/// All rows of the raw parts in sorted runs.
#[derive(Debug)]
pub(super) struct Sorted {
    /// Names the runs.
    pub journal: Journal,
    /// What the columns have become.
    pub coder: Coder,
    /// Of the raw rows, counted while they were read.
    pub stats: Stats,
    /// For which columns a dictionary pays.
    pub pays: Vec<bool>,
    /// Rows that were in runs already.
    pub resumed_rows: u64,
}

/// Rows to be spilled, and where reading stood behind them.
struct Full {
    rows: Gathered,
    codings: Vec<Coding>,
    standing: Standing,
}

/// Reads, sorts and spills; goes on with what a killed build left in the folder.
pub(super) fn sort(
    store: &WorldStore,
    raw: &RawParts,
    folder: &Path,
    budget: &Budget,
    progress: &Progress,
) -> Result<Sorted> {
    let mut journal = Journal::new(&raw.parts);
    journal.resume(folder)?;
    let resumed_rows = journal.standing.rows;
    progress.rows(resumed_rows);
    let mut reading = Reading::new(store, raw, &journal.standing)?;
    std::thread::scope(|scope| {
        // Nothing waits in between: one set of rows is read while another is spilled.
        let (full, taken) = sync_channel::<Full>(0);
        let spilling = scope.spawn(move || -> Result<Journal> {
            for full in taken {
                let file: PathBuf = journal.next_file(folder);
                let average = full.rows.bytes() / full.rows.rows().max(1);
                let batch_rows = (MERGE_BATCH / average.max(1)).clamp(16, 8_192);
                let (run, bytes) = spill(full.rows, full.codings, &file, batch_rows)?;
                progress.bytes(bytes);
                journal.note(run, full.standing, folder)?;
            }
            Ok(journal)
        });
        let read = reading.all(budget.run_bytes, progress, |it| full.send(it).is_ok());
        drop(full);
        let journal = spilling
            .join()
            .unwrap_or_else(|_| Err(Failure::new(Reason::StreamFailed, "the sorting thread")));
        // Where spilling failed, reading only stopped.
        let journal = journal?;
        read?;
        Ok(Sorted {
            journal,
            coder: reading.coder,
            stats: reading.standing.stats,
            pays: reading.standing.pays,
            resumed_rows,
        })
    })
}

struct Reading<'a> {
    raw: &'a RawParts,
    reader: RowReader,
    coder: Coder,
    standing: Standing,
}

impl<'a> Reading<'a> {
    fn new(store: &WorldStore, raw: &'a RawParts, standing: &Standing) -> Result<Self> {
        let plan = ViewPlan {
            output_id: String::new(),
            view_id: String::new(),
            folder: store.root().to_owned(),
            parts: raw.parts.clone(),
            rows: raw.rows,
        };
        let open = || {
            let columns = Columns::As(raw.schema.clone());
            RowReader::with_columns(store, &plan, RangePlan::default(), LIMITS, columns)
        };
        let mut reader = open();
        let mut coder = Coder::new(raw.schema.fields().len(), raw.time.column);
        if standing.rows > 0 {
            if let Some(first) = reader.next()? {
                let restored =
                    coder.restore(&standing.codings, &standing.dictionaries, &first.rows);
                restored.map_err(|error| unheld(&raw.parts[first.first.part].name, &error))?;
            }
            reader = open();
            let place = last_of(raw, standing.rows);
            reader.resume(ResumeAt { place, ts: None })?;
        }
        Ok(Reading {
            raw,
            reader,
            coder,
            standing: standing.clone(),
        })
    }

    /// Reads all rows and gives them away whenever they have come to so many bytes; stops where
    /// nobody takes them.
    fn all(
        &mut self,
        run_bytes: usize,
        progress: &Progress,
        mut give: impl FnMut(Full) -> bool,
    ) -> Result<()> {
        let mut gathered = Gathered::default();
        let mut codings = self.coder.codings();
        let mut scratch = Scratch::default();
        while let Some(batch) = self.reader.next()? {
            // Batches are of parts that there are.
            let file = &self.raw.parts[batch.first.part].name;
            let keys = self.raw.time.keys(&batch.rows, file, batch.first)?;
            if self.standing.pays.is_empty() {
                self.standing.pays = layout::pays(&batch.rows);
            }
            let looked = self.coder.look(&batch.rows);
            let changed = looked.map_err(|error| unheld(file, &error))?;
            if (changed || gathered.bytes() >= run_bytes) && !gathered.is_empty() {
                let rows = std::mem::take(&mut gathered);
                if !give(self.full(rows, codings)) {
                    return Ok(());
                }
            }
            codings = self.coder.codings();
            self.standing.stats.add(&batch.rows, &keys, &mut scratch);
            self.standing.rows += keys.len() as u64;
            progress.rows(keys.len() as u64);
            let columns = self.coder.hold(&batch.rows);
            gathered.add(keys, columns.map_err(|error| unheld(file, &error))?);
        }
        if !gathered.is_empty() {
            give(self.full(gathered, codings));
        }
        Ok(())
    }

    /// Rows that are held as `codings` say. The dictionaries may know more texts by now, which
    /// changes nothing of those that the rows use.
    fn full(&self, rows: Gathered, codings: Vec<Coding>) -> Full {
        Full {
            rows,
            standing: Standing {
                codings: codings.clone(),
                dictionaries: self.coder.dictionaries(),
                ..self.standing.clone()
            },
            codings,
        }
    }
}

/// The place of the last of so many rows.
fn last_of(raw: &RawParts, rows: u64) -> RowPlace {
    let mut left = rows;
    for (part, plan) in raw.parts.iter().enumerate() {
        if left <= plan.rows {
            return RowPlace {
                part,
                row: left.saturating_sub(1),
            };
        }
        left -= plan.rows;
    }
    RowPlace {
        part: raw.parts.len(),
        row: 0,
    }
}

fn unheld(file: &str, error: &ArrowError) -> Failure {
    Failure::new(Reason::StreamFailed, file)
        .field("columns")
        .cause(error)
}
