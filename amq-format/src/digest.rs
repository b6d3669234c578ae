use crate::spec::DIGEST_BYTES;
use sha2::{Digest, Sha256};

/// SHA-256 of the bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha256::digest(bytes).into()
}
