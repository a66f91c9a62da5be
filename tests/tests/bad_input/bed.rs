//! A sound world, what is broken of it, and what the program makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use worldstream::devgate::{GateConfig, RunningGate, spawn};
use worldstream::sample::{self, SampleSpec};
use worldstream_crds::Reason;
use worldstream_tests::{Arrival, Finished, arrivals, run};

/// What the worlds are called; where they are read is each case's own folder.
pub const ROOT: &str = "s3://oracle-store/runs/sample";
/// The traffic, and the only output of cases about rows.
pub const TRAFFIC: &str = "s3_event_stream_with_fraud_6B";
/// A context output.
pub const CONTEXT: &str = "arrival_events_5B";
pub const RECEIPT: &str = "run_receipt.json";
pub const MANIFEST: &str = "_oracle_pack_manifest.json";
pub const SEAL: &str = "_SEALED.json";
pub const VIEW_MANIFEST: &str = "_stream_view_manifest.json";
pub const VIEW_RECEIPT: &str = "_stream_sort_receipt.json";
pub const FIRST: &str = "part-000000.parquet";
pub const SECOND: &str = "part-000001.parquet";
/// Rows of each of the two parts of the traffic's view.
pub const PART_ROWS: usize = 20;

/// Events that may arrive in spite of what is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// None at all: it can be seen before the first event, and `plan` sees it, too.
    Nothing,
    /// None at all, but `plan`, which builds no envelope and writes nothing, has no way to see it.
    NothingButPlanned,
    /// So many of the traffic's, the rows before the broken one, and none twice.
    Rows(usize),
}

/// One thing that is broken.
pub struct Case {
    pub name: String,
    pub spoil: Box<dyn Fn(&mut Setup) + Send + Sync>,
    pub code: &'static str,
    pub words: Vec<String>,
    pub sent: Sent,
    pub exit: Option<i32>,
}

/// A list of cases that grows.
#[derive(Default)]
pub struct Cases(pub Vec<Case>);

impl Cases {
    /// A case that must be refused before anything is sent.
    pub fn add(
        &mut self,
        name: &str,
        code: &'static str,
        words: &[&str],
        spoil: impl Fn(&mut Setup) + Send + Sync + 'static,
    ) -> &mut Case {
        self.0.push(Case {
            name: name.to_owned(),
            spoil: Box::new(spoil),
            code,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            sent: Sent::Nothing,
            exit: None,
        });
        self.0.last_mut().expect("one was pushed")
    }
}

/// Everything that a case may break: its own copy of the world, its profile, its command line.
pub struct Setup {
    pub dir: PathBuf,
    pub gate: String,
    /// The spec of the profile that is given with `--profile`.
    pub profile: Value,
    /// The profile's whole text, instead of that.
    pub profile_text: Option<String>,
    pub flags: BTreeMap<String, String>,
    /// More arguments.
    pub args: Vec<String>,
}

impl Setup {
    fn new(dir: &Path, gate: &str) -> Setup {
        let setup = Setup {
            dir: dir.to_owned(),
            gate: gate.to_owned(),
            profile: json!({
                "world": {"mounts": [{"from": ROOT, "to": dir.join("world")}]},
                "require": {"manifest": true, "seal": true, "gates": "Digest"},
                "gate": {"retry": {"attempts": 2, "base": "1ms", "max": "2ms"}},
                "producer": {
                    "id": "svc:world_stream_producer",
                    "allowlist": {"builtIn": "producer_allowlist.txt"},
                },
                "runsRoot": dir.join("runs"),
            }),
            profile_text: None,
            flags: BTreeMap::new(),
            args: Vec::new(),
        };
        [
            ("engine-run-root", ROOT),
            ("platform-run-id", "platform_20260101T000000Z"),
            ("scenario", "baseline_v1"),
            ("gate-url", gate),
            ("in-flight", "1"),
            ("speedup", "0"),
        ]
        .into_iter()
        .fold(setup, |mut setup, (name, value)| {
            setup.flag(name, value);
            setup
        })
    }

    pub fn world(&self) -> PathBuf {
        self.dir.join("world")
    }

    pub fn flag(&mut self, name: &str, value: &str) {
        self.flags.insert(name.to_owned(), value.to_owned());
    }

    pub fn unflag(&mut self, name: &str) {
        self.flags.remove(name);
    }

