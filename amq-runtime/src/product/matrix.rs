//! Products with constant matrices, packed when a model is loaded.

use core::ops::Range;

use amq_format::graph::Activations;

use super::pack::{CodedRows, Weights, columns_of, columns_of_pairs, halves, pack_float};
use super::parts;
use super::scratch::{Scratch, Tabulated};
use super::source::{MatrixSource, PackError};
use crate::kernels::lanes::Tables;
use crate::kernels::layout::Layout;
use crate::kernels::tables::Totals;
use crate::kernels::{BLOCK, Output, Target, codes, float, fma};
use crate::quantize::Code;

/// Vectors that are quantized together: their tables should stay in the second cache.
pub(super) const VECTORS: usize = 32;

/// Float vectors that are multiplied together.
const FLOAT_VECTORS: usize = 96;

/// Packed weights of a product, for one instruction set and one kind of activations.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(super) rows: usize,
    /// Columns of all taps.
    pub(super) cols: usize,
    pub(super) target: Target,
    pub(super) weights: Weights,
}

impl Matrix {
    /// Packs a matrix for a kind of activations. Plain weights ignore it: they are multiplied as
    /// they are.
    pub(crate) fn pack(
        source: &MatrixSource<'_>,
        activations: Activations,
        target: Target,
    ) -> Result<Matrix, PackError> {
        Matrix::pack_rows(source, 0..source.shape().0, activations, target)
    }

    /// Packs some rows of a matrix, a range within its rows.
    pub(crate) fn pack_rows(
        source: &MatrixSource<'_>,
        range: Range<usize>,
        activations: Activations,
        target: Target,
    ) -> Result<Matrix, PackError> {
        Matrix::pack_taps(source, range, 1, activations, target)
    }

