//! The watermark: the unbroken run of events that IG has taken. Events finish in any order; the
//! cursor, the counts and the digest move over the unbroken run alone. Pure.

use std::collections::VecDeque;

use crate::audit::Chain;
use crate::checkpoint::Progress;
use crate::failure::Result;
use crate::gate::Decision;
use crate::time::EventTime;
use crate::view::RowPlace;

/// An event that is in flight, or finished behind one that is.
#[derive(Debug, Clone, Copy)]
struct Slot {
    id: [u8; 64],
    place: RowPlace,
    ts: EventTime,
    disordered: bool,
    taken: Option<Option<Decision>>,
}

/// The newest event of the unbroken run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Where its row is.
    pub place: RowPlace,
    /// Its event time; none where a cursor that another producer left does not say.
    pub ts: Option<EventTime>,
}

/// The window of events from the watermark on.
#[derive(Debug)]
pub struct Watermark {
    window: VecDeque<Slot>,
    /// Sequence number of the window's front, counted by this process.
    front: u64,
    progress: Progress,
    chain: Chain,
    latest: Option<EventTime>,
    reached: Option<Reached>,
}

impl Watermark {
    /// Goes on from figures that were saved (or from none).
    pub fn new(progress: Progress, reached: Option<Reached>) -> Result<Self> {
        Ok(Watermark {
            window: VecDeque::new(),
            front: 0,
            chain: Chain::from_hex(&progress.digest)?,
            progress,
            latest: reached.and_then(|reached| reached.ts),
            reached,
        })
    }

    /// An event is about to be sent; gives its sequence number.
    pub fn issue(&mut self, id: &[u8], place: RowPlace, ts: EventTime) -> u64 {
        let mut slot = Slot {
            id: [0; 64],
            place,
            ts,
            disordered: self.latest.is_some_and(|latest| ts < latest),
            taken: None,
        };
        slot.id.copy_from_slice(id);
        self.latest = self.latest.max(Some(ts));
        self.window.push_back(slot);
        self.front + self.window.len() as u64 - 1
    }

    /// IG has an event. Calls `passed` for each event that the watermark moves over, oldest
    /// first, before and after it counts: the first call has the place of the event to come, so
    /// that what stands before it can be kept.
    pub fn taken(
        &mut self,
        sequence: u64,
        decision: Option<Decision>,
        retries: u32,
        mut passed: impl FnMut(&mut Self, Step),
    ) {
        self.progress.retried += u64::from(retries);
        let index = (sequence - self.front) as usize;
        self.window[index].taken = Some(decision);
        while let Some(Slot {
            taken: Some(decision),
            ..
        }) = self.window.front().copied()
        {
            // The front was just seen.
            let Some(slot) = self.window.pop_front() else {
                return;
            };
            passed(self, Step::Before(slot.place));
            self.front += 1;
            self.progress.rows += 1;
            self.progress.disordered += u64::from(slot.disordered);
            match decision {
                Some(Decision::Admit) => self.progress.admitted += 1,
                Some(Decision::Duplicate) => self.progress.duplicate += 1,
                Some(Decision::Quarantine) => self.progress.quarantined += 1,
                None => self.progress.undecided += 1,
            }
            self.chain.push(&slot.id);
            self.reached = Some(Reached {
                place: slot.place,
                ts: Some(slot.ts),
            });
            passed(self, Step::After(decision));
        }
    }

    /// Events from the watermark on: in flight, or finished behind one that is.
    pub fn open(&self) -> usize {
        self.window.len()
    }

    /// The event time of the oldest event that is not taken.
    pub fn oldest(&self) -> Option<EventTime> {
        self.window.front().map(|slot| slot.ts)
    }

    /// The newest event of the unbroken run.
    pub fn reached(&self) -> Option<Reached> {
        self.reached
    }

    /// The figures; the digest is brought up to date by [`Watermark::snapshot`].
    pub fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    /// A copy of the figures as they stand at the watermark.
    pub fn snapshot(&self) -> Progress {
        Progress {
            digest: self.chain.hex(),
            ..self.progress.clone()
        }
    }
}

/// The watermark passes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is about to; the event's row is here.
    Before(RowPlace),
    /// It did, and this is what IG decided.
    After(Option<Decision>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ViewFingerprint;

    fn start() -> Watermark {
        let progress = Progress::zero(
            None,
            ViewFingerprint {
                view_id: String::new(),
                rows: 0,
                digest: String::new(),
            },
        );
        Watermark::new(progress, None).unwrap()
    }

    fn issue(watermark: &mut Watermark, row: u64) -> u64 {
        let id = format!("{row:064}");
        let place = RowPlace { part: 0, row };
        let ts = EventTime::from_micros(1_000 - (row as i64 % 3)).unwrap();
        watermark.issue(id.as_bytes(), place, ts)
    }

    #[test]
    fn moves_over_the_unbroken_run_only() {
        let mut watermark = start();
        let sequences: Vec<u64> = (0..5).map(|row| issue(&mut watermark, row)).collect();
        assert_eq!(sequences, [0, 1, 2, 3, 4]);
        let mut passed = 0;
        for sequence in [4, 1, 2] {
            watermark.taken(sequence, Some(Decision::Admit), 1, |_, _| passed += 1);
        }
        assert_eq!(
            (passed, watermark.reached(), watermark.open()),
            (0, None, 5)
        );
        watermark.taken(0, Some(Decision::Quarantine), 0, |state, step| {
            if let Step::After(_) = step {
                passed += 1;
                assert_eq!(state.snapshot().rows, passed);
            }
        });
        assert_eq!(passed, 3);
        assert_eq!(watermark.reached().unwrap().place.row, 2);
        watermark.taken(3, None, 0, |_, _| {});
        let end = watermark.snapshot();
        assert_eq!(
            (
                end.rows,
                end.admitted,
                end.quarantined,
                end.undecided,
                end.retried
            ),
            (5, 3, 1, 1, 3)
        );
        // Rows 1, 2 and 4 lie before row 0 or 3 in event time.
        assert_eq!(end.disordered, 3);
        let mut chain = Chain::default();
        for row in 0..5 {
            chain.push(format!("{row:064}").as_bytes());
        }
        assert_eq!(end.digest, chain.hex());
        assert_eq!(watermark.oldest(), None);
    }
}
