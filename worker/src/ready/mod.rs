//! READY: from a message on the control bus to a running world (contracts sections 8 and 9).
//!
//! The [`consumer`] follows a bus and takes each message through the seven steps of a [`walk`],
//! beside the others: [`message`] and [`facts`] read what others wrote, [`steps`] decides,
//! [`downstream`] asks what must be up, a [`claim`] precedes the stream that a [`launch`] makes,
//! and [`record`] and [`governance`] say what became of it, in the object store ([`place`]).
//! [`here`] streams in this process; in a cluster a WorldStream does. [`publish`] makes messages.

pub mod claim;
pub mod consumer;
pub mod downstream;
pub mod facts;
pub mod failpoint;
pub mod governance;
pub mod here;
pub mod launch;
pub mod message;
pub mod news;
pub mod place;
pub mod position;
pub mod publish;
pub mod record;
pub mod schema;
pub mod steps;
mod walk;

pub use claim::{Claim, Claims, Memory};
pub use consumer::{ActiveRun, Consumer, Extent, Parts};
pub use here::Here;
pub use launch::{Ended, Launch, Launcher};
pub use news::{Conclusion, News, Observer, Totals, Wait};
pub use place::Place;
pub use position::{Positions, StoredPosition};
pub use record::Status;
