//! When arrivals happen: a day and a night, a week and its end.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;
/// How far the traffic is even: ten minutes.
const SLOT: i64 = DAY / SLOTS_A_DAY as i64;
const SLOTS_A_DAY: u64 = 144;
const SLOTS_AN_HOUR: u64 = 6;

/// Traffic at each full hour of UTC; between them it moves in a straight line.
const HOURS: [u64; 24] = [
    30, 18, 11, 8, 7, 9, 18, 38, 62, 78, 86, 94, 104, 98, 88, 86, 92, 106, 118, 114, 98, 80, 62, 45,
];

/// Traffic of the days of a week from Thursday: the first day, 2026-01-01, is one.
const WEEK: [u64; 7] = [10, 13, 14, 9, 8, 9, 9];

/// Event times of arrivals, ascending, exactly as many as asked for.
pub(super) struct Arrivals {
    draws: ChaCha8Rng,
    start: i64,
    /// No arrival at or after this.
    end: i64,
    slots: u64,
    slot: u64,
    count: u64,
    weight: u128,
    total: u128,
    given: u64,
    times: std::vec::IntoIter<i64>,
}

impl Arrivals {
    /// `count` arrivals from `start` (a midnight, microseconds) over `days`, all of them at least
    /// `margin` before the end.
    pub(super) fn new(draws: ChaCha8Rng, start: i64, days: u32, margin: i64, count: u64) -> Self {
        let slots = u64::from(days) * SLOTS_A_DAY;
        Arrivals {
            draws,
            start,
            end: start + i64::from(days) * DAY - margin,
            slots,
            slot: 0,
            count,
            weight: 0,
            total: (0..slots).map(|slot| u128::from(weight(slot))).sum(),
            given: 0,
            times: Vec::new().into_iter(),
        }
    }

    /// The times of the next slot, and the share of the count that falls into it.
    fn fill(&mut self) {
        self.weight += u128::from(weight(self.slot));
        // At the last slot weight = total, so that none is left over.
        let upto = (u128::from(self.count) * self.weight / self.total) as u64;
        let from = self.start + self.slot as i64 * SLOT;
        let width = ((from + SLOT).min(self.end) - from) as u128;
        let mut draws: Vec<u64> = (self.given..upto).map(|_| self.draws.next_u64()).collect();
        draws.sort_unstable();
        let mut times = Vec::with_capacity(draws.len());
        for draw in draws {
            let time = from + ((u128::from(draw) * width) >> 64) as i64;
            // The low bits say nothing of the time: one arrival in 128 comes with the one before.
            let together = draw & 127 == 0;
            let time = times.last().filter(|_| together).copied().unwrap_or(time);
            times.push(time);
        }
        self.given = upto;
        self.slot += 1;
        self.times = times.into_iter();
    }
}

impl Iterator for Arrivals {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        loop {
            if let Some(time) = self.times.next() {
                return Some(time);
            }
            if self.slot == self.slots {
                return None;
            }
            self.fill();
        }
    }
}

fn weight(slot: u64) -> u64 {
    let (day, in_day) = (slot / SLOTS_A_DAY, slot % SLOTS_A_DAY);
    let (hour, step) = (in_day / SLOTS_AN_HOUR, in_day % SLOTS_AN_HOUR);
    let at = |hour: u64| HOURS[(hour % 24) as usize];
    WEEK[(day % 7) as usize] * (at(hour) * (SLOTS_AN_HOUR - step) + at(hour + 1) * step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn times_ascend_within_the_range_and_follow_the_day() {
        for (days, count) in [(1, 0), (1, 1), (7, 10_000), (30, 5)] {
            let draws = ChaCha8Rng::from_seed([7; 32]);
            let times: Vec<i64> = Arrivals::new(draws, DAY, days, 2_000_000, count).collect();
            assert_eq!(times.len() as u64, count);
            assert!(times.is_sorted());
            let end = DAY + i64::from(days) * DAY - 2_000_000;
            assert!(times.iter().all(|t| (DAY..end).contains(t)));
            if count == 10_000 {
                let hour = |h: i64| times.iter().filter(|t| **t % DAY / (DAY / 24) == h).count();
                assert!(hour(18) > 5 * hour(4), "{} and {}", hour(18), hour(4));
                assert!(times.windows(2).any(|pair| pair[0] == pair[1]));
            }
        }
    }
}
