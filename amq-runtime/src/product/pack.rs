//! Weights laid out for the kernels of an instruction set.

use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use amq_format::graph::Activations;
use amq_format::spec::MAX_BITS;

use super::budget::Budget;
use super::source::PackError;
use crate::kernels::lanes::Line;
use crate::kernels::layout::{Layout, WORD};
use crate::kernels::memory::{self, Filling};
use crate::kernels::{BLOCK, Target, codes, float, tables};
use crate::workers::Workers;

/// Words of a row that are read together, a cache line. Without an operating system stacks are small, and memory has no lines.
const TOGETHER: usize = if cfg!(target_os = "none") { 1 } else { 8 };

#[derive(Debug)]
pub(super) enum Weights {
    Float(float::Weights),
    Codes {
        weights: codes::Weights,
        codes: usize,
        /// Whether vectors have a constant part.
        constant: bool,
    },
    Tables {
        weights: tables::Weights,
        /// How vectors are coded: 1, or 2 where what the first leaves is coded too.
        parts: usize,
    },
}

/// How the columns of `taps` taps are divided in groups of `group` columns.
pub(super) fn layout(taps: usize, cols: usize, group: usize) -> Result<Layout, PackError> {
    if taps == 0 || !cols.is_multiple_of(taps) {
        return Err(PackError::Taps { cols, taps });
    }
    // Without columns nothing is multiplied.
    let columns = (cols / taps).max(1);
    Layout::new(taps, columns, group).ok_or(PackError::Tap { group, columns })
}

/// How weights are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As they are multiplied with floats.
    Float,
    /// For vectors of so many codes, which may have a constant part.
    Codes { codes: usize, constant: bool },
    /// For vectors as tables, of one part or two.
    Tables { parts: usize },
}

impl Kind {
    /// How weights of so many bits are packed for a kind of activations.
    pub(super) fn new(activations: Activations, bits: usize) -> Result<Kind, PackError> {
        Ok(match (activations, activations.codes()) {
            (Activations::F32, _) => Kind::Float,
            (Activations::Int8, _) if (1..=8).contains(&bits) => Kind::Tables { parts: 1 },
            (Activations::Int16, _) if (1..=8).contains(&bits) => Kind::Tables { parts: 2 },
            (_, Some(codes)) if (1..=4).contains(&bits) => {
                Kind::Codes { codes, constant: activations.has_offset() }
            }
            _ => return Err(PackError::Bits { bits, activations }),
        })
    }

    /// The columns of a row that are read together.
    pub(super) fn pieces(self, layout: &Layout) -> Vec<Range<usize>> {
        let first = |tap: usize| tap * layout.columns;
        let taps = 0..layout.taps;
        match self {
            Kind::Float => Vec::new(),
            Kind::Codes { .. } => {
                let pairs =
                    |tap| columns_of_pairs(layout).map(move |pair| shifted(pair, first(tap)));
                taps.flat_map(pairs).collect()
            }
            Kind::Tables { .. } => {
                taps.flat_map(|tap| pieces(shifted(0..layout.columns, first(tap)))).collect()
            }
        }
    }
}

/// Vectors that weights are packed to.
#[derive(Debug, Default)]
pub(super) struct Packed {
    floats: Vec<float::Column>,
    tables: Vec<Line>,
    codes: Vec<[Line; 2]>,
    coefficients: Vec<[f32; BLOCK]>,
    offsets: Vec<[f32; BLOCK]>,
    sums: Vec<[f32; BLOCK]>,
}

