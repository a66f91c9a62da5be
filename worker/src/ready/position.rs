//! From where a bus is read on after a restart.

use futures::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};
use worldstream_crds::Reason;

use super::place::Place;
use crate::failure::{Failure, Result};
use crate::time::EventTime;

/// Keeps the position of one bus.
pub trait Positions {
    /// The position that was saved last; none if there is none, or it is of another bus.
    ///
    /// # Errors
    /// Where it cannot be read: reading from the beginning would be a guess.
    fn load(&self) -> BoxFuture<'_, Result<Option<String>>>;

    /// Saves the position.
    ///
    /// # Errors
    /// Where it cannot be written; the one before still holds.
    fn save<'a>(&'a self, position: &'a str) -> BoxFuture<'a, Result<()>>;
}

/// A position in the object store: `wsp/ready_positions/<trigger>.json`.
#[derive(Debug, Clone)]
pub struct StoredPosition {
    place: Place,
    relative: String,
    bus: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    bus: String,
    position: String,
    updated_at_utc: String,
}

impl StoredPosition {
    /// The position of a trigger on a bus, which is told from others by `bus`, below the run prefix of
    /// the active run, as its records are: for another run, all that is on the bus is new.
    pub fn of_run(place: &Place, run: &str, trigger: &str, bus: &str) -> StoredPosition {
        Self::at(place, &format!("{}/", place.prefix(run)), trigger, bus)
    }

    /// The same beside the runs, where the active run may change.
    pub fn of_all(place: &Place, trigger: &str, bus: &str) -> StoredPosition {
        Self::at(place, place.runs(), trigger, bus)
    }

    fn at(place: &Place, prefix: &str, trigger: &str, bus: &str) -> StoredPosition {
        StoredPosition {
            relative: format!("{prefix}wsp/ready_positions/{trigger}.json"),
            place: place.clone(),
            bus: bus.to_owned(),
        }
    }
}

impl Positions for StoredPosition {
    fn load(&self) -> BoxFuture<'_, Result<Option<String>>> {
        async {
            let found = self.place.root().read(&self.relative).await?;
            let found = found.and_then(|bytes| serde_json::from_slice::<Document>(&bytes).ok());
            Ok(found
                .filter(|found| found.bus == self.bus)
                .map(|found| found.position))
        }
        .boxed()
    }

    fn save<'a>(&'a self, position: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            let name = self.place.root().name(&self.relative);
            let bytes = serde_json::to_vec(&Document {
                bus: self.bus.clone(),
                position: position.to_owned(),
                updated_at_utc: EventTime::wall_now().to_string(),
            })
            .map_err(|error| Failure::new(Reason::StreamFailed, name).cause(&error))?;
            let root = self.place.root();
            root.replace(&self.relative, &bytes, |_| false).await
        }
        .boxed()
    }
}
