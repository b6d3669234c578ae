//! Weights laid out for the kernels of an instruction set.

use alloc::vec::Vec;
use core::ops::Range;

use amq_format::spec::MAX_BITS;

use crate::kernels::lanes::Line;
use crate::kernels::layout::{Layout, WORD};
use crate::kernels::{BLOCK, Target, codes, float, memory, tables};

/// Words of a row that are read together, a cache line.
const TOGETHER: usize = 8;

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
    taps: usize,
    columns: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> Weights {
    let cols = taps * columns;
    let blocks = rows.div_ceil(BLOCK);
    let mut lines = memory::with_capacity(blocks * cols);
    for first in (0..blocks).step_by(float::BLOCKS) {
        for col in 0..cols {
            for block in first..blocks.min(first + float::BLOCKS) {
                lines.push(float::Column(core::array::from_fn(|row| {
                    let row = block * BLOCK + row;
                    if row < rows { weight(row, col) } else { 0.0 }
                })));
            }
        }
    }
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

    pub(super) fn pack_tables(&self, parts: usize, target: Target) -> Weights {
        let CodedRows { layout, bits, .. } = *self;
        let blocks = self.range.len().div_ceil(BLOCK);
        let all: Vec<Range<usize>> = (0..layout.taps)
            .flat_map(|tap| pieces(shifted(0..layout.columns, tap * layout.columns)))
            .collect();
        let mut lines = memory::with_capacity(blocks * layout.taps * layout.words() * bits);
        let mut signs = [[[0; BLOCK]; TOGETHER]; MAX_BITS as usize];
        let signs = &mut signs[..bits];
        target.vectorize(
            #[inline(always)]
            || {
                for block in 0..blocks {
                    for columns in all.chunks(TOGETHER) {
                        self.signs_of_blocks(block..block + 1, columns, signs);
                        for (i, columns) in columns.iter().enumerate() {
                            for word in 0..columns.len().div_ceil(WORD) {
                                let line = |plane: &[[u64; BLOCK]; TOGETHER]| {
                                    Line(plane[i].map(|signs| (signs >> (word * WORD)) as u32))
                                };
                                lines.extend(signs.iter().map(|plane| target.arrange(line(plane))));
                            }
                        }
                    }
                }
            },
        );
        let (coefficients, offsets) = self.pack_scales();
        let weights = tables::Weights { layout, bits, lines, coefficients, offsets };
        Weights::Tables { weights, parts }
    }

    pub(super) fn pack_codes(&self, codes: usize, constant: bool, target: Target) -> Weights {
        let CodedRows { layout, bits, .. } = *self;
        let rows = self.range.len();
        let all: Vec<Range<usize>> = (0..layout.taps)
            .flat_map(|tap| {
                columns_of_pairs(&layout).map(move |pair| shifted(pair, tap * layout.columns))
            })
            .collect();
        let (coefficients, offsets) = self.pack_scales();
        let plain = layout.taps * layout.segments() == 1 && offsets.is_none() && !constant;
        let (blocks, together) = (rows.div_ceil(BLOCK), codes::together(plain, target));
        let mut lines = memory::with_capacity(blocks * all.len() * bits);
        let mut signs = [[[0; BLOCK]; TOGETHER]; MAX_BITS as usize];
        target.vectorize(
            #[inline(always)]
            || {
                for first in (0..blocks).step_by(together) {
                    let blocks = first..blocks.min(first + together);
                    let signs = &mut signs[..blocks.len() * bits];
                    for columns in all.chunks(TOGETHER) {
                        self.signs_of_blocks(blocks.clone(), columns, signs);
                        for pair in 0..columns.len() {
                            lines.extend(signs.iter().map(|plane| pair_of_lines(&plane[pair])));
                        }
                    }
                }
            },
        );
        let segments = layout.segments();
        let sums = constant.then(|| {
            interleave(rows, layout.taps * segments * bits, |row, part| {
                let (at, plane) = (part / bits, part % bits);
                let first = at / segments * layout.columns;
                let columns = shifted(layout.columns_of(at % segments), first);
                let ones = pieces(columns.clone())
                    .map(|columns| self.signs(plane, row, columns).count_ones() as i32)
                    .sum::<i32>();
                (2 * ones - columns.len() as i32) as f32
            })
        });
        let weights = codes::Weights { layout, bits, plain, lines, coefficients, offsets, sums };
        Weights::Codes { weights, codes, constant }
    }

    /// The coefficients, and the offsets if there are any.
    fn pack_scales(&self) -> (Vec<[f32; BLOCK]>, Option<Vec<[f32; BLOCK]>>) {
        let (rows, groups) = (self.range.len(), self.layout.groups());
        let coefficients =
            interleave(rows, groups * self.bits, |row, part| self.coefficient(row, part));
        let offsets = self
            .offsets
            .map(|offsets| interleave(rows, groups, |row, group| self.offset(offsets, row, group)));
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
