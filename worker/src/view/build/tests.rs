//! What only the room itself can be asked: merging in passes, sums that differ, and publishing
//! into an object store.

use std::fs;
use std::sync::Arc;

use arrow_array::{Int64Array, StringArray};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use serde_json::Value;

use super::*;
use crate::sample::{self, SampleSpec, Table};
use crate::store::Expect;
use crate::world::identity::stream_view_id;

const OUTPUT: &str = "s3_event_stream_with_fraud_6B";

/// A sample of one output and its key; raw parts of this many rows.
fn sample(folder: &Path, rows: u64, name: Option<&str>) -> WorldKey {
    let mut spec = SampleSpec::new(folder, 7, rows, 3);
    spec.outputs = vec![Table::FraudEvents];
    spec.run_root = name.map(str::to_owned);
    let report = sample::write(&spec, &|_| {}).unwrap();
    WorldKey {
        manifest_fingerprint: report.manifest_fingerprint,
        parameter_hash: report.parameter_hash,
        scenario_id: report.scenario_id,
        seed: report.seed,
    }
}

fn output() -> CatalogueOutput {
    CatalogueOutput {
        id: OUTPUT.into(),
        class: String::new(),
        path_template: format!(
            "data/layer3/6B/{OUTPUT}/seed={{seed}}/parameter_hash={{parameter_hash}}/\
             manifest_fingerprint={{manifest_fingerprint}}/scenario_id={{scenario_id}}/"
        ),
        primary_key: Vec::new(),
        gates: Vec::new(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn many_runs_are_merged_in_passes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("w");
    let key = sample(&root, 60_000, None);
    let store = Arc::new(LocalFileSystem::new_with_prefix(&root).unwrap());
    let store = WorldStore::new(store, Default::default(), root.to_str().unwrap());
    let place = Place::Local(root.clone());
    let target = Target {
        store: &store,
        place: &place,
        key: &key,
        run_id: "r",
    };
    let runtime = runtime();
    let raw = runtime
        .block_on(async { open(find(&target, &output()).await?).await })
        .unwrap();
    let progress = Progress::default();
    let budget = Budget {
        run_bytes: 200_000,
        fan_in: 4,
    };
    let (spill, view) = (folder.path().join("spill"), folder.path().join("view"));
    fs::create_dir_all(&spill).unwrap();
    fs::create_dir_all(&view).unwrap();
    let mut sorted = sort::sort(&store, &raw, &spill, &budget, &progress).unwrap();
    assert!(
        sorted.journal.runs.len() > 4,
        "{}",
        sorted.journal.runs.len()
    );
    let layout = Layout::of(&raw, &sorted.coder, &sorted.pays).unwrap();
    let options = BuildOptions::default();
    let names = merge(
        &mut sorted,
        &layout,
        &spill,
        &view,
        &budget,
        &options,
        &progress,
    )
    .unwrap();
    assert!(
        sorted.journal.runs.len() <= 4,
        "{}",
        sorted.journal.runs.len()
    );
    let (_, counted) = check(&raw, &view, &names, 2, &runtime, &progress).unwrap();
    compare(&target, &output(), &raw, &sorted.stats, &counted).unwrap();
    // The sums find one row that is another, and an order that is none.
    let mut other = counted.clone();
    other.stats.hash_sum += 1;
    let failure = compare(&target, &output(), &raw, &sorted.stats, &other).unwrap_err();
    assert_eq!(failure.reason(), Reason::StreamSortValidationFailed);
    assert!(failure.message().contains("hash_sum"), "{failure}");
    let disorder = Disorder {
        file: "x/part-000000.parquet".into(),
        row: 3,
    };
    let other = Counted {
        disorder: Some(disorder),
        ..counted
    };
    let failure = compare(&target, &output(), &raw, &sorted.stats, &other).unwrap_err();
    assert!(
        failure.message().contains("part-000000.parquet, row 3"),
        "{failure}"
    );
}

/// A world in memory that is called a root in S3, as it is once it was uploaded.
fn remote(folder: &Path) -> (WorldStore, WorldKey) {
    let key = sample(folder, 5_000, Some("s3://bucket/world"));
    fs::remove_dir_all(folder.join("stream_view")).unwrap();
    let memory = Arc::new(InMemory::new());
    let store = WorldStore::new(memory.clone(), "in/it".into(), "s3://bucket/world");
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let relative = path
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let bytes = fs::read(&path).unwrap();
            let at = store.location(&relative);
            let put = memory.put(&at, bytes.into());
            runtime().block_on(put).unwrap();
        }
    }
    (store, key)
}

