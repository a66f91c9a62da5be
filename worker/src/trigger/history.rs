//! Which WorldStreams of messages that are done with are cleared away. Pure.

use super::seen::{Seen, Stage};

/// Those that are recorded and beyond the newest `limit`; one that failed is kept before one that
/// completed, as somebody may want to know why.
pub fn surplus(all: &[Seen], limit: u32) -> Vec<&Seen> {
    let mut done: Vec<&Seen> = all
        .iter()
        .filter(|seen| !seen.held() && !seen.deleting)
        .filter(|seen| matches!(seen.stage(), Stage::Completed | Stage::Failed))
        .collect();
    let worth = |seen: &Seen| (seen.stage() == Stage::Failed, seen.created.clone());
    done.sort_by_key(|seen| std::cmp::Reverse(worth(seen)));
    done.split_off(done.len().min(limit as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, phase: &str, minute: u32) -> Seen {
        Seen {
            name: name.into(),
            phase: phase.into(),
            created: format!("2026-01-01T00:{minute:02}:00Z"),
            ..Seen::default()
        }
    }

    #[test]
    fn the_newest_are_kept_and_those_that_failed_before_them() {
        let mut all = vec![
            seen("failed-long-ago", "Failed", 0),
            seen("oldest", "Completed", 1),
            seen("older", "Completed", 2),
            seen("newest", "Completed", 3),
            seen("running", "Running", 0),
        ];
        let names = |limit| -> Vec<String> {
            let surplus = surplus(&all, limit);
            surplus.iter().map(|seen| seen.name.clone()).collect()
        };
        assert_eq!(names(2), ["older", "oldest"]);
        assert_eq!(names(0), ["failed-long-ago", "newest", "older", "oldest"]);
        assert_eq!(names(9), Vec::<String>::new());
        // One that is not recorded yet, or is going anyway, is none of them.
        all[1].finalizers = vec!["worldstream.io/ready-record".into()];
        all[2].deleting = true;
        assert!(surplus(&all, 2).is_empty());
    }
}
