//! Weights laid out for the kernels of an instruction set.

use alloc::vec::Vec;
use core::ops::Range;

use crate::kernels::lanes::Line;
use crate::kernels::{BLOCK, Target, codes, float, tables};

#[derive(Debug)]
pub(super) enum Weights {
    Float(float::Weights),
    Codes { weights: codes::Weights, codes: usize },
    Tables(tables::Weights),
}

/// Lays per-row data `[row][part]` out as `[block][part][row of the block]`, zeros in rows that
/// are not there.
fn interleave<T: Copy + Default>(
    rows: usize,
    parts: usize,
    at: impl Fn(usize, usize) -> T,
) -> Vec<[T; BLOCK]> {
    let mut packed = Vec::with_capacity(rows.div_ceil(BLOCK) * parts);
    for first in (0..rows).step_by(BLOCK) {
        for part in 0..parts {
            packed.push(core::array::from_fn(|row| {
                if first + row < rows { at(first + row, part) } else { T::default() }
            }));
        }
    }
    packed
}

/// Packs weights that are multiplied as they are.
pub(super) fn pack_float(
    rows: usize,
    cols: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> Weights {
    let columns = interleave(rows, cols, weight).into_iter().map(float::Column).collect();
    Weights::Float(float::Weights { cols, columns })
}

/// Some rows of a matrix of codes; they are counted from the first of the range.
pub(super) struct CodedRows<'a> {
    pub(super) range: Range<usize>,
    /// Rows of the whole matrix.
    pub(super) all: usize,
    pub(super) cols: usize,
    pub(super) group: usize,
    pub(super) bits: usize,
    /// Words of a row and plane.
    pub(super) words: usize,
    /// Groups of a row.
    pub(super) groups: usize,
    pub(super) planes: &'a [u64],
    pub(super) coefficients: &'a [f32],
    pub(super) offsets: Option<&'a [f32]>,
}

impl CodedRows<'_> {
    fn word(&self, plane: usize, row: usize, word: usize) -> u64 {
        self.planes[(plane * self.all + self.range.start + row) * self.words + word]
    }

    /// Half a word.
    fn half(&self, plane: usize, row: usize, at: usize) -> u32 {
        (self.word(plane, row, at / 2) >> (at % 2 * 32)) as u32
    }

    /// `part` counts `[group][plane]`.
    fn coefficient(&self, row: usize, part: usize) -> f32 {
        self.coefficients[(self.range.start + row) * self.groups * self.bits + part]
    }

    fn offset(&self, offsets: &[f32], row: usize, group: usize) -> f32 {
        offsets[(self.range.start + row) * self.groups + group]
    }

    /// `((a_0 b_0 + a_1 b_1) + ..) + c`
    pub(super) fn weight(&self, row: usize, col: usize) -> f32 {
        let group = col / self.group;
        let terms = (0..self.bits).map(|plane| {
            let a = self.coefficient(row, group * self.bits + plane);
            let set = self.word(plane, row, col / 64) >> (col % 64) & 1 == 1;
            if set { a } else { -a }
        });
        let offset = self.offsets.map(|offsets| self.offset(offsets, row, group));
        terms.chain(offset).reduce(|sum, term| sum + term).unwrap_or(0.0)
    }

    pub(super) fn pack_tables(&self, target: Target) -> Weights {
        let CodedRows { cols, group, bits, .. } = *self;
        let lines = interleave(self.range.len(), cols.div_ceil(32) * bits, |row, part| {
            self.half(part % bits, row, part / bits)
        });
        let lines = lines.into_iter().map(|line| target.arrange(Line(line))).collect();
        let (coefficients, offsets) = self.pack_scales();
        Weights::Tables(tables::Weights { cols, group, bits, lines, coefficients, offsets })
    }

    pub(super) fn pack_codes(&self, codes: usize) -> Weights {
        let CodedRows { cols, group, bits, .. } = *self;
        let lines = interleave(self.range.len(), self.words * bits * 2, |row, part| {
            let (pair, plane) = (part / 2 / bits, part / 2 % bits);
            let first = self.half(plane, row, 2 * pair);
            if part % 2 == 0 { first } else { first ^ self.half(plane, row, 2 * pair + 1) }
        });
        let lines = lines.as_chunks::<2>().0.iter().map(|pair| pair.map(Line)).collect();
        let (coefficients, offsets) = self.pack_scales();
        let weights = codes::Weights { cols, group, bits, lines, coefficients, offsets };
        Weights::Codes { weights, codes }
    }

    /// The coefficients, and the offsets if there are any.
    fn pack_scales(&self) -> (Vec<[f32; BLOCK]>, Option<Vec<[f32; BLOCK]>>) {
        let rows = self.range.len();
        let coefficients =
            interleave(rows, self.groups * self.bits, |row, part| self.coefficient(row, part));
        let offsets = self.offsets.map(|offsets| {
            interleave(rows, self.groups, |row, group| self.offset(offsets, row, group))
        });
        (coefficients, offsets)
    }
}
