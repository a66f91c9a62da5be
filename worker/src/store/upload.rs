//! Sending files of this machine to a store, a piece at a time.

use std::fs::File;
use std::io::Read;

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, WriteMultipart};

use super::{Result, Store};

/// Bytes that are sent at a time, two pieces at once.
const PIECE: usize = 8 << 20;

impl Store {
    /// Writes an object from a file, whole or not at all; a file that broke off is sent anew, for
    /// as long as any request is tried. `sent` is told of each piece.
    ///
    /// With `while_says`, another object must say this when a try begins and when the file is to be
    /// seen: else nothing is written, and it is [`super::Trouble::Changed`].
    pub async fn put_file(
        &self,
        at: &Path,
        file: &std::path::Path,
        sent: &(dyn Fn(u64) + Sync),
        while_says: Option<(&Path, &[u8])>,
    ) -> Result<()> {
        let says = async || {
            let Some((other, expected)) = while_says else {
                return Ok(());
            };
            let found = match self.objects.get(other).await {
                Ok(found) => Some(found.bytes().await?),
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(error),
            };
            match found.is_some_and(|found| found == expected) {
                true => Ok(()),
                false => Err(Error::Precondition {
                    path: other.to_string(),
                    source: "it is not there, or says something else by now".into(),
                }),
            }
        };
        self.tried(|| async {
            says().await?;
            let mut file = File::open(file).map_err(unreadable)?;
            let begun = self.objects.put_multipart(at).await?;
            let mut upload = WriteMultipart::new_with_chunk_size(begun, PIECE);
            let mut piece = vec![0; PIECE];
            loop {
                let next = match file.read(&mut piece).map_err(unreadable) {
                    Ok(0) => break,
                    Ok(length) => upload.wait_for_capacity(2).await.map(|()| length),
                    Err(error) => Err(error),
                };
                match next {
                    Ok(length) => {
                        upload.write(piece.get(..length).unwrap_or_default());
                        sent(length as u64);
                    }
                    Err(error) => {
                        // What is left of it is not seen by anybody.
                        let _ = upload.abort().await;
                        return Err(error);
                    }
                }
            }
            // What is left to do is one request.
            let said = match upload.wait_for_capacity(1).await {
                Ok(()) => says().await,
                Err(error) => Err(error),
            };
            if let Err(error) = said {
                let _ = upload.abort().await;
                return Err(error);
            }
            upload.finish().await.map(drop)
        })
        .await
    }

    /// Removes an object; one that is not there is removed.
    pub async fn delete(&self, at: &Path) -> Result<()> {
        super::if_there(self.tried(|| self.objects.delete(at)).await).map(drop)
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::Generic {
        store: "the file that is sent",
        source: Box::new(error),
    }
}
