//! Vectors that are coded, and their products with coded matrices, by counting bits: what products of floats give, but for
//! rounding, in a fraction of the time.

#![allow(clippy::needless_range_loop, reason = "loops over lanes")]

use std::array::from_fn;
use std::ops::Range;

use amq_format::graph::Activations;
use amq_runtime::{Isa, approximate, approximate_telling, vectorize};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::quant::BitCodes;

const WORD: usize = BitCodes::WORD;
const LANES: usize = BitCodes::LANES;

/// Vectors that one piece of work codes or multiplies.
const VECTORS: usize = 8;
/// Elements of more vectors that one piece codes.
const ELEMENTS: usize = 1 << 12;
/// Bits that are counted by one thread.
const SMALL: usize = 1 << 24;

/// Replaces vectors of so many columns by what enters products in their place.
///
/// # Errors
/// An instruction set that this CPU lacks.
pub(super) fn code(
    isa: Isa,
    activations: Activations,
    columns: usize,
    x: &mut [f32],
) -> Result<()> {
    if activations == Activations::F32 || columns == 0 {
        return Ok(());
    }
    x.par_chunks_mut(columns * VECTORS.max(ELEMENTS / columns))
        .try_for_each(|x| approximate(isa, activations, columns, x))
        .map_err(|error| Error::unsupported(error.to_string()))
}

/// Vectors as sums of codes with coefficients.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vectors {
    columns: usize,
    /// Codes, and before them a constant where there is one: a code that is +1 everywhere.
    terms: usize,
    /// `[vector][term][column / WORD]`: a bit is set for +1.
    words: Vec<u32>,
    /// `[vector][column / WORD]`: a bit is set where a column is not left out.
    masks: Vec<u32>,
    /// `[vector][term]`
    coefficients: Vec<f32>,
}

impl Vectors {
    /// Does what [`code`] does; gives the codes, if activations have some.
    ///
    /// # Errors
    /// An instruction set that this CPU lacks.
    pub(super) fn code(
        isa: Isa,
        activations: Activations,
        columns: usize,
        x: &mut [f32],
    ) -> Result<Option<Vectors>> {
        let (Some(codes), true) = (activations.codes(), columns > 0) else {
            return code(isa, activations, columns, x).map(|()| None);
        };
        let constant = usize::from(activations.has_offset());
        let (terms, of_vector) = (codes + constant, columns.div_ceil(WORD));
        let count = x.len() / columns;
        let mut words = vec![u32::MAX; count * of_vector * terms];
        let mut masks = vec![u32::MAX; count * of_vector];
        let mut coefficients = vec![0.0; count * terms];
        if !columns.is_multiple_of(WORD) {
            let last = masks.iter_mut().skip(of_vector - 1).step_by(of_vector);
            last.for_each(|mask| *mask = (1 << (columns % WORD)) - 1);
        }
        let size = VECTORS.max(ELEMENTS / columns);
        let pieces = x.par_chunks_mut(size * columns);
        let pieces = pieces.zip(words.par_chunks_mut(size * of_vector * terms));
        let pieces = pieces.zip(coefficients.par_chunks_mut(size * terms));
        pieces
            .try_for_each(|((x, words), coefficients)| {
                let mut all = words
                    .chunks_exact_mut(of_vector * terms)
                    .zip(coefficients.chunks_exact_mut(terms));
                approximate_telling(isa, activations, columns, x, |planes, found| {
                    let Some((words, coefficients)) = all.next() else { return };
                    coefficients.copy_from_slice(&found[1 - constant..]);
                    let planes = planes.chunks_exact(columns.div_ceil(64));
                    for (words, plane) in
                        words[constant * of_vector..].chunks_mut(of_vector).zip(planes)
                    {
                        let halves =
                            plane.iter().flat_map(|&word| [word as u32, (word >> 32) as u32]);
                        words.iter_mut().zip(halves).for_each(|(to, word)| *to = word);
                    }
                })
            })
            .map_err(|error| Error::unsupported(error.to_string()))?;
        Ok(Some(Vectors { columns, terms, words, masks, coefficients }))
    }

    /// Leaves out what is 0 in `x`, where elements were left out and others multiplied by `scale` since.
    pub(super) fn leave_out(&mut self, x: &[f32], scale: f32) {
        self.coefficients.iter_mut().for_each(|a| *a *= scale);
        let words = x.chunks_exact(self.columns).flat_map(|x| x.chunks(WORD));
        for (mask, x) in self.masks.iter_mut().zip(words) {
            *mask = x.iter().rev().fold(0, |mask, &x| mask << 1 | u32::from(x != 0.0));
        }
    }

