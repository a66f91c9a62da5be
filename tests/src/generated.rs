//! Every file of the project that is generated, as (path from the repository's top, text).

/// All of them. To generate another file, add it here.
pub fn files() -> Vec<(String, String)> {
    worldstream_crds::crd_yaml()
        .into_iter()
        .map(|(name, text)| (format!("crds/{name}"), text))
        .collect()
}
