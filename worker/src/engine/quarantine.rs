//! When quarantined events end the stream. Pure; the figures are kept with the cursor, so that a
//! limit counts across restarts.

use worldstream_crds::{OnQuarantine, Reason};

use crate::checkpoint::Progress;
use crate::failure::Failure;
use crate::plan::QuarantinePlan;

/// Notes that the newest of `progress.rows` events was quarantined, and forgets what has left
/// the window.
pub fn note(plan: &QuarantinePlan, progress: &mut Progress) {
    if plan.policy == OnQuarantine::Stop && plan.max_share.is_some() {
        let first = (progress.rows + 1).saturating_sub(plan.window);
        progress.recent_quarantines.retain(|&row| row >= first);
        progress.recent_quarantines.push(progress.rows);
    }
}

/// Whether the limit was passed.
pub fn check(plan: &QuarantinePlan, progress: &Progress, output_id: &str) -> Option<Failure> {
    if plan.policy == OnQuarantine::Continue {
        return None;
    }
    let failure = |found: String, expected: String| {
        Failure::new(Reason::IgQuarantineLimit, output_id.to_owned())
            .field("quarantined events")
            .found(found)
            .expected(expected)
    };
    if let Some(max) = plan.max_count
        && progress.quarantined > max
    {
        return Some(failure(
            format!("{} of {} events", progress.quarantined, progress.rows),
            format!("at most {max}"),
        ));
    }
    let max_share = plan.max_share?;
    if progress.rows < plan.window {
        return None;
    }
    let first = progress.rows - plan.window + 1;
    let recent = progress
        .recent_quarantines
        .iter()
        .filter(|&&row| row >= first)
        .count();
    (recent as f64 > max_share * plan.window as f64).then(|| {
        failure(
            format!("{recent} of the last {} events", plan.window),
            format!("at most a share of {max_share}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ViewFingerprint;

    fn progress() -> Progress {
        Progress::zero(
            None,
            ViewFingerprint {
                view_id: String::new(),
                rows: 0,
                digest: String::new(),
            },
        )
    }

    fn after(plan: &QuarantinePlan, rows: impl Iterator<Item = bool>) -> (Progress, Option<u64>) {
        let mut state = progress();
        for quarantined in rows {
            state.rows += 1;
            if quarantined {
                state.quarantined += 1;
                note(plan, &mut state);
            }
            if check(plan, &state, "o").is_some() {
                let rows = state.rows;
                return (state, Some(rows));
            }
        }
        (state, None)
    }

    #[test]
    fn a_count_and_a_share_and_continue() {
        let stop = QuarantinePlan {
            policy: OnQuarantine::Stop,
            max_count: Some(2),
            max_share: None,
            window: 10,
        };
        assert_eq!(
            after(&stop, [true, false, true, false, true].into_iter()).1,
            Some(5)
        );
        let share = QuarantinePlan {
            max_count: None,
            max_share: Some(0.2),
            ..stop
        };
        // One in five is allowed, three of any ten are not; the window must be full.
        assert_eq!(after(&share, (0..100).map(|row| row % 5 == 0)).1, None);
        assert_eq!(after(&share, (0..9).map(|_| true)).1, None);
        let (state, end) = after(&share, (0..100).map(|row| row % 5 == 0 || row == 52));
        assert_eq!(end, Some(53));
        assert!(state.recent_quarantines.len() <= 4);
        let go_on = QuarantinePlan {
            policy: OnQuarantine::Continue,
            ..stop
        };
        assert_eq!(after(&go_on, (0..100).map(|_| true)).1, None);
    }
}