fn names(store: &WorldStore) -> Vec<String> {
    let listed = runtime()
        .block_on(store.list(&view_folder(OUTPUT)))
        .unwrap();
    listed.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn in_an_object_store_the_receipt_comes_last_and_what_a_kill_left_is_sent_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (store, key) = remote(&folder.path().join("w"));
    let place = Place::Remote("s3://bucket/world".into());
    let target = Target {
        store: &store,
        place: &place,
        key: &key,
        run_id: "r",
    };
    let options = BuildOptions {
        spill: Some(folder.path().join("spill")),
        ..BuildOptions::default()
    };
    let build_now = || build(&target, &output(), &options, &Progress::default(), &|_| {});
    // Parts and a marker of ours: a build that was killed while it sent.
    let put = |name: &str| {
        let place = store.location(&format!("{}/{name}", view_folder(OUTPUT)));
        let sent = store.store().put(&place, "{}".into(), Expect::Anything);
        runtime().block_on(sent).unwrap();
    };
    put("part-000000.parquet");
    let failure = build_now().unwrap_err();
    assert_eq!(failure.reason(), Reason::StreamViewPartialExists);
    put("part-000007.parquet");
    put(publish::MARKER);
    let built = build_now().unwrap();
    assert_eq!((built.rows, built.parts), (5_000, 1));
    let expected = [
        "_stream_sort_receipt.json",
        "_stream_view_manifest.json",
        "part-000000.parquet",
    ];
    assert_eq!(names(&store), expected);
    assert!(build_now().unwrap().already_there);
    // A reader takes it.
    let plan = super::super::plan_view(&store, &key.scenario_id, OUTPUT);
    let plan = runtime().block_on(plan).unwrap();
    assert_eq!(plan.rows, 5_000);
    assert_eq!(
        plan.view_id,
        stream_view_id("s3://bucket/world", &key.scenario_id, OUTPUT)
    );
    assert!(plan.folder.starts_with("s3://bucket/world/stream_view/"));
    // Nothing is left on this machine.
    assert_eq!(
        fs::read_dir(folder.path().join("spill")).unwrap().count(),
        0
    );
    let receipt = format!("{}/_stream_sort_receipt.json", view_folder(OUTPUT));
    let receipt = store.read(&receipt);
    let receipt = runtime().block_on(receipt).unwrap().unwrap();
    let receipt: Value = serde_json::from_slice(&receipt).unwrap();
    assert_eq!(receipt["stream_view_root"], plan.folder);
}

#[test]
fn sums_depend_on_values_and_their_columns_and_not_on_how_they_are_held() {
    use arrow_array::{DictionaryArray, RecordBatch, types::Int32Type};
    let stats = |rows: &RecordBatch| {
        let mut stats = Stats::default();
        let keys = vec![0; rows.num_rows()];
        stats.add(rows, &keys, &mut Default::default());
        (stats.hash_sum, stats.hash_sum2)
    };
    let plain = |texts: [Option<&str>; 3], numbers: [i64; 3]| {
        let texts = Arc::new(StringArray::from(texts.to_vec())) as _;
        let numbers = Arc::new(Int64Array::from(numbers.to_vec())) as _;
        RecordBatch::try_from_iter_with_nullable([("a", texts, true), ("b", numbers, true)])
    };
    let one = plain([Some("x"), None, Some("")], [1, 2, 3]).unwrap();
    let moved = plain([None, Some(""), Some("x")], [2, 3, 1]).unwrap();
    assert_eq!(stats(&one), stats(&moved));
    let dictionary: DictionaryArray<Int32Type> = [Some("x"), None, Some("")].into_iter().collect();
    let held = RecordBatch::try_from_iter_with_nullable([
        ("a", Arc::new(dictionary) as _, true),
        ("b", one.column(1).clone(), true),
    ]);
    assert_eq!(stats(&one), stats(&held.unwrap()));
    for other in [
        // A value of another row, an empty text for a null, another number.
        plain([Some("x"), None, Some("")], [2, 1, 3]),
        plain([Some("x"), Some(""), Some("")], [1, 2, 3]),
        plain([Some("x"), None, Some("")], [1, 2, 4]),
        plain([Some("x\0"), None, Some("")], [1, 2, 3]),
    ] {
        let (sums, others) = (stats(&one), stats(&other.unwrap()));
        assert!(sums.0 != others.0 && sums.1 != others.1);
    }
}
