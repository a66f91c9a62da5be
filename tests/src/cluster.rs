//! The cluster that a suite tests on, and the project's images in it.

use std::sync::OnceLock;

use worldstream_bed::{Bed, Images};

/// The cluster of this test program, with at least so many nodes where it is the bed's own (see
/// [`worldstream_bed::bed()`]): all tests of a program ask for the same number.
pub fn cluster(nodes: usize) -> &'static dyn Bed {
    static CLUSTER: OnceLock<Box<dyn Bed>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| {
            worldstream_bed::bed(&crate::built("bed"), nodes)
                .unwrap_or_else(|error| panic!("the bed: {error}"))
        })
        .as_ref()
}

/// This checkout's images, built with the profile of the tests and loaded into the cluster.
pub fn images(cluster: &dyn Bed) -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let folder = crate::profile_folder();
        let target = folder.parent().expect("a profile lies in a target folder");
        let release = folder.file_name().is_some_and(|name| name == "release");
        let profile = if release { "release" } else { "dev" };
        let images = worldstream_bed::image::images(&crate::repository(), target, profile)
            .unwrap_or_else(|error| panic!("the images: {error}"));
        cluster
            .load(&images.archives)
            .unwrap_or_else(|error| panic!("the images: {error}"));
        images
    })
}
