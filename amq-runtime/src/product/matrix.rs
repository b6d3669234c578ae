//! Products with constant matrices, packed when a model is loaded.

use core::ops::Range;

use amq_format::graph::Activations;

use super::in_file::InFile;
use super::pack::{
    CodedRows, Kind, Packed, Weights, columns_of, columns_of_pairs, halves, layout, pack_float,
};
use super::parts;
use super::scratch::{Meter, Scratch, Tabulated};
use super::source::{MatrixSource, PackError};
use super::unpacked::Unpacked;
use crate::kernels::lanes::Tables;
use crate::kernels::layout::Layout;
use crate::kernels::tables::Totals;
use crate::kernels::{BLOCK, Output, Target, codes, float, fma, one_by_one};
use crate::quantize::Code;
use crate::workers::Workers;

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
    /// Where they stay in the file, these are like them, of no rows.
    pub(super) weights: Weights,
    pub(super) in_file: Option<InFile>,
}

/// What weights are packed with.
#[derive(Clone, Copy)]
pub(crate) struct Packer<'a> {
    /// The instruction set.
    pub(crate) target: Target,
    /// Threads that share the work.
    pub(crate) workers: &'a dyn Workers,
}

#[cfg(test)]
impl Packer<'static> {
    /// Without other threads.
    pub(crate) fn alone(target: Target) -> Packer<'static> {
        Packer { target, workers: &crate::workers::Alone }
    }
}

impl Matrix {
    /// Packs a whole matrix.
    #[cfg(test)]
    pub(crate) fn pack(
        source: &MatrixSource<'_>,
        activations: Activations,
        packer: Packer<'_>,
    ) -> Result<Matrix, PackError> {
        Matrix::pack_rows(source, 0..source.shape().0, activations, packer)
    }

    /// Packs some rows of a matrix, a range within its rows, for a kind of activations. Plain weights ignore it: they are
    /// multiplied as they are.
    pub(crate) fn pack_rows(
        source: &MatrixSource<'_>,
        range: Range<usize>,
        activations: Activations,
        packer: Packer<'_>,
    ) -> Result<Matrix, PackError> {
        Matrix::pack_taps(source, range, 1, activations, packer)
    }

    /// Packs some rows of a matrix whose columns are those of `taps` taps.
    pub(super) fn pack_taps(
        source: &MatrixSource<'_>,
        range: Range<usize>,
        taps: usize,
        activations: Activations,
        packer: Packer<'_>,
    ) -> Result<Matrix, PackError> {
        source.check()?;
        let Packer { target, workers } = packer;
        let (rows, (all, cols)) = (range.len(), source.shape());
        let (mut in_file, packed) = (None, &mut Packed::default());
        let weights = match source {
            MatrixSource::Float { data, .. } => {
                let Layout { taps, .. } = layout(taps, cols, cols)?;
                let weight = |row: usize, col: usize| {
                    f32::from_le_bytes(data[(range.start + row) * cols + col])
                };
                pack_float(rows, taps, cols / taps, weight, packed, workers)
            }
            MatrixSource::Codes { group, bits, planes, coefficients, offsets, .. } => {
                let layout = layout(taps, cols, *group)?;
                let kind = Kind::new(activations, *bits)?;
                let coded = CodedRows {
                    range,
                    all,
                    group: *group,
                    bits: *bits,
                    layout,
                    pieces: &kind.pieces(&layout),
                    words: cols.div_ceil(64),
                    planes,
                    coefficients,
                    offsets: offsets.as_deref(),
                };
                coded.pack(kind, packed, target, workers)
            }
            MatrixSource::InFile { tensor, rows, .. } => {
                let rows = rows.start + range.start..rows.start + range.end;
                let (kept, like) = InFile::new(tensor, rows, [taps, cols], activations, target)?;
                in_file = Some(kept);
                like
            }
        };
        Ok(Matrix { rows, cols, target, weights, in_file })
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

    /// Blocks of rows whose weights lie together.
    pub(super) fn blocks_together(&self) -> usize {
        match &self.weights {
            Weights::Float(_) => float::BLOCKS,
            Weights::Codes { weights, .. } => codes::together(weights.plain, self.target),
            Weights::Tables { .. } => 1,
        }
    }

    /// Grows the scratch so that `multiply` allocates nothing for up to `vectors` vectors.
    pub(crate) fn reserve(&self, vectors: usize, scratch: &mut Scratch) {
        self.reserve_rows(scratch);
        let vectors = vectors.min(self.together());
        if !matches!(self.weights, Weights::Float(_)) {
            self.grow(vectors, scratch);
        }
        scratch.budget.grow(&mut scratch.places, vectors, 0);
    }

    /// Takes memory for the rows of a matrix that stays in the file.
    pub(super) fn reserve_rows(&self, scratch: &mut Scratch) {
        let Some(in_file) = &self.in_file else { return };
        let Scratch { budget, unpacked, .. } = scratch;
        let blocks = self.blocks_together().min(self.blocks());
        in_file.reserve(&self.weights, blocks, unpacked, budget);
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
        let mut unpacked = scratch.unpacked.take();
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
            self.product(x, x.len() / self.cols, out, scratch, unpacked.as_deref_mut());
        }
        scratch.unpacked = unpacked;
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
        let meter = scratch.meter.filter(|_| !matches!(self.weights, Weights::Float(_)));
        let Some(Meter { now, .. }) = meter else {
            return self.code_vectors(x, place, scratch);
        };
        let start = now();
        self.code_vectors(x, place, scratch);
        let took = now().saturating_sub(start);
        scratch.meter.iter_mut().for_each(|meter| meter.taken += took);
    }

