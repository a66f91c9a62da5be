//! Which outputs are streamed, as a pure function of policy, narrowing and catalogue (contracts
//! section 2).

use crate::{Reason, TrafficMode};

use crate::catalogue::{Catalogue, CatalogueOutput};
use crate::failure::{Failure, Result};
use crate::plan::SelectionPlan;

/// Why an output is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A table that traffic refers to.
    Context,
    /// The traffic itself.
    Traffic,
}

/// The traffic output with fraud in it.
pub const FRAUD_TRAFFIC: &str = "s3_event_stream_with_fraud_6B";
/// The traffic output without fraud.
pub const BASELINE_TRAFFIC: &str = "s2_event_stream_baseline_6B";

/// What is streamed: context first, then traffic, no output twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The outputs, with why they are streamed.
    pub outputs: Vec<(Role, CatalogueOutput)>,
    /// Baseline when baseline traffic is streamed and fraud traffic is not.
    pub mode: TrafficMode,
    /// What is legal and worth saying.
    pub warnings: Vec<String>,
}

/// Selects the outputs.
///
/// # Errors
/// `NO_TRAFFIC_OUTPUTS` when nothing may be selected, or one traffic output that is wanted is not
/// on the allowlist, not in the catalogue, or never streamed: then nothing is. `OUTPUT_UNKNOWN`
/// for such a context output. `PRIMARY_KEY_MISSING` for an output with an empty primary key.
pub fn select(plan: &SelectionPlan, catalogue: &Catalogue) -> Result<Selection> {
    let traffic = traffic(plan, catalogue)?;
    let streams = |id: &str| traffic.iter().any(|output| output.id == id);
    let mode = match streams(BASELINE_TRAFFIC) && !streams(FRAUD_TRAFFIC) {
        true => TrafficMode::Baseline,
        false => TrafficMode::Fraud,
    };
    let (list, wanted) = match mode {
        TrafficMode::Fraud => ("context.fraud", &plan.context_fraud),
        TrafficMode::Baseline => ("context.baseline", &plan.context_baseline),
    };
    let mut outputs: Vec<(Role, CatalogueOutput)> = Vec::new();
    for id in wanted {
        let output = find(id, catalogue).map_err(|found| {
            Failure::new(Reason::OutputUnknown, list)
                .found(found)
                .expected("outputs of the catalogue that may be streamed")
        })?;
        add(&mut outputs, Role::Context, output);
    }
    for output in &traffic {
        add(&mut outputs, Role::Traffic, output);
    }
    for (_, output) in &outputs {
        if output.primary_key.is_empty() || output.primary_key.iter().any(String::is_empty) {
            return Err(Failure::new(Reason::PrimaryKeyMissing, &catalogue.name)
                .field(format!("{}: primary_key", output.id))
                .found(format!("{:?}", output.primary_key))
                .expected("at least one column, each with a name"));
        }
    }
    let mut warnings = Vec::new();
    if streams(BASELINE_TRAFFIC) && streams(FRAUD_TRAFFIC) {
        warnings.push(format!(
            "both {FRAUD_TRAFFIC} and {BASELINE_TRAFFIC} are streamed, with the context of fraud \
             traffic"
        ));
    }
    if let Some(asked) = plan.mode
        && asked != mode
    {
        warnings.push(format!(
            "{asked:?} traffic was asked for, and the context is that of {mode:?} traffic"
        ));
    }
    Ok(Selection {
        outputs,
        mode,
        warnings,
    })
}

/// The traffic that is wanted, each output once; never empty.
fn traffic<'a>(plan: &SelectionPlan, catalogue: &'a Catalogue) -> Result<Vec<&'a CatalogueOutput>> {
    let none = |field: &str| Failure::new(Reason::NoTrafficOutputs, "selection").field(field);
    let wanted = match plan.outputs.is_empty() {
        true => &plan.traffic,
        false => &plan.outputs,
    };
    if plan.traffic.is_empty() {
        return Err(none("traffic").found("an empty list").expected("outputs"));
    }
    let mut traffic: Vec<&CatalogueOutput> = Vec::new();
    for id in wanted {
        if !plan.traffic.contains(id) {
            return Err(none("outputs").found(id).expected(format!(
                "only outputs of the traffic list: {}",
                plan.traffic.join(", ")
            )));
        }
        let output = find(id, catalogue).map_err(|found| {
            none("traffic")
                .found(found)
                .expected("outputs of the catalogue that may be streamed")
        })?;
        if !traffic.iter().any(|known| known.id == output.id) {
            traffic.push(output);
        }
    }
    Ok(traffic)
}

