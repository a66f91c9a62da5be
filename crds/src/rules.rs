//! The rules of the API that are no plain schema, as CEL in the definitions: what one document can
//! be checked for by the API server itself, with no webhook and no certificate.
//!
//! A document that a rule refuses would be refused by `worldstream run -f` too, in its own words.
//! What has a reason code (contracts section 10), or depends on another object, is no rule: it is
//! a condition of the stream. Rules about changes stand at the root of the schema: one of a field
//! is not run when the field is taken away.

mod checkpoints;
mod triggers;
mod worlds;

use serde_json::{Value, json};

pub use triggers::LONGEST_TRIGGER;

use crate::names::LONGEST_STREAM;
use crate::plan::built_in;

/// A rule, and where in a definition's schema it stands.
pub struct Rule {
    /// `""` is the object itself, `spec.ratePlan[]` a step of the rate plan.
    pub path: String,
    /// CEL; `self` is what stands at the path.
    pub rule: String,
    /// What a person reads who breaks it.
    pub message: String,
    /// The field that the message is about, below the path.
    pub field: Option<String>,
}

/// The rules of a kind.
pub fn rules(kind: &str) -> Vec<Rule> {
    let mut rules = Rules(Vec::new());
    match kind {
        "WorldStream" => stream(&mut rules),
        "StreamProfile" => profile(&mut rules),
        "StreamClock" => clock(&mut rules),
        "StreamCheckpoint" => checkpoint(&mut rules),
        "ReadyTrigger" => triggers::trigger(&mut rules),
        _ => {}
    }
    rules.0
}

/// Writes the rules of a kind into its schema. Panics if a path leads nowhere, which a test would
/// have shown.
pub fn write(kind: &str, schema: &mut Value) {
    for rule in rules(kind) {
        let place = rule
            .path
            .split('.')
            .filter(|part| !part.is_empty())
            .try_fold(&mut *schema, |at, part| {
                let name = part.trim_end_matches("[]");
                let at = at.get_mut("properties")?.get_mut(name)?;
                match part.ends_with("[]") {
                    true => at.get_mut("items"),
                    false => Some(at),
                }
            });
        let place = place.unwrap_or_else(|| panic!("{kind} has no field {}", rule.path));
        let mut value = json!({ "rule": rule.rule, "message": rule.message });
        if let Some(field) = &rule.field {
            value["fieldPath"] = json!(format!(".{field}"));
        }
        let all = &mut place["x-kubernetes-validations"];
        match all.as_array_mut() {
            Some(all) => all.push(value),
            None => *all = json!([value]),
        }
    }
}

struct Rules(Vec<Rule>);

impl Rules {
    fn at(&mut self, path: &str, rule: impl Into<String>, message: impl Into<String>) {
        self.0.push(Rule {
            path: path.into(),
            rule: rule.into(),
            message: message.into(),
            field: None,
        });
    }

    /// One whose message is about a field below the path.
    fn of(&mut self, path: &str, field: &str, rule: impl Into<String>, message: impl Into<String>) {
        self.at(path, rule, message);
        if let Some(last) = self.0.last_mut() {
            last.field = Some(field.into());
        }
    }

    /// Durations that are more than nothing.
    fn some_time(&mut self, paths: &[&str]) {
        for path in paths {
            self.at(
                path,
                "duration(self) > duration('0s')",
                "expected more than 0",
            );
        }
    }

    /// Exactly one of an object's fields.
    fn one_of(&mut self, path: &str, fields: &[&str]) {
        let given: Vec<_> = fields.iter().map(|it| format!("has(self.{it})")).collect();
        let rule = format!("[{}].exists_one(given, given)", given.join(", "));
        self.at(
            path,
            rule,
            format!("expected exactly one of {}", fields.join(", ")),
        );
    }

    /// A text of a profile.
    fn text_source(&mut self, path: &str) {
        self.one_of(path, &["file", "builtIn", "inline", "configMap"]);
        self.built_in(path);
    }

    /// A list of output ids of a profile.
    fn output_list(&mut self, path: &str) {
        self.one_of(path, &["file", "builtIn", "outputIds", "configMap"]);
        self.built_in(path);
        self.output_ids(&format!("{path}.outputIds"));
    }

