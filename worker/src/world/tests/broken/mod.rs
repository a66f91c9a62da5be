//! Small worlds with one thing broken each.

mod gates;
mod packs;
mod policies;
mod receipts;

use super::*;

struct Broken {
    name: &'static str,
    change: fn(&mut World),
    reason: Reason,
    message: &'static [&'static str],
}

fn broken(
    name: &'static str,
    reason: Reason,
    message: &'static [&'static str],
    change: fn(&mut World),
) -> Broken {
    Broken {
        name,
        change,
        reason,
        message,
    }
}

const RECEIPT: &str = "run_receipt.json";
const MANIFEST: &str = "_oracle_pack_manifest.json";
const SEAL: &str = "_SEALED.json";

/// The order of checks: with everything broken, each repair shows the next failure.
#[test]
fn the_first_check_that_fails_gives_the_code() {
    let mut world = World::whole();
    let root = world.plan.engine_run_root.clone();
    let whole = World::whole();
    let copy = |to: &World, file: &str| {
        to.write_bytes(file, &std::fs::read(whole.path(file)).unwrap());
    };
    world.plan.engine_run_root = String::new();
    world.plan.allowed_roots = vec!["/elsewhere".into()];
    world.write_bytes("run_receipt.json", b"{");
    world.plan.scenario = None;
    world.remove("_oracle_pack_manifest.json");
    world.remove("_SEALED.json");
    world.plan.catalogue = named("outputs: 1");
    world.plan.selection.outputs = vec!["nowhere".into()];
    world.plan.producer_id = String::new();
    world.remove(&world.gate("6B", "_passed.flag"));
    let failed = |world: &World| {
        wait(verify_with(&world.plan, async |store, _, output| {
            Err(Failure::new(Reason::StreamViewMissing, store.name(output)))
        }))
        .unwrap_err()
        .reason()
    };
    type Repair<'a> = &'a dyn Fn(&mut World);
    let repairs: [(Reason, Repair); 12] = [
        (Reason::EngineRootMissing, &|w| {
            w.plan.engine_run_root = root.clone()
        }),
        (Reason::RootNotAllowed, &|w| w.plan.allowed_roots.clear()),
        (Reason::RunReceiptUnreadable, &|w| {
            w.write_bytes("run_receipt.json", b"{}")
        }),
        (Reason::WorldKeyMissing, &|w| copy(w, "run_receipt.json")),
        (Reason::ScenarioIdMissing, &|w| {
            w.plan.scenario = Some("calm_v2".into())
        }),
        (Reason::PackManifestMissing, &|w| {
            copy(w, "_oracle_pack_manifest.json")
        }),
        (Reason::PackNotSealed, &|w| copy(w, "_SEALED.json")),
        (Reason::StreamFailed, &|w| {
            w.plan.catalogue = named(CATALOGUE)
        }),
        (Reason::NoTrafficOutputs, &|w| {
            w.plan.selection.outputs.clear()
        }),
        (Reason::GatePassMissing, &|w| {
            copy(w, &w.gate("6B", "_passed.flag"))
        }),
        (Reason::ProducerIdMissing, &|w| {
            w.plan.producer_id = PRODUCER.into()
        }),
        (Reason::StreamViewMissing, &|_| {}),
    ];
    world.plan.compare_digests = false;
    for (expect, repair) in repairs {
        assert_eq!(failed(&world), expect);
        repair(&mut world);
    }
}

/// One thing broken in each world: the code, and what the message names.
#[test]
fn broken_worlds_are_refused_with_their_code_and_a_message_that_names_what_is_wrong() {
    let tables = [
        receipts::cases(),
        packs::cases(),
        policies::cases(),
        gates::cases(),
    ];
    let mut tried = BTreeMap::new();
    for case in tables.into_iter().flatten() {
        let mut world = World::whole();
        (case.change)(&mut world);
        let failure = match wait(world.verify()) {
            Ok(_) => panic!("{}: verified", case.name),
            Err(failure) => failure,
        };
        assert_eq!(failure.reason(), case.reason, "{}: {failure}", case.name);
        for part in case.message {
            assert!(
                failure.message().contains(part),
                "{}: {part:?} is not in {failure}",
                case.name
            );
        }
        assert!(!failure.to_string().contains('\n'), "{failure}");
        *tried.entry(case.reason).or_insert(0) += 1;
    }
    assert!(tried.values().sum::<i32>() >= 110, "{tried:?}");
    assert!(tried.len() >= 20, "{tried:?}");
}