impl Packed {
    /// Takes the vectors of weights that are not needed any more.
    pub(super) fn take_back(&mut self, weights: Weights) {
        match weights {
            Weights::Float(weights) => self.floats = weights.lines,
            Weights::Codes { weights, .. } => {
                self.codes = weights.lines;
                self.coefficients = weights.coefficients;
                self.offsets = weights.offsets.unwrap_or(mem::take(&mut self.offsets));
                self.sums = weights.sums.unwrap_or(mem::take(&mut self.sums));
            }
            Weights::Tables { weights, .. } => {
                self.tables = weights.lines;
                self.coefficients = weights.coefficients;
                self.offsets = weights.offsets.unwrap_or(mem::take(&mut self.offsets));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn capacities(&self) -> Vec<usize> {
        let Packed { floats, tables, codes, coefficients, offsets, sums } = self;
        let scales = [coefficients, offsets, sums].map(Vec::capacity);
        [floats.capacity(), tables.capacity(), codes.capacity()].into_iter().chain(scales).collect()
    }

    /// Grows so that packing so many blocks like some weights allocates nothing.
    pub(super) fn reserve(&mut self, like: &Weights, blocks: usize, budget: &mut Budget) {
        let (layout, bits, offsets) = match like {
            Weights::Float(weights) => {
                let columns = weights.taps * weights.columns;
                return budget.reserve(&mut self.floats, blocks * columns);
            }
            Weights::Codes { weights, .. } => {
                let codes::Weights { layout, bits, offsets, sums, .. } = weights;
                budget.reserve(&mut self.codes, blocks * layout.taps * layout.pairs() * bits);
                if sums.is_some() {
                    budget.reserve(&mut self.sums, blocks * layout.taps * layout.segments() * bits);
                }
                (layout, bits, offsets)
            }
            Weights::Tables { weights, .. } => {
                let tables::Weights { layout, bits, offsets, .. } = weights;
                budget.reserve(&mut self.tables, blocks * layout.taps * layout.words() * bits);
                (layout, bits, offsets)
            }
        };
        budget.reserve(&mut self.coefficients, blocks * layout.groups() * bits);
        if offsets.is_some() {
            budget.reserve(&mut self.offsets, blocks * layout.groups());
        }
    }
}

/// Lays per-row data `[row][part]` out as `[block][part][row of the block]`, zeros in rows that
/// are not there.
fn interleave<T: Copy + Default>(
    rows: usize,
    parts: usize,
    at: impl Fn(usize, usize) -> T,
    packed: &mut Vec<[T; BLOCK]>,
) -> Vec<[T; BLOCK]> {
    let mut packed = mem::take(packed);
    packed.clear();
    packed.reserve_exact(rows.div_ceil(BLOCK) * parts);
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
    taps: usize,
    columns: usize,
    weight: impl Fn(usize, usize) -> f32 + Sync,
    packed: &mut Packed,
    workers: &dyn Workers,
) -> Weights {
    let cols = taps * columns;
    let mut lines = mem::take(&mut packed.floats);
    let write = |blocks: Range<usize>, lines: &mut Filling<'_, float::Column>| {
        for first in blocks.clone().step_by(float::BLOCKS) {
            for col in 0..cols {
                for block in first..blocks.end.min(first + float::BLOCKS) {
                    lines.push(float::Column(core::array::from_fn(|row| {
                        let row = block * BLOCK + row;
                        if row < rows { weight(row, col) } else { 0.0 }
                    })));
                }
            }
        }
    };
    memory::fill(&mut lines, rows.div_ceil(BLOCK), float::BLOCKS, cols, workers, &write);
    Weights::Float(float::Weights { taps, columns, lines })
}

/// Some rows of a matrix of codes; they are counted from the first of the range.
pub(super) struct CodedRows<'a> {
    pub(super) range: Range<usize>,
    /// Rows of the whole matrix.
    pub(super) all: usize,
    pub(super) group: usize,
    pub(super) bits: usize,
    pub(super) layout: Layout,
    /// Columns that are read together, of the whole row.
    pub(super) pieces: &'a [Range<usize>],
    /// Words of a row and plane.
    pub(super) words: usize,
    /// Little-endian.
    pub(super) planes: &'a [[u8; 8]],
    pub(super) coefficients: &'a [f32],
    pub(super) offsets: Option<&'a [f32]>,
}

impl CodedRows<'_> {
    /// Up to 64 columns of a plane and row, zeros behind them.
    fn signs(&self, plane: usize, row: usize, columns: Range<usize>) -> u64 {
        let row = &self.planes[(plane * self.all + self.range.start + row) * self.words..];
        columns_of(|word| u64::from_le_bytes(row[word]), columns)
    }

