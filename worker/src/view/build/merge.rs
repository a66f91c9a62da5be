//! Sorted runs made one: the next rows of all, chosen with a heap. Rows of one key come in the
//! order of the runs, which is that of reading.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave;

use super::coding::Coder;
use super::runs::{Rows, Run, RunReader};
use crate::failure::Result;

/// Consecutive rows of the merged order, as picks out of the runs' batches.
#[derive(Debug)]
pub(super) struct Chunk {
    batches: Vec<Arc<Rows>>,
    /// Batch and row of each.
    picks: Vec<(usize, usize)>,
}

impl Chunk {
    pub fn rows(&self) -> usize {
        self.picks.len()
    }

    /// The time keys.
    pub fn keys(&self) -> Int64Array {
        let of = |(batch, row): &(usize, usize)| self.batches[*batch].keys.value(*row);
        // Picks are made of batches and rows that there are.
        Int64Array::from_iter_values(self.picks.iter().map(of))
    }

    /// A column as it is held; none if nothing is.
    pub fn column(&self, index: usize) -> Result<Option<ArrayRef>, ArrowError> {
        let batches = self.batches.iter();
        let arrays: Option<Vec<&dyn Array>> = batches
            .map(|batch| Some(batch.columns.get(index)?.as_ref()?.as_ref()))
            .collect();
        arrays
            .filter(|arrays| !arrays.is_empty())
            .map(|arrays| interleave(&arrays, &self.picks))
            .transpose()
    }
}

struct Cursor {
    reader: RunReader,
    rows: Arc<Rows>,
    row: usize,
    /// The place of `rows` in the chunk that is being made, if it has one.
    slot: Option<usize>,
}

/// Merges runs.
pub(super) struct Merger<'a> {
    coder: &'a Coder,
    cursors: Vec<Cursor>,
    /// The next key of each run, and the run.
    heap: BinaryHeap<Reverse<(i64, usize)>>,
}

impl<'a> Merger<'a> {
    /// Opens the runs, which are in the order of reading.
    pub fn open(runs: &[Run], coder: &'a Coder) -> Result<Self> {
        let mut merger = Merger {
            coder,
            cursors: Vec::with_capacity(runs.len()),
            heap: BinaryHeap::with_capacity(runs.len()),
        };
        for run in runs.iter().filter(|run| run.rows > 0) {
            let mut reader = RunReader::open(run)?;
            let Some(rows) = next_rows(&mut reader, coder)? else {
                continue;
            };
            let first = rows.keys.value(0);
            merger.heap.push(Reverse((first, merger.cursors.len())));
            merger.cursors.push(Cursor {
                reader,
                rows: Arc::new(rows),
                row: 0,
                slot: None,
            });
        }
        Ok(merger)
    }

    /// The next rows, so many or the last; none behind them.
    pub fn next(&mut self, rows: usize) -> Result<Option<Chunk>> {
        let mut chunk = Chunk {
            batches: Vec::new(),
            picks: Vec::with_capacity(rows),
        };
        while chunk.picks.len() < rows {
            let Some(mut top) = self.heap.peek_mut() else {
                break;
            };
            let run = top.0.1;
            // The heap names cursors that there are.
            let cursor = &mut self.cursors[run];
            let slot = *cursor.slot.get_or_insert_with(|| {
                chunk.batches.push(cursor.rows.clone());
                chunk.batches.len() - 1
            });
            chunk.picks.push((slot, cursor.row));
            cursor.row += 1;
            if cursor.row < cursor.rows.keys.len() {
                *top = Reverse((cursor.rows.keys.value(cursor.row), run));
                continue;
            }
            cursor.row = 0;
            cursor.slot = None;
            match next_rows(&mut cursor.reader, self.coder)? {
                Some(rows) => {
                    *top = Reverse((rows.keys.value(0), run));
                    cursor.rows = Arc::new(rows);
                }
                None => {
                    PeekMut::pop(top);
                }
            }
        }
        for cursor in &mut self.cursors {
            cursor.slot = None;
        }
        Ok((!chunk.picks.is_empty()).then_some(chunk))
    }
}

/// Rows of which there is at least one.
fn next_rows(reader: &mut RunReader, coder: &Coder) -> Result<Option<Rows>> {
    while let Some(rows) = reader.next(coder)? {
        if !rows.keys.is_empty() {
            return Ok(Some(rows));
        }
    }
    Ok(None)
}
