//! How long it takes from a message on the bus to its first event at the gate. Printed, not judged:
//! `cargo test --test ready latency -- --nocapture`.

use worldstream_tests::inside::until;
use worldstream_tests::monotonic;

use super::bed::{Bed, Message};

const MESSAGES: u64 = 20;

#[test]
fn latency_from_the_bus_to_the_gate() {
    let bed = Bed::capped();
    let running = bed.ready(&[]).start();
    let mut took = Vec::new();
    for n in 0..=MESSAGES {
        let message = Message::new(n + 1);
        bed.put_facts(&message);
        let before = bed.arrivals().len();
        let published = monotonic();
        bed.publish(&n.to_string(), message.message.to_string());
        until("its record", || !bed.records(&message.id).is_empty());
        let first = &bed.arrivals()[before];
        // The first one waits for the program to start.
        if n > 0 {
            took.push((first.at - published) as f64 / 1e6);
        }
    }
    running.signal("TERM");
    running.finish().expect(14);
    took.sort_by(f64::total_cmp);
    let (p50, p99) = (took[took.len() / 2], took[took.len() - 1]);
    println!("from the bus to the gate, {MESSAGES} messages: p50 {p50:.0} ms, p99 {p99:.0} ms");
}