    fn built_in(&mut self, path: &str) {
        let known: Vec<&str> = built_in::FILES
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| !name.starts_with("profiles/") && !name.starts_with("schemas/"))
            .collect();
        let list: Vec<_> = known.iter().map(|name| format!("'{name}'")).collect();
        self.at(
            &format!("{path}.builtIn"),
            format!("self in [{}]", list.join(", ")),
            format!("expected one of {}", known.join(", ")),
        );
    }

    fn output_ids(&mut self, path: &str) {
        self.at(
            &format!("{path}[]"),
            "self.matches('^[A-Za-z0-9_.-]+$')",
            "expected an output id of letters, digits, underscores, hyphens and dots",
        );
    }

    fn secret(&mut self, path: &str) {
        self.one_of(path, &["file", "env", "secret"]);
    }

    /// A volume's path in the pods; what the pods have there already is not covered up.
    fn volume(&mut self, path: &str) {
        self.at(
            &format!("{path}.mountPath"),
            "self.startsWith('/') && self.split('/').all(part, part != '..' && part != '.') && \
             ['/etc', '/var/run/worldstream', '/run', '/proc', '/sys', '/dev'].all(taken, \
             self != taken && !self.startsWith(taken + '/'))",
            "expected an absolute path without `..`, and not below /etc, /run, /proc, /sys, /dev or \
             /var/run/worldstream",
        );
        self.at(
            &format!("{path}.subPath"),
            "!self.startsWith('/') && self.split('/').all(part, part != '..')",
            "expected a relative path without `..`",
        );
    }
}

/// What decides the bytes of a stream, and which rows.
pub const IMMUTABLE: [&str; 13] = [
    "profile",
    "engineRunRoot",
    "scenario",
    "trafficMode",
    "outputs",
    "platformRunId",
    "scenarioRunId",
    "startFrom",
    "until",
    "maxEventsPerOutput",
    "lanes",
    "inFlight",
    "ratePlan",
];

fn stream(rules: &mut Rules) {
    rules.at(
        "",
        format!("size(self.metadata.name) <= {LONGEST_STREAM}"),
        format!(
            "metadata.name: expected at most {LONGEST_STREAM} characters, as it is the value of a label"
        ),
    );
    for field in IMMUTABLE {
        rules.of(
            "",
            &format!("spec.{field}"),
            format!(
                "!has(oldSelf.status) || !has(oldSelf.status.startedAt) || \
                 (has(self.spec.{field}) ? has(oldSelf.spec.{field}) && \
                 self.spec.{field} == oldSelf.spec.{field} : !has(oldSelf.spec.{field}))"
            ),
            format!(
                "spec.{field} decides what is sent and cannot change once the stream has started; \
                 make another WorldStream"
            ),
        );
    }
    rules.of(
        "",
        "spec.retry",
        "!has(oldSelf.spec.retry) || (has(self.spec.retry) && self.spec.retry >= oldSelf.spec.retry)",
        "spec.retry counts the orders to try again, and only grows",
    );
    rules.of(
        "spec",
        "until",
        "!has(self.startFrom) || !has(self.until) || self.startFrom < self.until",
        "until: expected a time after startFrom",
    );
    rules.at(
        "spec.scenario",
        "!self.contains('/') && !self.contains('\\\\')",
        "expected a name without slashes, such as baseline_v1",
    );
    rules.at(
        "spec.attempt",
        "!self.contains('|')",
        "expected a name without a bar (|)",
    );
    rules.output_ids("spec.outputs");
    rules.of(
        "spec.lanes",
        "only",
        "!has(self.only) || self.only < self.count",
        "only: expected a lane from 0 and below count",
    );
    rules.at(
        "spec.ratePlan",
        "self.map(step, step.start_offset_seconds).isSorted() && \
         self.all(step, self.exists_one(other, other.start_offset_seconds == step.start_offset_seconds))",
        "expected each step to start after the one before it (start_offset_seconds)",
    );
    rules.at(
        "spec.ratePlan[].target_eps",
        "self > 0.0",
        "expected more than 0",
    );
    rules.some_time(&["spec.maxLag"]);
}

