//! Products with constant matrices, packed when a model is loaded.

use core::ops::Range;

use amq_format::graph::Activations;

use super::pack::{CodedRows, Weights, pack_float};
use super::scratch::Scratch;
use super::source::{MatrixSource, PackError};
use crate::kernels::lanes::{ENTRY_BIAS, Tables};
use crate::kernels::{Output, Target, codes, tables};
use crate::quantize::{Code, Tabulate, largest_four, scale};

/// Vectors that are quantized together: their tables should stay in the second cache.
pub(super) const VECTORS: usize = 32;

/// Packed weights of a product, for one instruction set and one kind of activations.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) target: Target,
    pub(super) weights: Weights,
}

impl Matrix {
    /// Packs a matrix for a kind of activations. Plain weights ignore it: they are multiplied as
    /// they are.
    pub(crate) fn pack(
        source: &MatrixSource,
        activations: Activations,
        target: Target,
    ) -> Result<Matrix, PackError> {
        Matrix::pack_rows(source, 0..source.shape().0, activations, target)
    }

    /// Packs some rows of a matrix, a range within its rows.
    pub(crate) fn pack_rows(
        source: &MatrixSource,
        range: Range<usize>,
        activations: Activations,
        target: Target,
    ) -> Result<Matrix, PackError> {
        source.check()?;
        let (rows, (all, cols)) = (range.len(), source.shape());
        let weights = match source {
            MatrixSource::Float { data, .. } => {
                pack_float(rows, cols, |row, col| data[(range.start + row) * cols + col])
            }
            MatrixSource::Codes { group, bits, planes, coefficients, offsets, .. } => {
                let (group, bits) = (*group, *bits);
                let (words, groups) = (cols.div_ceil(64), cols.div_ceil(group));
                let coded = CodedRows {
                    range,
                    all,
                    cols,
                    group,
                    bits,
                    words,
                    groups,
                    planes,
                    coefficients,
                    offsets: offsets.as_deref(),
                };
                match (activations, activations.codes()) {
                    (Activations::F32, _) => {
                        pack_float(rows, cols, |row, col| coded.weight(row, col))
                    }
                    (Activations::Int8, _) if (1..=8).contains(&bits) => coded.pack_tables(target),
                    (_, Some(codes)) if (1..=4).contains(&bits) => coded.pack_codes(codes),
                    _ => return Err(PackError::Bits { bits, activations }),
                }
            }
        };
        Ok(Matrix { rows, cols, target, weights })
    }

    /// Columns: elements of a vector.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Rows: elements of a result.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Grows the scratch so that `multiply` allocates nothing for up to `vectors` vectors.
    pub(crate) fn reserve(&self, vectors: usize, scratch: &mut Scratch) {
        scratch.grow(self, vectors.min(VECTORS), 1);
    }

    /// Multiplies vectors x `[vector][column]` to out `[vector][row]`, each quantized alone.
    pub(crate) fn multiply(
        &self,
        x: &[f32],
        vectors: usize,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        debug_assert_eq!((x.len(), out.len()), (vectors * self.cols, vectors * self.rows));
        if self.rows == 0 || self.cols == 0 {
            out.fill(0.0);
            return;
        }
        self.reserve(vectors, scratch);
        let chunks = x.chunks(VECTORS * self.cols).zip(out.chunks_mut(VECTORS * self.rows));
        for (x, data) in chunks {
            let out = Output {
                data,
                rows: self.rows,
                row_stride: 1,
                vector_stride: self.rows,
                order: scratch.order,
            };
            match &self.weights {
                Weights::Float(weights) => weights.multiply(self.target, x, out),
                Weights::Codes { weights, codes } => {
                    let words = self.cols.div_ceil(64) * codes;
                    let count = x.len() / self.cols;
                    for (vector, x) in x.chunks_exact(self.cols).enumerate() {
                        let planes = &mut scratch.planes[..words];
                        scratch.coefficients[vector] =
                            self.target.run(Code { x, codes: *codes, planes });
                        let to = &mut scratch.words[vector * words..][..words];
                        for (code, plane) in planes.chunks_exact(words / codes).enumerate() {
                            write_pairs(plane.iter().copied(), &mut to[code..], *codes);
                        }
                    }
                    let vectors = scratch.coded(weights, *codes, count, 1);
                    weights.multiply(self.target, vectors, out);
                }
                Weights::Tables(weights) => {
                    for (vector, x) in x.chunks_exact(self.cols).enumerate() {
                        let largest = self.target.vectorize(|| largest_four(x));
                        scratch.tabulate(self, vector, x, scale(largest));
                    }
                    let vectors = scratch.tabulated(weights, x.len() / self.cols);
                    weights.multiply(self.target, vectors, out);
                }
            }
        }
    }
}

