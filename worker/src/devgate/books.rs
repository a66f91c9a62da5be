//! What was admitted: the memory that repeats are recognised by, and the files that say what
//! arrived in which order. One lock around all of it makes the order of decisions the order of
//! the files.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use worldstream_crds::Reason;

use super::check::{Checker, Event, Push, first_half};
use crate::failure::{Failure, Result};
use crate::gate::Decision;
use crate::time::EventTime;

/// Bytes of the record that are read at a time; longer than any envelope.
pub const PAGE: u64 = 8 << 20;

/// When a push arrived, before its body was read.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// `CLOCK_MONOTONIC`, nanoseconds: comparable between processes of one machine.
    pub monotonic_ns: u64,
    /// Microseconds since the epoch.
    pub wall_micros: i64,
}

impl Arrival {
    /// Now.
    pub fn now() -> Self {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Arrival {
            monotonic_ns: monotonic_ns(),
            wall_micros: wall.as_micros() as i64,
        }
    }

    /// Seconds since then.
    pub fn seconds_ago(&self) -> f64 {
        monotonic_ns().saturating_sub(self.monotonic_ns) as f64 / 1e9
    }
}

fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// One line of `--record-all`: a push that arrived and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// `CLOCK_MONOTONIC` nanoseconds at which the request's head was read.
    pub at: u64,
    /// The same moment by the wall clock.
    pub wall_utc: Option<EventTime>,
    /// What was decided; none: nothing was, it was not taken.
    pub decision: Option<Decision>,
    /// The status of the answer; none: there was no answer, or only a part of it.
    pub status: Option<u16>,
    /// The fault that struck it, by kind; latency is none.
    pub fault: Option<String>,
    /// The event's id, empty if the bytes have none.
    pub event_id: String,
    /// The event's type, empty likewise.
    pub event_type: String,
    /// The event's time as sent, empty likewise.
    pub ts_utc: String,
}

/// Memory, record and journal.
#[derive(Debug)]
pub struct Books {
    seen: HashMap<[u8; 16], [u8; 16]>,
    record: Option<Record>,
    journal: Option<BufWriter<File>>,
}

/// Where the files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookFiles {
    /// What was admitted.
    pub record: Option<PathBuf>,
    /// Everything that arrived.
    pub journal: Option<PathBuf>,
    /// Begin both anew instead of going on.
    pub fresh: bool,
}

impl Books {
    /// Opens the files; an existing record is read, so that repeats of its events are recognised.
    /// A last line that is cut off was never answered for, and is cut away.
    ///
    /// Errors: a file cannot be opened, is in use by another gate, or a line of the record is no
    /// envelope that could have been admitted.
    pub fn open(files: &BookFiles, checker: &Checker) -> Result<Self> {
        let mut books = Books {
            seen: HashMap::new(),
            record: None,
            journal: None,
        };
        if let Some(path) = &files.record {
            let mut file = open(path, files.fresh)?;
            let length = books.load(&mut file, path, checker)?;
            file.set_len(length)
                .map_err(|error| failure(path, &error))?;
            books.record = Some(Record { file, length });
        }
        if let Some(path) = &files.journal {
            books.journal = Some(BufWriter::with_capacity(1 << 16, open(path, files.fresh)?));
        }
        Ok(books)
    }

    /// Reads the record and gives the length of its whole lines.
    fn load(&mut self, file: &mut File, path: &Path, checker: &Checker) -> Result<u64> {
        file.rewind().map_err(|error| failure(path, &error))?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut length = 0;
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let read = reader
                .read_until(b'\n', &mut line)
                .map_err(|error| failure(path, &error))?;
            if line.pop() != Some(b'\n') {
                break;
            }
            let event = match checker.examine(&Bytes::copy_from_slice(&line)) {
                Push::Event(event) => event,
                _ => return Err(not_admitted(path, number, "no envelope")),
            };
            match event.verdict {
                Ok(hash) => drop(self.seen.insert(event.identity(), first_half(&hash))),
                Err(refusal) => return Err(not_admitted(path, number, refusal.as_str())),
            }
            length += read as u64;
        }
        Ok(length)
    }

    /// Decides about an event that is good by itself, and records it if it is admitted.
    ///
    /// Errors: the record cannot be written; the event is not admitted then.
    pub fn decide(&mut self, event: &Event, hash: &[u8; 32], body: &[u8]) -> io::Result<Decision> {
        let hash = first_half(hash);
        let identity = event.identity();
        match self.seen.get(&identity) {
            Some(known) if *known == hash => return Ok(Decision::Duplicate),
            Some(_) => return Ok(Decision::Quarantine),
            None => {}
        }
        if let Some(record) = &mut self.record {
            record.append(body)?;
        }
        self.seen.insert(identity, hash);
        Ok(Decision::Admit)
    }

    /// How many events are known.
    pub fn known(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Whole lines of the record from a byte on, at most [`PAGE`] of them at a time; nothing at its
    /// end. None without a record.
    ///
    /// Errors: the record cannot be read.
    pub fn page(&self, from: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(record) = &self.record else {
            return Ok(None);
        };
        let length = record.length.saturating_sub(from).min(PAGE);
        let mut page = vec![0; length as usize];
        record.file.read_exact_at(&mut page, from)?;
        let whole = page.iter().rposition(|byte| *byte == b'\n');
        page.truncate(whole.map_or(0, |end| end + 1));
        Ok(Some(page))
    }

    /// Whether arrivals are written down.
    pub fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Writes an arrival down, if that is asked for.
    ///
    /// Errors: the journal cannot be written.
    pub fn arrived(&mut self, line: &Arrived) -> io::Result<()> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        serde_json::to_writer(&mut *journal, line)?;
        journal.write_all(b"\n")
    }

    /// Hands everything to the operating system. The record always is.
    ///
    /// Errors: the journal cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.journal.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// The file of admitted envelopes, a line each. A line is handed to the operating system before
/// its event is answered, so that neither a killed client nor a killed gate loses one.
#[derive(Debug)]
struct Record {
    file: File,
    length: u64,
}

impl Record {
    fn append(&mut self, body: &[u8]) -> io::Result<()> {
        // Line breaks within JSON are space between tokens: in a text they would be escaped.
        let mut line: Vec<u8> = body.trim_ascii().to_vec();
        for byte in &mut line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }
}

fn open(path: &Path, fresh: bool) -> Result<File> {
    let attempt = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
    };
    let file = attempt().map_err(|error| failure(path, &error))?;
    if file.try_lock().is_err() {
        return Err(
            Failure::new(Reason::StreamFailed, path.display().to_string())
                .detail("another gate writes to it"),
        );
    }
    if fresh {
        file.set_len(0).map_err(|error| failure(path, &error))?;
    }
    Ok(file)
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).cause(error)
}

fn not_admitted(path: &Path, line: u64, found: &str) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string())
        .field(format!("line {line}"))
        .found(found)
        .expected("an envelope that was admitted")
        .detail("the file is no record of a gate; --fresh begins it anew")
}
