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
/// is linked into its program on this platform. What runs in the build alone (macros, build
/// scripts) and what tests use is left out.
pub fn sbom(root: &Path, package: &str) -> Result<Value> {
    let metadata = output(
        command("cargo")
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root),
    )?;
    let metadata: Metadata = serde_json::from_str(&metadata).doing("reading cargo metadata")?;
    // The metadata has the edges of every feature of every platform; the tree only those taken.
    let tree = output(
        command("cargo")
            .args(["tree", "--locked", "--package", package])
            .args(["--edges", "normal,no-proc-macro"])
            .args(["--prefix", "none", "--format", "{p}"])
            .current_dir(root),
    )?;
    let linked = tree
        .lines()
        .filter_map(|line| {
            // serde v1.0.228 (path or mark)
            let mut words = line.split_whitespace();
            let name = words.next()?;
            Some((name, words.next()?.strip_prefix('v')?))
        })
        .collect();
    document(&metadata, package, &linked)
}

fn document(metadata: &Metadata, package: &str, linked: &BTreeSet<(&str, &str)>) -> Result<Value> {
    let packages: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .filter(|it| linked.contains(&(it.name.as_str(), it.version.as_str())))
        .map(|it| (it.id.as_str(), it))
        .collect();
    let root = packages
        .values()
        .find(|it| it.name == package && it.source.is_none())
        .ok_or_else(|| BedError::new(format!("{package}: no package of this workspace")))?;
    let components: Vec<_> = packages
        .values()
        .filter(|it| it.id != root.id)
        .map(|it| component(it, "library"))
        .collect();
    let dependencies: Vec<_> = metadata
        .resolve
        .nodes
        .iter()
        .filter_map(|node| {
            let depends: BTreeSet<_> = normal(node)
                .filter_map(|id| Some(purl(packages.get(id)?)))
                .collect();
            let own = packages.get(node.id.as_str())?;
            Some(json!({"ref": purl(own), "dependsOn": depends}))
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

/// What a package depends on beside what builds and tests it.
fn normal(node: &Node) -> impl Iterator<Item = &str> {
    node.deps
        .iter()
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
