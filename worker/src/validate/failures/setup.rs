//! What a provocation works on: a sound world of its own, a profile, flags and a gate, each of
//! which it may break, and what becomes of a stream of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use worldstream_crds::Reason;

use crate::devgate::{self, GateConfig, RunningGate};
use crate::engine::Replay;
use crate::failure::{Failure, Result};
use crate::plan::{PlanError, RunFlags, StreamPlan, WorldPlan};
use crate::sample::{self, SampleSpec};
use crate::validate::blocking;

/// What the worlds are called.
pub const ROOT: &str = "s3://oracle-store/runs/validation";
/// The traffic.
pub const TRAFFIC: &str = "s3_event_stream_with_fraud_6B";
/// Rows of each of the two parts of its view.
pub const PART_ROWS: u64 = 20;
/// The run that all provocations are streamed as.
pub const RUN: &str = "platform_20260101T000000Z";

pub const RECEIPT: &str = "run_receipt.json";
pub const MANIFEST: &str = "_oracle_pack_manifest.json";
pub const SEAL: &str = "_SEALED.json";

/// What became of a provocation.
#[derive(Debug)]
pub struct Seen {
    /// The reason code; none: it did not fail, or not with a code.
    pub code: Option<String>,
    /// The message of the failure.
    pub message: String,
    /// Events that the gate was sent.
    pub pushed: u64,
}

impl Seen {
    /// Without a gate.
    pub fn of<T>(result: Result<T>) -> Seen {
        Seen::with(result.err(), 0)
    }

    /// After a stream.
    pub fn with(failure: Option<Failure>, pushed: u64) -> Seen {
        Seen {
            code: failure.as_ref().map(|it| it.reason().to_string()),
            message: failure.map_or_else(|| "nothing failed".to_owned(), |it| it.message()),
            pushed,
        }
    }

    /// A plan that could not be made.
    pub fn planned(error: PlanError) -> Seen {
        match error {
            PlanError::Failure(failure) => Seen::with(Some(failure), 0),
            usage => Seen {
                code: None,
                message: usage.to_string(),
                pushed: 0,
            },
        }
    }
}

/// A world and everything that streams it, made anew for each provocation.
pub struct Setup {
    /// Its folder; the world is in `world`.
    pub dir: PathBuf,
    /// The spec of its profile.
    pub profile: Value,
    /// The flags of its run.
    pub flags: RunFlags,
    /// Its gate.
    pub gate: GateConfig,
}

/// Columns of a part, by name.
pub type Columns = Vec<(String, ArrayRef)>;

impl Setup {
    /// A sound one in an empty folder; `template` is a world.
    pub fn new(dir: &Path, template: &Path) -> Result<Setup> {
        let world = dir.join("world");
        copy(template, &world)?;
        Ok(Setup {
            dir: dir.to_owned(),
            profile: json!({
                "world": {"mounts": [{"from": ROOT, "to": world}]},
                "require": {"manifest": true, "seal": true, "gates": "Digest"},
                "gate": {"retry": {"attempts": 2, "base": "1ms", "max": "2ms"}, "inFlight": 1},
                "producer": {
                    "id": "svc:world_stream_producer",
                    "allowlist": {"builtIn": "producer_allowlist.txt"},
                },
                "defaults": {"speedup": 0},
                "runsRoot": dir.join("runs"),
            }),
            flags: RunFlags {
                engine_run_root: Some(ROOT.to_owned()),
                scenario: Some(sample::DEFAULT_SCENARIO.to_owned()),
                platform_run_id: Some(RUN.to_owned()),
                ..RunFlags::default()
            },
            gate: GateConfig::default(),
        })
    }

