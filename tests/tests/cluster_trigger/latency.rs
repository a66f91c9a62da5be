//! How long it takes from `put_record` to the first event at the gate, preflight included.

use serde_json::json;
use worldstream_tests::monotonic;

use crate::operator::Operator;
use crate::stage::Stage;

/// How many are measured.
const MESSAGES: usize = 20;

pub fn from_kinesis_to_the_first_event(operator: &Operator) {
    let stage = Stage::stores(operator, "latency");
    let space = &stage.space;
    const ROWS: u64 = 20;
    stage.trigger("swift", json!({}));
    stage.follows("swift");
    let mut seconds = Vec::new();
    for number in 0..MESSAGES as u32 {
        let world = format!("w{number}");
        stage.world(&world, 100 + u64::from(number), ROWS);
        let message = stage.message(&world, number);
        stage.write_facts(&message);
        let put = monotonic();
        stage.put(&message.message.to_string(), &message.message_id);
        stage.recorded(&message.message_id, 1);
        let first = space
            .arrivals()
            .iter()
            .map(|it| it.at)
            .filter(|at| *at > put)
            .min();
        seconds.push((first.expect("an event") - put) as f64 / 1e9);
    }
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize];
    println!(
        "latency: {MESSAGES} messages from put_record to the first event: p50 {:.2} s, p99 {:.2} s \
         (goal: below 5 s)",
        at(0.5),
        at(0.99)
    );
}