/// Writes the pairs of a code among those of all, `[pair][code]`: of each its first 32-bit word and
/// the exclusive or of both.
pub(super) fn write_pairs(pairs: impl Iterator<Item = u64>, words: &mut [[u32; 2]], codes: usize) {
    for (pair, to) in pairs.zip(words.iter_mut().step_by(codes)) {
        *to = [pair as u32, pair as u32 ^ (pair >> 32) as u32];
    }
}

impl Scratch {
    /// For vectors of a matrix, each of one or two sets of codes.
    pub(super) fn grow(&mut self, matrix: &Matrix, vectors: usize, sets: usize) {
        let Scratch { budget, planes, words, coefficients, tables, scales, sums: all, .. } = self;
        let sums = |offsets: bool, group: usize| {
            if offsets { matrix.cols.div_ceil(group) * vectors } else { 0 }
        };
        match &matrix.weights {
            Weights::Float(_) => {}
            Weights::Codes { weights, codes } => {
                let each = matrix.cols.div_ceil(64) * codes;
                budget.grow(planes, each, 0);
                budget.grow(words, vectors * sets * each, [0; 2]);
                budget.grow(coefficients, vectors, [0.0; 4]);
                budget.grow(all, sums(weights.offsets.is_some(), weights.group), 0.0);
            }
            Weights::Tables(weights) => {
                let count = vectors * matrix.cols.div_ceil(32);
                budget.grow(tables, count, Tables([ENTRY_BIAS; 128]));
                budget.grow(scales, vectors, 0.0);
                budget.grow(all, sums(weights.offsets.is_some(), weights.group), 0.0);
            }
        }
    }

    /// The first `count` vectors that were coded.
    pub(super) fn coded(
        &mut self,
        weights: &codes::Weights,
        codes: usize,
        count: usize,
        sets: usize,
    ) -> codes::Vectors<'_> {
        let set = weights.cols.div_ceil(64) * codes;
        let words = &self.words[..count * sets * set];
        let coefficients = &self.coefficients[..count];
        let mut used = 0;
        if weights.offsets.is_some() {
            for (words, coefficients) in words.chunks_exact(sets * set).zip(coefficients) {
                for start in (0..weights.cols).step_by(weights.group) {
                    let end = weights.cols.min(start + weights.group);
                    let mut sum = None;
                    for (code, coefficient) in coefficients[..codes].iter().enumerate() {
                        let ones = |words: &[[u32; 2]]| {
                            let pairs = words[start / 64 * codes..end.div_ceil(64) * codes].iter();
                            let counts = pairs.skip(code).step_by(codes).map(|[word, both]| {
                                i64::from(word.count_ones() + (word ^ both).count_ones())
                            });
                            counts.sum::<i64>()
                        };
                        let total = ones(&words[..set]) + ones(&words[(sets - 1) * set..]);
                        let dot = total - (end - start) as i64;
                        let term = coefficient * dot as f32;
                        sum = Some(sum.map_or(term, |sum| sum + term));
                    }
                    self.sums[used] = sum.unwrap_or(0.0);
                    used += 1;
                }
            }
        }
        codes::Vectors { words, sets, codes, coefficients, sums: &self.sums[..used] }
    }

    pub(super) fn tabulate(&mut self, matrix: &Matrix, vector: usize, x: &[f32], scale: f32) {
        let words = matrix.cols.div_ceil(32);
        let tables = &mut self.tables[vector * words..][..words];
        matrix.target.run(Tabulate { x, scale, tables });
        self.scales[vector] = scale;
    }

    /// The first `count` vectors that were made into tables.
    pub(super) fn tabulated(
        &mut self,
        weights: &tables::Weights,
        count: usize,
    ) -> tables::Vectors<'_> {
        let words = weights.cols.div_ceil(32);
        let tables = &self.tables[..count * words];
        let mut used = 0;
        if weights.offsets.is_some() {
            for tables in tables.chunks_exact(words) {
                for tables in tables.chunks(weights.group.div_ceil(32)) {
                    // The last entry of each table is that of four codes +1.
                    let entries =
                        tables.iter().flat_map(|tables| tables.0.iter().skip(15).step_by(16));
                    let sum: i64 =
                        entries.map(|entry| i64::from(*entry) - i64::from(ENTRY_BIAS)).sum();
                    self.sums[used] = sum as f32;
                    used += 1;
                }
            }
        }
        tables::Vectors { tables, scales: &self.scales[..count], sums: &self.sums[..used] }
    }
}
