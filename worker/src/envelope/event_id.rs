//! Event ids: sha256 over the output, the primary key and the world key (contracts section 4),
//! and the lane that an id belongs to (section 6).

use sha2::block_api::compress256;

use super::EnvelopeContext;
use crate::plan::Lane;

/// SHA-256's first state (FIPS 180-4, 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Hashes messages that begin alike: the blocks that lie wholly in the common beginning are
/// compressed once.
///
/// The compression is the library's; padding is done here, because the message lies in one
/// buffer anyway and copying it through a hasher's own buffer costs as much as a block.
#[derive(Debug, Clone)]
pub(super) struct PrefixHasher {
    state: [u32; 8],
    /// Bytes that `state` has taken in, a multiple of 64.
    done: u64,
    /// The rest of the beginning, then what a message adds.
    buffer: Vec<u8>,
    /// How much of `buffer` is the beginning.
    rest: usize,
}

impl PrefixHasher {
    pub(super) fn new(prefix: &[u8]) -> Self {
        let mut state = START;
        let (blocks, rest) = prefix.as_chunks::<64>();
        compress256(&mut state, blocks);
        PrefixHasher {
            state,
            done: (prefix.len() - rest.len()) as u64,
            buffer: rest.to_vec(),
            rest: rest.len(),
        }
    }

    /// The buffer that the next message is appended to, after the common beginning.
    pub(super) fn message(&mut self) -> &mut Vec<u8> {
        self.buffer.truncate(self.rest);
        &mut self.buffer
    }

    /// The digest of the common beginning and what was appended since [`Self::message`].
    pub(super) fn finish(&mut self) -> [u8; 32] {
        let bits = (self.done + self.buffer.len() as u64) * 8;
        // A one bit, zeros, and the length in bits end the last block (FIPS 180-4, 5.1.1).
        let padded = (self.buffer.len() + 9).next_multiple_of(64);
        self.buffer.push(0x80);
        self.buffer.resize(padded - 8, 0);
        self.buffer.extend_from_slice(&bits.to_be_bytes());
        let mut state = self.state;
        let (blocks, _) = self.buffer.as_chunks::<64>();
        compress256(&mut state, blocks);
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}

/// What every id of an output begins with: its id and the bar after it.
pub(super) fn prefix(context: &EnvelopeContext) -> Vec<u8> {
    format!("{}|", context.output_id).into_bytes()
}

/// What every id of an output ends with: the world key. The bar before it belongs to the last
/// value of the primary key.
pub(super) fn suffix(context: &EnvelopeContext) -> Vec<u8> {
    let key = &context.key;
    format!(
        "{}|{}|{}|{}",
        key.manifest_fingerprint, key.parameter_hash, key.seed, key.scenario_id
    )
    .into_bytes()
}

/// Which of an output's lanes an event id belongs to. `hasher` has an empty beginning.
pub(super) fn lane_of(hasher: &mut PrefixHasher, event_id: &[u8], count: u32) -> u32 {
    hasher.message().extend_from_slice(event_id);
    let digest = hasher.finish();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // Below `count`, so it fits.
    (u64::from_be_bytes(first) % u64::from(count.max(1))) as u32
}

/// Whether an event id is of this lane.
pub(super) fn in_lane(hasher: &mut PrefixHasher, event_id: &[u8], lane: Lane) -> bool {
    lane.count <= 1 || lane_of(hasher, event_id, lane.count) == lane.index
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn hashes_as_the_library_does_at_every_length() {
        let text: Vec<u8> = (0..=255).cycle().take(300).collect();
        for prefix in [0, 1, 55, 56, 63, 64, 65, 127, 128, 129] {
            let mut hasher = PrefixHasher::new(&text[..prefix]);
            for length in prefix..text.len() {
                hasher.message().extend_from_slice(&text[prefix..length]);
                assert_eq!(
                    hasher.finish()[..],
                    Sha256::digest(&text[..length])[..],
                    "{prefix} of {length}"
                );
            }
        }
    }

    #[test]
    fn lanes_as_the_vectors_say() {
        let text = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/golden/vectors.json"
        ))
        .unwrap();
        let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
        let vectors = vectors["lane"].as_array().unwrap();
        assert!(vectors.len() >= 5);
        let mut hasher = PrefixHasher::new(b"");
        for vector in vectors {
            let id = vector["event_id"].as_str().unwrap();
            let count = vector["lane_count"].as_u64().unwrap() as u32;
            let expected = vector["expect"].as_u64().unwrap() as u32;
            assert_eq!(lane_of(&mut hasher, id.as_bytes(), count), expected, "{id}");
            let lane = Lane {
                count,
                index: expected,
            };
            assert!(in_lane(&mut hasher, id.as_bytes(), lane));
        }
    }
}