fn profile(rules: &mut Rules) {
    for path in ["spec.catalogue", "spec.gateMap", "spec.producer.allowlist"] {
        rules.text_source(path);
    }
    for list in ["fraud", "baseline", "allowlist"] {
        rules.output_list(&format!("spec.trafficOutputs.{list}"));
    }
    for list in ["fraud", "baseline"] {
        rules.output_list(&format!("spec.contextOutputs.{list}"));
    }
    rules.of(
        "spec.trafficOutputs",
        "allowlist",
        "!has(self.allowlist) || (!has(self.fraud) && !has(self.baseline))",
        "allowlist: is given together with lists by mode, expected either",
    );
    worlds::stores(rules);
    rules.one_of("spec.gate.auth", &["apiKey", "serviceToken", "signedToken"]);
    for secret in ["apiKey", "serviceToken", "signedToken.secret"] {
        rules.secret(&format!("spec.gate.auth.{secret}"));
    }
    rules.of(
        "spec.gate",
        "caConfigMap",
        "!has(self.caFile) || !has(self.caConfigMap)",
        "caConfigMap: is given together with caFile, expected either",
    );
    rules.some_time(&[
        "spec.gate.timeout",
        "spec.gate.unavailableFor",
        "spec.gate.retry.base",
        "spec.checkpoints.flushInterval",
        "spec.checkpoints.unavailableFor",
        "spec.checkpoints.maxUnsaved",
        "spec.clock.primeTimeout",
        "spec.clock.maxSkew",
        "spec.defaults.maxLag",
    ]);
    rules.of(
        "spec.gate.retry",
        "max",
        "duration(self.max) >= duration(self.base)",
        "max: expected at least base",
    );
    rules.of(
        "spec.gate.quarantine",
        "policy",
        "self.policy != 'Stop' || has(self.maxCount) || has(self.maxShare)",
        "policy: Stop needs a bound, expected maxCount, maxShare or both",
    );
    rules.of(
        "spec.gate.quarantine",
        "policy",
        "self.policy != 'Continue' || (!has(self.maxCount) && !has(self.maxShare))",
        "policy: a bound does nothing with Continue, expected Stop",
    );
    checkpoints::stores(rules);
    triggers::downstream(rules);
    rules.at(
        "spec.clock.lead",
        "duration(self) <= duration('1m')",
        "expected at most 1m",
    );
    rules.at(
        "spec.defaults.catchUpEps",
        "self > 0.0",
        "expected more than 0",
    );
    rules.at(
        "spec.worker.env[].name",
        "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
        "expected letters, digits and underscores, such as HTTPS_PROXY",
    );
    rules.at(
        "spec.worker.env[].name",
        "!self.startsWith('POD_') && !self.startsWith('JOB_') && !self.startsWith('WORLDSTREAM_')",
        "names that begin with POD_, JOB_ or WORLDSTREAM_ are the operator's",
    );
    for map in ["labels", "annotations"] {
        rules.at(
            &format!("spec.worker.podTemplate.{map}"),
            "self.all(key, !key.startsWith('worldstream.io/') && \
             !key.startsWith('app.kubernetes.io/') && !key.contains('kubernetes.io/job') && \
             !key.startsWith('batch.kubernetes.io/') && \
             !key.contains('alpha.kubernetes.io/') && !key.contains('beta.kubernetes.io/'))",
            "keys of worldstream.io, app.kubernetes.io and batch.kubernetes.io are the operator's, and \
             those that weaken a pod's confinement are nobody's",
        );
    }
    rules.of(
        "spec",
        "worker.podTemplate.terminationGracePeriodSeconds",
        "!has(self.worker) || !has(self.worker.podTemplate) || \
         !has(self.worker.podTemplate.terminationGracePeriodSeconds) || !has(self.gate) || \
         !has(self.gate.timeout) || \
         self.worker.podTemplate.terminationGracePeriodSeconds > \
         duration(self.gate.timeout).getSeconds()",
        "worker.podTemplate.terminationGracePeriodSeconds: expected longer than gate.timeout, so that \
         what is in flight is answered and saved",
    );
}

/// The fields of a clock's newest revision that never change once it is published.
const SCHEDULE: [&str; 4] = ["effectiveAt", "eventEpoch", "wallEpoch", "heldAt"];