/// The catalogue's output of this id, or what is wrong with it.
fn find<'a>(id: &str, catalogue: &'a Catalogue) -> Result<&'a CatalogueOutput, String> {
    let output = catalogue
        .get(id)
        .ok_or_else(|| format!("{id}, which is not in {}", catalogue.name))?;
    match never_streamed(output) {
        Some(kind) => Err(format!("{id}, a {kind} output, which is never streamed")),
        None => Ok(output),
    }
}

/// What an output is, if it may not be streamed whatever a policy says.
fn never_streamed(output: &CatalogueOutput) -> Option<&'static str> {
    let id = output.id.as_str();
    let is = |kind: &str| output.class == kind || id.split('_').any(|word| word == kind);
    if id.starts_with("s4_") || output.class == "truth" {
        Some("truth")
    } else if is("audit") {
        Some("audit")
    } else if is("telemetry") || id.starts_with("rng_") {
        Some("telemetry")
    } else {
        None
    }
}

fn add(outputs: &mut Vec<(Role, CatalogueOutput)>, role: Role, output: &CatalogueOutput) {
    if !outputs.iter().any(|(_, known)| known.id == output.id) {
        outputs.push((role, output.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Named;

    const CONTEXT: [&str; 3] = [
        "arrival_events_5B",
        "s1_arrival_entities_6B",
        "s3_flow_anchor_with_fraud_6B",
    ];

    fn catalogue() -> Catalogue {
        let mut text = String::from("outputs:\n");
        for id in [
            FRAUD_TRAFFIC,
            BASELINE_TRAFFIC,
            "arrival_events_5B",
            "s1_arrival_entities_6B",
            "s3_flow_anchor_with_fraud_6B",
            "s2_flow_anchor_baseline_6B",
            "s4_event_labels_6B",
            "s7_audit_report",
            "rng_trace_log_1A",
            "other",
        ] {
            text.push_str(&format!(
                "- {{output_id: {id}, path_template: x, primary_key: [a]}}\n"
            ));
        }
        text.push_str("- {output_id: nameless, path_template: x, primary_key: [a, '']}\n");
        text.push_str("- {output_id: keyless, path_template: x, primary_key: []}\n");
        text.push_str("- {output_id: logs, class: telemetry, path_template: x}\n");
        Catalogue::parse(&Named {
            name: "cat.yaml".into(),
            text: Ok(text),
        })
        .unwrap()
    }

    fn ids(list: &[&str]) -> Vec<String> {
        list.iter().map(|id| id.to_string()).collect()
    }

    fn plan(traffic: &[&str], outputs: &[&str]) -> SelectionPlan {
        SelectionPlan {
            traffic: ids(traffic),
            context_fraud: ids(&CONTEXT),
            context_baseline: ids(&["arrival_events_5B", "s2_flow_anchor_baseline_6B"]),
            mode: None,
            outputs: ids(outputs),
        }
    }

    fn chosen(plan: &SelectionPlan) -> (Vec<String>, TrafficMode, usize) {
        let selection = select(plan, &catalogue()).unwrap();
        let first_traffic = selection
            .outputs
            .iter()
            .position(|(role, _)| *role == Role::Traffic)
            .unwrap_or(selection.outputs.len());
        assert!(
            selection.outputs[first_traffic..]
                .iter()
                .all(|(role, _)| *role == Role::Traffic),
            "context after traffic"
        );
        let outputs = selection.outputs.into_iter().map(|(_, o)| o.id).collect();
        (outputs, selection.mode, selection.warnings.len())
    }

    #[test]
    fn traffic_decides_the_context_which_comes_first() {
        let mut fraud = ids(&CONTEXT);
        fraud.push(FRAUD_TRAFFIC.into());
        let baseline = ids(&[
            "arrival_events_5B",
            "s2_flow_anchor_baseline_6B",
            BASELINE_TRAFFIC,
        ]);
        let mut both = fraud.clone();
        both.push(BASELINE_TRAFFIC.into());
        let all = [FRAUD_TRAFFIC, BASELINE_TRAFFIC];
        for (traffic, outputs, expect, mode, warnings) in [
            (&all[..1], &[][..], &fraud, TrafficMode::Fraud, 0),
            (&all[1..], &[], &baseline, TrafficMode::Baseline, 0),
            (&all[..], &[], &both, TrafficMode::Fraud, 1),
            (&all[..], &all[1..], &baseline, TrafficMode::Baseline, 0),
            (&all[..], &all[..1], &fraud, TrafficMode::Fraud, 0),
            (
                &all[..1],
                &[FRAUD_TRAFFIC, FRAUD_TRAFFIC],
                &fraud,
                TrafficMode::Fraud,
                0,
            ),
        ] {
            let plan = plan(traffic, outputs);
            assert_eq!(chosen(&plan), (expect.clone(), mode, warnings), "{plan:?}");
        }
        let mut asked = plan(&all[1..], &[]);
        asked.mode = Some(TrafficMode::Fraud);
        assert_eq!(chosen(&asked), (baseline, TrafficMode::Baseline, 1));
        let (outputs, mode, _) = chosen(&plan(&["other"], &[]));
        assert_eq!((outputs.len(), mode), (4, TrafficMode::Fraud));
    }

    #[test]
    fn an_output_that_is_context_and_traffic_is_streamed_once() {
        let (outputs, ..) = chosen(&plan(&["arrival_events_5B", FRAUD_TRAFFIC], &[]));
        let mut expect = ids(&CONTEXT);
        expect.push(FRAUD_TRAFFIC.into());
        assert_eq!(outputs, expect);
    }

    #[test]
    fn what_may_not_be_selected_selects_nothing() {
        for (traffic, outputs, part) in [
            (&[][..], &[][..], "empty"),
            (&[], &[FRAUD_TRAFFIC], "empty"),
            (&[FRAUD_TRAFFIC], &["other"], "found other"),
            (&[FRAUD_TRAFFIC], &[FRAUD_TRAFFIC, "other"], "found other"),
            (
                &[FRAUD_TRAFFIC, "nowhere"],
                &[],
                "nowhere, which is not in cat.yaml",
            ),
            (&["nowhere"], &["nowhere"], "nowhere"),
            (&[FRAUD_TRAFFIC, "s4_event_labels_6B"], &[], "truth"),
            (&["s7_audit_report"], &[], "audit"),
            (&["rng_trace_log_1A"], &[], "telemetry"),
            (&["logs"], &[], "telemetry"),
        ] {
            let failure = select(&plan(traffic, outputs), &catalogue()).unwrap_err();
            assert_eq!(failure.reason(), Reason::NoTrafficOutputs, "{failure}");
            assert!(failure.message().contains(part), "{failure}");
        }
    }

    #[test]
    fn context_must_be_known_and_keys_must_be_there() {
        for (context, reason, part) in [
            (
                "nowhere",
                Reason::OutputUnknown,
                "nowhere, which is not in cat.yaml",
            ),
            ("s4_event_labels_6B", Reason::OutputUnknown, "truth"),
            (
                "keyless",
                Reason::PrimaryKeyMissing,
                "keyless: primary_key: found []",
            ),
            ("nameless", Reason::PrimaryKeyMissing, r#"found ["a", ""]"#),
        ] {
            let mut plan = plan(&[FRAUD_TRAFFIC], &[]);
            plan.context_fraud.push(context.into());
            let failure = select(&plan, &catalogue()).unwrap_err();
            assert_eq!(failure.reason(), reason);
            assert!(failure.message().contains(part), "{failure}");
        }
        // The other mode's list is not looked at.
        let mut plan = plan(&[FRAUD_TRAFFIC], &[]);
        plan.context_baseline.push("nowhere".into());
        select(&plan, &catalogue()).unwrap();
    }
}