    /// Packs some rows of a matrix whose columns are those of `taps` taps.
    pub(super) fn pack_taps(
        source: &MatrixSource<'_>,
        range: Range<usize>,
        taps: usize,
        activations: Activations,
        target: Target,
    ) -> Result<Matrix, PackError> {
        source.check()?;
        let (rows, (all, cols)) = (range.len(), source.shape());
        if taps == 0 || !cols.is_multiple_of(taps) {
            return Err(PackError::Taps { cols, taps });
        }
        // Without columns nothing is multiplied.
        let columns = (cols / taps).max(1);
        let weights = match source {
            MatrixSource::Float { data, .. } => pack_float(rows, taps, cols / taps, |row, col| {
                f32::from_le_bytes(data[(range.start + row) * cols + col])
            }),
            MatrixSource::Codes { group, bits, planes, coefficients, offsets, .. } => {
                let (group, bits) = (*group, *bits);
                let layout =
                    Layout::new(taps, columns, group).ok_or(PackError::Tap { group, columns })?;
                let coded = CodedRows {
                    range,
                    all,
                    group,
                    bits,
                    layout,
                    words: cols.div_ceil(64),
                    planes,
                    coefficients,
                    offsets: offsets.as_deref(),
                };
                match (activations, activations.codes()) {
                    (Activations::F32, _) => {
                        pack_float(rows, taps, cols / taps, |row, col| coded.weight(row, col))
                    }
                    (Activations::Int8, _) if (1..=8).contains(&bits) => {
                        coded.pack_tables(1, target)
                    }
                    (Activations::Int16, _) if (1..=8).contains(&bits) => {
                        coded.pack_tables(2, target)
                    }
                    (_, Some(codes)) if (1..=4).contains(&bits) => {
                        coded.pack_codes(codes, activations.has_offset(), target)
                    }
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

    /// Blocks of rows.
    pub(super) fn blocks(&self) -> usize {
        self.rows.div_ceil(BLOCK)
    }

    /// Grows the scratch so that `multiply` allocates nothing for up to `vectors` vectors.
    pub(crate) fn reserve(&self, vectors: usize, scratch: &mut Scratch) {
        let vectors = vectors.min(self.together());
        if !matches!(self.weights, Weights::Float(_)) {
            self.grow(vectors, scratch);
        }
        scratch.budget.grow(&mut scratch.places, vectors, 0);
    }

    /// Vectors that are multiplied together, at most.
    fn together(&self) -> usize {
        if matches!(self.weights, Weights::Float(_)) { FLOAT_VECTORS } else { VECTORS }
    }

    /// Multiplies vectors x `[vector][column]` to out `[vector][row]`, each quantized alone, and adds a
    /// bias of a row each.
    pub(crate) fn multiply(
        &self,
        x: &[f32],
        vectors: usize,
        bias: Option<&[f32]>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        debug_assert_eq!((x.len(), out.len()), (vectors * self.cols, vectors * self.rows));
        if self.rows == 0 || self.cols == 0 {
            for out in out.chunks_mut(self.rows.max(1)) {
                match bias {
                    Some(bias) => out.copy_from_slice(bias),
                    None => out.fill(0.0),
                }
            }
            return;
        }
        self.reserve(vectors, scratch);
        let most = vectors.min(self.together());
        for (place, to) in scratch.places[..most].iter_mut().enumerate() {
            *to = place as u32;
        }
        let chunks = x.chunks(most.max(1) * self.cols).zip(out.chunks_mut(most.max(1) * self.rows));
        for (x, data) in chunks {
            self.code(x, 0, scratch);
            let out = Output {
                data,
                rows: self.rows,
                row_stride: 1,
                vector_stride: self.rows,
                bias,
                blocks: 0..self.blocks(),
                order: scratch.order,
            };
            self.product(x, x.len() / self.cols, out, scratch);
        }
    }

    /// Codes one vector to the first place.
    pub(super) fn code_one(&self, x: &[f32], scratch: &mut Scratch) {
        self.reserve(1, scratch);
        scratch.places[0] = 0;
        self.code(x, 0, scratch);
    }

    /// Makes room for coded vectors at `places` places.
    pub(super) fn grow(&self, places: usize, scratch: &mut Scratch) {
        let Scratch { budget, planes, words, coefficients, sums, tabulated, rest, .. } = scratch;
        match &self.weights {
            Weights::Float(weights) => {
                budget.grow(&mut scratch.floats, places.saturating_mul(weights.columns), 0.0);
            }
            Weights::Codes { weights, codes, .. } => {
                let layout = &weights.layout;
                let offsets = if weights.offsets.is_some() { layout.segments() } else { 0 };
                budget.grow(planes, layout.columns.div_ceil(64) * codes, 0);
                budget.grow(words, places.saturating_mul(layout.pairs() * codes), [0; 2]);
                budget.grow(coefficients, places, [0.0; 5]);
                budget.grow(sums, places.saturating_mul(offsets), 0.0);
            }
            Weights::Tables { weights, parts } => {
                let layout = &weights.layout;
                let (words, segments) = (layout.words(), layout.segments());
                for Tabulated { tables, scales, totals } in &mut tabulated[..*parts] {
                    budget.grow(tables, places.saturating_mul(words), Tables::ZERO);
                    budget.grow(scales, places, 0.0);
                    budget.grow(totals, places.saturating_mul(segments), Totals::default());
                }
                if *parts > 1 {
                    budget.grow(rest, places.min(VECTORS).saturating_mul(layout.columns), 0.0);
                }
            }
        }
    }

    /// Codes vectors x `[vector][column of a tap]`, each alone, to places from `place` on. What is
    /// multiplied in float stays where it is.
    pub(super) fn code(&self, x: &[f32], place: usize, scratch: &mut Scratch) {
        match &self.weights {
            Weights::Float(_) => {}
            Weights::Codes { weights, codes, constant } => {
                let layout = &weights.layout;
                let planes = &mut scratch.planes[..layout.columns.div_ceil(64) * codes];
                for (i, x) in x.chunks_exact(layout.columns).enumerate() {
                    let at = place + i;
                    let code = Code { x, codes: *codes, constant: *constant, planes };
                    scratch.coefficients[at] = self.target.run(code);
                    let each = layout.pairs() * codes;
                    let words = &mut scratch.words[at * each..][..each];
                    for (code, plane) in planes.chunks_exact(planes.len() / codes).enumerate() {
                        let to = words[code..].iter_mut().step_by(*codes);
                        for (columns, to) in columns_of_pairs(layout).zip(to) {
                            *to = halves(columns_of(|word| plane[word], columns));
                        }
                    }
                    if weights.offsets.is_some() {
                        let sums = &mut scratch.sums[at * layout.segments()..][..layout.segments()];
                        sum_codes(
                            layout,
                            words,
                            &scratch.coefficients[at],
                            *codes,
                            *constant,
                            sums,
                        );
                    }
                }
            }
            Weights::Tables { weights, parts } => {
                let Scratch { tabulated: [first, second], rest, .. } = scratch;
                let rest = (*parts > 1).then(|| &mut rest[..x.len()]);
                let Some(rest) = rest else {
                    return self.target.run(first.make(weights.layout, x, place, None));
                };
                self.target.run(first.make(weights.layout, x, place, Some(rest)));
                self.target.run(second.make(weights.layout, rest, place, None));
            }
        }
    }

    /// Makes the vector at a place zero: what a window has in the border.
    pub(super) fn clear(&self, place: usize, scratch: &mut Scratch) {
        match &self.weights {
            Weights::Float(weights) => {
                scratch.floats[place * weights.columns..][..weights.columns].fill(0.0);
            }
            Weights::Codes { weights, codes, .. } => {
                let layout = &weights.layout;
                let each = layout.pairs() * codes;
                scratch.words[place * each..][..each].fill([0; 2]);
                scratch.coefficients[place] = [0.0; 5];
                if weights.offsets.is_some() {
                    scratch.sums[place * layout.segments()..][..layout.segments()].fill(0.0);
                }
            }
            Weights::Tables { weights, parts } => {
                let (words, segments) = (weights.layout.words(), weights.layout.segments());
                for Tabulated { tables, scales, totals } in &mut scratch.tabulated[..*parts] {
                    tables[place * words..][..words].fill(Tables::ZERO);
                    scales[place] = 0.0;
                    totals[place * segments..][..segments].fill(Totals::default());
                }
            }
        }
    }

    /// Multiplies the vectors whose places are the first in the scratch; x are those of a product in
    /// float, `[place][column of a tap]`.
    pub(super) fn product(&self, x: &[f32], vectors: usize, out: Output<'_>, scratch: &Scratch) {
        match &self.weights {
            Weights::Float(weights) => {
                let places = &scratch.places[..vectors * weights.taps];
                weights.multiply(self.target, float::Vectors { x, places }, out);
            }
            Weights::Codes { weights, codes, .. } => {
                let vectors = codes::Vectors {
                    words: &scratch.words,
                    codes: *codes,
                    coefficients: &scratch.coefficients,
                    sums: &scratch.sums,
                    places: &scratch.places[..vectors * weights.layout.taps],
                };
                weights.multiply(self.target, vectors, out);
            }
            Weights::Tables { weights, parts } => {
                let places = &scratch.places[..vectors * weights.layout.taps];
                let [first, second] = scratch.tabulated.each_ref().map(|part| part.at(places));
                if *parts > 1 {
                    parts::multiply(weights, self.target, [first, second], out);
                } else {
                    weights.multiply(self.target, first, out);
                }
            }
        }
    }
}

/// What the offsets of weights are multiplied by, for each segment: the sum of the coded elements.
fn sum_codes(
    layout: &Layout,
    words: &[[u32; 2]],
    coefficients: &codes::Coefficients,
    codes: usize,
    constant: bool,
    sums: &mut [f32],
) {
    for (segment, to) in sums.iter_mut().enumerate() {
        let columns = layout.columns_of(segment).len();
        let words = &words[layout.pairs_of(segment).start * codes..];
        let words = &words[..layout.pairs_of(segment).len() * codes];
        let mut sum = constant.then(|| coefficients[0] * columns as f32);
        for (code, c) in coefficients[1..=codes].iter().enumerate() {
            let ones = words.iter().skip(code).step_by(codes);
            let ones: u32 =
                ones.map(|[word, both]| word.count_ones() + (word ^ both).count_ones()).sum();
            let total = (2 * i64::from(ones) - columns as i64) as f32;
            sum = Some(sum.map_or(c * total, |sum| fma(*c, total, sum)));
        }
        *to = sum.unwrap_or(0.0);
    }
}
