//! Bytes that are no sound Parquet must never end the process: where the decoder panics, that is
//! an error like any other.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use parquet::errors::ParquetError;

thread_local! {
    /// Whether this thread is in a decoder whose panics are caught.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder; a panic in it becomes an error, and nothing of it is printed.
pub(super) fn guarded<T, E: Into<ParquetError>>(
    decode: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, ParquetError> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            // A thread that is ending has no flag any more, and is in no decoder.
            if !INSIDE.try_with(Cell::get).unwrap_or(false) {
                before(info);
            }
        }));
    });
    let outside = INSIDE.replace(true);
    let caught = catch_unwind(AssertUnwindSafe(decode));
    INSIDE.set(outside);
    match caught {
        Ok(result) => result.map_err(Into::into),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or(panic.downcast_ref::<&str>().copied())
                .unwrap_or("no more is known");
            Err(ParquetError::General(format!("the decoder broke: {text}")))
        }
    }
}