    /// Where a file of the world is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.world().join(file)
    }

    pub fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A file beside the world; its path.
    pub fn side(&self, file: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.dir.join(file);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    pub fn remove(&self, file: &str) {
        let path = self.path(file);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    pub fn edit(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(file)).unwrap();
        change(&mut bytes);
        fs::write(self.path(file), bytes).unwrap();
    }

    pub fn edit_json(&self, file: &str, change: impl FnOnce(&mut Value)) {
        edit_json(&self.path(file), change);
    }

    /// Puts a folder where a file was.
    pub fn folder_for(&self, file: &str) {
        self.remove(file);
        fs::create_dir(self.path(file)).unwrap();
    }

    /// Sets a field of the profile by its path, such as `gate/inFlight`; a null removes it.
    pub fn set(&mut self, path: &str, value: Value) {
        let mut at = &mut self.profile;
        for name in path.split('/') {
            at = &mut at[name];
        }
        *at = value;
    }

    /// Streams the traffic alone, so that what is sent is known to the row.
    pub fn traffic_only(&mut self) {
        self.set("contextOutputs", json!({"fraud": {"outputIds": []}}));
        self.flag("output", TRAFFIC);
    }

    /// Rewrites a part of a view with its columns changed, in row groups of 5 rows without
    /// compression and dictionaries.
    pub fn rewrite(
        &self,
        output: &str,
        part: &str,
        change: impl FnOnce(&mut Vec<(String, ArrayRef)>),
    ) {
        let path = self.path(&view(output, part));
        let mut columns: Vec<(String, ArrayRef)> = read(&path);
        change(&mut columns);
        write(&path, &columns, 5);
    }

    /// Sends the first events of each output, so that there are checkpoints.
    pub fn begin(&mut self, events: usize) {
        self.flag("max-events-per-output", &events.to_string());
        self.call("run", false).expect(0);
        self.unflag("max-events-per-output");
    }

    /// The folder of the traffic's checkpoint.
    pub fn checkpoint(&self) -> PathBuf {
        let mut found = Vec::new();
        find(
            &self.dir.join("runs"),
            &format!("output_id={TRAFFIC}"),
            &mut found,
        );
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    pub fn cursor(&self) -> PathBuf {
        self.checkpoint().join("cursor.json")
    }

    /// Runs a subcommand.
    pub fn call(&self, command: &str, json: bool) -> Finished {
        let profile = match &self.profile_text {
            Some(text) => text.clone(),
            None => format!(
                "{:#}\n",
                json!({
                    "apiVersion": "worldstream.io/v1alpha1",
                    "kind": "StreamProfile",
                    "metadata": {"name": "bad-input"},
                    "spec": pruned(&self.profile),
                })
            ),
        };
        let path = self.dir.join("profile.yaml");
        fs::write(&path, profile).unwrap();
        let mut args = vec![command.to_owned()];
        if json {
            args.push("--json".into());
        }
        args.push(format!("--profile={}", path.display()));
        args.extend(
            self.flags
                .iter()
                .map(|(name, value)| format!("--{name}={value}")),
        );
        args.extend(self.args.iter().cloned());
        run(args).env("RUST_LOG", "error").dir(&self.dir).finish()
    }
}

/// Without nulls: a field that was taken away.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), pruned(value)))
            .collect(),
        other => other.clone(),
    }
}

fn find(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name() == name {
            found.push(entry.path());
        } else if entry.path().is_dir() {
            find(&entry.path(), name, found);
        }
    }
}

pub fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// A file of a view.
pub fn view(output: &str, file: &str) -> String {
    format!("stream_view/ts_utc/output_id={output}/{file}")
}

/// The columns of a part.
pub fn read(path: &Path) -> Vec<(String, ArrayRef)> {
    let file = fs::File::open(path).unwrap();
    let batches: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .with_batch_size(1 << 20)
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(batches.len(), 1);
    let names = batches[0].schema();
    let names = names.fields().iter().map(|field| field.name().clone());
    names.zip(batches[0].columns().iter().cloned()).collect()
}

