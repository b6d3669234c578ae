//! Products with constant matrices, packed when a model is loaded.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use amq_format::graph::Activations;
use amq_format::spec::MAX_COLUMNS;

use crate::kernels::lanes::{ENTRY_BIAS, Line, Tables};
use crate::kernels::{BLOCK, Order, Output, Target, codes, float, tables};
use crate::quantize::{Code, Tabulate, largest_four, scale};

/// Vectors that are quantized together: their tables should stay in the second cache.
const VECTORS: usize = 32;

/// A matrix as a file holds it.
#[derive(Clone, Debug)]
pub(crate) enum MatrixSource {
    /// Elements, row-major.
    Float { rows: usize, cols: usize, data: Vec<f32> },
    /// Sums of scaled codes.
    Codes {
        rows: usize,
        cols: usize,
        /// Columns that share coefficients: all of them, or a multiple of 64.
        group: usize,
        bits: usize,
        /// `[plane][row][word]`; bit i of word j is set where column 64 j + i is +1.
        planes: Vec<u64>,
        /// `[row][group][plane]`
        coefficients: Vec<f32>,
        /// `[row][group]`
        offsets: Option<Vec<f32>>,
    },
}

/// Why a matrix cannot be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackError {
    /// A part of the matrix has not the length that its shape asks for.
    Length { part: &'static str, expected: usize, found: usize },
    /// More columns than [`MAX_COLUMNS`].
    Columns(usize),
    /// The columns of a group are neither all nor a multiple of 64.
    Group(usize),
    /// No kernel multiplies this many codes with these activations.
    Bits { bits: usize, activations: Activations },
    /// The rows cannot be divided into this many groups of a convolution.
    Groups { rows: usize, groups: usize },
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackError::Length { part, expected, found } => {
                write!(f, "{part} of the matrix: {found} elements where its shape has {expected}")
            }
            PackError::Columns(cols) => write!(f, "{cols} columns; at most {MAX_COLUMNS}"),
            PackError::Group(group) => {
                write!(f, "groups of {group} columns; a multiple of 64 is needed")
            }
            PackError::Bits { bits, activations } => {
                let activations = activations.adjective();
                write!(f, "no product of {bits}-bit weights and {activations} activations")
            }
            PackError::Groups { rows, groups } => {
                write!(f, "{rows} rows do not divide into {groups} groups")
            }
        }
    }
}

/// Packed weights of a product, for one instruction set and one kind of activations.
#[derive(Debug)]
pub(crate) struct Matrix {
    rows: usize,
    cols: usize,
    target: Target,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    Float(float::Weights),
    Codes { weights: codes::Weights, codes: usize },
    Tables(tables::Weights),
}

/// Memory for quantized activations: as large as the largest product needed.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) order: Order,
    pub(crate) budget: Budget,
    planes: Vec<u64>,
    patch: Vec<u64>,
    words: Vec<[u32; 2]>,
    coefficients: Vec<[f32; 4]>,
    tables: Vec<Tables>,
    scales: Vec<f32>,
    sums: Vec<f32>,
    patches: Vec<f32>,
}

/// What a convolution's window visits; one spatial axis is a height of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Channels of the input, in all groups.
    pub(crate) channels: usize,
    /// Height and width of the input.
    pub(crate) input: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    pub(crate) dilations: [usize; 2],
    /// Border at the beginning of each axis.
    pub(crate) pads: [usize; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
}

/// Packed weights of a convolution.
#[derive(Debug)]
pub(crate) struct ConvMatrix {
    groups: Vec<Matrix>,
}

