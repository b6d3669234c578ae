//! One function for each thing that reads what others made.

mod arrays;
mod kernels;
mod onnx;
mod running;

pub use arrays::npz;
pub use kernels::kernels_vs_scalar;
pub use onnx::{convert_then_run, parse_onnx};
pub use running::{read_amq, run_validated};

use crate::mutate;
use crate::random::{Random, hash};
use crate::{amq, wire};

/// A target, and how its inputs are changed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What is done with an input. Gives a number for its fate; panics where a promise is broken.
    pub run: fn(&[u8]) -> u64,
    /// A new input, from one and another, with words of the dictionary.
    pub mutate: fn(&[u8], &[u8], &[&[u8]], &mut Random) -> Vec<u8>,
    /// Bytes that it may have taken at most at any moment.
    pub memory: u64,
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "read_amq", run: read_amq, mutate: amq::mutate, memory: 256 << 20 },
    Target { name: "parse_onnx", run: parse_onnx, mutate: messages, memory: 512 << 20 },
    Target { name: "run_validated", run: run_validated, mutate: amq::mutate, memory: 512 << 20 },
    Target { name: "convert_then_run", run: convert_then_run, mutate: messages, memory: 1 << 30 },
    Target { name: "kernels_vs_scalar", run: kernels_vs_scalar, mutate: plain, memory: 256 << 20 },
    Target { name: "npz", run: npz, mutate: plain, memory: 512 << 20 },
];

fn plain(bytes: &[u8], donor: &[u8], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if random.one_in(8) && !donor.is_empty() {
        let (at, from) = (random.below(bytes.len()), random.below(donor.len()));
        bytes.truncate(at);
        bytes.extend(&donor[from..]);
    }
    mutate::bytes(&mut bytes, words, random);
    bytes
}

fn messages(bytes: &[u8], donor: &[u8], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    if random.one_in(8) {
        return plain(bytes, donor, words, random);
    }
    let mut bytes = wire::mutate(bytes, donor, words, random);
    if random.one_in(3) {
        bytes = wire::mutate(&bytes, donor, words, random);
    }
    bytes
}

/// A number for what an error says, whatever names and numbers it holds.
fn fate(error: &str) -> u64 {
    let mut quoted = false;
    let said = |c: &char| {
        quoted ^= *c == '"';
        !quoted && !c.is_ascii_digit()
    };
    hash(error.chars().filter(said).take(160).collect::<String>().as_bytes())
}