    /// The products with rows of a matrix, and a bias of each, as `[vector][row]`.
    ///
    /// # Panics
    /// If the matrix has other columns, or fewer rows, or there are not as many biases and results.
    pub(super) fn multiply(
        &self,
        matrix: &BitCodes,
        rows: Range<usize>,
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let count = self.coefficients.len() / self.terms;
        assert_eq!(self.columns, matrix.cols, "columns of vectors and matrix");
        assert!(rows.end <= matrix.rows, "rows of the matrix");
        assert_eq!(out.len(), count * rows.len(), "a result for each vector and row");
        assert!(bias.is_none_or(|bias| bias.len() == rows.len()), "a bias for each row");
        if out.is_empty() {
            return;
        }
        let (of_vector, size) = (self.columns.div_ceil(WORD), VECTORS * rows.len());
        let bits = out.len() * self.columns * self.terms * matrix.planes;
        let least = if bits < SMALL { usize::MAX } else { 1 };
        let pieces = out.par_chunks_mut(size).enumerate().with_min_len(least);
        pieces.for_each(|(piece, out)| {
            let first = piece * VECTORS;
            let of_piece = Piece {
                matrix,
                rows: rows.clone(),
                bias,
                terms: self.terms,
                words: &self.words[first * of_vector * self.terms..],
                masks: &self.masks[first * of_vector..],
                coefficients: &self.coefficients[first * self.terms..],
            };
            vectorize(
                #[inline(always)]
                || of_piece.multiply(out),
            );
        });
    }
}

/// Some vectors, and what they are multiplied with.
struct Piece<'a> {
    matrix: &'a BitCodes,
    rows: Range<usize>,
    bias: Option<&'a [f32]>,
    terms: usize,
    words: &'a [u32],
    masks: &'a [u32],
    coefficients: &'a [f32],
}

impl Piece<'_> {
    #[inline(always)]
    fn multiply(&self, out: &mut [f32]) {
        let Piece { matrix, bias, terms, ref rows, .. } = *self;
        let BitCodes { planes, words_of_group, .. } = *matrix;
        let of_row = matrix.cols.div_ceil(WORD);
        let groups: Vec<Group> = (0..of_row.div_ceil(words_of_group))
            .map(|group| {
                let words = group * words_of_group..of_row.min((group + 1) * words_of_group);
                let mut kept = [0; VECTORS];
                for (kept, masks) in kept.iter_mut().zip(self.masks.chunks_exact(of_row)) {
                    *kept = masks[words.clone()].iter().map(|mask| mask.count_ones() as i32).sum();
                }
                Group { words, kept }
            })
            .collect();
        for block in rows.start / LANES..rows.end.div_ceil(LANES) {
            // The block's rows, of all that are wanted.
            let first = block * LANES;
            let own = rows.start.max(first)..rows.end.min(first + LANES);
            let (lanes, place) = (own.start - first..own.end - first, own.start - rows.start);
            let mut start = [0.0; LANES];
            if let Some(bias) = bias {
                start[lanes.clone()].copy_from_slice(&bias[place..place + lanes.len()]);
            }
            let mut sums = [start; VECTORS];
            let sums = &mut sums[..out.len() / rows.len()];
            for (number, group) in groups.iter().enumerate() {
                let scales = (block * groups.len() + number) * planes;
                for plane in (0..planes).step_by(2) {
                    let lines = &matrix.words[(block * planes + plane) * of_row..];
                    let scales = &matrix.coefficients[scales + plane..];
                    for term in (0..terms).step_by(2) {
                        match (planes - plane, terms - term) {
                            (1, 1) => group.add::<1, 1>(self, lines, scales, term, sums),
                            (1, _) => group.add::<1, 2>(self, lines, scales, term, sums),
                            (_, 1) => group.add::<2, 1>(self, lines, scales, term, sums),
                            _ => group.add::<2, 2>(self, lines, scales, term, sums),
                        }
                    }
                }
            }
            for (out, sums) in out.chunks_exact_mut(rows.len()).zip(sums) {
                match out[place..].first_chunk_mut() {
                    Some(out) if lanes.len() == LANES => *out = *sums,
                    _ => out[place..place + lanes.len()].copy_from_slice(&sums[lanes.clone()]),
                }
            }
        }
    }
}

/// A group of columns.
struct Group {
    /// Its words, of a row's.
    words: Range<usize>,
    /// How many of its columns count, of each vector.
    kept: [i32; VECTORS],
}