impl MatrixSource {
    /// Rows and columns.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            MatrixSource::Float { rows, cols, .. } | MatrixSource::Codes { rows, cols, .. } => {
                (*rows, *cols)
            }
        }
    }

    /// Checks lengths, so that later indices are in bounds.
    fn check(&self) -> Result<(), PackError> {
        let (rows, cols) = self.shape();
        // Sums over more would not be exact in the integers that kernels use.
        if cols as u64 > MAX_COLUMNS {
            return Err(PackError::Columns(cols));
        }
        let length = |part, sizes: &[usize], found| {
            let product = sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
            match product {
                Some(expected) if expected == found => Ok(()),
                _ => {
                    Err(PackError::Length { part, expected: product.unwrap_or(usize::MAX), found })
                }
            }
        };
        match self {
            MatrixSource::Float { data, .. } => length("elements", &[rows, cols], data.len()),
            MatrixSource::Codes { group, bits, planes, coefficients, offsets, .. } => {
                if *group == 0 || (*group < cols && group % 64 != 0) {
                    return Err(PackError::Group(*group));
                }
                let groups = cols.div_ceil(*group);
                length("planes", &[*bits, rows, cols.div_ceil(64)], planes.len())?;
                length("coefficients", &[rows, groups, *bits], coefficients.len())?;
                offsets
                    .as_ref()
                    .map_or(Ok(()), |offsets| length("offsets", &[rows, groups], offsets.len()))
            }
        }
    }
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
fn pack_float(rows: usize, cols: usize, weight: impl Fn(usize, usize) -> f32) -> Weights {
    let columns = interleave(rows, cols, weight).into_iter().map(float::Column).collect();
    Weights::Float(float::Weights { cols, columns })
}

/// Some rows of a matrix of codes; they are counted from the first of the range.
struct CodedRows<'a> {
    range: Range<usize>,
    /// Rows of the whole matrix.
    all: usize,
    cols: usize,
    group: usize,
    bits: usize,
    /// Words of a row and plane.
    words: usize,
    /// Groups of a row.
    groups: usize,
    planes: &'a [u64],
    coefficients: &'a [f32],
    offsets: Option<&'a [f32]>,
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
    fn weight(&self, row: usize, col: usize) -> f32 {
        let group = col / self.group;
        let terms = (0..self.bits).map(|plane| {
            let a = self.coefficient(row, group * self.bits + plane);
            let set = self.word(plane, row, col / 64) >> (col % 64) & 1 == 1;
            if set { a } else { -a }
        });
        let offset = self.offsets.map(|offsets| self.offset(offsets, row, group));
        terms.chain(offset).reduce(|sum, term| sum + term).unwrap_or(0.0)
    }

    fn pack_tables(&self, target: Target) -> Weights {
        let CodedRows { cols, group, bits, .. } = *self;
        let lines = interleave(self.range.len(), cols.div_ceil(32) * bits, |row, part| {
            self.half(part % bits, row, part / bits)
        });
        let lines = lines.into_iter().map(|line| target.arrange(Line(line))).collect();
        let (coefficients, offsets) = self.pack_scales();
        Weights::Tables(tables::Weights { cols, group, bits, lines, coefficients, offsets })
    }

    fn pack_codes(&self, codes: usize) -> Weights {
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
fn write_pairs(pairs: impl Iterator<Item = u64>, words: &mut [[u32; 2]], codes: usize) {
    for (pair, to) in pairs.zip(words.iter_mut().step_by(codes)) {
        *to = [pair as u32, pair as u32 ^ (pair >> 32) as u32];
    }
}

/// Bytes of working memory.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What it may take.
    pub(crate) limit: u64,
    /// What it takes.
    pub(crate) held: u64,
    /// Bytes that a vector lacks which could not grow.
    pub(crate) lacking: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { limit: u64::MAX, held: 0, lacking: 0 }
    }
}

impl Budget {
    /// Makes a vector at least `len` long, if there is memory for that.
    pub(crate) fn grow<T: Clone>(&mut self, vec: &mut Vec<T>, len: usize, value: T) {
        let more = len.saturating_sub(vec.len());
        let bytes = (more as u64).saturating_mul(size_of::<T>() as u64);
        let held = self.held.saturating_add(bytes);
        if more > 0 && held > self.limit || vec.try_reserve_exact(more).is_err() {
            self.lacking = self.lacking.saturating_add(bytes);
        } else if more > 0 {
            self.held = held;
            vec.resize(len, value);
        }
    }
}