fn clock(rules: &mut Rules) {
    rules.of(
        "",
        "spec.revision",
        "self.spec.revision >= oldSelf.spec.revision",
        "spec.revision only grows",
    );
    let same: Vec<_> = SCHEDULE
        .iter()
        .map(|field| {
            format!(
                "(has(self.spec.{field}) ? has(oldSelf.spec.{field}) && \
                 self.spec.{field} == oldSelf.spec.{field} : !has(oldSelf.spec.{field}))"
            )
        })
        .collect();
    rules.of(
        "",
        "spec.revision",
        format!(
            "self.spec.revision != oldSelf.spec.revision || self.spec.revision == 0 || \
             (self.spec.paused == oldSelf.spec.paused && \
             (self.spec.paused || self.spec.speedup == oldSelf.spec.speedup) && {})",
            same.join(" && ")
        ),
        "spec.revision: a revision that was published never changes, expected a higher one",
    );
    rules.of(
        "spec",
        "effectiveAt",
        "self.revision == 0 || has(self.effectiveAt)",
        "effectiveAt: is missing, expected from when the revision counts",
    );
    rules.of(
        "spec",
        "eventEpoch",
        "self.revision == 0 || self.paused || self.speedup == 0.0 || \
         (has(self.eventEpoch) && has(self.wallEpoch))",
        "eventEpoch: a clock that runs needs eventEpoch and wallEpoch",
    );
    rules.of(
        "spec",
        "previous",
        "!has(self.previous) || self.previous.revision < self.revision",
        "previous: expected an earlier revision",
    );
}

fn checkpoint(rules: &mut Rules) {
    rules.at(
        "spec",
        "self == oldSelf",
        "a checkpoint's spec never changes",
    );
    rules.of(
        "spec",
        "lane",
        "self.lane < self.lanes",
        "lane: expected a lane below lanes",
    );
    rules.of(
        "",
        "status.epoch",
        "!has(oldSelf.status) || !has(oldSelf.status.epoch) || (has(self.status) && \
         has(self.status.epoch) && self.status.epoch >= oldSelf.status.epoch)",
        "status.epoch only grows: an older holder's write is refused",
    );
    rules.of(
        "",
        "status.cursor",
        "!has(oldSelf.status) || !has(oldSelf.status.cursor) || (has(self.status) && \
         has(self.status.cursor) && (self.status.cursor.lastFile > oldSelf.status.cursor.lastFile || \
         (self.status.cursor.lastFile == oldSelf.status.cursor.lastFile && \
         self.status.cursor.lastRowIndex >= oldSelf.status.cursor.lastRowIndex)))",
        "status.cursor never goes back",
    );
    for (field, what) in [("counts", "counts"), ("receipt", "a receipt")] {
        rules.at(
            &format!("status.{field}"),
            "self.rows == self.admitted + self.duplicate + self.quarantined + self.undecided",
            format!("{what}: expected rows = admitted + duplicate + quarantined + undecided"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WorldStreamSpec, crds};

    #[test]
    fn every_rule_is_in_its_definition_and_says_what_is_expected() {
        for crd in crds() {
            let kind = &crd.spec.names.kind;
            let text = serde_json::to_string(&crd).unwrap();
            let rules = rules(kind);
            assert!(rules.len() > 4, "{kind}");
            for Rule { rule, message, .. } in rules {
                let written = serde_json::to_string(&rule).unwrap();
                assert!(text.contains(&written), "{kind}: {rule}");
                assert!(message.len() > 10 && !message.ends_with('.'), "{message}");
            }
        }
    }

    #[test]
    fn what_is_immutable_is_there_and_what_may_change_is_not_among_it() {
        let spec = schemars::schema_for!(WorldStreamSpec);
        let fields: Vec<&String> = spec.as_value()["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        for field in IMMUTABLE {
            assert!(fields.iter().any(|known| *known == field), "{field}");
        }
        // Each field is one or the other: a new one has to be thought about.
        let mutable = [
            "speedup",
            "attempt",
            "overload",
            "maxLag",
            "onOutputFailure",
            "paused",
            "suspend",
            "retry",
            "ttlAfterFinished",
        ];
        for field in fields {
            let known = IMMUTABLE.contains(&field.as_str()) || mutable.contains(&field.as_str());
            assert!(known, "{field}: may it change once a stream has started?");
        }
    }
}