    fn code_vectors(&self, x: &[f32], place: usize, scratch: &mut Scratch) {
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
    /// float, `[place][column of a tap]`. Weights that stay in the file need memory to be packed in.
    pub(super) fn product(
        &self,
        x: &[f32],
        vectors: usize,
        out: Output<'_>,
        scratch: &Scratch,
        unpacked: Option<&mut Unpacked>,
    ) {
        let (Some(in_file), Some(unpacked)) = (&self.in_file, unpacked) else {
            return multiply(&self.weights, self.target, x, vectors, out, scratch);
        };
        let Output { data, rows, row_stride, vector_stride, bias, blocks, order } = out;
        let together = self.blocks_together();
        in_file.unpack(blocks.clone(), together, self.target, unpacked, |weights, part| {
            let first = (part.start - blocks.start) * BLOCK;
            let out = Output {
                data: &mut data[first * row_stride..],
                rows: rows - first,
                row_stride,
                vector_stride,
                bias: bias.map(|bias| &bias[part.start * BLOCK..]),
                blocks: 0..part.len(),
                order,
            };
            multiply(weights, self.target, x, vectors, out, scratch);
        });
    }
}

/// As [`Matrix::product`], with weights that are packed.
fn multiply(
    weights: &Weights,
    target: Target,
    x: &[f32],
    vectors: usize,
    out: Output<'_>,
    scratch: &Scratch,
) {
    match weights {
        Weights::Float(weights) => {
            let places = &scratch.places[..vectors * weights.taps];
            weights.multiply(target, float::Vectors { x, places }, out);
        }
        Weights::Codes { weights, codes, .. } => {
            let vectors = codes::Vectors {
                words: &scratch.words,
                codes: *codes,
                coefficients: &scratch.coefficients,
                sums: &scratch.sums,
                places: &scratch.places[..vectors * weights.layout.taps],
            };
            if cfg!(all(target_arch = "wasm32", target_feature = "simd128")) {
                one_by_one::multiply(weights, target, vectors, out);
            } else {
                weights.multiply(target, vectors, out);
            }
        }
        Weights::Tables { weights, parts } => {
            let places = &scratch.places[..vectors * weights.layout.taps];
            let [first, second] = scratch.tabulated.each_ref().map(|part| part.at(places));
            if *parts > 1 {
                parts::multiply(weights, target, [first, second], out);
            } else {
                weights.multiply(target, first, out);
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
