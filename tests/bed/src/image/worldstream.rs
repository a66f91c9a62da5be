//! The project's own two images, of programs that are linked statically.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::command::{command, output};
use crate::error::{BedError, Doing as _, Result};
use crate::image::{Image, sbom};
use crate::programs::lock;
use crate::say::stage;

/// The programs, each a package of the same name.
const PROGRAMS: [(&str, &str); 2] = [
    (
        "worldstream",
        "Replays a sealed world as live traffic to an Ingestion Gate",
    ),
    (
        "worldstream-operator",
        "Makes WorldStream resources into paced worker Jobs",
    ),
];

/// The folder of what is made for the images, below a profile's.
const STATIC: &str = "static";

/// The project's images as archives.
#[derive(Debug, Clone)]
pub struct Images {
    /// The worker's full name.
    pub worker: String,
    /// The operator's full name.
    pub operator: String,
    /// The archives, to be loaded.
    pub archives: Vec<PathBuf>,
}

/// Builds both images of the checkout at `root`, with the target folder and profile of the tests
/// (`dev` or `release`), so that what is compiled already is not compiled again. The tag is
/// made from the content: a changed program is another image.
///
/// Linking alone makes a program static, so it is asked for there, by a wrapper of rustc, and
/// not by RUSTFLAGS, which would compile every dependency a second time.
pub fn images(root: &Path, target: &Path, profile: &str) -> Result<Images> {
    let folder = target.join(if profile == "dev" { "debug" } else { profile });
    let _lock = held_back(&folder)?;
    let into = folder.join(STATIC);
    let wrapper = wrapper(&into)?;
    stage("building static programs", || {
        let mut build = command("cargo");
        build
            .args(["build", "--quiet", "--profile", profile])
            .args(["--bin", "worldstream", "--bin", "worldstream-operator"])
            .arg("--target-dir")
            .arg(target)
            .current_dir(root)
            .env("RUSTC_WORKSPACE_WRAPPER", &wrapper)
            .env("WORLDSTREAM_STATIC", &into);
        crate::command::plain_environment(&mut build);
        output(&mut build).map(drop)
    })?;
    let mut references = Vec::new();
    let mut archives = Vec::new();
    for (name, about) in PROGRAMS {
        let file = into.join(name);
        if !file.is_file() {
            return Err(BedError::new(format!(
                "{}: the build of the static program left none",
                file.display()
            )));
        }
        let bill = serde_json::to_vec_pretty(&sbom(root, name)?).doing("writing the SBOM")?;
        let mut content = std::fs::read(&file).doing(format_args!("reading {}", file.display()))?;
        content.extend(&bill);
        let tag = super::hex(&content)[..12].to_owned();
        let reference = format!("docker.io/worldstream/{name}:dev-{tag}");
        let archive = into.join(format!("{name}-{tag}.tar"));
        if !archive.exists() {
            old(&into, name)?;
            let new = archive.with_extension("new");
            Image::new(&reference)
                .program(name, &file)
                .file("sbom.cdx.json", bill)
                .label("org.opencontainers.image.title", name)
                .label("org.opencontainers.image.description", about)
                .label("org.opencontainers.image.licenses", "Apache-2.0")
                .label(
                    "org.opencontainers.image.version",
                    env!("CARGO_PKG_VERSION"),
                )
                .label("io.worldstream.sbom", "/sbom.cdx.json")
                .write(&new)?;
            std::fs::rename(&new, &archive).doing("renaming")?;
        }
        references.push(reference);
        archives.push(archive);
    }
    let mut references = references.into_iter();
    match (references.next(), references.next()) {
        (Some(worker), Some(operator)) => Ok(Images {
            worker,
            operator,
            archives,
        }),
        _ => Err(BedError::new("two programs give two images")),
    }
}

/// Holds builds of the images back, below a profile's folder, until it is dropped: they put their
/// programs where cargo puts the ordinary ones.
pub fn held_back(profile: &Path) -> Result<File> {
    let into = profile.join(STATIC);
    std::fs::create_dir_all(&into).doing(format_args!("making {}", into.display()))?;
    lock(&into.join("lock"))
}

/// Removes the archives of earlier builds of a program.
fn old(folder: &Path, name: &str) -> Result<()> {
    let doing = || format!("looking into {}", folder.display());
    for entry in std::fs::read_dir(folder).doing(doing())? {
        let path = entry.doing(doing())?.path();
        let archive = path.extension().is_some_and(|it| it == "tar");
        let stem = path.file_stem().and_then(|it| it.to_str()).unwrap_or("");
        // A tag has no hyphen: `worldstream-operator-…` is not one of `worldstream`.
        let its = stem.rsplit_once('-').is_some_and(|(of, _)| of == name);
        if archive && its {
            std::fs::remove_file(&path).doing(format_args!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// A wrapper of rustc that links the two programs statically and keeps a copy of each, as the
/// next ordinary build puts its own in the place where cargo puts them.
fn wrapper(folder: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    const TEXT: &str = r#"#!/bin/sh
# rustc for the programs of the images; written by the test bed.
crate= kind= out= extra= previous=
for word in "$@"; do
    case $previous in
        --crate-name) crate=$word ;;
        --crate-type) kind=$word ;;
        --out-dir) out=$word ;;
        -C) case $word in extra-filename=*) extra=${word#extra-filename=} ;; esac ;;
    esac
    previous=$word
done
case $kind:$crate in
    bin:worldstream | bin:worldstream_operator) ;;
    *) exec "$@" ;;
esac
"$@" -C target-feature=+crt-static -C strip=debuginfo || exit
name=$(echo "$crate" | tr _ -)
# A check without code leaves no program.
[ -f "$out/$crate$extra" ] || exit 0
cp "$out/$crate$extra" "$WORLDSTREAM_STATIC/$name.new" &&
    mv "$WORLDSTREAM_STATIC/$name.new" "$WORLDSTREAM_STATIC/$name"
"#;
    let file = folder.join("rustc");
    // Its time counts for cargo: it is written once.
    if std::fs::read_to_string(&file).is_ok_and(|text| text == TEXT) {
        return Ok(file);
    }
    std::fs::write(&file, TEXT).doing(format_args!("writing {}", file.display()))?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).doing("chmod")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_makes_the_same_images() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Dockerfile");
        let text = std::fs::read_to_string(file).unwrap();
        for (name, about) in PROGRAMS {
            let (_, stage) = text
                .split_once(&format!("FROM scratch AS {name}\n"))
                .unwrap_or_else(|| panic!("no image {name}"));
            let stage = stage.split("\nFROM ").next().unwrap();
            for line in [
                format!("title=\"{name}\""),
                format!("description=\"{about}\""),
                format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
                format!("USER {}", super::super::USER),
                format!("ENTRYPOINT [\"/{name}\"]"),
                "/sbom.cdx.json".to_owned(),
            ] {
                assert!(stage.contains(&line), "{name}: {line}");
            }
        }
    }
}
