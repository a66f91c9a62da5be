//! Sorted runs: rows gathered in memory, put in order, and spilled as Arrow IPC with LZ4; and read
//! again, batch by batch.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, Field, Schema};
use arrow_select::concat::concat;
use arrow_select::take::take;
use serde::{Deserialize, Serialize};
use worldstream_crds::Reason;

use super::coding::{Coder, Coding};
use crate::failure::{Failure, Result};

/// Bytes of a file that are read or written at a time.
const BUFFER: usize = 128 * 1024;

/// Rows in memory, as they are held, in the order of reading.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    keys: Vec<Vec<i64>>,
    batches: Vec<Vec<Option<ArrayRef>>>,
    rows: usize,
    bytes: usize,
}

impl Gathered {
    /// Takes rows in.
    pub fn add(&mut self, keys: Vec<i64>, columns: Vec<Option<ArrayRef>>) {
        self.rows += keys.len();
        self.bytes += keys.len() * PER_ROW;
        let arrays = columns.iter().flatten();
        self.bytes += arrays.map(|it| sliced_bytes(it.as_ref())).sum::<usize>();
        self.keys.push(keys);
        self.batches.push(columns);
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes that the rows take in memory until they are spilled.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// The key, and its place in the order, beside each row's columns.
const PER_ROW: usize = 8 + 16 + 4;

/// Bytes of the rows of an array, and not of what it is a slice of.
fn sliced_bytes(array: &dyn Array) -> usize {
    let data = array.to_data();
    data.get_slice_memory_size()
        .unwrap_or_else(|_| array.get_array_memory_size())
}

/// A run in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub file: PathBuf,
    pub rows: u64,
    /// How its columns are held.
    pub codings: Vec<Coding>,
}

/// Sorts rows and writes them to a file. The order is that of the keys; rows of one key keep
/// theirs. Gives the bytes of the file.
pub(super) fn spill(
    gathered: Gathered,
    codings: Vec<Coding>,
    file: &Path,
    batch_rows: usize,
) -> Result<(Run, u64)> {
    let rows = gathered.rows;
    let unwritten = |error: &(dyn std::error::Error + 'static)| unwritten(file, error);
    let ordered = order(&gathered.keys);
    // A column after the other, so that no more than one of them is there twice.
    let mut batches: Vec<_> = gathered.batches.into_iter().map(Vec::into_iter).collect();
    let mut columns = Vec::with_capacity(codings.len());
    for _ in &codings {
        let pieces: Vec<ArrayRef> = batches
            .iter_mut()
            .filter_map(|batch| batch.next().flatten())
            .collect();
        let pieces: Vec<&dyn Array> = pieces.iter().map(|it| it.as_ref()).collect();
        columns.push(match pieces.is_empty() {
            true => None,
            false => Some(concat(&pieces).map_err(|error| unwritten(&error))?),
        });
    }
    let mut writer = RunWriter::create(file, codings);
    let mut from = 0;
    while from < rows {
        let until = rows.min(from + batch_rows);
        let slice = ordered.get(from..until).unwrap_or_default();
        let keys = Int64Array::from_iter_values(slice.iter().map(|(key, _)| *key));
        let places = UInt32Array::from_iter_values(slice.iter().map(|(_, row)| *row));
        let taken: Result<Vec<_>, ArrowError> = columns
            .iter()
            .map(|column| match column {
                Some(column) => take(column, &places, None).map(Some),
                None => Ok(None),
            })
            .collect();
        writer.write(keys, taken.map_err(|error| unwritten(&error))?)?;
        from = until;
    }
    writer.finish()
}

/// The rows in order: key and place of each.
fn order(keys: &[Vec<i64>]) -> Vec<(i64, u32)> {
    let places = keys.iter().flatten().zip(0u32..);
    let mut order: Vec<(i64, u32)> = Vec::with_capacity(keys.iter().map(Vec::len).sum());
    order.extend(places.map(|(key, place)| (*key, place)));
    // The place makes it stable.
    order.sort_unstable();
    order
}

/// Writes a run's rows, which come in order.
pub(super) struct RunWriter {
    file: PathBuf,
    codings: Vec<Coding>,
    rows: u64,
    /// Made with the first rows, which say the types.
    writer: Option<StreamWriter<BufWriter<File>>>,
}

impl RunWriter {
    pub fn create(file: &Path, codings: Vec<Coding>) -> Self {
        RunWriter {
            file: file.to_owned(),
            codings,
            rows: 0,
            writer: None,
        }
    }

    pub fn write(&mut self, keys: Int64Array, columns: Vec<Option<ArrayRef>>) -> Result<()> {
        let file = self.file.clone();
        let failed = |error: &(dyn std::error::Error + 'static)| unwritten(&file, error);
        self.rows += keys.len() as u64;
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(keys)];
        arrays.extend(columns.into_iter().flatten());
        let fields = arrays.iter().enumerate();
        let fields =
            fields.map(|(index, it)| Field::new(index.to_string(), it.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(|it| failed(&it))?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let out = File::create(&file).map_err(|it| failed(&it))?;
                let options = IpcWriteOptions::default()
                    .try_with_compression(Some(CompressionType::LZ4_FRAME))
                    .map_err(|it| failed(&it))?;
                let out = BufWriter::with_capacity(BUFFER, out);
                let made = StreamWriter::try_new_with_options(out, &schema, options);
                self.writer.insert(made.map_err(|it| failed(&it))?)
            }
        };
        writer.write(&batch).map_err(|it| failed(&it))
    }

    /// The run, and the bytes of its file.
    pub fn finish(self) -> Result<(Run, u64)> {
        let failed = |error: &(dyn std::error::Error + 'static)| unwritten(&self.file, error);
        let mut bytes = 0;
        if let Some(mut writer) = self.writer {
            writer.finish().map_err(|it| failed(&it))?;
            let mut out = writer.into_inner().map_err(|it| failed(&it))?;
            out.flush().map_err(|it| failed(&it))?;
            bytes = out.get_ref().metadata().map_err(|it| failed(&it))?.len();
        }
        let run = Run {
            file: self.file,
            rows: self.rows,
            codings: self.codings,
        };
        Ok((run, bytes))
    }
}

/// Rows of a run, in order.
#[derive(Debug)]
pub(super) struct Rows {
    pub keys: Int64Array,
    /// As the table's coder holds them at the end.
    pub columns: Vec<Option<ArrayRef>>,
}

/// Reads a run.
pub(super) struct RunReader {
    run: Run,
    reader: StreamReader<BufReader<File>>,
}

impl RunReader {
    pub fn open(run: &Run) -> Result<Self> {
        let failed = |error: &(dyn std::error::Error + 'static)| unread(&run.file, error);
        let file = File::open(&run.file).map_err(|it| failed(&it))?;
        let file = BufReader::with_capacity(BUFFER, file);
        Ok(RunReader {
            run: run.clone(),
            reader: StreamReader::try_new(file, None).map_err(|it| failed(&it))?,
        })
    }

    /// The next rows; none behind the last.
    pub fn next(&mut self, coder: &Coder) -> Result<Option<Rows>> {
        let failed = |error: &(dyn std::error::Error + 'static)| unread(&self.run.file, error);
        let Some(batch) = self.reader.next().transpose().map_err(|it| failed(&it))? else {
            return Ok(None);
        };
        let mut arrays = batch.columns().iter();
        let keys = arrays
            .next()
            .and_then(|it| it.as_primitive_opt::<Int64Type>())
            .cloned()
            .ok_or_else(|| {
                Failure::new(Reason::StreamFailed, self.run.file.display().to_string())
            })?;
        let held = self.run.codings.iter().map(|coding| match coding {
            Coding::Constant | Coding::TimeText => None,
            Coding::Codes | Coding::Plain => arrays.next().cloned(),
        });
        let held = held.collect();
        let columns = coder
            .raise(&self.run.codings, keys.values(), held)
            .map_err(|it| failed(&it))?;
        Ok(Some(Rows { keys, columns }))
    }
}

fn unwritten(file: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Reason::StreamFailed, file.display().to_string())
        .field("spilled rows")
        .cause(error)
}

fn unread(file: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    unwritten(file, error).expected("the rows that were spilled there")
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn rows_of_one_key_keep_their_order() {
        let keys = [vec![3, 1, 2], vec![], vec![1, 3, i64::MIN]];
        let expected = [(i64::MIN, 5), (1, 1), (1, 3), (2, 2), (3, 0), (3, 4)];
        assert_eq!(order(&keys), expected);
    }
}
