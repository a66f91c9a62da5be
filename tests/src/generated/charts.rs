//! Files of the charts that are made from others: the definitions as templates, and the profiles.

use std::path::Path;

/// As (path, text).
pub fn files() -> Vec<(String, String)> {
    let definitions = worldstream_crds::crd_yaml()
        .into_iter()
        .map(|(name, text)| {
            (
                format!("charts/worldstream-crds/templates/{name}"),
                template(&text),
            )
        });
    definitions.chain(profiles()).chain(parity()).collect()
}

/// What the chart of the platform in parity holds of others: the definitions, which helm installs
/// before everything else so that the same release can have resources of them, and a profile.
fn parity() -> Vec<(String, String)> {
    let folder = "charts/worldstream-parity";
    let definitions = worldstream_crds::crd_yaml()
        .into_iter()
        .map(|(name, text)| (format!("{folder}/crds/{name}"), text.to_string()));
    let profile = profiles()
        .into_iter()
        .filter(|(name, _)| name.ends_with("/local_parity.yaml"))
        .map(|(_, text)| (format!("{folder}/profiles/local_parity.yaml"), text));
    definitions.chain(profile).collect()
}

/// A definition as a template of a chart: upgraded like any template, and kept when the release is
/// uninstalled, as every WorldStream would go with it.
fn template(definition: &str) -> String {
    assert!(
        !definition.contains("{{"),
        "a description that helm would take for a template"
    );
    definition.replacen(
        "\nmetadata:\n",
        "\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n",
        1,
    )
}

/// The profiles of `config/`, which are the one source of them.
fn profiles() -> Vec<(String, String)> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/profiles"));
    ["dev", "local", "local_parity", "prod"]
        .map(|name| {
            let file = folder.join(format!("{name}.yaml"));
            let text = std::fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let head = format!("# Generated from config/profiles/{name}.yaml: make generate\n");
            (
                format!("charts/worldstream/profiles/{name}.yaml"),
                head + &in_cluster(&text),
            )
        })
        .to_vec()
}

/// A profile as a cluster has it: the connection string of its checkpoints is in a Secret.
fn in_cluster(profile: &str) -> String {
    profile.replace(
        "      dsn:\n        env: WORLDSTREAM_CHECKPOINT_DSN\n",
        "      dsn:\n        secret:\n          name: worldstream-checkpoints\n          key: dsn\n",
    )
}
