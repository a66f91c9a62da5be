//! Reason codes (contracts section 10) and exit codes (the worker's contract with whatever runs
//! it). One table for both, so that a code cannot be used without an exit code.

use std::fmt;

/// How a `worldstream` process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything was sent and saved.
    Done = 0,
    /// The command line, or a plan of another version.
    Usage = 2,
    /// Failed closed: a check did not hold, and the reason code says which.
    FailClosed = 10,
    /// IG refused an event for good, or quarantined more than allowed.
    Refused = 11,
    /// Another holder has the checkpoint.
    Fenced = 12,
    /// IG or a store was away for longer than allowed.
    Unavailable = 13,
    /// Interrupted; everything in flight was awaited and saved.
    Interrupted = 14,
}

impl ExitCode {
    /// Every exit code with what it means, for `--help` and the documentation.
    pub const ALL: &'static [(ExitCode, &'static str)] = &[
        (ExitCode::Done, "done"),
        (ExitCode::Usage, "usage, or a plan of another version"),
        (ExitCode::FailClosed, "failed closed, with a reason code"),
        (
            ExitCode::Refused,
            "refused by IG, or beyond the quarantine limit",
        ),
        (
            ExitCode::Fenced,
            "fenced: somebody else holds the checkpoint",
        ),
        (
            ExitCode::Unavailable,
            "IG or a store unavailable for longer than allowed",
        ),
        (ExitCode::Interrupted, "interrupted, everything saved"),
    ];

    /// The number that the process exits with.
    pub fn code(self) -> u8 {
        self as u8
    }
}

macro_rules! reasons {
    ($($variant:ident = $text:literal, $exit:ident, $meaning:literal, $advice:literal;)*) => {
        /// Why something failed. The text of a code is part of the contract and never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The code as it is written everywhere, such as `STREAM_VIEW_MISSING`.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $text,)* }
            }

            /// What the code means, one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => $meaning,)* }
            }

            /// What a person who sees the code should do, one sentence.
            pub fn advice(self) -> &'static str {
                match self { $(Reason::$variant => $advice,)* }
            }

            /// How a process ends that fails with this reason.
            pub fn exit_code(self) -> ExitCode {
                match self { $(Reason::$variant => ExitCode::$exit,)* }
            }
        }
    };
}

