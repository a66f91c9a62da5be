//! Which scenario: the one asked for, else the only one in the world (contracts section 1).

use std::collections::BTreeSet;

use worldstream_crds::Reason;

use super::WorldStore;
use super::root::is_s3;
use crate::failure::{Failure, Result};

/// Where folders `scenario_id=…` are looked for, at any depth.
const SEARCHED: [&str; 3] = ["data", "reports", "config"];

/// The scenario id: `asked` if it is not empty, else the only name among all folders
/// `scenario_id=…` of the world. A world whose root is in S3 is not searched, wherever it is
/// mounted, so that one command means the same everywhere.
///
/// # Errors
/// `SCENARIO_ID_MISSING` when there is none, `SCENARIO_ID_AMBIGUOUS` when there are several.
pub async fn resolve(store: &WorldStore, asked: Option<&str>) -> Result<String> {
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        return Ok(asked.to_owned());
    }
    if is_s3(store.root()) {
        return Err(Failure::new(Reason::ScenarioIdMissing, store.root())
            .field("scenario")
            .found("nothing")
            .expected("a scenario id")
            .detail("a root in S3 is not searched for scenarios"));
    }
    let found = search(store).await?;
    let mut names = found.iter();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(Failure::new(Reason::ScenarioIdMissing, store.root())
            .field("scenario")
            .found("no folder scenario_id=… below data/, reports/ or config/")
            .expected("a scenario id")),
        (Some(_), Some(_)) => Err(Failure::new(Reason::ScenarioIdAmbiguous, store.root())
            .field("scenario")
            .found(found.iter().cloned().collect::<Vec<_>>().join(", "))
            .expected("one scenario")),
    }
}

async fn search(store: &WorldStore) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<String> = SEARCHED.map(str::to_owned).to_vec();
    while let Some(folder) = open.pop() {
        let below = store.folders(&folder).await.map_err(|error| {
            let failure = Failure::new(Reason::ScenarioIdMissing, store.name(&folder));
            error.explain(failure.field("folders"))
        })?;
        for name in below {
            if let Some(scenario) = name.strip_prefix("scenario_id=")
                && !scenario.is_empty()
            {
                found.insert(scenario.to_owned());
            }
            open.push(format!("{folder}/{name}"));
        }
    }
    Ok(found)
}