impl Scratch {
    /// For vectors of a matrix, each of one or two sets of codes.
    fn grow(&mut self, matrix: &Matrix, vectors: usize, sets: usize) {
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
    fn coded(
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

    fn tabulate(&mut self, matrix: &Matrix, vector: usize, x: &[f32], scale: f32) {
        let words = matrix.cols.div_ceil(32);
        let tables = &mut self.tables[vector * words..][..words];
        matrix.target.run(Tabulate { x, scale, tables });
        self.scales[vector] = scale;
    }

    /// The first `count` vectors that were made into tables.
    fn tabulated(&mut self, weights: &tables::Weights, count: usize) -> tables::Vectors<'_> {
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

impl Geometry {
    fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether the window at an output position has no border in it.
    fn is_inside(&self, position: usize) -> bool {
        let origin = [position / self.output[1], position % self.output[1]];
        [0, 1].into_iter().all(|axis| {
            let first = origin[axis] * self.strides[axis];
            let last = first + self.kernel[axis].saturating_sub(1) * self.dilations[axis];
            first >= self.pads[axis] && last < self.input[axis] + self.pads[axis]
        })
    }

    /// The element of `axis` that a tap falls on from an output position, unless it is border.
    fn place(&self, axis: usize, position: usize, tap: usize) -> Option<usize> {
        let at = position * self.strides[axis] + tap * self.dilations[axis];
        at.checked_sub(self.pads[axis]).filter(|at| *at < self.input[axis])
    }

    /// Copies the window's elements in order `[channel][kernel row][kernel column]`, +0 for the
    /// border.
    fn gather(&self, channels: Range<usize>, position: usize, x: &[f32], patch: &mut [f32]) {
        let [height, width] = self.input;
        let [rows, taps] = self.kernel;
        let [top, left] = [position / self.output[1], position % self.output[1]];
        let whole = self.dilations[1] == 1 && self.place(1, left, taps - 1).is_some();
        let first = self.place(1, left, 0).filter(|_| whole);
        for (channel, patch) in channels.zip(patch.chunks_exact_mut(rows * taps)) {
            for (kernel_row, to) in patch.chunks_exact_mut(taps).enumerate() {
                let Some(row) = self.place(0, top, kernel_row) else {
                    to.fill(0.0);
                    continue;
                };
                let x = &x[(channel * height + row) * width..][..width];
                match first {
                    Some(first) => copy_short(&x[first..][..taps], to),
                    None => {
                        for (tap, to) in to.iter_mut().enumerate() {
                            *to = self.place(1, left, tap).map_or(0.0, |at| x[at]);
                        }
                    }
                }
            }
        }
    }

    /// Taps of a kernel row whose bits are taken together.
    fn piece(&self) -> usize {
        let taps = self.kernel[1];
        if self.dilations[1] == 1 && taps <= 64 { taps } else { 1 }
    }

    /// Most output positions of a row whose pieces lie within 64 bits.
    fn reach(&self) -> usize {
        (64 - self.piece()) / self.strides[1] + 1
    }

    /// Copies a plane's bits in windows at positions of one output row, at most `reach` of them, to
    /// `[word][position]`; border bits are as `border`.
    #[inline(always)]
    fn gather_bits(
        &self,
        channels: Range<usize>,
        positions: Range<usize>,
        plane: &[u64],
        border: bool,
        patch: &mut [u64],
    ) {
        patch.fill(0);
        let [height, width] = self.input;
        let [top, left] = [positions.start / self.output[1], positions.start % self.output[1]];
        let (count, stride, piece) = (positions.len(), self.strides[1], self.piece());
        let mask = u64::MAX >> (64 - piece);
        let outside = if border { u64::MAX } else { 0 };
        let mut to = 0;
        for channel in channels {
            for kernel_row in 0..self.kernel[0] {
                let row = self.place(0, top, kernel_row);
                for tap in (0..self.kernel[1]).step_by(piece) {
                    // 64 bits of the row, from the first position's.
                    let start = left * stride + tap * self.dilations[1];
                    let skipped = self.pads[1].saturating_sub(start);
                    let first = start.saturating_sub(self.pads[1]);
                    let bits = match row {
                        Some(row) if skipped < 64 && first < width => {
                            let inside = u64::MAX >> (64 - (width - first).min(64)) << skipped;
                            let bits = bits_from(plane, (channel * height + row) * width + first);
                            bits << skipped & inside | outside & !inside
                        }
                        _ => outside,
                    };
                    let (word, shift) = (to / 64, to % 64);
                    let (low, high) = patch[word * count..].split_at_mut(count);
                    for (i, low) in low.iter_mut().enumerate() {
                        *low |= (bits >> (i * stride) & mask) << shift;
                    }
                    if shift + piece > 64 {
                        for (i, high) in high[..count].iter_mut().enumerate() {
                            *high |= (bits >> (i * stride) & mask) >> (64 - shift);
                        }
                    }
                    to += piece;
                }
            }
        }
    }
}

/// 64 bits of a plane, zeros behind its end.
fn bits_from(plane: &[u64], at: usize) -> u64 {
    let (word, shift) = (at / 64, at % 64);
    let next = plane.get(word + 1).copied().unwrap_or(0);
    plane[word] >> shift | next << 1 << (63 - shift)
}

/// Copies a kernel's row; lengths that are common are known where the code is made.
fn copy_short(from: &[f32], to: &mut [f32]) {
    match from.len() {
        1 => to[..1].copy_from_slice(&from[..1]),
        3 => to[..3].copy_from_slice(&from[..3]),
        5 => to[..5].copy_from_slice(&from[..5]),
        7 => to[..7].copy_from_slice(&from[..7]),
        _ => to.copy_from_slice(from),
    }
}

impl ConvMatrix {
    /// Packs a matrix `[output channel][channel of the group, kernel row, kernel column]` for a
    /// convolution in `groups` groups.
    pub(crate) fn pack(
        source: &MatrixSource,
        groups: usize,
        activations: Activations,
        target: Target,
    ) -> Result<ConvMatrix, PackError> {
        source.check()?;
        let rows = source.shape().0;
        if groups == 0 || !rows.is_multiple_of(groups) {
            return Err(PackError::Groups { rows, groups });
        }
        let rows = rows / groups;
        let groups = (0..groups).map(|group| {
            Matrix::pack_rows(source, group * rows..(group + 1) * rows, activations, target)
        });
        Ok(ConvMatrix { groups: groups.collect::<Result<_, _>>()? })
    }

    /// Grows the scratch so that `convolve` allocates nothing.
    pub(crate) fn reserve(&self, geometry: &Geometry, scratch: &mut Scratch) {
        let vectors = geometry.positions().min(VECTORS);
        let item = geometry.channels * geometry.input[0] * geometry.input[1];
        for matrix in &self.groups {
            scratch.grow(matrix, vectors, 2);
            let Scratch { budget, planes, patch, patches, .. } = scratch;
            match &matrix.weights {
                Weights::Float(_) | Weights::Tables(_) => {
                    budget.grow(patches, vectors * matrix.cols, 0.0);
                }
                Weights::Codes { codes, .. } => {
                    budget.grow(planes, item.div_ceil(64) * codes, 0);
                    let most = vectors.min(geometry.reach());
                    budget.grow(patch, matrix.cols.div_ceil(64) * most, 0);
                }
            }
        }
    }

    /// Convolves one batch item x `[channel][height][width]`, which is quantized as one, to out
    /// `[output channel][height][width]`. The rows' columns must be the channels of a group times
    /// the kernel's size.
    pub(crate) fn convolve(
        &self,
        geometry: &Geometry,
        x: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let positions = geometry.positions();
        let channels = geometry.channels / self.groups.len();
        let Some(first) = self.groups.first() else { return };
        debug_assert_eq!(first.cols, channels * geometry.kernel[0] * geometry.kernel[1]);
        debug_assert_eq!(x.len(), geometry.channels * geometry.input[0] * geometry.input[1]);
        debug_assert_eq!(out.len(), self.groups.len() * first.rows * positions);
        // Without elements there is nothing to code, and all windows are border.
        if out.is_empty() || first.cols == 0 || x.is_empty() {
            out.fill(0.0);
            return;
        }
        self.reserve(geometry, scratch);
        let mut item = Item { coefficients: [0.0; 4], scale: 0.0 };
        match &first.weights {
            Weights::Float(_) => {}
            Weights::Codes { codes, .. } => {
                let planes = &mut scratch.planes[..x.len().div_ceil(64) * codes];
                item.coefficients = first.target.run(Code { x, codes: *codes, planes });
            }
            Weights::Tables(_) => {
                let patch = &mut scratch.patches[..first.cols];
                let mut largest = 0;
                for group in 0..self.groups.len() {
                    for position in 0..positions {
                        let channels = group * channels..(group + 1) * channels;
                        geometry.gather(channels, position, x, patch);
                        largest = largest.max(first.target.vectorize(|| largest_four(patch)));
                    }
                }
                item.scale = scale(largest);
            }
        }
        for (group, (matrix, out)) in
            self.groups.iter().zip(out.chunks_exact_mut(first.rows * positions)).enumerate()
        {
            let channels = group * channels..(group + 1) * channels;
            let mut start = 0;
            while start < positions {
                let inside = geometry.is_inside(start);
                let mut end = positions.min(start + VECTORS);
                if matches!(matrix.weights, Weights::Codes { .. }) {
                    let width = geometry.output[1];
                    let most = end.min(start + geometry.reach()).min(start - start % width + width);
                    end = start + 1;
                    while end < most && geometry.is_inside(end) == inside {
                        end += 1;
                    }
                }
                let out = Output {
                    data: &mut out[start..],
                    rows: matrix.rows,
                    row_stride: positions,
                    vector_stride: 1,
                    order: scratch.order,
                };
                let sets = if inside { 1 } else { 2 };
                matrix.multiply_windows(
                    geometry,
                    channels.clone(),
                    start..end,
                    sets,
                    x,
                    &item,
                    out,
                    scratch,
                );
                start = end;
            }
        }
    }
}

/// How a batch item is quantized.
struct Item {
    coefficients: [f32; 4],
    scale: f32,
}

impl Matrix {
    /// Multiplies the windows at some output positions.
    #[expect(clippy::too_many_arguments, reason = "one caller; a struct would say no more")]
    fn multiply_windows(
        &self,
        geometry: &Geometry,
        channels: Range<usize>,
        positions: Range<usize>,
        sets: usize,
        x: &[f32],
        item: &Item,
        out: Output<'_>,
        scratch: &mut Scratch,
    ) {
        let count = positions.len();
        match &self.weights {
            Weights::Float(weights) => {
                let patches = &mut scratch.patches[..count * self.cols];
                for (position, patch) in positions.zip(patches.chunks_exact_mut(self.cols)) {
                    geometry.gather(channels.clone(), position, x, patch);
                }
                weights.multiply(self.target, patches, out);
            }
            Weights::Codes { weights, codes } => {
                let pairs = self.cols.div_ceil(64);
                let set = pairs * codes;
                let patch = &mut scratch.patch[..pairs * count];
                let planes = scratch.planes.chunks_exact(x.len().div_ceil(64));
                for (code, plane) in planes.take(*codes).enumerate() {
                    for border in 0..sets {
                        self.target.vectorize(
                            #[inline(always)]
                            || {
                                let (channels, positions) = (channels.clone(), positions.clone());
                                geometry.gather_bits(channels, positions, plane, border == 1, patch)
                            },
                        );
                        for i in 0..count {
                            let words = &mut scratch.words[(i * sets + border) * set + code..];
                            let pairs = patch[i..].iter().copied().step_by(count);
                            write_pairs(pairs, &mut words[..set - code], *codes);
                        }
                    }
                }
                scratch.coefficients[..count].fill(item.coefficients);
                let vectors = scratch.coded(weights, *codes, count, sets);
                weights.multiply(self.target, vectors, out);
            }
            Weights::Tables(weights) => {
                let mut patches = core::mem::take(&mut scratch.patches);
                let patch = &mut patches[..self.cols];
                for (vector, position) in positions.enumerate() {
                    geometry.gather(channels.clone(), position, x, patch);
                    scratch.tabulate(self, vector, patch, item.scale);
                }
                scratch.patches = patches;
                let vectors = scratch.tabulated(weights, count);
                weights.multiply(self.target, vectors, out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
