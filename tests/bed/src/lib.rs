//! The test bed: a real Kubernetes, real stores and the project's images on one machine, as
//! processes, with no image registry and nothing left behind. The program `bed` is for people,
//! the library for tests.

pub mod bed;
pub mod cluster;
pub mod demo;
pub mod error;
pub mod given;
pub mod image;
pub mod own;
pub mod page;
pub mod pins;
pub mod place;
pub mod stores;
pub mod system;

mod command;
mod programs;
mod say;

pub use bed::{Bed, Reached, SharedFolder, bed};
pub use cluster::Cluster;
pub use command::plain_environment;
pub use error::{BedError, Result};
pub use image::{Image, Images};
pub use pins::Kit;
pub use place::Place;
