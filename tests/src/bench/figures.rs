//! What was measured, and how it is shown.

use serde::Serialize;

/// What a measurement has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Ours divided by the peer's.
    Ratio(f64),
    /// Ours.
    AtLeast(f64),
    /// Ours.
    AtMost(f64),
    /// For information.
    None,
}

/// One line of the results.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What was measured, in snake case.
    pub name: String,
    /// Our figure, the median where it was measured several times.
    pub ours: f64,
    /// The peer's figure in the same run; none without a peer.
    pub peer: Option<f64>,
    /// The median of ours / peer of each pair of runs; none without a peer.
    pub ratio: Option<f64>,
    /// What has to be reached; none: for information.
    pub goal: Option<f64>,
    /// Whether it is; none without a goal.
    pub met: Option<bool>,
    /// What the goal is held against: `ratio >=`, `ours >=` or `ours <=`.
    pub goal_is: Option<&'static str>,
    /// The unit of `ours` and `peer`.
    pub unit: &'static str,
    /// Who the peer is, how it was measured, how far the runs lie apart.
    pub note: String,
}

impl Measurement {
    /// A figure without a peer.
    pub fn alone(name: &str, unit: &'static str, ours: f64, goal: Goal, note: String) -> Self {
        Self::new(name, unit, ours, None, None, goal, note)
    }

    /// Pairs of (ours, peer), each measured one after the other.
    pub fn paired(
        name: &str,
        unit: &'static str,
        pairs: &[(f64, f64)],
        goal: Goal,
        note: String,
    ) -> Self {
        let of = |figure: fn(&(f64, f64)) -> f64| pairs.iter().map(figure).collect::<Vec<_>>();
        let ratios = of(|(ours, peer)| ours / peer);
        let note = format!("{note}; ratios {}", spread(&ratios));
        Self::new(
            name,
            unit,
            median(&of(|(ours, _)| *ours)),
            Some(median(&of(|(_, peer)| *peer))),
            Some(median(&ratios)),
            goal,
            note,
        )
    }

    fn new(
        name: &str,
        unit: &'static str,
        ours: f64,
        peer: Option<f64>,
        ratio: Option<f64>,
        goal: Goal,
        note: String,
    ) -> Self {
        let (goal, goal_is, met) = match goal {
            Goal::Ratio(goal) => (
                Some(goal),
                Some("ratio >="),
                Some(ratio.is_some_and(|ratio| ratio >= goal)),
            ),
            Goal::AtLeast(goal) => (Some(goal), Some("ours >="), Some(ours >= goal)),
            Goal::AtMost(goal) => (Some(goal), Some("ours <="), Some(ours <= goal)),
            Goal::None => (None, None, None),
        };
        Measurement {
            name: name.to_owned(),
            ours,
            peer,
            ratio,
            goal,
            met,
            goal_is,
            unit,
            note,
        }
    }
}

/// The middle of some figures; not a number without any.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (count, middle) if count % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Lowest to highest.
pub fn spread(figures: &[f64]) -> String {
    let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let high = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} to {}", short(low), short(high))
}

/// A figure with as many digits as it deserves.
pub fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1_000.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    }
}

/// The line of a measurement: name, ours, peer, ratio, goal, met.
pub fn line(measurement: &Measurement) -> String {
    let some = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), short);
    let goal = match (measurement.goal_is, measurement.goal) {
        (Some(is), Some(goal)) => format!("{is} {}", short(goal)),
        _ => "–".to_owned(),
    };
    let met = match measurement.met {
        Some(true) => "yes",
        Some(false) => "no",
        None => "–",
    };
    format!(
        "{:<26} {:>10} {:>10} {:>7}  {:<16} {:<4} {}",
        measurement.name,
        short(measurement.ours),
        some(measurement.peer),
        some(measurement.ratio),
        goal,
        met,
        measurement.unit,
    )
}

/// The head of the table.
pub fn head() -> String {
    format!(
        "{:<26} {:>10} {:>10} {:>7}  {:<16} {:<4} {}",
        "name", "ours", "peer", "ratio", "goal", "met", "unit"
    )
}

/// All of them, with what there is to say about each.
pub fn table(measurements: &[Measurement]) -> String {
    let mut text = head() + "\n";
    for measurement in measurements {
        text += &line(measurement);
        text += "\n";
    }
    text += "\n";
    for measurement in measurements {
        text += &format!("{}: {}\n", measurement.name, measurement.note);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_held_against_what_it_is_about() {
        let pairs = [(90.0, 100.0), (99.0, 100.0), (300.0, 200.0)];
        let paired =
            |goal| Measurement::paired("x", "events/s", &pairs, Goal::Ratio(goal), String::new());
        assert_eq!(paired(0.99).met, Some(true));
        assert_eq!(paired(1.0).met, Some(false));
        assert_eq!(paired(1.0).ratio, Some(0.99));
        assert_eq!((paired(1.0).ours, paired(1.0).peer), (99.0, Some(100.0)));
        let alone = |goal| Measurement::alone("x", "MiB", 48.0, goal, String::new()).met;
        assert_eq!(alone(Goal::AtMost(48.0)), Some(true));
        assert_eq!(alone(Goal::AtMost(47.9)), Some(false));
        assert_eq!(alone(Goal::AtLeast(48.0)), Some(true));
        assert_eq!(alone(Goal::AtLeast(48.1)), Some(false));
        assert_eq!(alone(Goal::None), None);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
