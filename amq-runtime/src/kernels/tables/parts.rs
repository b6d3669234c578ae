//! What the products of tables share.

use alloc::vec::Vec;

use crate::kernels::lanes::{Lanes, Line, Tables};
use crate::kernels::layout::Layout;
use crate::kernels::{BLOCK, Output};

/// A module of WebAssembly is downloaded: fewer functions serve more there.
pub(super) const IS_MODULE: bool = cfg!(target_arch = "wasm32");

/// Packed weights.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) layout: Layout,
    pub(crate) bits: usize,
    /// `[block][tap][word][plane]`, arranged for the instruction set.
    pub(crate) lines: Vec<Line>,
    /// `[block][group][plane]`
    pub(crate) coefficients: Vec<[f32; BLOCK]>,
    /// `[block][group]`
    pub(crate) offsets: Option<Vec<[f32; BLOCK]>>,
}

/// Integers of a segment, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) magnitudes: u32,
    pub(crate) values: i32,
}

/// Vectors as tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectors<'a> {
    /// `[place][word]`
    pub(crate) tables: &'a [Tables],
    /// `[place]`; NaN makes every result NaN.
    pub(crate) scales: &'a [f32],
    /// `[place][segment]`
    pub(crate) totals: &'a [Totals],
    /// `[vector][tap]`
    pub(crate) places: &'a [u32],
}

/// A product.
pub(super) struct Product<'a> {
    pub(super) weights: &'a Weights,
    pub(super) vectors: Vectors<'a>,
    pub(super) out: Output<'a>,
}

/// Sums the entries that weights of planes `plane..plane + N` select from each vector.
#[inline(always)]
pub(super) fn look_up<L: Lanes, const N: usize, const V: usize>(
    lanes: L,
    lines: &[Line],
    bits: usize,
    plane: usize,
    tables: [&[Tables]; V],
    ahead: isize,
) -> [[L::U; V]; N] {
    let mut total = [[lanes.splat_bits(0); V]; N];
    for (step, lines) in lines.chunks(L::SUM_STEPS.saturating_mul(bits)).enumerate() {
        let mut sums = [[lanes.zero_sum(); V]; N];
        let (mut word, mut rest) = (step * L::SUM_STEPS, lines);
        // Without a division.
        while let Some((lines, others)) = rest.split_at_checked(bits) {
            let lines = &lines[plane..plane + N];
            for i in 0..N {
                let line = core::ptr::from_ref(&lines[i]).cast::<u8>();
                lanes.prefetch(line.wrapping_offset(ahead));
                let index = lanes.index(&lines[i]);
                for v in 0..V {
                    sums[i][v] = lanes.look_up(sums[i][v], index, &tables[v][word]);
                }
            }
            (word, rest) = (word + 1, others);
        }
        for i in 0..N {
            for v in 0..V {
                total[i][v] = lanes.add_integers(total[i][v], lanes.fold_sum(sums[i][v]));
            }
        }
    }
    total
}