    /// A file of the world.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join("world").join(file)
    }

    /// A file of the traffic's view.
    pub fn view(&self, file: &str) -> PathBuf {
        self.path(&format!("stream_view/ts_utc/output_id={TRAFFIC}/{file}"))
    }

    /// Takes a file or folder away.
    pub fn remove(&self, path: &Path) -> Result<()> {
        discard(path)
    }

    /// Writes a file, and the folders above it; its path as text.
    pub fn write(&self, path: &Path, bytes: impl AsRef<[u8]>) -> Result<String> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(path, bytes))
            .map_err(|error| cannot(path, &error))?;
        Ok(path.display().to_string())
    }

    /// Changes a field of a JSON file; a null takes it away.
    pub fn edit(&self, path: &Path, field: &str, value: Value) -> Result<()> {
        let bytes = fs::read(path).map_err(|error| cannot(path, &error))?;
        let mut all: Value =
            serde_json::from_slice(&bytes).map_err(|error| cannot(path, &error))?;
        match (value, all.as_object_mut()) {
            (Value::Null, Some(fields)) => drop(fields.shift_remove(field)),
            (value, Some(fields)) => drop(fields.insert(field.to_owned(), value)),
            (_, None) => return Err(broken(path, "a JSON object")),
        }
        self.write(path, all.to_string()).map(drop)
    }

    /// Sets a field of the profile by its path, such as `gate/inFlight`.
    pub fn set(&mut self, path: &str, value: Value) {
        let mut at = &mut self.profile;
        for name in path.split('/') {
            at = &mut at[name];
        }
        *at = value;
    }

    /// Streams the traffic alone.
    pub fn traffic_only(&mut self) {
        self.set("contextOutputs", json!({"fraud": {"outputIds": []}}));
    }

    /// Writes a part of the traffic's view anew, with its columns changed.
    pub fn rewrite(&self, part: &str, change: impl FnOnce(&mut Columns)) -> Result<()> {
        let path = self.view(part);
        let mut columns = read_part(&path)?;
        change(&mut columns);
        write_part(&path, columns)
    }

    /// The plan of the stream to a gate.
    pub fn plan(&self, gate: &str) -> std::result::Result<StreamPlan, PlanError> {
        crate::plan::plan(&self.flags_with(gate)?)
    }

    /// The world's part of it.
    pub fn world(&self) -> std::result::Result<WorldPlan, PlanError> {
        crate::plan::world_plan(&self.flags_with("http://127.0.0.1:1")?)
    }

    fn flags_with(&self, gate: &str) -> Result<RunFlags> {
        let document = json!({
            "apiVersion": "worldstream.io/v1alpha1",
            "kind": "StreamProfile",
            "metadata": {"name": "validation"},
            "spec": pruned(&self.profile),
        });
        let profile = self.write(&self.dir.join("profile.yaml"), document.to_string())?;
        Ok(RunFlags {
            profile: Some(profile),
            gate_url: Some(gate.to_owned()),
            ..self.flags.clone()
        })
    }

    /// Streams it to a gate of its own, to the end.
    pub fn stream(&self) -> Result<Seen> {
        let gate = devgate::spawn(self.gate.clone())?;
        let seen = self.stream_to(&gate);
        gate.stop();
        seen
    }

    /// Streams it to a gate that runs.
    pub fn stream_to(&self, gate: &RunningGate) -> Result<Seen> {
        let before = gate.summary().pushes;
        let plan = match self.plan(&gate.url()) {
            Ok(plan) => plan,
            Err(error) => return Ok(Seen::planned(error)),
        };
        let failure = blocking(async {
            match Replay::prepare(plan).await {
                Ok(replay) => replay.run().await.failure,
                Err(failure) => Some(failure),
            }
        })?;
        Ok(Seen::with(failure, gate.summary().pushes - before))
    }

    /// Sends the first events of each output, so that there are cursors.
    pub fn begin(&mut self) -> Result<()> {
        self.flags.max_events_per_output = Some(5);
        let seen = self.stream()?;
        self.flags.max_events_per_output = None;
        match seen.code {
            None if seen.pushed > 0 => Ok(()),
            _ => Err(broken(&self.dir, "a stream of a sound world").detail(seen.message)),
        }
    }

    /// The folder of the traffic's checkpoint.
    pub fn checkpoint(&self) -> Result<PathBuf> {
        let root = self.dir.join("runs").join(RUN).join("wsp/checkpoints");
        let scopes = fs::read_dir(&root).map_err(|error| cannot(&root, &error))?;
        let mut all = scopes.flatten().map(|scope| scope.path());
        all.find_map(|scope| {
            Some(scope.join(format!("output_id={TRAFFIC}"))).filter(|it| it.is_dir())
        })
        .ok_or_else(|| broken(&root, "the traffic's checkpoint"))
    }
}

/// Takes a file or folder away.
pub fn discard(path: &Path) -> Result<()> {
    let gone = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    gone.map_err(|error| cannot(path, &error))
}

/// Writes the world that provocations are copies of.
pub fn template(out: &Path, raw: bool) -> Result<()> {
    let spec = SampleSpec {
        run_root: Some(ROOT.to_owned()),
        raw,
        ..SampleSpec::new(out, 7, 2 * PART_ROWS, 1)
    };
    sample::write(&spec, &|_| {}).map(drop)
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

pub fn cannot(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).cause(error)
}

fn broken(path: &Path, expected: &str) -> Failure {
    Failure::new(Reason::StreamFailed, path.display().to_string()).expected(expected)
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|error| cannot(to, &error))?;
    for entry in fs::read_dir(from).map_err(|error| cannot(from, &error))? {
        let entry = entry.map_err(|error| cannot(from, &error))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match source.is_dir() {
            true => copy(&source, &target)?,
            false => {
                fs::copy(&source, &target).map_err(|error| cannot(&source, &error))?;
            }
        }
    }
    Ok(())
}

/// The rows of a part, which are few.
fn read_part(path: &Path) -> Result<Columns> {
    let file = fs::File::open(path).map_err(|error| cannot(path, &error))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|reader| reader.with_batch_size(1 << 16).build())
        .map_err(|error| cannot(path, &error))?;
    let mut columns = Columns::new();
    for batch in reader {
        let batch = batch.map_err(|error| cannot(path, &error))?;
        let schema = batch.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        columns = names.zip(batch.columns().iter().cloned()).collect();
    }
    Ok(columns)
}

fn write_part(path: &Path, columns: Columns) -> Result<()> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays);
    let batch = batch.map_err(|error| cannot(path, &error))?;
    let file = fs::File::create(path).map_err(|error| cannot(path, &error))?;
    let mut writer =
        ArrowWriter::try_new(file, schema, None).map_err(|error| cannot(path, &error))?;
    writer
        .write(&batch)
        .and_then(|()| writer.close())
        .map(drop)
        .map_err(|error| cannot(path, &error))
}
