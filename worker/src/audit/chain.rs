//! The chained digest over an output's event ids: equal for two streams only if they sent the
//! same events in the same order.

use sha2::{Digest, Sha256};
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};

/// `d = sha256(d ‖ id)` from 32 zero bytes, an id as its 64 ASCII characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain([u8; 32]);

impl Chain {
    /// Goes on where a digest stood. `CHECKPOINT_UNREADABLE` if the text is not 64 hex digits.
    pub fn from_hex(text: &str) -> Result<Self> {
        let mut digest = [0; 32];
        match const_hex::decode_to_slice(text, &mut digest) {
            Ok(()) if text.len() == 64 => Ok(Chain(digest)),
            _ => Err(Failure::new(Reason::CheckpointUnreadable, "progress")
                .field("digest")
                .found(format!("{text:?}"))
                .expected("64 hex digits")),
        }
    }

    /// The next event's id, its 64 ASCII characters.
    pub fn push(&mut self, id: &[u8]) {
        self.0 = Sha256::new()
            .chain_update(self.0)
            .chain_update(id)
            .finalize()
            .into();
    }

    /// 64 hex digits.
    pub fn hex(&self) -> String {
        const_hex::encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_formula() {
        let ids = ["a".repeat(64), "b".repeat(64), "0123456789abcdef".repeat(4)];
        let mut chain = Chain::default();
        assert_eq!(chain.hex(), "0".repeat(64));
        let mut plain = [0u8; 32].to_vec();
        for id in &ids {
            chain.push(id.as_bytes());
            plain.extend_from_slice(id.as_bytes());
            plain = Sha256::digest(&plain).to_vec();
            assert_eq!(chain.hex(), const_hex::encode(&plain));
        }
        // Reckoned by another program (hashlib).
        assert_eq!(
            chain.hex(),
            "7eba23dbfd6ccbb18ac08c202070517191f18a85c1c0331fa725f9ac1078630f"
        );
    }

    #[test]
    fn goes_on_and_depends_on_the_order() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let mut whole = Chain::default();
        whole.push(a.as_bytes());
        let mut resumed = Chain::from_hex(&whole.hex()).unwrap();
        whole.push(b.as_bytes());
        resumed.push(b.as_bytes());
        assert_eq!(whole, resumed);
        let mut other = Chain::default();
        other.push(b.as_bytes());
        other.push(a.as_bytes());
        assert_ne!(whole, other);
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in [
            "",
            "00",
            &"g".repeat(64),
            &"0".repeat(63),
            &"0".repeat(66),
            &format!("0x{}", "0".repeat(64)),
        ] {
            let failure = Chain::from_hex(text).unwrap_err();
            assert!(failure.message().contains("digest"), "{failure}");
        }
    }
}
