//! Rules about where a profile keeps its cursors.

use super::Rules;

pub(super) fn stores(rules: &mut Rules) {
    rules.of(
        "spec.checkpoints",
        "kubernetes",
        "!has(self.kubernetes) || !has(self.file)",
        "kubernetes: is given together with file, expected one store",
    );
    rules.of(
        "spec.checkpoints",
        "postgres",
        "!has(self.postgres) || (!has(self.file) && !has(self.kubernetes))",
        "postgres: is given together with another store, expected one store",
    );
    rules.secret("spec.checkpoints.postgres.dsn");
    rules.of(
        "spec.checkpoints.postgres",
        "caConfigMap",
        "!has(self.caFile) || !has(self.caConfigMap)",
        "caConfigMap: is given together with caFile, expected either",
    );
    rules.at(
        "spec.checkpoints.postgres.leaseTerm",
        "duration(self) >= duration('1s') && duration(self) <= duration('1h')",
        "expected 1s to 1h",
    );
    rules.volume("spec.checkpoints.file.volume");
    rules.some_time(&["spec.checkpoints.postgres.timeout"]);
}
