//! The platform in parity: the chart installed into a cluster, a run announced on its control bus,
//! the WorldStream that comes of it followed to its end, and everything that it left held against
//! what the same world gives in this process.

mod expected;
mod judge;
mod platform;
mod stores;

use std::time::Instant;

use worldstream::time::EventTime;
use worldstream::validate::{Checks, Report};
use worldstream_bed::Bed;

pub use platform::Platform;
pub use stores::{Stores, Where};

/// What `make parity` does, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace, made anew.
    pub namespace: String,
    /// Whether the three stores are pods of the chart, or processes of this machine behind Services.
    pub stores: Where,
    /// Rows of each event stream of the world.
    pub rows: u64,
    /// The run that is announced.
    pub platform_run_id: String,
    /// Leave everything as it is at the end.
    pub keep: bool,
}

/// What a message of a step that could not be made has between what went wrong and all that is there.
pub const WHAT_IS_THERE: &str = "\n\nwhat is there:\n";

/// What a run was.
pub struct Outcome {
    /// What held, and what did not.
    pub report: Report,
    /// The run's story, as `worldstream audit show` tells it.
    pub story: String,
    /// The stores live as long as this, where they are processes of this machine.
    pub stores: Stores,
}

/// The run in parity, from the installation to the report. `said` is told of each step.
///
/// Panics where a step cannot be made at all; what is not as it must be is in the report.
pub fn run(bed: &'static dyn Bed, options: &Options, said: &dyn Fn(&str)) -> Outcome {
    let began = Instant::now();
    let started = EventTime::wall_now();
    let step = |what: &str| said(&format!("{:6.1} s  {what}", began.elapsed().as_secs_f64()));
    step("images of this checkout");
    let images = crate::images(bed);
    step("stores");
    let stores = Stores::start(bed, options);
    step("helm install worldstream-parity");
    let mut platform = Platform::install(bed, images, &stores, options);
    step("the world is written, the trigger follows the bus");
    platform.until_seeded();
    let expected = expected::in_process(options);
    step("the same world is streamed in this process, too");
    let message = platform.publish();
    step("READY is published");
    let mut seen = |what: &str| step(what);
    let stream = platform.until_streamed(&message, &mut seen);
    step("its record is written");
    let left = platform.gather(&message, &stream);
    platform.publish_again(&message);
    step("the same READY again is a duplicate");
    let mut checks = Checks::default();
    judge::judge(&expected, &left, &message, options, &mut checks);
    judge::after_a_repeat(&left, &platform.gather(&message, &stream), &mut checks);
    let root = platform::WORLD.to_owned();
    let report = Report::new(
        "parity",
        &options.platform_run_id,
        &root,
        started,
        checks.made(),
    );
    let story = platform.told();
    if !options.keep && report.ok {
        platform.uninstall();
    }
    drop(platform);
    Outcome {
        report,
        story,
        stores,
    }
}
