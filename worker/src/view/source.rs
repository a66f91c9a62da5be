//! The bytes of a part for Parquet's synchronous reader, which streams a column chunk page by
//! page: so a view with one giant row group needs no giant buffer. Each column chunk has a window
//! of bytes read ahead; all windows together stay within a budget. Of a remote part, row groups that
//! fit are fetched whole and ahead, and windows of those that do not are filled ahead.
//!
//! Runs on a decode thread, which may block; never on a thread that does I/O for others.

use std::collections::VecDeque;
use std::future::Future;
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::{Builder, Handle, Runtime};
use worldstream_crds::Reason;

use super::ahead::{self, Ahead, Group, Piece};
use super::object::{Fetched, Object};
use crate::failure::{Failure, Result};

/// What is read where reading jumps, to see a page's header: pages that are skipped are not read.
const PROBE: u64 = 4 * 1024;
/// Bounds of a column chunk's window.
const WINDOW: Range<u64> = 4 * 1024..4 * 1024 * 1024;

/// Waits for a store on the calling thread.
#[derive(Debug, Default)]
pub(super) struct Blocking {
    runtime: OnceLock<Runtime>,
    /// The store is this machine's files: outside of a runtime its futures never wait.
    local: AtomicBool,
}

impl Blocking {
    /// The result of a future, made anew if the first one could not be finished at once.
    pub fn wait<F: Future>(&self, make: impl Fn() -> F) -> Result<F::Output> {
        if self.local.load(Ordering::Relaxed)
            && Handle::try_current().is_err()
            && let Some(output) = make().now_or_never()
        {
            return Ok(output);
        }
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let made = Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| {
                        Failure::new(Reason::StreamFailed, "decode thread")
                            .expected("a runtime to read with")
                            .cause(&error)
                    })?;
                self.runtime.get_or_init(|| made)
            }
        };
        Ok(runtime.block_on(make()))
    }

    /// The store was seen to be this machine's files.
    pub fn is_local(&self, fetched_locally: bool) {
        self.local.store(fetched_locally, Ordering::Relaxed);
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        // Waits for nothing: a reader may be dropped on a thread that must not block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One part, cheap to clone; all clones share the windows.
#[derive(Clone)]
pub(super) struct PartSource {
    inner: Arc<Inner>,
}

struct Inner {
    object: Object,
    blocking: Arc<Blocking>,
    /// Bytes that all windows together may hold.
    budget: usize,
    /// Where and how much is fetched ahead, of a remote part.
    ahead: Option<Ahead>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    windows: Vec<Window>,
    /// The row group that is read, if it was fetched whole.
    group: Option<Group>,
    /// Row groups that come next, with their numbers.
    coming: VecDeque<(usize, Group)>,
    /// Bytes read ahead in a window.
    ahead: u64,
    /// The first failure: what Parquet's reader makes of it says less.
    failure: Option<Failure>,
    /// The most bytes held at any time, with what was being read.
    peak: usize,
    /// Bytes fetched so far.
    fetched: u64,
}

/// What is at hand of one column chunk.
struct Window {
    chunk: Range<u64>,
    /// Where `bytes` begin.
    start: u64,
    bytes: Bytes,
    /// What follows, on its way.
    next: Option<Piece>,
}

impl Window {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl PartSource {
    pub fn new(
        object: Object,
        blocking: Arc<Blocking>,
        budget: usize,
        ahead: Option<Ahead>,
    ) -> Self {
        PartSource {
            inner: Arc::new(Inner {
                object,
                blocking,
                budget,
                ahead,
                state: Mutex::default(),
            }),
        }
    }

    pub fn object(&self) -> &Object {
        &self.inner.object
    }

    /// The column chunks of the row group that is read from now on; what is at hand of others is
    /// dropped, but for what was fetched of groups behind it.
    pub fn read_chunks(&self, index: usize, mut chunks: Vec<Range<u64>>) {
        chunks.sort_by_key(|chunk| chunk.start);
        let mut state = self.state();
        state.windows.clear();
        state.group = None;
        while state.coming.front().is_some_and(|(at, _)| *at < index) {
            state.coming.pop_front();
        }
        let mut budget = self.inner.budget as u64;
        if let Some(ahead) = &self.inner.ahead {
            if ahead.takes_whole(ahead::bytes_of(&chunks)) {
                let fetched = match state.coming.front() {
                    Some((at, _)) if *at == index => state.coming.pop_front(),
                    _ => None,
                };
                let group = match fetched {
                    Some((_, group)) => group,
                    None => self.begin(&mut state, ahead, &chunks),
                };
                state.group = Some(group);
                state.peak = state.peak.max(ahead.held() as usize);
                return;
            }
            // Half for what is read, half for what is on its way.
            budget = ahead.budget() / 2;
        }
        let share = budget / (chunks.len().max(1) as u64);
        state.ahead = share.clamp(WINDOW.start, WINDOW.end);
        state.windows = chunks
            .into_iter()
            .map(|chunk| Window {
                start: chunk.start,
                chunk,
                bytes: Bytes::new(),
                next: None,
            })
            .collect();
    }

    /// Begins to fetch a row group that comes later, if the budget allows it; false if nothing
    /// more should be asked for now.
    pub fn fetch_ahead(&self, index: usize, mut chunks: Vec<Range<u64>>) -> bool {
        let Some(ahead) = &self.inner.ahead else {
            return false;
        };
        let mut state = self.state();
        if state.coming.iter().any(|(at, _)| *at == index) {
            return true;
        }
        chunks.sort_by_key(|chunk| chunk.start);
        let bytes = ahead::bytes_of(&chunks);
        if !ahead.takes_whole(bytes) || !ahead.has_room(bytes) {
            return false;
        }
        let group = self.begin(&mut state, ahead, &chunks);
        state.coming.push_back((index, group));
        state.peak = state.peak.max(ahead.held() as usize);
        true
    }

    fn begin(&self, state: &mut State, ahead: &Ahead, chunks: &[Range<u64>]) -> Group {
        state.fetched += ahead::bytes_of(chunks);
        ahead.group(&self.inner.object, chunks)
    }

    /// Why reading failed, if it was the store or the part's being another one.
    pub fn take_failure(&self) -> Option<Failure> {
        self.state().failure.take()
    }

    /// The most bytes that were held at any time.
    pub fn peak(&self) -> usize {
        self.state().peak
    }

    /// Bytes fetched so far.
    pub fn fetched(&self) -> u64 {
        self.state().fetched
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done where a panic could happen.
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes from `start`: `len` of them, or with none as many as are at hand, at least one
    /// unless the column chunk ends there.
    fn read(&self, start: u64, len: Option<u64>) -> parquet::errors::Result<Bytes> {
        let size = self.inner.object.size;
        let least = len.unwrap_or(1);
        if start
            .checked_add(len.unwrap_or(0))
            .is_none_or(|end| end > size)
        {
            return Err(ParquetError::EOF(format!(
                "{least} bytes from {start} in a part of {size}"
            )));
        }
        let state = &mut *self.state();
        if state.failure.is_some() {
            return Err(failed());
        }
        if let Some(found) = state
            .group
            .as_mut()
            .and_then(|group| group.read(start, len))
        {
            return found.map_err(|failure| {
                state.failure = Some(failure);
                failed()
            });
        }
        let index = state
            .windows
            .iter()
            .position(|window| window.chunk.contains(&start));
        let Some(window) = index.and_then(|index| state.windows.get_mut(index)) else {
            // Outside of the chunks: an index. Read as it is, and not kept.
            let end = start + len.unwrap_or(PROBE).min(size - start);
            return self.fetch(state, start..end);
        };

        let near = (window.start..=window.end()).contains(&start);
        let at_hand = if near {
            // `near` keeps the offset within the bytes.
            window.bytes.slice((start - window.start) as usize..)
        } else {
            Bytes::new()
        };
        if at_hand.len() as u64 >= least {
            return Ok(match len {
                Some(len) => at_hand.slice(..len as usize),
                None => at_hand,
            });
        }

        // Reading on fetches ahead; a jump fetches only what is asked for.
        let from = start + at_hand.len() as u64;
        let need = start + least;
        let ahead = match (near, len) {
            (true, _) => state.ahead,
            (false, None) => PROBE,
            (false, Some(_)) => 0,
        };
        let end = (need + ahead).min(window.chunk.end).max(need).min(size);
        window.bytes = Bytes::new();
        window.start = start;
        // What was fetched ahead counts if reading went on where it begins.
        let next = window.next.take();
        let fetched = match next.filter(|next| near && next.range.start == from) {
            Some(next) => self.awaited(state, next, need)?,
            None => self.fetch(state, from..end)?,
        };
        let follows = from + fetched.len() as u64;
        if let (true, Some(ahead)) = (near, &self.inner.ahead)
            && let Some(window) = index.and_then(|index| state.windows.get_mut(index))
        {
            let end = (follows + state.ahead).min(window.chunk.end);
            window.next = (follows < end).then(|| ahead.fetch(&self.inner.object, follows..end));
        }

        let Some(len) = len else {
            let window = index.and_then(|index| state.windows.get_mut(index));
            if let Some(window) = window {
                window.bytes = fetched.clone();
            }
            return Ok(fetched);
        };
        // What was asked for goes to the decoder, which drops it page by page; what was read
        // ahead stays, in a buffer of its own that keeps nothing else alive.
        let split = (need - from) as usize;
        let found = if at_hand.is_empty() {
            fetched.slice(..split)
        } else {
            let mut joined = Vec::with_capacity(len as usize);
            joined.extend_from_slice(&at_hand);
            joined.extend_from_slice(&fetched[..split]);
            joined.into()
        };
        if let Some(window) = index.and_then(|index| state.windows.get_mut(index)) {
            window.start = need;
            window.bytes = Bytes::copy_from_slice(&fetched[split..]);
        }
        Ok(found)
    }

    /// What was on its way, and what it lacks up to `need`.
    fn awaited(
        &self,
        state: &mut State,
        mut piece: Piece,
        need: u64,
    ) -> parquet::errors::Result<Bytes> {
        let bytes = piece.wait().map_err(|failure| {
            state.failure = Some(failure);
            failed()
        })?;
        state.fetched += bytes.len() as u64;
        let end = piece.range.end;
        if end >= need {
            return Ok(bytes);
        }
        let more = self.fetch(state, end..need)?;
        Ok([bytes, more].concat().into())
    }

    fn fetch(&self, state: &mut State, range: Range<u64>) -> parquet::errors::Result<Bytes> {
        let held: usize = state.windows.iter().map(|w| w.bytes.len()).sum();
        let ahead = self.inner.ahead.as_ref().map_or(0, Ahead::held) as usize;
        state.peak = state
            .peak
            .max(held + ahead + (range.end - range.start) as usize);
        state.fetched += range.end - range.start;
        let inner = &self.inner;
        match inner.blocking.wait(|| inner.object.range(range.clone())) {
            Ok(Ok(Fetched { bytes, .. })) => Ok(bytes),
            Ok(Err(failure)) | Err(failure) => {
                state.failure = Some(failure);
                Err(failed())
            }
        }
    }
}

/// Only ends the decoder: [`PartSource::take_failure`] says what happened.
fn failed() -> ParquetError {
    ParquetError::General("the part could not be read".to_owned())
}

impl Length for PartSource {
    fn len(&self) -> u64 {
        self.inner.object.size
    }
}

impl ChunkReader for PartSource {
    type T = PageHeaders;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(PageHeaders {
            source: self.clone(),
            at: start,
            ready: Bytes::new(),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.read(start, Some(length as u64))
    }
}

/// Reads on from a place, byte by byte if need be: Parquet's reader decodes page headers so.
pub(super) struct PageHeaders {
    source: PartSource,
    at: u64,
    ready: Bytes,
}

impl Read for PageHeaders {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.ready.is_empty() {
            if self.at >= self.source.len() || buffer.is_empty() {
                return Ok(0);
            }
            self.ready = self
                .source
                .read(self.at, None)
                .map_err(std::io::Error::other)?;
        }
        let count = buffer.len().min(self.ready.len());
        buffer[..count].copy_from_slice(&self.ready.split_to(count));
        self.at += count as u64;
        Ok(count)
    }
}
