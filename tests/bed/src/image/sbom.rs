//! The list of what a program was built from (CycloneDX 1.5, JSON), from cargo's own resolution.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::command::{command, output};
use crate::error::{BedError, Doing as _, Result};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// The bill of materials of a package of the workspace at `root`: the package and everything that
/// is linked into its program on this platform. Tools of the build and of tests are left out.
pub fn sbom(root: &Path, package: &str) -> Result<Value> {
    let host = output(command("rustc").arg("-vV"))?;
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or_else(|| BedError::new("rustc -vV does not name its host"))?;
    let metadata = output(
        command("cargo")
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", host])
            .current_dir(root),
    )?;
    let metadata: Metadata = serde_json::from_str(&metadata).doing("reading cargo metadata")?;
    document(&metadata, package)
}

fn document(metadata: &Metadata, package: &str) -> Result<Value> {
    let packages: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (package.id.as_str(), package))
        .collect();
    let nodes: BTreeMap<_, _> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    let root = packages
        .values()
        .find(|it| it.name == package && it.source.is_none())
        .ok_or_else(|| BedError::new(format!("{package}: no package of this workspace")))?;
    let mut seen = BTreeSet::from([root.id.as_str()]);
    let mut open = vec![root.id.as_str()];
    while let Some(id) = open.pop() {
        for next in linked(nodes.get(id).copied()) {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    let components: Vec<_> = seen
        .iter()
        .filter(|id| **id != root.id)
        .filter_map(|id| packages.get(id))
        .map(|package| component(package, "library"))
        .collect();
    let dependencies: Vec<_> = seen
        .iter()
        .filter_map(|id| {
            let depends: BTreeSet<_> = linked(nodes.get(id).copied())
                .filter_map(|id| Some(purl(packages.get(id)?)))
                .collect();
            Some(json!({"ref": purl(packages.get(id)?), "dependsOn": depends}))
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root, "application")},
        "components": components,
        "dependencies": dependencies,
    }))
}

/// What is linked into a package: no build scripts' and tests' dependencies.
fn linked(node: Option<&Node>) -> impl Iterator<Item = &str> {
    node.into_iter()
        .flat_map(|node| &node.deps)
        .filter(|dep| dep.dep_kinds.iter().any(|it| it.kind.is_none()))
        .map(|dep| dep.pkg.as_str())
}

fn component(package: &Package, kind: &str) -> Value {
    let purl = purl(package);
    let mut component = json!({
        "type": kind,
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
    });
    if let Some(license) = &package.license {
        // An old way to write OR.
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    component
}

fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}
