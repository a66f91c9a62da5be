//! Messages and facts that are broken in every way: each is told by its status and reason, none is
//! sent, and the valid ones between them are all streamed.

mod table;

use serde_json::{Value, json};

use self::table::Becomes::{Failed, Invalid, OtherTopic, Skipped};
use self::table::{BYTES, CHANGES, drop_field};
use super::bed::{Bed, CAPPED, Message, WORLD, said, said_of, totals};

#[test]
fn none_is_sent_and_the_valid_ones_between_them_all_are() {
    assert!(BYTES.len() + CHANGES.len() >= 60);
    let mut bed = Bed::capped();
    drop_field(&mut bed.trigger, "engineRunRoot");
    bed.trigger["bus"]["maxMessageBytes"] = json!("64Ki");
    bed.profile["world"]["allowedRoots"] = json!(["s3://oracle-store/runs"]);
    let mount = bed.dir.path().join("nothing");
    let nowhere = json!({"from": format!("{WORLD}-x"), "to": mount});
    let mounts = bed.profile["world"]["mounts"].as_array_mut().unwrap();
    mounts.push(nowhere);
    // What lies outside would be good facts.
    let outside = Message::new(0).facts.to_string();
    std::fs::write(bed.dir.path().join("outside.json"), outside).unwrap();
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, bed.store().join(name)).unwrap();
    };
    link("../outside.json", "link.json");
    link("..", "up");

    let mut valid = Vec::new();
    let mut next = 1_000;
    let mut announce_valid = |bed: &Bed| {
        let message = Message::new(next);
        bed.announce(&message);
        valid.push(message.id);
        next += 1;
    };
    for (index, (_, bytes)) in BYTES.iter().enumerate() {
        bed.publish(&format!("bytes-{index:02}"), bytes);
        if index % 6 == 0 {
            announce_valid(&bed);
        }
    }
    let broken: Vec<Message> = CHANGES
        .iter()
        .enumerate()
        .map(|(index, (_, _, _, change))| {
            let mut message = Message::new(index as u64 + 1);
            bed.put_facts(&message);
            change(&mut message);
            if message.message["payload"]["facts_view_ref"]
                .as_str()
                .is_some()
                && message
                    .facts_ref()
                    .ends_with(&format!("/{}.json", index + 1))
            {
                bed.put_facts(&message);
            }
            bed.publish(&format!("change-{index:02}"), message.message.to_string());
            if index % 8 == 0 {
                announce_valid(&bed);
            }
            message
        })
        .collect();
    announce_valid(&bed);

    let finished = bed.once().expect(10);
    let said = said(&finished);
    for (message, (name, becomes, detail, _)) in broken.iter().zip(CHANGES) {
        let told: Vec<&Value> = match becomes {
            Invalid | OtherTopic => {
                let index = broken.iter().position(|it| it.id == message.id).unwrap();
                let place = format!("change-{index:02}.json");
                let here = |it: &&Value| {
                    let text = it["place"].as_str();
                    text.is_some_and(|text| text.contains(&place))
                };
                said.iter().filter(here).collect()
            }
            _ => said_of(&said, &message.id),
        };
        let [told] = told[..] else {
            panic!("{name}: {told:#?}")
        };
        let text = told["detail"].as_str().unwrap_or_default();
        assert!(text.contains(detail), "{name}: {told}");
        let records = bed.records(&message.id);
        let (status, reason, emitted) = match becomes {
            Invalid | OtherTopic => {
                let status = match becomes {
                    Invalid => "INVALID",
                    _ => "OTHER_TOPIC",
                };
                assert_eq!(told["status"], status, "{name}");
                assert_eq!(records, Vec::<Value>::new(), "{name}");
                continue;
            }
            Failed(reason, emitted) => ("FAILED", *reason, *emitted),
            Skipped => ("SKIPPED_OUT_OF_SCOPE", "PLATFORM_RUN_SCOPE_MISMATCH", None),
        };
        let [record] = &records[..] else {
            panic!("{name}: {records:#?}")
        };
        for it in [told, record] {
            assert_eq!(it["status"], status, "{name}: {it}");
            assert_eq!(it["reason"], reason, "{name}: {it}");
            assert_eq!(it["emitted"], json!(emitted), "{name}: {it}");
        }
    }
    let bytes = said.iter().filter(|it| {
        let place = it["place"].as_str();
        place.is_some_and(|place| place.contains("bytes-"))
    });
    let bytes: Vec<_> = bytes.map(|it| it["status"].clone()).collect();
    assert_eq!(bytes, vec![json!("INVALID"); BYTES.len()]);
    for id in &valid {
        let records = bed.records(id);
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(records[0]["status"], "STREAMED", "{records:?}");
        assert_eq!(records[0]["emitted"], CAPPED, "{records:?}");
    }
    assert_eq!(bed.arrivals().len() as u64, CAPPED * valid.len() as u64);
    let totals = totals(&finished);
    assert_eq!(totals["seen"], BYTES.len() + CHANGES.len() + valid.len());
    assert_eq!(totals["streamed"], valid.len());
    assert_eq!(totals["other_topic"], 2);
    // Each is said once.
    let said = finished
        .stderr
        .matches("a message that is not valid")
        .count();
    assert_eq!(json!(said), totals["invalid"], "{}", finished.stderr);
}
