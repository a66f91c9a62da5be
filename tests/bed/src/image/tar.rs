//! Tar archives (ustar) of files that belong to root and are of no time.

/// An archive that is being written.
#[derive(Debug, Default)]
pub(crate) struct Tar(Vec<u8>);

const BLOCK: usize = 512;

impl Tar {
    /// Adds a file. Its path is at most 100 bytes long.
    pub(crate) fn file(&mut self, path: &str, bytes: &[u8], mode: u32) {
        debug_assert!(path.len() <= 100, "{path}: too long for ustar's name field");
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &str| {
            for (to, from) in header.iter_mut().skip(at).zip(text.bytes()) {
                *to = from;
            }
        };
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", bytes.len()));
        put(136, "00000000000");
        // The checksum counts its own field as blanks.
        put(148, "        ");
        put(156, "0");
        put(257, "ustar");
        put(263, "00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        let sum = format!("{sum:06o}\0 ");
        for (to, from) in header.iter_mut().skip(148).zip(sum.bytes()) {
            *to = from;
        }
        self.0.extend(header);
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }

    /// The whole archive.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_tar_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut tar = Tar::default();
        tar.file("a", b"first", 0o755);
        tar.file("deep/b", &[b'x'; 1000], 0o644);
        let archive = dir.path().join("it.tar");
        std::fs::write(&archive, tar.end()).unwrap();
        let status = std::process::Command::new("tar")
            .arg("-C")
            .arg(dir.path())
            .arg("-xf")
            .arg(&archive)
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"first");
        assert_eq!(
            std::fs::read(dir.path().join("deep/b")).unwrap(),
            [b'x'; 1000]
        );
    }
}