reasons! {
    EngineRootMissing = "ENGINE_ROOT_MISSING", FailClosed,
        "No engine run root was given.",
        "Name the world: spec.engineRunRoot, or --engine-run-root.";
    PlatformRunIdMissing = "PLATFORM_RUN_ID_MISSING", FailClosed,
        "No platform run id was given.",
        "Give one of the form platform_YYYYMMDDTHHMMSSZ: spec.platformRunId, or --platform-run-id.";
    RootNotAllowed = "ROOT_NOT_ALLOWED", FailClosed,
        "The engine run root lies outside the roots that the profile allows.",
        "Use a world below one of the profile's allowed roots, or have the profile changed.";
    RunReceiptUnreadable = "RUN_RECEIPT_UNREADABLE", FailClosed,
        "run_receipt.json is absent, is not JSON, or the run root does not exist.",
        "Check the run root and its mount; the world may not be there, or not be complete.";
    WorldKeyMissing = "WORLD_KEY_MISSING", FailClosed,
        "run_receipt.json lacks a field of the world key, or its seed is no unsigned 64-bit integer.",
        "The receipt is not one of an engine run; have the world made again.";
    ScenarioIdMissing = "SCENARIO_ID_MISSING", FailClosed,
        "No scenario was given and none can be found in the world.",
        "Give the scenario: spec.scenario, or --scenario.";
    ScenarioIdAmbiguous = "SCENARIO_ID_AMBIGUOUS", FailClosed,
        "No scenario was given and the world holds several.",
        "Give the scenario: spec.scenario, or --scenario.";
    PackManifestMissing = "PACK_MANIFEST_MISSING", FailClosed,
        "The profile requires a pack manifest and the world has none.",
        "Seal the world, or use a profile that takes unsealed ones (local).";
    PackManifestInvalid = "PACK_MANIFEST_INVALID", FailClosed,
        "_oracle_pack_manifest.json is not a manifest: a field is missing, too many, or of another type, or its id is not that of its fields.",
        "Have the world sealed again by the tool that made it.";
    WorldKeyMismatch = "WORLD_KEY_MISMATCH", FailClosed,
        "The pack manifest is of another world or scenario than the receipt.",
        "Two worlds were mixed up in one root, or another scenario was asked for.";
    PackNotSealed = "PACK_NOT_SEALED", FailClosed,
        "The profile requires a seal and there is none, or the seal says SEALED_FAILED.",
        "Seal the world, or find out why its sealing failed.";
    SealMismatch = "SEAL_MISMATCH", FailClosed,
        "The seal is of another pack than the manifest, or is not a seal.",
        "Two worlds were mixed up in one root; have the world sealed again.";
    ManifestMismatch = "MANIFEST_MISMATCH", FailClosed,
        "The manifest at hand differs from the one expected (catalogue, gate map, or a second sealing).",
        "Use the catalogue and gate map that the world was sealed with.";
    NoTrafficOutputs = "NO_TRAFFIC_OUTPUTS", FailClosed,
        "The selection of outputs is empty: one that was asked for is not allowed, or not in the catalogue.",
        "Ask only for outputs on the profile's traffic list.";
    OutputUnknown = "OUTPUT_UNKNOWN", FailClosed,
        "A context output is not in the catalogue.",
        "Correct the profile's context list, or its catalogue.";
    GatePassMissing = "GATE_PASS_MISSING", FailClosed,
        "A required gate has no flag, no bundle, no index, or a listed file is absent.",
        "The world is not complete, or its validation did not pass.";
    GatePassInvalid = "GATE_PASS_INVALID", FailClosed,
        "A required gate's flag does not carry the digest of its bundle.",
        "The world was changed after its validation; have it made again.";
    ProducerIdMissing = "PRODUCER_ID_MISSING", FailClosed,
        "The profile names no producer.",
        "Set the profile's producer.id.";
    ProducerAllowlistMissing = "PRODUCER_ALLOWLIST_MISSING", FailClosed,
        "The profile names no producer allowlist, or the file is absent.",
        "Set the profile's producer.allowlist.";
    ProducerAllowlistUnreadable = "PRODUCER_ALLOWLIST_UNREADABLE", FailClosed,
        "The producer allowlist cannot be read as text.",
        "Check the file and its permissions.";
    ProducerAllowlistEmpty = "PRODUCER_ALLOWLIST_EMPTY", FailClosed,
        "The producer allowlist names nobody.",
        "Add the producer, an id a line.";
    ProducerNotAllowed = "PRODUCER_NOT_ALLOWED", FailClosed,
        "The producer is not on the allowlist.",
        "Have the producer added to the allowlist.";
    CheckpointDsnMissing = "CHECKPOINT_DSN_MISSING", FailClosed,
        "The checkpoint store is a database and no connection is configured.",
        "Set the profile's checkpoint connection.";
    CheckpointUnreadable = "CHECKPOINT_UNREADABLE", FailClosed,
        "A cursor exists and is not one: truncated, of another key, or with wrong fields.",
        "Look at it with `worldstream checkpoints show`; reset it only if starting over is right.";
    CheckpointConflict = "CHECKPOINT_CONFLICT", Fenced,
        "Another holder has the checkpoint of this output.",
        "Find the other process or stream; two must not send one output.";
    StreamViewMissing = "STREAM_VIEW_MISSING", FailClosed,
        "A view's manifest or receipt is absent, unreadable or empty.",
        "Build the view, or check that the world is complete.";
    StreamViewReceiptBad = "STREAM_VIEW_RECEIPT_BAD", FailClosed,
        "The view's receipt says that sorting did not end well.",
        "Build the view again.";
    StreamViewIdMismatch = "STREAM_VIEW_ID_MISMATCH", FailClosed,
        "The view was built for another run root, scenario or output.",
        "Name the world by the root that its views were built under, and map it with mounts.";
    StreamViewOutputMismatch = "STREAM_VIEW_OUTPUT_MISMATCH", FailClosed,
        "The view's manifest or receipt names another output.",
        "Views were mixed up; build the view again.";
    StreamViewEmpty = "STREAM_VIEW_EMPTY", FailClosed,
        "The view's folder holds no part.",
        "Build the view again.";
    StreamViewChanged = "STREAM_VIEW_CHANGED", FailClosed,
        "The view's parts are not what the plan or the cursor saw.",
        "The view was rebuilt or replaced. Start a new attempt to stream it from the beginning.";
    StreamReceiptMismatch = "STREAM_RECEIPT_MISMATCH", FailClosed,
        "A view is there already, and its receipt is of other raw parts, another world or another output, or does not say OK.",
        "Find out which of the two is right; to build the view anew, take its folder away first.";
    StreamViewPartialExists = "STREAM_VIEW_PARTIAL_EXISTS", FailClosed,
        "The view's folder holds parts and no receipt: somebody began it otherwise, or lost its receipt.",
        "Take the folder away once it is certain that nobody needs it, and build again.";
    StreamReceiptMissing = "STREAM_RECEIPT_MISSING", FailClosed,
        "The view's folder holds a manifest and no receipt.",
        "Take the folder away once it is certain that nobody needs it, and build again.";
    StreamSortValidationFailed = "STREAM_SORT_VALIDATION_FAILED", FailClosed,
        "What was written is not what was read: rows, hash sums, time range or order differ. Nothing was published.",
        "Build again; if it fails again, the raw parts change while they are read, or the machine or its disk is faulty.";
    StreamViewPayloadMissing = "STREAM_VIEW_PAYLOAD_MISSING", FailClosed,
        "A row's payload_json is null.",
        "Build the view again from sound parts.";
    PrimaryKeyMissing = "PRIMARY_KEY_MISSING", FailClosed,
        "An output has no primary key, or a row lacks a value of it.",
        "Correct the catalogue, or the world.";
    LaneConfigInvalid = "WSP_LANE_CONFIG_INVALID", FailClosed,
        "The number of lanes or the lane's index is out of range.",
        "Use 1 to 64 lanes and an index below their number.";
    IgPushRejected = "IG_PUSH_REJECTED", Refused,
        "IG answered an event with a refusal that trying again does not change.",
        "Look at the answer in the message: credentials, route or the event itself.";
    IgPushRetryExhausted = "IG_PUSH_RETRY_EXHAUSTED", Unavailable,
        "IG did not take an event within the allowed attempts or time.",
        "Check IG. Starting again goes on at the cursor.";
    IgQuarantineLimit = "IG_QUARANTINE_LIMIT", Refused,
        "IG quarantined more events than the profile allows.",
        "Look at IG's receipts for the reason; raise the limit only on purpose.";
    LagLimit = "LAG_LIMIT", FailClosed,
        "An output fell behind the clock by more than maxLag, and the policy is Fail.",
        "Lower the speedup, raise the requests in flight, or choose another overload policy.";
    ControlBusKindUnsupported = "CONTROL_BUS_KIND_UNSUPPORTED", FailClosed,
        "The control bus is of a kind that does not exist.",
        "Use one of the documented kinds.";
    ControlBusStreamMissing = "CONTROL_BUS_STREAM_MISSING", FailClosed,
        "The control bus names no stream.",
        "Name the bus's stream or root; a stream must exist, in the account, region and endpoint that are asked.";
    RunFactsInvalid = "RUN_FACTS_INVALID", FailClosed,
        "The run facts that a READY message points at are absent, outside of the allowed roots, or do not hold against their schema.",
        "Look at the facts at facts_view_ref; the Scenario Runner has to write them again and publish again.";
    PlatformRunIdMismatch = "PLATFORM_RUN_ID_MISMATCH", FailClosed,
        "A READY message and its run facts are of two platform runs.",
        "Two runs were mixed up by whoever published; have it publish again with the facts of this run.";
    ScenarioRunIdMissing = "SCENARIO_RUN_ID_MISSING", FailClosed,
        "A READY message or its run facts name no scenario run.",
        "Have the Scenario Runner publish again with its run id.";
    ScenarioRunIdMismatch = "SCENARIO_RUN_ID_MISMATCH", FailClosed,
        "A READY message and its run facts are of two scenario runs.",
        "Two runs were mixed up by whoever published; have it publish again with the facts of this run.";
    PlatformRunScopeMismatch = "PLATFORM_RUN_SCOPE_MISMATCH", FailClosed,
        "A READY message is of another platform run than the active one, and was skipped.",
        "Nothing, if another trigger follows that run; else correct the trigger's scope, and publish again under another message id.";
    StreamFailed = "STREAM_FAILED", FailClosed,
        "Something that none of the other codes names; the message says what and where.",
        "Read the message: it names what failed and where in it, such as the file, the row and the column.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_upper_case() {
        let texts: BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(texts.len(), Reason::ALL.len());
        for text in texts {
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit()),
                "{text}"
            );
        }
    }
}
