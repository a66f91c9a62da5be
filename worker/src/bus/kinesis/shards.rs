//! Which shards are to be read now: all of them, but none before those that it was made from have
//! been read to their ends.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Listed, Start};
use super::ledger::{Marks, Seq, ShardId};

/// The shards of a stream, and how far each is.
#[derive(Debug)]
pub(super) struct Shards {
    known: BTreeMap<ShardId, Shard>,
    /// Up to where those are done with that were not read yet.
    marks: Marks,
}

#[derive(Debug)]
struct Shard {
    parents: Vec<ShardId>,
    stage: Stage,
    /// It was read up to its tip once.
    caught_up: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// To be read, from here on, once its parents are done.
    Waits(Start),
    Reads,
    Done,
}

/// A shard whose reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begin {
    /// The shard.
    pub id: ShardId,
    /// Where it begins.
    pub start: Start,
    /// A position was known, and is of another shard of the same name.
    pub anew: bool,
}

impl Shards {
    /// None is known yet.
    pub fn new(marks: Marks) -> Self {
        Shards {
            known: BTreeMap::new(),
            marks,
        }
    }

    /// These are all shards that there are: those whose reading begins now.
    pub fn listed(&mut self, listed: &[Listed]) -> Vec<Begin> {
        let ids: BTreeSet<_> = listed.iter().map(|shard| shard.id.clone()).collect();
        self.known
            .retain(|id, shard| ids.contains(id) || shard.stage == Stage::Reads);
        let mut strangers = BTreeSet::new();
        for shard in listed {
            if self.known.contains_key(&shard.id) {
                continue;
            }
            let mark = self.marks.remove(&shard.id);
            let known_before = mark.is_some();
            let stage = stage(shard, mark);
            if known_before && stage == Stage::Waits(Start::Beginning) {
                strangers.insert(shard.id.clone());
            }
            let known = Shard {
                parents: shard.parents.clone(),
                stage,
                caught_up: false,
            };
            self.known.insert(shard.id.clone(), known);
        }
        let open: BTreeSet<_> = self
            .known
            .iter()
            .filter(|(_, shard)| shard.stage != Stage::Done)
            .map(|(id, _)| id.clone())
            .collect();
        let mut begun = Vec::new();
        for (id, shard) in &mut self.known {
            if let Stage::Waits(start) = &shard.stage
                && !shard.parents.iter().any(|parent| open.contains(parent))
            {
                begun.push(Begin {
                    id: id.clone(),
                    start: start.clone(),
                    anew: strangers.contains(id),
                });
                shard.stage = Stage::Reads;
            }
        }
        begun
    }

    /// A shard was read up to its tip.
    pub fn caught_up(&mut self, id: &str) {
        if let Some(shard) = self.known.get_mut(id) {
            shard.caught_up = true;
        }
    }

    /// A shard was read to its end.
    pub fn ended(&mut self, id: &str) {
        if let Some(shard) = self.known.get_mut(id) {
            shard.stage = Stage::Done;
        }
    }

    /// A shard was not to be found; if it is listed again, it is read on behind `seq`.
    pub fn lost(&mut self, id: &ShardId, start: Start) {
        self.known.remove(id);
        if let Start::After(seq) = start {
            self.marks.insert(id.clone(), seq);
        }
    }

    /// Whether all that there is was read up to its tip.
    pub fn all_caught_up(&self) -> bool {
        let done = |shard: &Shard| shard.caught_up || shard.stage == Stage::Done;
        self.known.values().all(done)
    }
}

/// What is to be done with a shard of which a position tells this mark. A mark from before its
/// first number is of another shard: the stream was made anew under its old name.
fn stage(shard: &Listed, mark: Option<Seq>) -> Stage {
    match mark {
        Some(mark) if shard.last.as_ref().is_some_and(|last| mark >= *last) => Stage::Done,
        Some(mark) if mark >= shard.first => Stage::Waits(Start::After(mark)),
        _ => Stage::Waits(Start::Beginning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str], first: u64, last: Option<u64>) -> Listed {
        let seq = |number: u64| Seq(number.to_string().into());
        Listed {
            id: id.into(),
            parents: parents
                .iter()
                .map(|parent| ShardId::from(*parent))
                .collect(),
            first: seq(first),
            last: last.map(seq),
        }
    }

    fn names(begun: &[Begin]) -> Vec<&str> {
        begun.iter().map(|begin| &*begin.id).collect()
    }

    #[test]
    fn children_wait_for_all_of_their_parents() {
        let listed = [
            shard("a", &[], 1, Some(9)),
            shard("b", &[], 1, Some(9)),
            shard("c", &["a", "b"], 10, Some(19)),
            shard("d", &["c"], 20, None),
            shard("e", &["c"], 20, None),
        ];
        let mut shards = Shards::new(Marks::new());
        assert_eq!(names(&shards.listed(&listed)), ["a", "b"]);
        assert!(shards.listed(&listed).is_empty());
        shards.ended("a");
        assert!(shards.listed(&listed).is_empty());
        shards.ended("b");
        assert_eq!(names(&shards.listed(&listed)), ["c"]);
        shards.ended("c");
        // The oldest are listed no more.
        assert_eq!(names(&shards.listed(&listed[2..])), ["d", "e"]);
        shards.caught_up("d");
        assert!(!shards.all_caught_up());
        shards.caught_up("e");
        assert!(shards.all_caught_up());
    }

    #[test]
    fn a_position_is_gone_on_from() {
        let seq = |number: u64| Seq(number.to_string().into());
        let marks = Marks::from([
            ("a".into(), seq(9)),
            ("b".into(), seq(15)),
            ("c".into(), seq(7)),
        ]);
        let mut shards = Shards::new(marks);
        let listed = [
            shard("a", &[], 1, Some(9)),
            shard("b", &["a"], 10, None),
            // Another stream's shard of that name.
            shard("c", &[], 1000, None),
        ];
        let begin = |id: &str, start, anew| Begin {
            id: id.into(),
            start,
            anew,
        };
        assert_eq!(
            shards.listed(&listed),
            [
                begin("b", Start::After(seq(15)), false),
                begin("c", Start::Beginning, true),
            ]
        );
        shards.lost(&"b".into(), Start::After(seq(17)));
        let again = shards.listed(&listed);
        assert_eq!(again, [begin("b", Start::After(seq(17)), false)]);
    }
}
