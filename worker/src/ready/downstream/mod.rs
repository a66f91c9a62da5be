//! What must be up before a stream begins, and for which run (contracts section 8, step 5). A kind
//! is a file behind one trait.

mod file;
mod http;

use futures::future::BoxFuture;

use crate::failure::Result;
use crate::plan::S3Plan;
use crate::plan::ready::{DownstreamPlan, ProbePlan};

/// A part of the platform that can be asked whether it is up.
pub trait Downstream {
    /// What it is called in messages.
    fn name(&self) -> &str;

    /// Whether it is up, for this platform run where that matters; else what was found, in one
    /// line.
    fn look<'a>(&'a self, platform_run_id: &'a str) -> BoxFuture<'a, Result<(), String>>;
}

/// A part of the platform as a plan says it; none for a kind that only a cluster has.
///
/// # Errors
/// `STREAM_FAILED` for certificates that cannot be read.
pub fn open(plan: &DownstreamPlan, s3: &S3Plan) -> Result<Option<Box<dyn Downstream>>> {
    Ok(match &plan.probe {
        ProbePlan::Http(probe) => Some(Box::new(http::Http::new(plan, probe)?)),
        ProbePlan::File(path) => Some(Box::new(file::StateFile::new(plan, path, s3))),
        ProbePlan::Condition(_) => None,
    })
}

/// Looks at all of them; the first that is not up, with its name.
pub async fn all(parts: &[Box<dyn Downstream>], platform_run_id: &str) -> Result<(), String> {
    for part in parts {
        let look = part.look(platform_run_id).await;
        look.map_err(|why| format!("{}: {why}", part.name()))?;
    }
    Ok(())
}

/// Whether what is up is up for the right run. `active` is what it says, if it says anything.
pub fn same_run(required: bool, active: Option<&str>, platform_run_id: &str) -> Result<(), String> {
    match active.filter(|id| !id.is_empty()) {
        _ if !required => Ok(()),
        Some(active) if active == platform_run_id => Ok(()),
        Some(active) => Err(format!(
            "is up for {active:?}, expected {platform_run_id:?}"
        )),
        None => Err(format!(
            "does not say for which run it is up, expected {platform_run_id:?}"
        )),
    }
}
