//! Rules about where a profile's worlds are, and who may write there.

use super::Rules;

pub(super) fn stores(rules: &mut Rules) {
    rules.volume("spec.world.volume");
    for secret in ["accessKeyId", "secretAccessKey", "sessionToken"] {
        rules.secret(&format!("spec.world.s3.credentials.{secret}"));
        rules.secret(&format!("spec.oracle.credentials.{secret}"));
    }
    rules.of(
        "spec.world.s3",
        "credentials",
        "!has(self.credentials) || !has(self.anonymous) || !self.anonymous",
        "credentials: is given, and anonymous is true; expected either",
    );
    rules.of(
        "spec.world.s3",
        "caConfigMap",
        "!has(self.caFile) || !has(self.caConfigMap)",
        "caConfigMap: is given together with caFile, expected either",
    );
    rules.some_time(&["spec.world.s3.unavailableFor"]);
    rules.volume("spec.oracle.scratch");
}
