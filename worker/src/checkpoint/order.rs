//! The order of cursors, and that they never move backwards.

use worldstream_crds::Reason;

use super::{Checkpoint, Cursor, document};
use crate::failure::{Failure, Result};

/// Refuses a checkpoint whose cursor lies before the current one's: `STREAM_FAILED` naming both.
/// `object` is where they are kept, for the message.
pub fn forward(object: &str, current: &Checkpoint, next: &Checkpoint) -> Result<()> {
    let back = match (&next.cursor, &current.cursor) {
        (Some(next), Some(current)) => document::is_before(next, current),
        (None, Some(_)) => true,
        (_, None) => false,
    };
    if !back {
        return Ok(());
    }
    Err(Failure::new(Reason::StreamFailed, object)
        .found(describe(next.cursor.as_ref()))
        .expected(format!("{} or later", describe(current.cursor.as_ref())))
        .detail("a cursor never moves backwards"))
}

/// A cursor in a few words.
pub fn describe(cursor: Option<&Cursor>) -> String {
    match cursor {
        Some(cursor) => format!("row {} of {}", cursor.last_row_index, cursor.last_file),
        None => "no cursor".to_owned(),
    }
}
