//! The object store: where run facts are read, and where records and governance facts of every
//! platform run are written (contracts section 8).

use std::path::Path as FilePath;

use crate::audit::Records;
use crate::failure::Result;
use crate::plan::S3Plan;
use crate::store::s3;

/// The store's root. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Place {
    root: Records,
}

impl Place {
    /// The store at a root: a folder of this machine, or `s3://bucket` with or without a prefix.
    /// Nothing is made or asked yet.
    ///
    /// # Errors
    /// As [`Records::open`].
    pub fn open(root: &str, s3: &S3Plan) -> Result<Place> {
        Ok(Place {
            root: Records::open(FilePath::new(root), s3)?,
        })
    }

    /// What lies at the root.
    pub fn root(&self) -> &Records {
        &self.root
    }

    /// The folder that every platform run has its own in, below the root: none in a bucket.
    pub fn runs(&self) -> &'static str {
        match self.root {
            Records::Folder(_) => "fraud-platform/",
            Records::Bucket { .. } => "",
        }
    }

    /// The run prefix of a platform run, below the root, without a slash at its end.
    pub fn prefix(&self, platform_run_id: &str) -> String {
        format!("{}{platform_run_id}", self.runs())
    }

    /// What lies below the run prefix of a platform run.
    pub fn run(&self, platform_run_id: &str) -> Records {
        self.below(&self.prefix(platform_run_id))
    }

    /// What lies below a folder of the root.
    pub fn below(&self, relative: &str) -> Records {
        match &self.root {
            Records::Folder(folder) => Records::Folder(folder.join(relative)),
            Records::Bucket { store, base, name } => Records::Bucket {
                store: store.clone(),
                base: s3::below(base.clone(), relative),
                name: format!("{name}/{relative}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_its_own_place() {
        let anonymous = S3Plan {
            anonymous: true,
            ..S3Plan::default()
        };
        for (root, expect) in [
            (
                "/data/store",
                "/data/store/fraud-platform/platform_x/a.json",
            ),
            ("s3://b", "s3://b/platform_x/a.json"),
            ("s3://b/p/", "s3://b/p/platform_x/a.json"),
        ] {
            let place = Place::open(root, &anonymous).unwrap();
            assert_eq!(place.run("platform_x").name("a.json"), expect);
        }
    }
}
