//! Two streams, and room for one and a half: neither holds its half for ever.

use serde_json::{Value, json};

use crate::operator::Operator;
use crate::space::{Space, condition};

/// What a worker needs one of, and what one node has six of.
const ROOM: &str = "tests.worldstream.io/room";

/// A node with room, until this is dropped.
struct Room<'a> {
    operator: &'a Operator,
    node: String,
}

impl<'a> Room<'a> {
    fn on(operator: &'a Operator, node: String, much: u32) -> Room<'a> {
        let room = Room { operator, node };
        room.patch(json!(much.to_string()));
        room
    }

    fn patch(&self, much: Value) {
        let (node, subresource) = (format!("node/{}", self.node), "--subresource=status");
        let patch =
            json!({ "status": { "capacity": { ROOM: much }, "allocatable": { ROOM: much } } });
        let args = ["patch", &node, subresource, "--type=merge", "-p"];
        let patch = patch.to_string();
        let args = args.into_iter().chain([patch.as_str()]);
        self.operator.bed.kubectl(args).unwrap();
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.patch(Value::Null);
    }
}

pub fn two_streams_with_room_for_one_and_a_half_both_end(operator: &Operator) {
    const ROWS: u64 = 800;
    let node = operator.bed.nodes().unwrap().swap_remove(0);
    let _room = Room::on(operator, node, 6);
    let space = Space::new(operator, "room", |spec| {
        spec["clock"]["primeTimeout"] = json!("20s");
        let one = json!({ "cpu": "20m", "memory": "64Mi", ROOM: "1" });
        spec["worker"]["resources"] = json!({ "requests": one, "limits": { ROOM: "1" } });
    });
    space.world("a", ROWS);
    // Each has four outputs, and lasts for longer than the other's patience.
    let stream = |name: &str| {
        let more = json!({
            "trafficMode": name,
            "platformRunId": format!("platform_20260101T00000{}Z", name.len()),
            "speedup": 2_400,
        });
        space.stream(name, "a", more)
    };
    let names = ["fraud", "baseline"];
    space.start(&names.map(stream));
    for name in names {
        space.phase(name, "Completed");
        space.every_event_once(name, ROWS + 3 * ROWS / 2);
    }
    let statuses = names.map(|name| space.status(name));
    let releases: Vec<&Value> = statuses.iter().map(|it| &it["releases"]).collect();
    let count: u64 = releases.iter().filter_map(|it| it["count"].as_u64()).sum();
    println!("room: places were given back {count} times");
    assert!(count >= 1, "{statuses:#?}");
    for status in &statuses {
        assert_eq!(condition(status, "Degraded").0, "False", "{status:#}");
    }
    // Who found no room is named: in the status, and in the event.
    let named =
        |text: &str| text.contains(&format!("Insufficient {ROOM}")) && text.contains("pod ");
    let why = releases.iter().filter_map(|it| it["why"].as_str());
    assert!(why.clone().any(named), "{releases:#?}");
    let events = space.list("events");
    let mut told = events.iter().filter(|it| it["reason"] == "PrimeTimeout");
    assert!(
        told.any(|it| named(it["message"].as_str().unwrap_or_default())),
        "{events:#?}"
    );
}
