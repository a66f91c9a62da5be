//! The flows of a world, in the order of their arrival: each draws its merchant, its party and
//! what fraud does to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::rhythm::Arrivals;

/// An answer follows its request by less than this, microseconds.
pub(super) const LONGEST_ANSWER: i64 = 2_500_000;
const SHORTEST_ANSWER: i64 = 40_000;

/// Zones whose clocks never change, so that local times are right without a table of changes:
/// name and minutes east of UTC.
pub(super) const ZONES: [(&str, i64); 10] = [
    ("Atlantic/Reykjavik", 0),
    ("Asia/Tokyo", 540),
    ("Asia/Kolkata", 330),
    ("America/Sao_Paulo", -180),
    ("Africa/Lagos", 60),
    ("Asia/Singapore", 480),
    ("Africa/Nairobi", 180),
    ("America/Bogota", -300),
    ("Asia/Kathmandu", 345),
    ("Pacific/Honolulu", -600),
];

/// Names of fraud campaigns, most of them not ASCII.
pub(super) const CAMPAIGNS: [&str; 10] = [
    "Zürich-τ",
    "card-testing",
    "カード試行-03",
    "compte-piraté",
    "захват-аккаунта",
    "🎣-phishing",
    "mule \"ring\" \\ 7",
    "ačcount-take-øver",
    "退款-滥用",
    "refund-abuse",
];

/// One arrival and what follows from it. Event times are microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    /// Number in the order of arrival, from 0.
    pub index: u64,
    pub flow_id: u64,
    pub merchant: Merchant,
    /// Counts a merchant's arrivals from 1.
    pub arrival_seq: i64,
    pub ts: i64,
    /// When the answer comes, always after `ts`.
    pub answer_ts: i64,
    pub party_id: i64,
    pub account_id: i64,
    pub instrument_id: i64,
    pub device_id: i64,
    pub ip_id: i64,
    pub session_id: i64,
    pub lambda: f64,
    pub amount: f64,
    pub fraud: Fraud,
}

/// What the fraud overlay makes of a flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fraud {
    pub flag: bool,
    /// Index into [`CAMPAIGNS`].
    pub campaign: Option<usize>,
    pub amount: f64,
}

/// A merchant, the same in all of its arrivals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merchant {
    pub merchant_id: u64,
    /// Index into [`ZONES`].
    pub zone: usize,
    /// Where an arrival without a place is settled, index into [`ZONES`].
    pub settlement: Option<usize>,
}

/// One row of any output: a flow, and which of its events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub flow: Flow,
    /// 0 for the request and for rows of a whole flow, 1 for the answer.
    pub event_seq: i64,
    pub ts: i64,
}

/// All flows of a world, in the order of arrival.
pub(super) struct Flows {
    arrivals: Arrivals,
    draws: ChaCha8Rng,
    merchants: Vec<Merchant>,
    /// Arrivals of each merchant so far.
    arrived: Vec<i64>,
    parties: u64,
    key: u64,
    index: u64,
}

impl Flows {
    /// `count` flows from `start` over `days`.
    pub(super) fn new(seed: u64, start: i64, days: u32, count: u64) -> Self {
        let stream = |number| {
            let key = Sha256::digest(format!("worldstream sample, version 1|{seed}"));
            let mut draws = ChaCha8Rng::from_seed(key.into());
            draws.set_stream(number);
            draws
        };
        let mut draws = stream(0);
        let key = draws.next_u64();
        let merchants: Vec<Merchant> = (0..(count / 40).clamp(8, 5_000))
            .map(|index| Merchant {
                merchant_id: wide_id(index, key),
                zone: below(draws.next_u64(), ZONES.len() as u64) as usize,
                settlement: Some(below(draws.next_u64(), 8 * ZONES.len() as u64) as usize)
                    // The first has none, so that the smallest world has a null.
                    .filter(|zone| *zone < ZONES.len() && index > 0),
            })
            .collect();
        Flows {
            arrivals: Arrivals::new(stream(1), start, days, LONGEST_ANSWER, count),
            draws: stream(2),
            arrived: vec![0; merchants.len()],
            merchants,
            parties: (count / 8).clamp(8, 500_000),
            key,
            index: 0,
        }
    }
}

impl Iterator for Flows {
    type Item = Flow;

