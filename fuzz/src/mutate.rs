//! Changes to bytes.

use crate::random::Random;

/// Numbers at which things change.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    7,
    8,
    63,
    64,
    127,
    255,
    65_535,
    1 << 24,
    (1 << 31) - 1,
    u32::MAX as u64,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// A number near another, or at an edge.
pub fn number(old: u64, random: &mut Random) -> u64 {
    match random.below(5) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old ^ 1 << random.below(64),
        3 => random.below(12) as u64,
        _ => EDGES[random.below(EDGES.len())],
    }
}

/// Changes some bytes in one to four ways.
pub fn bytes(bytes: &mut Vec<u8>, words: &[&[u8]], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        one(bytes, words, random);
    }
}

fn one(bytes: &mut Vec<u8>, words: &[&[u8]], random: &mut Random) {
    let length = bytes.len();
    let at = random.below(length);
    let some = (1 + random.below(16)).min(length - at.min(length));
    match random.below(9) {
        0..3 if length > 0 => bytes[at] ^= 1 << random.below(8),
        3 if length > 0 => bytes[at] = random.next() as u8,
        4 => drop(bytes.drain(at..at + some)),
        5 => {
            let again = bytes[at..at + some].to_vec();
            bytes.splice(at..at, again);
        }
        6 => {
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let width = (1 << random.below(4)).min(length - at);
            bytes[at..at + width].copy_from_slice(&edge[..width]);
        }
        7 if random.one_in(4) => bytes.truncate(at),
        _ => {
            let word = match words.is_empty() {
                true => vec![random.next() as u8],
                false => words[random.below(words.len())].to_vec(),
            };
            let over = if random.one_in(2) { word.len().min(length - at) } else { 0 };
            bytes.splice(at..at + over, word);
        }
    }
}