    /// The same of some blocks' rows and up to [`TOGETHER`] ranges, to `[block][plane][range][row]`;
    /// zeros in rows that are not there.
    #[inline(always)]
    fn signs_of_blocks(
        &self,
        blocks: Range<usize>,
        columns: &[Range<usize>],
        signs: &mut [[[u64; BLOCK]; TOGETHER]],
    ) {
        let word = whole_words(columns);
        for (block, signs) in blocks.zip(signs.chunks_exact_mut(self.bits)) {
            let first = block * BLOCK;
            let count = BLOCK.min(self.range.len() - first);
            for (plane, signs) in signs.iter_mut().enumerate() {
                let start = (plane * self.all + self.range.start + first) * self.words;
                let rows = &self.planes[start..][..count * self.words];
                for (i, row) in rows.chunks_exact(self.words.max(1)).enumerate() {
                    if let Some(words) = word.and_then(|word| row[word..].first_chunk::<TOGETHER>())
                    {
                        for (signs, word) in signs.iter_mut().zip(words) {
                            signs[i] = u64::from_le_bytes(*word);
                        }
                    } else {
                        for (signs, columns) in signs.iter_mut().zip(columns) {
                            let word = |word: usize| u64::from_le_bytes(row[word]);
                            signs[i] = columns_of(word, columns.clone());
                        }
                    }
                }
                signs.iter_mut().for_each(|signs| signs[count..].fill(0));
            }
        }
    }

    /// `part` counts `[group][plane]`.
    fn coefficient(&self, row: usize, part: usize) -> f32 {
        self.coefficients[(self.range.start + row) * self.layout.groups() * self.bits + part]
    }

    fn offset(&self, offsets: &[f32], row: usize, group: usize) -> f32 {
        offsets[(self.range.start + row) * self.layout.groups() + group]
    }

    /// `((a_0 b_0 + a_1 b_1) + ..) + c`
    pub(super) fn weight(&self, row: usize, col: usize) -> f32 {
        let group = col / self.group;
        let terms = (0..self.bits).map(|plane| {
            let a = self.coefficient(row, group * self.bits + plane);
            let set = self.signs(plane, row, col..col + 1) == 1;
            if set { a } else { -a }
        });
        let offset = self.offsets.map(|offsets| self.offset(offsets, row, group));
        terms.chain(offset).reduce(|sum, term| sum + term).unwrap_or(0.0)
    }

    /// Packs them.
    pub(super) fn pack(
        &self,
        kind: Kind,
        packed: &mut Packed,
        target: Target,
        workers: &dyn Workers,
    ) -> Weights {
        match kind {
            Kind::Float => {
                let Layout { taps, columns, .. } = self.layout;
                let weight = |row, col| self.weight(row, col);
                pack_float(self.range.len(), taps, columns, weight, packed, workers)
            }
            Kind::Codes { codes, constant } => {
                self.pack_codes(codes, constant, packed, target, workers)
            }
            Kind::Tables { parts } => self.pack_tables(parts, packed, target, workers),
        }
    }

