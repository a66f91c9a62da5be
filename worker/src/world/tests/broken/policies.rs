//! Policies: outputs, producers, catalogue.

use super::*;

pub(super) fn cases() -> Vec<Broken> {
    use Reason::{
        NoTrafficOutputs, OutputUnknown, PrimaryKeyMissing, ProducerAllowlistEmpty,
        ProducerAllowlistMissing, ProducerAllowlistUnreadable, ProducerIdMissing,
        ProducerNotAllowed, StreamFailed,
    };
    vec![
        broken(
            "no catalogue",
            StreamFailed,
            &["broken.yaml", "catalogue"],
            |w| {
                w.plan.compare_digests = false;
                w.plan.catalogue = named("");
            },
        ),
        broken(
            "an unreadable catalogue",
            StreamFailed,
            &["c.yaml", "gone away"],
            |w| {
                w.plan.catalogue = Named {
                    name: "c.yaml".into(),
                    text: Err("gone away".into()),
                }
            },
        ),
        broken(
            "no gate map",
            StreamFailed,
            &["broken.yaml", "gates", "line 1"],
            |w| {
                w.plan.compare_digests = false;
                w.plan.gate_map = named("outputs: []");
            },
        ),
        broken(
            "an output not allowed",
            NoTrafficOutputs,
            &["found keyless"],
            |w| w.plan.selection.outputs = vec!["keyless".into()],
        ),
        broken("no allowlist", NoTrafficOutputs, &["empty list"], |w| {
            w.plan.selection.traffic.clear()
        }),
        broken(
            "truth as traffic",
            NoTrafficOutputs,
            &["s4_truth", "truth"],
            |w| w.plan.selection.traffic = vec!["s4_truth".into()],
        ),
        broken(
            "unknown context",
            OutputUnknown,
            &["nowhere", "catalogue.yaml"],
            |w| w.plan.selection.context_fraud = vec!["nowhere".into()],
        ),
        broken("truth as context", OutputUnknown, &["s4_truth"], |w| {
            w.plan.selection.context_fraud = vec!["s4_truth".into()]
        }),
        broken(
            "no primary key",
            PrimaryKeyMissing,
            &["catalogue.yaml", "keyless"],
            |w| w.plan.selection.traffic.push("keyless".into()),
        ),
        broken("no producer", ProducerIdMissing, &["producer.id"], |w| {
            w.plan.producer_id = String::new()
        }),
        broken(
            "a blank producer",
            ProducerIdMissing,
            &["producer.id"],
            |w| w.plan.producer_id = " ".into(),
        ),
        broken(
            "no list of producers",
            ProducerAllowlistMissing,
            &["allowlist"],
            |w| w.plan.producer_allowlist = None,
        ),
        broken(
            "an absent list",
            ProducerAllowlistMissing,
            &["allow.txt", "gone"],
            |w| {
                w.plan.producer_allowlist = Some(Named {
                    name: "/nowhere/allow.txt".into(),
                    text: Err("gone".into()),
                })
            },
        ),
        broken(
            "an unreadable list",
            ProducerAllowlistUnreadable,
            &["stream did"],
            |w| {
                let file = w.path("allow.txt");
                std::fs::write(&file, b"\xff").unwrap();
                w.plan.producer_allowlist = Some(Named {
                    name: file.to_str().unwrap().into(),
                    text: Err("stream did not contain valid UTF-8".into()),
                });
            },
        ),
        broken(
            "an empty list",
            ProducerAllowlistEmpty,
            &["broken.yaml", "no id"],
            |w| w.plan.producer_allowlist = Some(named("\n # nobody\n")),
        ),
        broken(
            "another producer",
            ProducerNotAllowed,
            &["found svc:other", PRODUCER],
            |w| w.plan.producer_id = "svc:other".into(),
        ),
    ]
}