impl Group {
    /// Adds the products of each vector's `T` terms from `term` on with `P` planes of a block of rows: each column in which they
    /// differ takes two from as many as count. Loops over lanes stand by themselves, or the compiler makes no vectors of them.
    #[inline(always)]
    fn add<const P: usize, const T: usize>(
        &self,
        piece: &Piece<'_>,
        lines: &[[u32; LANES]],
        scales: &[[f32; LANES]],
        term: usize,
        sums: &mut [[f32; LANES]],
    ) {
        let (of_row, &Range { start, end }) = (piece.matrix.cols.div_ceil(WORD), &self.words);
        let lines: [_; P] = from_fn(|plane| &lines[plane * of_row..][start..end]);
        for (vector, sums) in sums.iter_mut().enumerate() {
            let masks = &piece.masks[vector * of_row..][start..end];
            let first = vector * piece.terms + term;
            let words: [_; T] = from_fn(|at| &piece.words[(first + at) * of_row..][start..end]);
            let mut counts = [[[0; LANES]; T]; P];
            for column in 0..end - start {
                for plane in 0..P {
                    for at in 0..T {
                        let (line, word) = (&lines[plane][column], words[at][column]);
                        let mut found = [0; LANES];
                        for lane in 0..LANES {
                            found[lane] = ((line[lane] ^ word) & masks[column]).count_ones();
                        }
                        for lane in 0..LANES {
                            counts[plane][at][lane] += found[lane];
                        }
                    }
                }
            }
            for plane in 0..P {
                let mut dots = [0.0; LANES];
                for at in 0..T {
                    let coefficient = piece.coefficients[first + at];
                    for lane in 0..LANES {
                        let differing = counts[plane][at][lane] as i32;
                        dots[lane] += coefficient * (self.kept[vector] - 2 * differing) as f32;
                    }
                }
                for lane in 0..LANES {
                    sums[lane] += scales[plane][lane] * dots[lane];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Cycles, Method, Options, Tracked, quantize};

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|i| (i * step % 127) as f32 / 31.0 - 2.0).collect()
    }

    /// Products are those of what the codes stand for, in double precision.
    #[test]
    fn products_are_those_of_what_codes_stand_for() {
        let all = (0..).map_while(|number| Activations::try_from(number).ok());
        let all = all.filter(|activations| activations.codes().is_some());
        for (activations, (bits, group, cols)) in
            all.flat_map(|a| [(1, 0, 300), (2, 64, 75), (3, 0, 64), (4, 0, 9)].map(|b| (a, b)))
        {
            let (count, rows) = (19, 53);
            let (cycles, method) = (Cycles::Count(2), Method::Alternating);
            let options = Options { bits, method, group, cycles, keeps_sums: false, shifts: false };
            let matrix = quantize(&numbers(rows * cols, 41), rows, cols, &options, &|_| ());
            let tracked = Tracked::new(&matrix);
            let mut w = vec![0.0; rows * cols];
            tracked.decode(&mut w);
            let codes = tracked.bits().unwrap();
            let original = numbers(count * cols, 29);
            let mut x = original.clone();
            let coded = Vectors::code(Isa::detect(), activations, cols, &mut x).unwrap();
            let mut coded = coded.unwrap();
            let mut expected = original;
            approximate(Isa::detect(), activations, cols, &mut expected).unwrap();
            assert_eq!(x, expected);
            for left_out in [false, true] {
                if left_out {
                    x.iter_mut().for_each(|x| *x *= 1.25);
                    x.iter_mut().step_by(3).for_each(|x| *x = 0.0);
                    coded.leave_out(&x, 1.25);
                }
                for range in [0..rows, 16..48, 5..12, 20..53] {
                    let bias = numbers(range.len(), 13);
                    let mut found = vec![9.0; count * range.len()];
                    coded.multiply(&codes, range.clone(), Some(&bias), &mut found);
                    for (vector, found) in found.chunks(range.len()).enumerate() {
                        for (at, (row, found)) in range.clone().zip(found).enumerate() {
                            let x = &x[vector * cols..][..cols];
                            let terms = x.iter().zip(&w[row * cols..][..cols]);
                            let terms = terms.map(|(&x, &w)| f64::from(x) * f64::from(w));
                            let expected = terms.clone().sum::<f64>() + f64::from(bias[at]);
                            let size = terms.map(f64::abs).sum::<f64>() + 1.0;
                            let off = (f64::from(*found) - expected).abs();
                            assert!(
                                off < 1e-6 * size,
                                "{activations:?} {bits}: {found} {expected}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn vectors_that_cannot_be_coded_give_nan() {
        let mut x = [f32::NAN, 1.0, 2.0, 0.5];
        let coded = Vectors::code(Isa::detect(), Activations::Codes2, 2, &mut x).unwrap().unwrap();
        let options = Options {
            bits: 1,
            method: Method::Alternating,
            group: 0,
            cycles: Cycles::Count(1),
            keeps_sums: false,
            shifts: false,
        };
        let codes = Tracked::new(&quantize(&[1.0, 1.0], 1, 2, &options, &|_| ())).bits().unwrap();
        let mut found = [0.0; 2];
        coded.multiply(&codes, 0..1, None, &mut found);
        assert!(found[0].is_nan() && found[1] == 2.5, "{found:?}");
        for activations in [Activations::F32, Activations::Int8] {
            let none = Vectors::code(Isa::detect(), activations, 2, &mut [1.0, 2.0]).unwrap();
            assert_eq!(none, None);
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let (count, rows, cols) = (41, 300, 400);
        let (cycles, method) = (Cycles::Count(1), Method::Alternating);
        let options =
            Options { bits: 2, method, group: 0, cycles, keeps_sums: false, shifts: false };
        let matrix = quantize(&numbers(rows * cols, 41), rows, cols, &options, &|_| ());
        let codes = Tracked::new(&matrix).bits().unwrap();
        assert!(count * rows * cols * 4 > SMALL);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (mut x, isa) = (numbers(count * cols, 29), Isa::detect());
                let coded = Vectors::code(isa, Activations::Codes2, cols, &mut x).unwrap();
                let mut out = vec![0.0; count * rows];
                coded.unwrap().multiply(&codes, 0..rows, None, &mut out);
                out
            })
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert_eq!(run(threads), one, "{threads} threads");
        }
    }
}