    fn next(&mut self) -> Option<Flow> {
        let ts = self.arrivals.next()?;
        let index = self.index;
        self.index += 1;
        let first = index == 0;
        // Every flow takes twelve draws, used or not: what one does never moves the next.
        let draws: [u64; 12] = std::array::from_fn(|_| self.draws.next_u64());
        let [
            who,
            party,
            account,
            instrument,
            device,
            ip,
            lambda,
            amount,
            answer,
            campaign,
            which,
            grow,
        ] = draws;
        // A few merchants have most of the traffic: a square is enough for that.
        let skewed = (unit(who) * unit(who) * self.merchants.len() as f64) as usize;
        let merchant = if first {
            0
        } else {
            skewed.min(self.merchants.len() - 1)
        };
        self.arrived[merchant] += 1;
        let party = below(party, self.parties);
        let account = party * 2 + below(account, 2);
        let instrument = account * 2 + below(instrument, 2);
        let cents = match amount % 512 {
            // A card is verified with nothing on the bill.
            0 => 0,
            _ => 100 + (unit(amount) * unit(amount) * unit(amount) * 90_000.0) as u64,
        };
        let campaign = (first || campaign % 64 == 0).then(|| {
            if first {
                0
            } else {
                below(which, CAMPAIGNS.len() as u64) as usize
            }
        });
        // Some of what a campaign touches is honest all the same.
        let flag = campaign.is_some() && (first || grow % 8 != 0);
        let inflated = if flag { cents * (2 + grow % 9) } else { cents };
        Some(Flow {
            index,
            flow_id: wide_id(index, !self.key),
            merchant: self.merchants[merchant],
            arrival_seq: self.arrived[merchant],
            ts,
            answer_ts: ts
                + SHORTEST_ANSWER
                + below(answer, (LONGEST_ANSWER - SHORTEST_ANSWER) as u64) as i64,
            party_id: self.id(1, party),
            account_id: self.id(2, account),
            instrument_id: self.id(3, instrument),
            device_id: self.id(4, party * 3 + below(device, 3)),
            ip_id: self.id(5, below(ip, self.parties * 2)),
            session_id: self.id(6, index),
            lambda: unit(lambda),
            amount: cents as f64 / 100.0,
            fraud: Fraud {
                flag,
                campaign,
                amount: inflated as f64 / 100.0,
            },
        })
    }
}

impl Flows {
    /// The id of a thing of a kind, below 2^40.
    fn id(&self, kind: u64, index: u64) -> i64 {
        scatter(index, 40, self.key.rotate_left(8 * kind as u32)) as i64
    }
}

/// The rows of the event streams: requests and answers of all flows, in the order of (time, flow,
/// event), and at most `count` of them.
pub(super) struct Events {
    flows: std::iter::Peekable<Flows>,
    /// Answers that are due, the earliest first. As many as flows arrive within
    /// [`LONGEST_ANSWER`].
    answers: BinaryHeap<Reverse<Answer>>,
    /// How many flows have an answer; with an odd number of events the last has none.
    answered: u64,
}

struct Answer(Flow);

impl Answer {
    fn order(&self) -> (i64, u64) {
        (self.0.answer_ts, self.0.index)
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Answer {}

impl PartialOrd for Answer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Answer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl Events {
    /// `count` events of `flows`, which are `count / 2` rounded up.
    pub(super) fn new(flows: Flows, count: u64) -> Self {
        Events {
            flows: flows.peekable(),
            answers: BinaryHeap::new(),
            answered: count / 2,
        }
    }
}

impl Iterator for Events {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let due = self
            .answers
            .peek()
            .map(|Reverse(answer)| answer.0.answer_ts);
        let arrival = self.flows.peek().map(|flow| flow.ts);
        // An answer as early as an arrival is of an earlier flow, and goes first.
        let answer_first = match (due, arrival) {
            (Some(due), Some(arrival)) => due <= arrival,
            (due, _) => due.is_some(),
        };
        if answer_first {
            let Reverse(Answer(flow)) = self.answers.pop()?;
            return Some(Row {
                ts: flow.answer_ts,
                event_seq: 1,
                flow,
            });
        }
        let flow = self.flows.next()?;
        if flow.index < self.answered {
            self.answers.push(Reverse(Answer(flow)));
        }
        Some(Row {
            ts: flow.ts,
            event_seq: 0,
            flow,
        })
    }
}

/// A number in [0, 1) with 53 bits. No function of the C library is in the way from a draw to a
/// value, as those differ in the last bit between machines.
fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// A number below `bound`.
fn below(draw: u64, bound: u64) -> u64 {
    ((u128::from(draw) * u128::from(bound)) >> 64) as u64
}

/// An id of 64 bits, another for each index below 2^63; every other one is above 2^63.
fn wide_id(index: u64, key: u64) -> u64 {
    scatter(index, 63, key) | (u64::from(index.is_multiple_of(2)) << 63)
}

/// A permutation of the numbers of `bits` bits: ids that look random and never meet.
fn scatter(index: u64, bits: u32, key: u64) -> u64 {
    let mask = (1 << bits) - 1;
    let half = bits / 2;
    let mut x = (index ^ key) & mask;
    for odd in [
        0x9e37_79b9_7f4a_7c15_u64,
        0xd6e8_feb8_6659_fd93,
        0xa5a3_564e_27f8_865b,
    ] {
        x = x.wrapping_mul(odd) & mask;
        x ^= x >> half;
    }
    x
}

/// Mixes the bits of a number, so that near numbers land far apart.
pub(super) fn mix(value: u64) -> u64 {
    let x = (value ^ (value >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 32)
}

impl Row {
    /// Two independent hashes of what makes the row; their sums over all rows do not depend on
    /// the order of the rows.
    pub(super) fn hashes(&self) -> (u64, u64) {
        let values = [
            self.flow.flow_id,
            self.event_seq as u64,
            self.ts as u64,
            self.flow.merchant.merchant_id,
            self.flow.arrival_seq as u64,
            self.flow.fraud.amount.to_bits(),
        ];
        values.iter().fold((1, 2), |(one, two), value| {
            (mix(one ^ value), mix(two ^ value.rotate_left(17)))
        })
    }
}
