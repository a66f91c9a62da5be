//! A profile that is not sound: selection, producer, catalogue, lanes, checkpoints.

use serde_json::json;

use super::setup::TRAFFIC;
use super::{Provocation, before};

pub const ALL: &[Provocation] = &[
    before(
        "NO_TRAFFIC_OUTPUTS",
        "an output is asked for that is not allowed",
        |it| {
            it.flags.outputs = vec!["s4_event_labels_6B".into()];
            it.stream()
        },
    ),
    before(
        "OUTPUT_UNKNOWN",
        "a context output is not in the catalogue",
        |it| {
            it.set(
                "contextOutputs",
                json!({"fraud": {"outputIds": ["s9_nothing"]}}),
            );
            it.stream()
        },
    ),
    before(
        "PRIMARY_KEY_MISSING",
        "the traffic has no primary key in the catalogue",
        |it| {
            let catalogue = format!(
                "version: validation\noutputs:\n- output_id: {TRAFFIC}\n  \
             path_template: data/x/part-*.parquet\n  primary_key: []\n"
            );
            it.traffic_only();
            it.set("catalogue", json!({"inline": catalogue}));
            it.stream()
        },
    ),
    before(
        "PRODUCER_ID_MISSING",
        "the profile names no producer",
        |it| {
            it.set("producer/id", json!(null));
            it.stream()
        },
    ),
    before(
        "PRODUCER_ALLOWLIST_MISSING",
        "the allowlist is not there",
        |it| {
            it.set(
                "producer/allowlist",
                json!({"file": it.dir.join("absent.txt")}),
            );
            it.stream()
        },
    ),
    before(
        "PRODUCER_ALLOWLIST_UNREADABLE",
        "the allowlist is no text",
        |it| {
            let file = it.write(&it.dir.join("allowlist.txt"), b"svc:\xff\xfe\n")?;
            it.set("producer/allowlist", json!({"file": file}));
            it.stream()
        },
    ),
    before(
        "PRODUCER_ALLOWLIST_EMPTY",
        "the allowlist names nobody",
        |it| {
            it.set("producer/allowlist", json!({"inline": "# nobody\n"}));
            it.stream()
        },
    ),
    before(
        "PRODUCER_NOT_ALLOWED",
        "the producer is not on the allowlist",
        |it| {
            it.set("producer/id", json!("svc:somebody_else"));
            it.stream()
        },
    ),
    before(
        "WSP_LANE_CONFIG_INVALID",
        "lane 2 of 2 is asked for",
        |it| {
            it.flags.lanes = Some(2);
            it.flags.lane = Some(2);
            it.stream()
        },
    ),
    before(
        "CHECKPOINT_DSN_MISSING",
        "cursors lie in Postgres, and nobody says in which",
        |it| {
            it.set("checkpoints", json!({"postgres": {}}));
            it.stream()
        },
    ),
    before("CHECKPOINT_UNREADABLE", "a cursor is cut short", |it| {
        it.begin()?;
        it.write(
            &it.checkpoint()?.join("cursor.json"),
            "{\"last_file\": \"s3://",
        )?;
        it.stream()
    }),
    before("CHECKPOINT_CONFLICT", "another holds a checkpoint", |it| {
        it.begin()?;
        let path = it.checkpoint()?.join("worldstream.lock");
        let lock = std::fs::File::open(&path);
        let lock = lock.map_err(|error| super::setup::cannot(&path, &error))?;
        lock.lock()
            .map_err(|error| super::setup::cannot(&path, &error))?;
        let seen = it.stream();
        drop(lock);
        seen
    }),
    before(
        "STREAM_VIEW_CHANGED",
        "a view is rewritten behind a cursor",
        |it| {
            it.begin()?;
            it.rewrite("part-000001.parquet", |_| {})?;
            it.stream()
        },
    ),
];

/// That the built-in catalogue is what is replaced above.
#[cfg(test)]
#[test]
fn the_catalogue_knows_the_traffic() {
    assert!(
        worldstream_crds::plan::built_in::text("catalogue.yaml")
            .is_some_and(|text| text.contains(TRAFFIC))
    );
}
