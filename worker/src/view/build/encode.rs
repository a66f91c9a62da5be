//! Writes a view's parts: several threads encode columns, one writes the file, and the caller's
//! hands out the rows in order.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, UInt32Array};
use arrow_schema::ArrowError;
use arrow_select::take::take;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;
use worldstream_crds::Reason;

use super::super::guarded::guarded;
use super::coding::{Coder, Coding, time_texts};
use super::layout::Layout;
use super::merge::Chunk;
use super::progress::Progress;
use crate::failure::{Failure, Result};

/// Chunks that wait for a thread.
const WAITING: usize = 2;

/// What is written, and where.
pub(super) struct Output<'a> {
    pub layout: &'a Layout,
    pub coder: &'a Coder,
    /// The folder that parts are written into.
    pub folder: &'a Path,
    /// A part that has grown to so many bytes is ended behind its row group.
    pub part_bytes: u64,
    /// Threads that encode.
    pub threads: usize,
    pub progress: &'a Progress,
}

/// What a part is called (contracts section 3).
pub(super) fn part_name(number: usize) -> String {
    format!("part-{number:06}.parquet")
}

enum Job {
    Rows(Arc<Chunk>),
    /// The row group is whole.
    End,
}

/// Columns of a whole row group, by their index.
type Columns = Vec<(usize, Vec<ArrowColumnChunk>)>;
type Encoded = Result<Columns>;

