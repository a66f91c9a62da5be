//! Small worlds whose views a test writes itself.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;
use worldstream::sample::{self, SampleReport, SampleSpec};
use worldstream::time::EventTime;

/// A world in a folder of its own.
pub struct MadeWorld {
    dir: TempDir,
    /// What is in it.
    pub report: SampleReport,
}

impl MadeWorld {
    /// A sample, changed as `change` says. The folder is the world's name.
    pub fn sample(rows: u64, days: u32, change: impl FnOnce(&mut SampleSpec)) -> Self {
        let dir = tempfile::tempdir().expect("a folder for a world");
        let mut spec = SampleSpec::new(dir.path().join("world"), 7, rows, days);
        spec.raw = false;
        change(&mut spec);
        let report = sample::write(&spec, &|_| {}).expect("a sample world");
        MadeWorld { dir, report }
    }

    /// A world of two rows, to put other views into.
    pub fn small() -> Self {
        Self::sample(2, 1, |spec| spec.sealed = false)
    }

    /// The run root.
    pub fn root(&self) -> String {
        self.dir.path().join("world").display().to_string()
    }

    /// The folder of a view.
    pub fn view(&self, output: &str) -> PathBuf {
        let below = format!("world/stream_view/ts_utc/output_id={output}");
        self.dir.path().join(below)
    }

    /// Writes other parts into a view; its manifest and receipt stay.
    pub fn replace(&self, output: &str, parts: &[Vec<RecordBatch>], how: &WriterProperties) {
        let folder = self.view(output);
        for entry in std::fs::read_dir(&folder).expect("the view's folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|it| it == "parquet") {
                std::fs::remove_file(path).expect("an old part");
            }
        }
        for (number, batches) in parts.iter().enumerate() {
            let path = folder.join(format!("part-{number:06}.parquet"));
            let file = File::create(path).expect("a part");
            let schema = batches[0].schema();
            let mut writer =
                ArrowWriter::try_new(file, schema, Some(how.clone())).expect("a writer");
            for batch in batches {
                writer.write(batch).expect("a batch is written");
            }
            writer.close().expect("a part is closed");
        }
    }

    /// The columns of every output's primary key for rows `from`, `from + 1`, …
    pub fn key_columns(&self, from: u64, rows: usize) -> Vec<(&'static str, ArrayRef)> {
        let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
        let numbers: Vec<u64> = (from..from + rows as u64).collect();
        let seed = vec![self.report.seed; rows];
        vec![
            ("seed", Arc::new(UInt64Array::from(seed)) as ArrayRef),
            (
                "manifest_fingerprint",
                same(&self.report.manifest_fingerprint),
            ),
            ("scenario_id", same(&self.report.scenario_id)),
            ("flow_id", Arc::new(UInt64Array::from(numbers.clone()))),
            ("event_seq", Arc::new(Int64Array::from(vec![0; rows]))),
            ("merchant_id", Arc::new(UInt64Array::from(numbers))),
            ("arrival_seq", Arc::new(Int64Array::from(vec![1; rows]))),
        ]
    }

    /// A view of rows at these times (microseconds), cut into parts of `part` rows with row
    /// groups of `group` rows.
    pub fn at_times(&self, output: &str, micros: &[i64], part: usize, group: usize) {
        let mut parts = Vec::new();
        for (number, micros) in micros.chunks(part).enumerate() {
            let mut columns = self.key_columns((number * part) as u64, micros.len());
            let times = micros.iter().map(|&micros| {
                EventTime::from_micros(micros)
                    .expect("a year below 10000")
                    .to_string()
            });
            let times: ArrayRef = Arc::new(StringArray::from_iter_values(times));
            columns.push(("ts_utc", times));
            parts.push(vec![RecordBatch::try_from_iter(columns).expect("a batch")]);
        }
        let how = WriterProperties::builder()
            .set_max_row_group_row_count(Some(group))
            .build();
        self.replace(output, &parts, &how);
    }
}
