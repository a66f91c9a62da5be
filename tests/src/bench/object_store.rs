//! The same world from MinIO and from this machine's disk, to the same sink.

use std::fs;
use std::path::Path;

use serde_json::json;
use worldstream_bed::stores::MinioServer;

use super::figures::spread;
use super::sink::Sink;
use super::whole_path::{LARGE, stream_as};
use super::{Goal, Measurement, Options, say, worlds};

const IN_FLIGHT: usize = 16;
/// What of the rate from disk is to be reached.
const GOAL: f64 = 0.9;
/// As without S3, and what is read ahead.
const MEMORY_GOAL: f64 = 48.0 + 32.0;
const BUCKET: &str = "worlds";

/// `object_store_16` and `object_store_memory`.
pub fn measure(options: &Options, show: &mut dyn FnMut(Measurement)) -> Result<(), String> {
    let (rate, memory) = ("object_store_16", "object_store_memory");
    if !options.wants_any(&[rate, memory]) {
        return Ok(());
    }
    let rows = if options.quick { 1_000_000 } else { LARGE };
    let world = worlds::sample(options, rows)?;
    say("putting the world into MinIO");
    let minio = MinioServer::start().map_err(|error| error.to_string())?;
    let bucket = minio.make_bucket(BUCKET);
    bucket
        .and_then(|bucket| bucket.upload(&world, "made"))
        .map_err(|error| error.to_string())?;
    let from_disk = worlds::profile(options)?;
    let from_minio = options.dir.join("profile-s3.yaml");
    let profile = profile(&minio, &world, &options.dir)?;
    fs::write(&from_minio, profile)
        .map_err(|error| format!("{}: {error}", from_minio.display()))?;

    let sink = Sink::start()?;
    let pairs = if options.quick { 3 } else { 7 };
    let events = (rows / 5).to_string();
    let (mut rates, mut peaks) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        let run = |profile: &Path| {
            let more = ["--speedup", "0", "--max-events-per-output", &events];
            stream_as(options, profile, &world, &sink.url, IN_FLIGHT, &more, &[])
        };
        let (minio, disk) = if pair % 2 == 0 {
            let minio = run(&from_minio)?;
            (minio, run(&from_disk)?)
        } else {
            let disk = run(&from_disk)?;
            (run(&from_minio)?, disk)
        };
        say(&format!(
            "{:.0} MinIO, {:.0} disk, {:.3}; {:.1} µs, {:.1} µs; {:.1} MiB, {:.1} MiB",
            minio.rate(),
            disk.rate(),
            minio.rate() / disk.rate(),
            minio.cpu_micros(),
            disk.cpu_micros(),
            minio.usage.peak_mib,
            disk.usage.peak_mib,
        ));
        rates.push((minio.rate(), disk.rate()));
        peaks.push(minio.usage.peak_mib);
    }
    let note = format!("the same world from disk, {events} events, {pairs} pairs");
    show(Measurement::paired(
        rate,
        "events/s",
        &rates,
        Goal::Ratio(GOAL),
        note,
    ));
    // A whole view: as much is read ahead as ever will be.
    let more = ["--speedup", "0"];
    let whole = stream_as(
        options,
        &from_minio,
        &world,
        &sink.url,
        IN_FLIGHT,
        &more,
        &[],
    )?;
    peaks.push(whole.usage.peak_mib);
    let note = format!(
        "VmHWM over {} events from MinIO, 32 MiB read ahead; all runs {}",
        whole.events,
        spread(&peaks)
    );
    show(Measurement::alone(
        memory,
        "MiB",
        peaks.iter().copied().fold(0.0, f64::max),
        Goal::AtMost(MEMORY_GOAL),
        note,
    ));
    Ok(())
}

/// The bench's profile, with the world read in MinIO.
fn profile(minio: &MinioServer, world: &Path, dir: &Path) -> Result<String, String> {
    let secret = |name: &str, value: &str| {
        let path = dir.join(name);
        fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(json!({"file": path}))
    };
    let document = json!({
        "apiVersion": "worldstream.io/v1alpha1",
        "kind": "StreamProfile",
        "metadata": {"name": "bench-s3"},
        "spec": {
            "world": {
                "mounts": [{"from": world, "to": format!("s3://{BUCKET}/made")}],
                "scenario": "baseline_v1",
                "s3": {
                    "endpoint": minio.endpoint(),
                    "region": minio.region,
                    "credentials": {
                        "accessKeyId": secret("minio-id", &minio.access_key)?,
                        "secretAccessKey": secret("minio-secret", &minio.secret_key)?,
                    },
                },
            },
            "require": {"manifest": false, "seal": false, "gates": "Existence"},
            "contextOutputs": {"fraud": {"outputIds": []}},
            "producer": {
                "id": "svc:world_stream_producer",
                "allowlist": {"builtIn": "producer_allowlist.txt"},
            },
        },
    });
    Ok(document.to_string())
}
