//! Which platform run is the active one: as the spec says, or as a ConfigMap says at the moment that
//! it is asked, so that a message that follows a change of it is not taken for another run's.

use futures::FutureExt;
use futures::future::BoxFuture;
use worldstream_crds::plan::ready::ScopePlan;
use worldstream_crds::plan::values;

use super::cluster::Cluster;
use crate::ready::ActiveRun;

/// Who says it.
pub struct Scope<'a> {
    /// The API server.
    pub cluster: &'a Cluster,
    /// Where it is said.
    pub plan: &'a Option<ScopePlan>,
    /// No stream may begin, whichever run is active: messages wait.
    pub suspended: bool,
}

impl Scope<'_> {
    /// What is said now, whether or not streams may begin.
    pub async fn read(&self) -> Result<String, String> {
        let entry = match self.plan {
            Some(ScopePlan::PlatformRun(id)) => return Ok(id.clone()),
            Some(ScopePlan::ConfigMap(entry)) => entry,
            None => return Err("spec.scope says nothing".to_owned()),
        };
        let place = format!("ConfigMap {}: {}", entry.name, entry.key);
        let text = self.cluster.config_map_entry(&entry.name, &entry.key).await;
        let text = text
            .map_err(|refusal| format!("{place}: {refusal}"))?
            .ok_or_else(|| format!("{place}: is not there"))?;
        values::platform_run_id(text.trim().to_owned()).map_err(|why| format!("{place}: {why}"))
    }
}

impl ActiveRun for Scope<'_> {
    fn active(&self) -> BoxFuture<'_, Result<String, String>> {
        async {
            match self.suspended {
                true => Err("the trigger is suspended".to_owned()),
                false => self.read().await,
            }
        }
        .boxed()
    }
}
