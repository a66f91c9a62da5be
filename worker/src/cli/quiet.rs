//! Writing to people and pipes: whoever closes a pipe has read enough, and that is no failure.

use std::io::{ErrorKind, Result, Write};

use crate::report::live::above_bars;

/// A writer that goes on when nobody reads any longer: what is written then is dropped. Every
/// other error stays one.
#[derive(Debug)]
pub struct Quiet<W> {
    inner: W,
    closed: bool,
}

impl<W: Write> Quiet<W> {
    /// Writes to `inner` until it is closed.
    pub fn new(inner: W) -> Self {
        Quiet {
            inner,
            closed: false,
        }
    }

    fn unless_closed<T>(&mut self, closed: T, write: impl FnOnce(&mut W) -> Result<T>) -> Result<T>
    where
        T: Copy,
    {
        if self.closed {
            return Ok(closed);
        }
        match write(&mut self.inner) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(closed)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Quiet<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.unless_closed(bytes.len(), |inner| inner.write(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        self.unless_closed((), Write::flush)
    }
}

/// A line to stderr, above the bars. Nobody may be listening.
pub fn note(line: impl std::fmt::Display) {
    let _ = above_bars(|stderr| writeln!(stderr, "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails every write with the same kind, and counts them.
    struct Broken(ErrorKind, usize);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> Result<usize> {
            self.1 += 1;
            Err(self.0.into())
        }
        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_is_not_written_to_again() {
        let mut out = Quiet::new(Broken(ErrorKind::BrokenPipe, 0));
        writeln!(out, "a").unwrap();
        writeln!(out, "b").unwrap();
        assert_eq!(out.inner.1, 1);
        let mut out = Quiet::new(Broken(ErrorKind::StorageFull, 0));
        let error = writeln!(out, "a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn what_is_open_is_written_to() {
        let mut out = Quiet::new(Vec::new());
        writeln!(out, "a").unwrap();
        out.flush().unwrap();
        assert_eq!(out.inner, b"a\n");
    }
}
