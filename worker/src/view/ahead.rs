//! Bytes of a remote part that are fetched before they are needed: the row groups that come next,
//! each in a few requests, as many as a budget allows. Fetched on the stores' own thread; the
//! reader waits only for what has not come yet.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use worldstream_crds::Reason;

use super::object::Object;
use crate::failure::{Failure, Result};

/// Bytes of one request, at most.
const PIECE: u64 = 2 << 20;
/// Requests that one reader has open ahead, at most.
const REQUESTS: usize = 4;
/// Chunks so close to each other are fetched with what lies between.
const GAP: u64 = 64 << 10;

/// What one reader fetches ahead, over all parts. Cheap to clone.
#[derive(Clone)]
pub(super) struct Ahead {
    io: Handle,
    budget: u64,
    held: Arc<AtomicU64>,
    slots: Arc<Semaphore>,
}

impl Ahead {
    /// Fetches on `io`, within `budget` bytes.
    pub fn new(io: Handle, budget: u64) -> Self {
        Ahead {
            io,
            budget,
            held: Arc::default(),
            slots: Arc::new(Semaphore::new(REQUESTS)),
        }
    }

    /// Bytes that may be held.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes that are held or on their way.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether a group of so many bytes is fetched whole: the next one has to fit beside it.
    pub fn takes_whole(&self, bytes: u64) -> bool {
        bytes <= self.budget / 2
    }

    /// Whether so many bytes more are within the budget.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.held() + bytes <= self.budget
    }

    /// Begins to fetch a range.
    pub fn fetch(&self, object: &Object, range: Range<u64>) -> Piece {
        let (sender, coming) = sync_channel(1);
        let (object, slots) = (object.clone(), self.slots.clone());
        let wanted = range.clone();
        let task = self.io.spawn(async move {
            // Never closed: the permit is there in the order in which it was asked for.
            let _slot = slots.acquire().await;
            let fetched = object.range(wanted).await.map(|fetched| fetched.bytes);
            // A reader that is gone wants no more.
            let _ = sender.send(fetched);
        });
        self.held
            .fetch_add(range.end - range.start, Ordering::Relaxed);
        Piece {
            range,
            coming: Some(coming),
            here: Bytes::new(),
            held: self.held.clone(),
            task: task.abort_handle(),
        }
    }

    /// Begins to fetch a row group's column chunks, which are sorted.
    pub fn group(&self, object: &Object, chunks: &[Range<u64>]) -> Group {
        let pieces = split(&spans(chunks));
        let pieces = pieces.into_iter().map(|range| self.fetch(object, range));
        Group {
            pieces: pieces.collect(),
        }
    }
}

/// A range that is here, or on its way. Given up when dropped.
pub(super) struct Piece {
    pub range: Range<u64>,
    coming: Option<Receiver<Result<Bytes>>>,
    here: Bytes,
    held: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Piece {
    /// The bytes, awaited. Blocks.
    pub fn wait(&mut self) -> Result<Bytes> {
        if let Some(coming) = self.coming.take() {
            self.here = coming.recv().unwrap_or_else(|_| {
                Err(Failure::new(Reason::StreamFailed, "reading ahead")
                    .detail("the stores' thread gave up"))
            })?;
        }
        Ok(self.here.clone())
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.task.abort();
        let length = self.range.end - self.range.start;
        self.held.fetch_sub(length, Ordering::Relaxed);
    }
}

/// A row group that is fetched whole.
pub(super) struct Group {
    pieces: Vec<Piece>,
}

impl Group {
    /// Bytes from `start`: `len` of them, or with none as many as lie together, at least one. None
    /// if they are not the group's.
    pub fn read(&mut self, start: u64, len: Option<u64>) -> Option<Result<Bytes>> {
        let at = self
            .pieces
            .partition_point(|piece| piece.range.end <= start);
        let piece = self.pieces.get_mut(at)?;
        if !piece.range.contains(&start) {
            return None;
        }
        let skip = (start - piece.range.start) as usize;
        let first = match piece.wait() {
            // The length was compared with the range when it came.
            Ok(bytes) => bytes.slice(skip..),
            Err(failure) => return Some(Err(failure)),
        };
        let Some(len) = len.map(|len| len as usize) else {
            return Some(Ok(first));
        };
        if first.len() >= len {
            return Some(Ok(first.slice(..len)));
        }
        let mut joined = Vec::with_capacity(len);
        joined.extend_from_slice(&first);
        for piece in &mut self.pieces[at + 1..] {
            if joined.len() == len || piece.range.start != start + joined.len() as u64 {
                break;
            }
            match piece.wait() {
                Ok(bytes) => {
                    let more = bytes.len().min(len - joined.len());
                    joined.extend_from_slice(&bytes[..more]);
                }
                Err(failure) => return Some(Err(failure)),
            }
        }
        (joined.len() == len).then_some(Ok(joined.into()))
    }
}

/// Sorted chunks with what lies close between them.
fn spans(chunks: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        match spans.last_mut() {
            Some(last) if chunk.start <= last.end.saturating_add(GAP) => {
                last.end = last.end.max(chunk.end);
            }
            _ => spans.push(chunk.clone()),
        }
    }
    spans
}