/// Writes a part plainly, so that its bytes can be found again.
pub fn write(path: &Path, columns: &[(String, ArrayRef)], group_rows: usize) {
    let schema = arrow_schema::Schema::new(
        columns
            .iter()
            .map(|(name, array)| arrow_schema::Field::new(name, array.data_type().clone(), true))
            .collect::<Vec<_>>(),
    );
    let arrays = columns.iter().map(|(_, array)| array.clone()).collect();
    let batch = RecordBatch::try_new(Arc::new(schema), arrays).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The sound world that cases are copies of.
pub fn template(dir: &Path) -> PathBuf {
    let out = dir.join("template");
    let spec = SampleSpec {
        run_root: Some(ROOT.to_owned()),
        raw: false,
        ..SampleSpec::new(&out, 7, 2 * PART_ROWS as u64, 1)
    };
    sample::write(&spec, &|_| {}).unwrap();
    out
}

/// A place to run cases in, one after the other, with a gate of its own.
pub struct Bench {
    dir: PathBuf,
    template: PathBuf,
    pub gate: RunningGate,
    journal: PathBuf,
    done: usize,
}

/// What became of a case's process.
pub struct Outcome {
    pub finished: Finished,
    /// What arrived meanwhile.
    pub arrived: Vec<Arrival>,
}

impl Bench {
    pub fn new(dir: &Path, template: &Path) -> Bench {
        fs::create_dir_all(dir).unwrap();
        let journal = dir.join("arrivals.jsonl");
        let gate = spawn(GateConfig {
            record_all: Some(journal.clone()),
            ..GateConfig::default()
        })
        .unwrap();
        Bench {
            dir: dir.to_owned(),
            template: template.to_owned(),
            gate,
            journal,
            done: 0,
        }
    }

    /// A fresh copy of the world.
    pub fn setup(&mut self) -> Setup {
        let dir = self.dir.join(format!("{}", self.done));
        self.done += 1;
        copy(&self.template, &dir.join("world"));
        Setup::new(&dir, &self.gate.url())
    }

    /// What arrived since the gate started.
    pub fn arrived(&self) -> Vec<Arrival> {
        // Asking makes the file complete.
        self.gate.summary();
        arrivals(&self.journal)
    }

    /// Runs a command and says what arrived meanwhile.
    pub fn call(&self, setup: &Setup, command: &str, json: bool) -> Outcome {
        let before = self.arrived().len();
        let finished = setup.call(command, json);
        let arrived = self.arrived().split_off(before);
        Outcome { finished, arrived }
    }
}

impl Outcome {
    /// The code and the message of the failure, from the text or from JSON.
    pub fn error(&self, json: bool) -> Result<(String, String), String> {
        let lines: Vec<&str> = self.finished.stderr.lines().collect();
        if json {
            let last = lines.last().copied().unwrap_or_default();
            let value: Value = serde_json::from_str(last).map_err(|_| "no JSON on stderr")?;
            let text = |name: &str| value["error"][name].as_str().unwrap_or_default().to_owned();
            if value["error"]["exit_code"].as_i64() != self.finished.code.map(i64::from) {
                return Err("the exit code in the JSON is another".into());
            }
            return Ok((text("reason"), text("message")));
        }
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix("error: "))
            .ok_or("no line `error: …` on stderr")?;
        match line.split_once(": ") {
            Some((code, message)) if Reason::ALL.iter().any(|reason| reason.as_str() == code) => {
                if !lines.iter().any(|line| line.starts_with("  what to do: ")) {
                    return Err("no advice on stderr".into());
                }
                Ok((code.to_owned(), message.to_owned()))
            }
            _ => Ok(("USAGE".to_owned(), line.to_owned())),
        }
    }

    /// What is wrong with how a case ended.
    pub fn check(&self, case: &Case, json: bool) -> Result<String, String> {
        let finished = &self.finished;
        let all = format!("{}{}", finished.stdout, finished.stderr);
        if all.contains("panicked") || all.contains("RUST_BACKTRACE") {
            return Err("it panicked".into());
        }
        let (code, message) = self.error(json)?;
        if code != case.code {
            return Err(format!("the code is {code}"));
        }
        let exit = case.exit.unwrap_or_else(|| exit_of(case.code));
        if finished.code != Some(exit) {
            return Err(format!("the exit code is {:?}, not {exit}", finished.code));
        }
        if let Some(word) = case.words.iter().find(|word| !message.contains(*word)) {
            return Err(format!("the message lacks {word:?}"));
        }
        if let Some(word) = ["Some(", "Err(", "None", "{ ", "Os {", "  "]
            .iter()
            .find(|word| message.contains(**word))
        {
            return Err(format!(
                "the message has {word:?}, which is no word for people"
            ));
        }
        if message.chars().any(char::is_control) || message.len() > 900 {
            return Err("the message is not one line".into());
        }
        Ok(message)
    }
}

fn exit_of(code: &str) -> i32 {
    match Reason::ALL.iter().find(|reason| reason.as_str() == code) {
        Some(reason) => reason.exit_code().code().into(),
        None => {
            assert_eq!(code, "USAGE");
            2
        }
    }
}
