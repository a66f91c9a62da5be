//! The seven steps of section 8, as far as they only decide: what is read and written around them
//! is the consumer's.

use worldstream_crds::Reason;

use super::facts::RunFacts;
use super::message::Ready;
use crate::failure::{Failure, Result};

/// The ids that message and facts agree about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// The platform run.
    pub platform_run_id: String,
    /// SR's scenario run.
    pub scenario_run_id: String,
}

/// Step 3: both sides name the same platform run and the same scenario run.
///
/// # Errors
/// `PLATFORM_RUN_ID_MISSING`, `PLATFORM_RUN_ID_MISMATCH`, and likewise of the scenario run.
pub fn agree(ready: &Ready, facts: &RunFacts) -> Result<Ids> {
    let same =
        |field: &str, ours: &Option<String>, theirs: &Option<String>, reasons: [Reason; 2]| {
            let [missing, mismatch] = reasons;
            let failure = |reason| {
                Failure::new(reason, format!("message {}", ready.message_id))
                    .field(field.to_owned())
            };
            let given = |id: &Option<String>| id.clone().filter(|id| !id.is_empty());
            match (given(ours), given(theirs)) {
                (Some(ours), Some(theirs)) if ours == theirs => Ok(ours),
                (Some(ours), Some(theirs)) => Err(failure(mismatch)
                    .found(ours)
                    .expected(format!("that of its run facts, {theirs}"))),
                (None, _) => Err(failure(missing).found("nothing").expected("an id")),
                (_, None) => Err(failure(missing)
                    .found("nothing in its run facts")
                    .expected("an id")),
            }
        };
    let platform = [Reason::PlatformRunIdMissing, Reason::PlatformRunIdMismatch];
    let scenario = [Reason::ScenarioRunIdMissing, Reason::ScenarioRunIdMismatch];
    let (ours, theirs) = (&ready.platform_run_id, &facts.platform_run_id);
    let platform_run_id = same("platform_run_id", ours, theirs, platform)?;
    let (ours, theirs) = (&ready.scenario_run_id, &facts.scenario_run_id);
    let scenario_run_id = same("scenario_run_id", ours, theirs, scenario)?;
    Ok(Ids {
        platform_run_id,
        scenario_run_id,
    })
}

/// Step 6, first half: the scenario.
///
/// # Errors
/// `SCENARIO_ID_MISSING`.
pub fn scenario(ready: &Ready, facts: &RunFacts) -> Result<String> {
    let given = facts.pins.scenario_id.clone().filter(|id| !id.is_empty());
    given.ok_or_else(|| {
        let message = format!("the run facts of message {}", ready.message_id);
        Failure::new(Reason::ScenarioIdMissing, message)
            .field("pins.scenario_id")
            .found("nothing")
            .expected("a scenario")
    })
}

/// Step 6, second half: the engine run root. The configured one wins over the message's, and that
/// over the facts'.
///
/// # Errors
/// `ENGINE_ROOT_MISSING`.
pub fn run_root(ready: &Ready, facts: &RunFacts, configured: Option<&str>) -> Result<String> {
    let filled = |root: &&str| !root.trim().is_empty();
    let roots = [configured, ready.engine_run_root(), facts.engine_run_root()];
    let root = roots.into_iter().flatten().find(filled);
    root.map(str::to_owned).ok_or_else(|| {
        let message = format!("message {}", ready.message_id);
        Failure::new(Reason::EngineRootMissing, message)
            .field("oracle_pack_ref.engine_run_root")
            .found("nothing, neither there nor in its run facts nor configured")
            .expected("a local path or s3://bucket/prefix")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::facts::Pins;
    use crate::ready::message::PackRef;

    fn pack(root: &str) -> Option<PackRef> {
        Some(PackRef {
            engine_run_root: Some(root.to_owned()).filter(|root| !root.is_empty()),
        })
    }

    fn both() -> (Ready, RunFacts) {
        let (platform, scenario) = (Some("p".to_owned()), Some("s".to_owned()));
        (
            Ready {
                message_id: "m".into(),
                run_id: "r".into(),
                platform_run_id: platform.clone(),
                scenario_run_id: scenario.clone(),
                facts_view_ref: "f".into(),
                oracle_pack_ref: None,
            },
            RunFacts {
                platform_run_id: platform,
                scenario_run_id: scenario,
                pins: Pins {
                    manifest_fingerprint: "mf".into(),
                    parameter_hash: "ph".into(),
                    seed: 7,
                    scenario_id: Some("baseline_v1".into()),
                },
                oracle_pack_ref: None,
            },
        )
    }

    #[test]
    fn ids_are_there_on_both_sides_and_the_same() {
        let (ready, facts) = both();
        assert_eq!(agree(&ready, &facts).unwrap().platform_run_id, "p");
        let id = |text: &str| Some(text.to_owned());
        for (side, field, value, reason) in [
            (0, "platform", None, Reason::PlatformRunIdMissing),
            (1, "platform", None, Reason::PlatformRunIdMissing),
            (1, "platform", id(""), Reason::PlatformRunIdMissing),
            (0, "platform", id("x"), Reason::PlatformRunIdMismatch),
            (1, "platform", id("x"), Reason::PlatformRunIdMismatch),
            (0, "scenario", None, Reason::ScenarioRunIdMissing),
            (1, "scenario", None, Reason::ScenarioRunIdMissing),
            (1, "scenario", id("x"), Reason::ScenarioRunIdMismatch),
        ] {
            let (mut ready, mut facts) = both();
            let place = match (side, field) {
                (0, "platform") => &mut ready.platform_run_id,
                (1, "platform") => &mut facts.platform_run_id,
                (0, _) => &mut ready.scenario_run_id,
                _ => &mut facts.scenario_run_id,
            };
            *place = value;
            assert_eq!(agree(&ready, &facts).unwrap_err().reason(), reason);
        }
        // The platform run is looked at first.
        let (mut ready, mut facts) = both();
        ready.scenario_run_id = None;
        facts.platform_run_id = id("x");
        let reason = agree(&ready, &facts).unwrap_err().reason();
        assert_eq!(reason, Reason::PlatformRunIdMismatch);
    }

    #[test]
    fn the_configured_root_wins_over_the_messages_and_that_over_the_facts() {
        for (configured, message, facts_root, expect) in [
            (Some("/c"), "/m", "/f", Some("/c")),
            (None, "/m", "/f", Some("/m")),
            (Some(""), "", "/f", Some("/f")),
            (None, " ", "/f", Some("/f")),
            (None, "", "", None),
        ] {
            let (mut ready, mut facts) = both();
            ready.oracle_pack_ref = pack(message);
            facts.oracle_pack_ref = pack(facts_root);
            let found = run_root(&ready, &facts, configured);
            match expect {
                Some(root) => assert_eq!(found.unwrap(), root),
                None => assert_eq!(found.unwrap_err().reason(), Reason::EngineRootMissing),
            }
        }
    }

    #[test]
    fn without_a_scenario_nothing_is_streamed() {
        let (ready, mut facts) = both();
        assert_eq!(scenario(&ready, &facts).unwrap(), "baseline_v1");
        facts.pins.scenario_id = None;
        let reason = scenario(&ready, &facts).unwrap_err().reason();
        assert_eq!(reason, Reason::ScenarioIdMissing);
    }
}