    fn pack_tables(
        &self,
        parts: usize,
        packed: &mut Packed,
        target: Target,
        workers: &dyn Workers,
    ) -> Weights {
        let CodedRows { layout, bits, pieces, .. } = *self;
        let write = |blocks: Range<usize>, lines: &mut Filling<'_, Line>| {
            let mut signs = [[[0; BLOCK]; TOGETHER]; MAX_BITS as usize];
            let signs = &mut signs[..bits];
            target.vectorize(
                #[inline(always)]
                || {
                    for block in blocks {
                        for columns in pieces.chunks(TOGETHER) {
                            self.signs_of_blocks(block..block + 1, columns, signs);
                            for (i, columns) in columns.iter().enumerate() {
                                for word in 0..columns.len().div_ceil(WORD) {
                                    for plane in &*signs {
                                        let line =
                                            plane[i].map(|signs| (signs >> (word * WORD)) as u32);
                                        lines.push(target.arrange(Line(line)));
                                    }
                                }
                            }
                        }
                    }
                },
            );
        };
        let (blocks, each) =
            (self.range.len().div_ceil(BLOCK), layout.taps * layout.words() * bits);
        let mut lines = mem::take(&mut packed.tables);
        memory::fill(&mut lines, blocks, 1, each, workers, &write);
        let (coefficients, offsets) = self.pack_scales(packed);
        let weights = tables::Weights { layout, bits, lines, coefficients, offsets };
        Weights::Tables { weights, parts }
    }

    fn pack_codes(
        &self,
        codes: usize,
        constant: bool,
        packed: &mut Packed,
        target: Target,
        workers: &dyn Workers,
    ) -> Weights {
        let CodedRows { layout, bits, pieces: all, .. } = *self;
        let rows = self.range.len();
        let (coefficients, offsets) = self.pack_scales(packed);
        let plain = layout.taps * layout.segments() == 1 && offsets.is_none() && !constant;
        let together = codes::together(plain, target);
        let write = |blocks: Range<usize>, lines: &mut Filling<'_, [Line; 2]>| {
            let mut signs = [[[0; BLOCK]; TOGETHER]; MAX_BITS as usize];
            target.vectorize(
                #[inline(always)]
                || {
                    for first in blocks.clone().step_by(together) {
                        let blocks = first..blocks.end.min(first + together);
                        let signs = &mut signs[..blocks.len() * bits];
                        for columns in all.chunks(TOGETHER) {
                            self.signs_of_blocks(blocks.clone(), columns, signs);
                            for pair in 0..columns.len() {
                                for plane in &*signs {
                                    lines.push(pair_of_lines(&plane[pair]));
                                }
                            }
                        }
                    }
                },
            );
        };
        let mut lines = mem::take(&mut packed.codes);
        let blocks = rows.div_ceil(BLOCK);
        memory::fill(&mut lines, blocks, together, all.len() * bits, workers, &write);
        let segments = layout.segments();
        let sums = constant.then(|| {
            let sum = |row, part| {
                let (at, plane) = (part / bits, part % bits);
                let first = at / segments * layout.columns;
                let columns = shifted(layout.columns_of(at % segments), first);
                let ones = pieces(columns.clone())
                    .map(|columns| self.signs(plane, row, columns).count_ones() as i32)
                    .sum::<i32>();
                (2 * ones - columns.len() as i32) as f32
            };
            interleave(rows, layout.taps * segments * bits, sum, &mut packed.sums)
        });
        let weights = codes::Weights { layout, bits, plain, lines, coefficients, offsets, sums };
        Weights::Codes { weights, codes, constant }
    }

    /// The coefficients, and the offsets if there are any.
    fn pack_scales(&self, packed: &mut Packed) -> (Vec<[f32; BLOCK]>, Option<Vec<[f32; BLOCK]>>) {
        let (rows, groups) = (self.range.len(), self.layout.groups());
        let coefficient = |row, part| self.coefficient(row, part);
        let coefficients =
            interleave(rows, groups * self.bits, coefficient, &mut packed.coefficients);
        let offsets = self.offsets.map(|offsets| {
            let offset = |row, group| self.offset(offsets, row, group);
            interleave(rows, groups, offset, &mut packed.offsets)
        });
        (coefficients, offsets)
    }
}

/// Of the first of some ranges its word, if they are whole words that follow each other.
fn whole_words(columns: &[Range<usize>]) -> Option<usize> {
    let [first, .., last] = columns else { return None };
    let whole = first.start.is_multiple_of(64) && last.end - first.start == 64 * TOGETHER;
    // Ranges have at most 64 columns.
    (whole && columns.len() == TOGETHER).then_some(first.start / 64)
}

/// The lines of a pair of words of sixteen rows.
#[inline(always)]
fn pair_of_lines(signs: &[u64; BLOCK]) -> [Line; 2] {
    let halves = signs.map(halves);
    [Line(halves.map(|[first, _]| first)), Line(halves.map(|[_, both]| both))]
}

fn shifted(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// Columns in pieces of 64, the last of fewer.
fn pieces(columns: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = columns.end;
    columns.step_by(2 * WORD).map(move |first| first..end.min(first + 2 * WORD))
}

/// The columns of a tap that each of its pairs of words has.
pub(super) fn columns_of_pairs(layout: &Layout) -> impl Iterator<Item = Range<usize>> {
    let layout = *layout;
    (0..layout.segments()).flat_map(move |segment| pieces(layout.columns_of(segment)))
}

/// Up to 64 bits of a plane's row, of which words are given, zeros behind them.
#[inline(always)]
pub(super) fn columns_of(at: impl Fn(usize) -> u64, columns: Range<usize>) -> u64 {
    let (word, shift, count) = (columns.start / 64, columns.start % 64, columns.len());
    let next = if shift + count > 64 { at(word + 1) } else { 0 };
    let bits = at(word) >> shift | next << 1 << (63 - shift);
    if count < 64 { bits & !(u64::MAX << count) } else { bits }
}

/// Of a pair of words its first, and the exclusive or of both.
pub(super) fn halves(pair: u64) -> [u32; 2] {
    [pair as u32, pair as u32 ^ (pair >> 32) as u32]
}
