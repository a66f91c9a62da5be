//! Which records `FAILED` are in the counts, so that none is lost or counted twice when a pod dies
//! between a record and the status that counts it. Pure.
//!
//! A failed message comes again after a restart, as the bus's position never passes it: what its
//! records say then, from the time on up to which everything was counted, is counted late.

use std::collections::{BTreeMap, BTreeSet};

use crate::ready::record::FailedBefore;
use crate::time::EventTime;

/// The records of one pod's life, and of the end of the one before.
#[derive(Debug)]
pub struct Failures {
    /// Records before this time are counted: what the last status said.
    since: EventTime,
    /// When this pod began: later records are its own.
    began: EventTime,
    /// Records that are being written.
    making: BTreeMap<String, EventTime>,
    /// The newest record of the pod before that was counted late, of each message that had one.
    late: BTreeMap<String, EventTime>,
    /// Of them, those that have not been done with since.
    fresh: BTreeSet<String>,
}

impl Failures {
    /// Goes on from a status that counts the records before `since`; of none, everything that was
    /// there before `now` is another trigger's.
    pub fn new(since: Option<EventTime>, now: EventTime) -> Self {
        Failures {
            since: since.unwrap_or(now),
            began: now,
            making: BTreeMap::new(),
            late: BTreeMap::new(),
            fresh: BTreeSet::new(),
        }
    }

    /// A record is being written.
    pub fn recording(&mut self, id: &str, at: EventTime) {
        self.making.insert(id.to_owned(), at);
    }

    /// Of a message's records those that nobody counted, to be counted now.
    pub fn late<'a>(&mut self, id: &str, records: &'a [FailedBefore]) -> Vec<&'a FailedBefore> {
        let counted = self.late.get(id).copied();
        let missing = |it: &&FailedBefore| {
            it.at >= self.since && it.at < self.began && counted.is_none_or(|last| it.at > last)
        };
        let missing: Vec<_> = records.iter().filter(missing).collect();
        if let Some(newest) = missing.iter().map(|it| it.at).max() {
            self.late.insert(id.to_owned(), newest);
            self.fresh.insert(id.to_owned());
        }
        missing
    }

    /// A message is done with; says whether its failure was counted late, as a repeat or because
    /// its record was only found to be there.
    pub fn concluded(&mut self, id: &str, recorded_at: Option<EventTime>, repeat: bool) -> bool {
        self.making.remove(id);
        let fresh = self.fresh.remove(id);
        let same = recorded_at.is_some() && self.late.get(id).copied() == recorded_at;
        same || (repeat && fresh)
    }

    /// The time up to which every record is counted, if those that are not being written are.
    pub fn until(&self, now: EventTime) -> EventTime {
        self.making.values().copied().fold(now, EventTime::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> EventTime {
        EventTime::from_micros(second * 1_000_000).unwrap()
    }

    fn failed(seconds: &[i64]) -> Vec<FailedBefore> {
        let one = |second: &i64| FailedBefore {
            at: at(*second),
            reason: None,
            emitted: None,
        };
        seconds.iter().map(one).collect()
    }

    #[test]
    fn what_the_pod_before_did_not_count_is_counted_once() {
        let mut failures = Failures::new(Some(at(10)), at(20));
        let records = failed(&[1, 9, 10, 15, 20, 30]);
        let found: Vec<_> = failures
            .late("m", &records)
            .iter()
            .map(|it| it.at)
            .collect();
        assert_eq!(found, [at(10), at(15)]);
        // However often it is looked at, whatever was added.
        assert!(failures.late("m", &records).is_empty());
        assert!(!failures.concluded("m", Some(at(30)), false));
        assert!(failures.late("m", &records).is_empty());
        // Nothing is known of a status: what is there is nobody's to count.
        assert!(Failures::new(None, at(20)).late("m", &records).is_empty());
    }

    #[test]
    fn a_record_that_was_only_found_to_be_there_is_not_counted_again() {
        let mut failures = Failures::new(Some(at(10)), at(20));
        assert_eq!(failures.late("m", &failed(&[15])).len(), 1);
        assert!(failures.concluded("m", Some(at(15)), false));
        // One that was deleted half way comes as a repeat: the first time that is its end.
        assert_eq!(failures.late("n", &failed(&[15])).len(), 1);
        assert!(failures.concluded("n", None, true));
        assert!(!failures.concluded("n", None, true));
    }

    #[test]
    fn everything_is_counted_up_to_the_oldest_record_in_the_making() {
        let mut failures = Failures::new(None, at(0));
        failures.recording("a", at(5));
        failures.recording("b", at(6));
        assert!(!failures.concluded("b", Some(at(6)), false));
        assert_eq!(failures.until(at(7)), at(5));
        failures.concluded("a", Some(at(5)), false);
        assert_eq!(failures.until(at(8)), at(8));
    }
}