impl Output<'_> {
    /// Writes all rows that `next` gives when it is asked for so many. Gives the parts' names.
    pub fn write(
        &self,
        mut next: impl FnMut(usize) -> Result<Option<Chunk>>,
    ) -> Result<Vec<String>> {
        let values = self.coder.values();
        let shares = self.shares();
        std::thread::scope(|scope| {
            let (mut jobs, mut groups) = (Vec::new(), Vec::new());
            for share in shares {
                let (job, taken) = sync_channel(WAITING);
                let (done, group) = sync_channel(1);
                jobs.push(job);
                groups.push(group);
                let values = &values;
                scope.spawn(move || self.encode(share, values, &taken, &done));
            }
            let writing = scope.spawn(move || self.append(&groups));
            let handed = self.hand_out(&mut next, &jobs);
            drop(jobs);
            let written = writing
                .join()
                .unwrap_or_else(|_| Err(self.failure("the writing thread")));
            handed?;
            written
        })
    }

    /// Gives every chunk to every thread, and ends row groups. Stops without an error where a
    /// thread has: the writing thread knows why.
    fn hand_out(
        &self,
        next: &mut impl FnMut(usize) -> Result<Option<Chunk>>,
        jobs: &[SyncSender<Job>],
    ) -> Result<()> {
        let Layout {
            chunk_rows,
            group_rows,
            ..
        } = *self.layout;
        let mut in_group = 0;
        loop {
            let chunk = next(chunk_rows.min(group_rows - in_group))?;
            let Some(chunk) = chunk else { break };
            let rows = chunk.rows();
            let chunk = Arc::new(chunk);
            if !jobs
                .iter()
                .all(|job| job.send(Job::Rows(chunk.clone())).is_ok())
            {
                return Ok(());
            }
            in_group += rows;
            self.progress.rows(rows as u64);
            if in_group == group_rows {
                in_group = 0;
                if !jobs.iter().all(|job| job.send(Job::End).is_ok()) {
                    return Ok(());
                }
            }
        }
        if in_group > 0 {
            let _ = jobs.iter().all(|job| job.send(Job::End).is_ok());
        }
        Ok(())
    }

    /// Which thread encodes which columns: the dearest first, each to the one with the least.
    fn shares(&self) -> Vec<Vec<usize>> {
        let codings = self.coder.codings();
        let cost = |index: usize| {
            let data_type = self.layout.schema.field(index).data_type();
            match codings.get(index) {
                Some(Coding::Constant | Coding::Codes) => 3,
                Some(Coding::TimeText) => 12,
                _ if data_type.is_nested() => 20,
                _ => data_type
                    .primitive_width()
                    .map_or(10, |width| 2 + width / 4),
            }
        };
        let mut order: Vec<_> = (0..codings.len())
            .map(|index| (cost(index), index))
            .collect();
        order.sort_by_key(|(cost, index)| (std::cmp::Reverse(*cost), *index));
        let mut shares = vec![(0, Vec::new()); self.threads.clamp(1, codings.len().max(1))];
        for (cost, index) in order {
            if let Some(least) = shares.iter_mut().min_by_key(|(sum, _)| *sum) {
                least.0 += cost;
                least.1.push(index);
            }
        }
        shares.into_iter().map(|(_, columns)| columns).collect()
    }

    /// One thread: its columns of every row group.
    fn encode(
        &self,
        share: Vec<usize>,
        values: &[Option<ArrayRef>],
        jobs: &Receiver<Job>,
        done: &SyncSender<Encoded>,
    ) {
        let group = || -> Result<Option<Columns>> {
            let mut writers: Option<Vec<(usize, Vec<ArrowColumnWriter>)>> = None;
            for job in jobs.iter() {
                match job {
                    Job::Rows(chunk) => {
                        let writers = match &mut writers {
                            Some(writers) => writers,
                            None => writers.insert(self.writers(&share)?),
                        };
                        for (index, leaves) in writers {
                            self.encode_column(*index, leaves, &chunk, values)?;
                        }
                    }
                    Job::End => {
                        let closed =
                            writers
                                .unwrap_or_default()
                                .into_iter()
                                .map(|(index, leaves)| {
                                    let closed =
                                        leaves.into_iter().map(|leaf| guarded(|| leaf.close()));
                                    let closed: Result<Vec<_>, _> = closed.collect();
                                    Ok((
                                        index,
                                        closed
                                            .map_err(|error| self.column_failure(index, &error))?,
                                    ))
                                });
                        return closed.collect::<Result<_>>().map(Some);
                    }
                }
            }
            Ok(None)
        };
        while let Some(encoded) = group().transpose() {
            let failed = encoded.is_err();
            if done.send(encoded).is_err() || failed {
                return;
            }
        }
    }

    /// Writers of a row group for some columns.
    fn writers(&self, share: &[usize]) -> Result<Vec<(usize, Vec<ArrowColumnWriter>)>> {
        let made = || -> Result<_, ParquetError> {
            let file = SerializedFileWriter::new(
                std::io::sink(),
                self.layout.root.clone(),
                self.layout.properties.clone(),
            )?;
            let schema = SchemaDescriptor::new(self.layout.root.clone());
            let leaves: Vec<usize> = (0..schema.num_columns())
                .map(|leaf| schema.get_column_root_idx(leaf))
                .collect();
            let factory = ArrowRowGroupWriterFactory::new(&file, self.layout.schema.clone());
            let mut writers: Vec<(usize, Vec<ArrowColumnWriter>)> =
                share.iter().map(|index| (*index, Vec::new())).collect();
            for (root, writer) in leaves.into_iter().zip(factory.create_column_writers(0)?) {
                if let Some((_, leaves)) = writers.iter_mut().find(|(index, _)| *index == root) {
                    leaves.push(writer);
                }
            }
            Ok(writers)
        };
        guarded(made).map_err(|error| self.failure("the columns' encoders").cause(&error))
    }

    fn encode_column(
        &self,
        index: usize,
        leaves: &mut [ArrowColumnWriter],
        chunk: &Chunk,
        values: &[Option<ArrayRef>],
    ) -> Result<()> {
        let written = guarded(|| -> Result<(), ParquetError> {
            let array = self.column(index, chunk, values)?;
            let field = self.layout.schema.field(index);
            let levels = compute_leaves(field, &array)?;
            for (writer, level) in leaves.iter_mut().zip(&levels) {
                writer.write(level)?;
            }
            Ok(())
        });
        written.map_err(|error| self.column_failure(index, &error))
    }

    /// A column's values as the encoder takes them.
    fn column(
        &self,
        index: usize,
        chunk: &Chunk,
        values: &[Option<ArrayRef>],
    ) -> Result<ArrayRef, ArrowError> {
        if let Some(constant) = self.coder.constant(index) {
            return take(constant, &UInt32Array::from(vec![0; chunk.rows()]), None);
        }
        let Some(held) = chunk.column(index)? else {
            return Ok(time_texts(chunk.keys().values()));
        };
        match values.get(index) {
            Some(Some(values)) => {
                let codes = held.as_primitive::<Int32Type>().clone();
                Ok(Arc::new(DictionaryArray::try_new(codes, values.clone())?))
            }
            _ => Ok(held),
        }
    }

    /// The writing thread: row groups in order, parts after one another. At least one part.
    fn append(&self, groups: &[Receiver<Encoded>]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut open: Option<Part> = None;
        loop {
            let mut columns = Vec::new();
            for group in groups {
                match group.recv() {
                    Ok(encoded) => columns.extend(encoded?),
                    Err(_) => break,
                }
            }
            if columns.is_empty() {
                break;
            }
            if columns.len() != self.layout.schema.fields().len() {
                return Err(self.failure("a thread that encodes has ended"));
            }
            if open
                .as_ref()
                .is_some_and(|part| part.bytes() >= self.part_bytes)
                && let Some(full) = open.take()
            {
                full.finish()?;
            }
            let part = match &mut open {
                Some(part) => part,
                None => open.insert(self.create(&mut names)?),
            };
            columns.sort_by_key(|(index, _)| *index);
            let before = part.bytes();
            part.append(columns)?;
            self.progress.bytes(part.bytes() - before);
        }
        let last = match open {
            Some(part) => part,
            None if names.is_empty() => self.create(&mut names)?,
            None => return Ok(names),
        };
        last.finish()?;
        Ok(names)
    }

    fn create(&self, names: &mut Vec<String>) -> Result<Part> {
        let name = part_name(names.len());
        let path = self.folder.join(&name);
        let file = File::create(&path).map_err(|error| unwritten(&path, &error))?;
        let mut writer = SerializedFileWriter::new(
            BufWriter::with_capacity(1024 * 1024, file),
            self.layout.root.clone(),
            self.layout.properties.clone(),
        )
        .map_err(|error| unwritten(&path, &error))?;
        for note in &self.layout.notes {
            writer.append_key_value_metadata(note.clone());
        }
        names.push(name);
        Ok(Part { path, writer })
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::new(Reason::StreamFailed, self.folder.display().to_string()).field(what)
    }

    fn column_failure(&self, index: usize, error: &ParquetError) -> Failure {
        let name = self.layout.schema.field(index).name();
        self.failure(&format!("column {name}"))
            .expected("values that can be written as Parquet")
            .cause(error)
    }
}

/// A part that is being written.
struct Part {
    path: PathBuf,
    writer: SerializedFileWriter<BufWriter<File>>,
}

impl Part {
    fn bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    fn append(&mut self, columns: Columns) -> Result<()> {
        let appended = guarded(|| -> Result<(), ParquetError> {
            let mut group = self.writer.next_row_group()?;
            for (_, leaves) in columns {
                for leaf in leaves {
                    leaf.append_to_row_group(&mut group)?;
                }
            }
            group.close()?;
            Ok(())
        });
        appended.map_err(|error| unwritten(&self.path, &error))
    }

    /// Writes the footer; the part is on disk when this returns.
    fn finish(self) -> Result<()> {
        let Part { path, writer } = self;
        let out = writer
            .into_inner()
            .map_err(|error| unwritten(&path, &error))?;
        let file = out
            .into_inner()
            .map_err(|error| unwritten(&path, error.error()))?;
        file.sync_all().map_err(|error| unwritten(&path, &error))
    }
}

fn unwritten(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).cause(error)
}
