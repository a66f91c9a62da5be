//! How far each shard is settled, and the text that says so.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A shard's id.
pub(super) type ShardId = Arc<str>;

/// A sequence number: a decimal number of some fifty digits, which grows within a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seq(pub Arc<str>);

impl From<&str> for Seq {
    fn from(text: &str) -> Self {
        Seq(text.into())
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Seq {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |seq: &Self| seq.0.len();
        key(self)
            .cmp(&key(other))
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Seq {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a position says: up to where each shard is settled.
pub(super) type Marks = BTreeMap<ShardId, Seq>;

/// The text of a position.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// The stream.
    kinesis: String,
    shards: BTreeMap<String, String>,
}

/// The marks of a position's text, if it is one of this stream.
pub(super) fn read(position: &str, stream: &str) -> Option<Marks> {
    let position: Position = serde_json::from_str(position).ok()?;
    let mark = |(id, seq): (String, String)| (id.into(), Seq::from(&*seq));
    (position.kinesis == stream).then(|| position.shards.into_iter().map(mark).collect())
}

/// What was given of each shard, and what of it is settled.
#[derive(Debug)]
pub(super) struct Ledger {
    stream: String,
    shards: BTreeMap<ShardId, Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    /// All up to here is settled.
    mark: Option<Seq>,
    /// What was given behind it, and whether it is settled. Of settled ones beside each other only
    /// the last is kept, so that one that is never settled does not let this grow without end.
    given: BTreeMap<Seq, bool>,
}

impl Ledger {
    /// Begins where a position ended.
    pub fn new(stream: &str, marks: Marks) -> Self {
        let begin = |(id, mark)| {
            let shard = Shard {
                mark: Some(mark),
                given: BTreeMap::new(),
            };
            (id, shard)
        };
        Ledger {
            stream: stream.to_owned(),
            shards: marks.into_iter().map(begin).collect(),
        }
    }

    /// A record was given.
    pub fn given(&mut self, shard: &ShardId, seq: &Seq) {
        let shard = self.shards.entry(shard.clone()).or_default();
        shard.given.insert(seq.clone(), false);
    }

    /// A record is settled.
    pub fn settle(&mut self, shard: &str, seq: &Seq) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.settle(seq);
        }
    }

    /// A shard has ended, with this as the last number that it could have had.
    pub fn ended(&mut self, shard: &ShardId, last: &Seq) {
        let shard = self.shards.entry(shard.clone()).or_default();
        if shard.mark.as_ref().is_some_and(|mark| mark >= last) || shard.given.contains_key(last) {
            return;
        }
        shard.given.insert(last.clone(), false);
        shard.settle(last);
    }

    /// A shard is read from its beginning: it is another one than the position knew.
    pub fn anew(&mut self, shard: &str) {
        self.shards.remove(shard);
    }

    /// These are all shards that there are; what is gone for good need not be remembered.
    pub fn keep(&mut self, listed: &BTreeSet<ShardId>) {
        self.shards
            .retain(|id, shard| listed.contains(id) || !shard.given.is_empty());
    }

    /// The text; none while there is nothing to tell.
    pub fn position(&self) -> Option<String> {
        let mark = |(id, shard): (&ShardId, &Shard)| {
            let mark = shard.mark.as_ref()?;
            Some((id.to_string(), mark.to_string()))
        };
        let shards: BTreeMap<_, _> = self.shards.iter().filter_map(mark).collect();
        let position = Position {
            kinesis: self.stream.clone(),
            shards,
        };
        let told = !position.shards.is_empty();
        told.then(|| serde_json::to_string(&position).ok())
            .flatten()
    }
}

impl Shard {
    fn settle(&mut self, seq: &Seq) {
        let Some(settled) = self.given.get_mut(seq) else {
            return;
        };
        *settled = true;
        let before = self.given.range(..seq.clone()).next_back();
        if let Some((before, true)) = before {
            let before = before.clone();
            self.given.remove(&before);
        }
        let mut after = self.given.range(seq.clone()..).skip(1);
        if let Some((_, true)) = after.next() {
            self.given.remove(seq);
        }
        while let Some(first) = self.given.first_entry()
            && *first.get()
        {
            self.mark = Some(first.remove_entry().0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(number: u64) -> Seq {
        Seq(number.to_string().into())
    }

    fn marks(ledger: &Ledger) -> Vec<(String, String)> {
        let marks = ledger.position().map(|text| read(&text, "s").unwrap());
        let marks = marks.unwrap_or_default().into_iter();
        marks
            .map(|(id, seq)| (id.to_string(), seq.to_string()))
            .collect()
    }

    #[test]
    fn the_mark_never_passes_what_is_not_settled() {
        let mut ledger = Ledger::new("s", Marks::new());
        let a: ShardId = "a".into();
        assert_eq!(ledger.position(), None);
        for number in [9, 10, 11, 12, 13] {
            ledger.given(&a, &seq(number));
        }
        for (settled, mark) in [
            (10, None),
            (12, None),
            (11, None),
            (9, Some(12)),
            (13, Some(13)),
        ] {
            ledger.settle("a", &seq(settled));
            let expect: Vec<_> = mark
                .map(|mark: u64| ("a".to_owned(), mark.to_string()))
                .into_iter()
                .collect();
            assert_eq!(marks(&ledger), expect, "after {settled}");
        }
    }

    #[test]
    fn one_that_is_never_settled_costs_no_more_than_itself() {
        let mut ledger = Ledger::new("s", Marks::new());
        let a: ShardId = "a".into();
        for number in 1..1000 {
            ledger.given(&a, &seq(number));
        }
        // In an order that joins runs from both sides.
        for number in (2..1000).step_by(2).chain((3..1000).step_by(2)) {
            ledger.settle("a", &seq(number));
        }
        assert_eq!(ledger.shards["a"].given.len(), 2);
        assert_eq!(ledger.position(), None);
        ledger.settle("a", &seq(1));
        assert_eq!(marks(&ledger), [("a".into(), "999".into())]);
    }

    #[test]
    fn a_shard_that_ended_is_passed_once_all_of_it_is_settled() {
        let mut ledger = Ledger::new("s", Marks::new());
        let a: ShardId = "a".into();
        ledger.given(&a, &seq(1));
        ledger.ended(&a, &seq(100));
        assert_eq!(ledger.position(), None);
        ledger.settle("a", &seq(1));
        assert_eq!(marks(&ledger), [("a".into(), "100".into())]);
        ledger.keep(&BTreeSet::from([a]));
        assert_eq!(marks(&ledger).len(), 1);
        ledger.keep(&BTreeSet::new());
        assert_eq!(ledger.position(), None);
    }

    #[test]
    fn a_shard_is_remembered_while_something_of_it_is_open() {
        let mut ledger = Ledger::new("s", Marks::from([("a".into(), seq(5))]));
        ledger.given(&"a".into(), &seq(7));
        ledger.keep(&BTreeSet::new());
        assert_eq!(marks(&ledger), [("a".into(), "5".into())]);
        ledger.anew("a");
        assert_eq!(ledger.position(), None);
    }

    #[test]
    fn positions_of_others_are_none() {
        let text = Ledger::new("s", Marks::from([("a".into(), seq(5))])).position();
        let text = text.unwrap();
        assert_eq!(text, r#"{"kinesis":"s","shards":{"a":"5"}}"#);
        assert!(read(&text, "s").is_some());
        for (text, stream) in [(&*text, "t"), ("", "s"), ("{}", "s"), ("[1]", "s")] {
            assert_eq!(read(text, stream), None, "{text}");
        }
    }
}
