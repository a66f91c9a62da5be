//! Rules of a ReadyTrigger, and of what a profile says must be up downstream.

use super::Rules;

/// The most characters of a ReadyTrigger's name: its pods' names begin with it.
pub const LONGEST_TRIGGER: usize = 52;

const ROOT: &str = "(self.startsWith('/') || self.matches('^s3://[^/]+')) && \
     !self.contains('%') && !self.contains('\\\\') && \
     self.split('/').all(part, part != '..' && part != '.')";

const ROOT_EXPECTED: &str =
    "expected an absolute path or s3://bucket, without `..`, percent signs and backslashes";

pub(super) fn trigger(rules: &mut Rules) {
    rules.at(
        "",
        format!("size(self.metadata.name) <= {LONGEST_TRIGGER}"),
        format!("metadata.name: expected at most {LONGEST_TRIGGER} characters"),
    );
    rules.of(
        "spec.bus",
        "kinesis",
        "!has(self.file) || !has(self.kinesis)",
        "kinesis: is given together with file, expected one bus",
    );
    rules.at(
        "spec.bus.topic",
        "!self.contains('/') && !self.contains('\\\\') && !self.startsWith('.')",
        "expected a name without slashes that begins with no dot, such as fp.bus.control.v1",
    );
    for path in [
        "spec.bus.file.root",
        "spec.store.root",
        "spec.facts.allowedRoots[]",
    ] {
        rules.at(path, ROOT, ROOT_EXPECTED);
    }
    for keys in ["spec.bus.kinesis.credentials", "spec.store.s3.credentials"] {
        for key in ["accessKeyId", "secretAccessKey", "sessionToken"] {
            rules.secret(&format!("{keys}.{key}"));
        }
    }
    rules.of(
        "spec.store.s3",
        "credentials",
        "!has(self.credentials) || !self.anonymous",
        "credentials: is given, and anonymous is true; expected either",
    );
    rules.of(
        "spec.bus.kinesis",
        "caConfigMap",
        "!has(self.caFile) || !has(self.caConfigMap)",
        "caConfigMap: is given together with caFile, expected either",
    );
    // Of what is not there no rule of its own is asked.
    rules.of(
        "spec",
        "scope",
        "has(self.scope)",
        "scope: expected exactly one of platformRunId, configMap",
    );
    rules.one_of("spec.scope", &["platformRunId", "configMap"]);
    rules.output_ids("spec.stream.outputs");
    rules.of(
        "spec.stream.lanes",
        "only",
        "!has(self.only) || self.only < self.count",
        "only: expected a lane from 0 and below count",
    );
    rules.of(
        "spec",
        "maxActive",
        "self.concurrencyPolicy != 'Forbid' || self.maxActive == 1",
        "maxActive: Forbid is one stream after the other, expected 1",
    );
    rules.some_time(&["spec.bus.file.pollInterval", "spec.deferral.minInterval"]);
    rules.of(
        "spec.deferral",
        "maxInterval",
        "duration(self.maxInterval) >= duration(self.minInterval)",
        "maxInterval: expected at least minInterval",
    );
    rules.volume("spec.volumes[]");
}

pub(super) fn downstream(rules: &mut Rules) {
    let part = "spec.ready.downstream[]";
    rules.one_of(part, &["http", "file", "condition"]);
    rules.of(
        part,
        "condition",
        "!self.requireActiveRunMatch || !has(self.condition) || has(self.condition.runIdPath)",
        "condition: requireActiveRunMatch needs runIdPath, the place of the active run's id",
    );
    rules.at(
        &format!("{part}.http.url"),
        "self.matches('^https?://[^/?#@]+') && !self.contains('@')",
        "expected http:// or https:// and a host, without a user or a password",
    );
    rules.at(
        &format!("{part}.http.pointer"),
        "self.startsWith('/')",
        "expected a JSON pointer, such as /active_platform_run_id",
    );
    rules.some_time(&[&format!("{part}.http.timeout")]);
    let header = format!("{part}.http.headers[]");
    rules.one_of(&header, &["value", "secret"]);
    rules.secret(&format!("{header}.secret"));
    rules.at(
        &format!("{header}.name"),
        "self.matches('^[A-Za-z0-9-]+$')",
        "expected the name of a header, such as Authorization",
    );
    rules.at(&format!("{part}.file.path"), ROOT, ROOT_EXPECTED);
    rules.at(
        &format!("{part}.condition.status"),
        "self in ['True', 'False', 'Unknown']",
        "expected True, False or Unknown",
    );
}