/// Spans in pieces of about the same size.
fn split(spans: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut pieces = Vec::new();
    for span in spans {
        let length = span.end - span.start;
        let count = length.div_ceil(PIECE).max(1);
        let size = length.div_ceil(count);
        let mut start = span.start;
        while start < span.end {
            let end = (start + size).min(span.end);
            pieces.push(start..end);
            start = end;
        }
    }
    pieces
}

/// Bytes that are fetched for these sorted chunks.
pub(super) fn bytes_of(chunks: &[Range<u64>]) -> u64 {
    spans(chunks).iter().map(|span| span.end - span.start).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use futures::FutureExt;
    use object_store::path::Path;
    use object_store::{ObjectStoreExt, memory::InMemory};
    use std::ops::Range;

    /// A thread that does nothing else, as long as the test's process.
    fn io() -> Handle {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    }

    #[test]
    fn chunks_are_fetched_in_few_requests() {
        let near = [0..10, 10..20, 30..40, 70_000..70_010, 200_000..200_001];
        assert_eq!(spans(&near), [0..40, 70_000..70_010, 200_000..200_001]);
        let empty: [Range<u64>; 2] = [5..5, 7..7];
        assert!(spans(&empty).is_empty());
        let large = std::slice::from_ref(&(0..3 * PIECE + 1));
        let pieces = split(&spans(large));
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().all(|it| it.end - it.start <= PIECE));
        assert_eq!(bytes_of(large), 3 * PIECE + 1);
    }

    #[test]
    fn a_group_is_read_across_its_pieces_and_held_until_it_is_dropped() {
        let io = io();
        let bytes: Vec<u8> = (0..PIECE + 5_000).map(|at| (at % 251) as u8).collect();
        let (memory, at) = (Arc::new(InMemory::new()), Path::from("x"));
        let put = memory.put(&at, bytes.clone().into());
        put.now_or_never().unwrap().unwrap();
        let object = Object {
            store: Store::local(memory),
            name: "x".into(),
            location: at,
            size: bytes.len() as u64,
            etag: None,
        };
        let ahead = Ahead::new(io.clone(), 8 * PIECE);
        let size = bytes.len() as u64;
        let mut group = ahead.group(&object, std::slice::from_ref(&(100..size)));
        assert_eq!(ahead.held(), size - 100);
        assert!(ahead.has_room(8 * PIECE - ahead.held()));
        assert!(!ahead.has_room(8 * PIECE - ahead.held() + 1));
        assert!(group.read(99, Some(1)).is_none());
        let all = group.read(100, Some(size - 100)).unwrap().unwrap();
        assert!(all == bytes[100..]);
        let border = (100 + size).div_ceil(2) - 10;
        let across = group.read(border, Some(20)).unwrap().unwrap();
        assert!(across == bytes[border as usize..border as usize + 20]);
        assert!(!group.read(border, None).unwrap().unwrap().is_empty());
        assert!(group.read(size - 1, Some(2)).is_none());
        drop(group);
        assert_eq!(ahead.held(), 0);
    }

    #[test]
    fn what_cannot_be_fetched_is_a_failure_where_it_is_read() {
        let object = Object {
            store: Store::local(Arc::new(InMemory::new())),
            name: "s3://b/x".into(),
            location: Path::from("x"),
            size: 10,
            etag: None,
        };
        let ahead = Ahead::new(io(), 100);
        let mut group = ahead.group(&object, std::slice::from_ref(&(0..10)));
        let failure = group.read(0, None).unwrap().unwrap_err();
        assert_eq!(failure.reason(), Reason::StreamViewChanged);
    }
}
