//! What products with coded weights take for their vectors.

use alloc::vec;

use amq_format::graph::Activations;

use super::codes::Code;
use super::int8;
use crate::error::Error;
use crate::kernels::{Isa, NAN, Target};

/// Replaces each vector of `columns` elements in `x` by what enters a product in its place: the sum of its codes
/// times their coefficients, or its integers times their scale, as docs/format.md has them. With activations
/// `F32` it stays. A vector with an element that is not finite becomes NaN.
///
/// A product of decoded weights with it is what a model computes with such activations, but for rounding: training
/// with the quantization in the loop needs no arithmetic of its own.
///
/// # Errors
/// [`Error::IsaUnavailable`] if this CPU lacks the instruction set; all give the same bits.
pub fn approximate(
    isa: Isa,
    activations: Activations,
    columns: usize,
    x: &mut [f32],
) -> Result<(), Error> {
    approximate_telling(isa, activations, columns, x, |_, _| ())
}

/// Does what [`approximate`] does, and tells the codes of each vector where it has some: a bit of `[code][column / 64]`
/// words is set for +1, of the last word those of columns that are there; then a constant, 0 where `activations` have
/// none, and the codes' coefficients. These are NaN where the vector becomes NaN. Integers and floats are not told.
///
/// # Errors
/// As [`approximate`].
pub fn approximate_telling(
    isa: Isa,
    activations: Activations,
    columns: usize,
    x: &mut [f32],
    mut tell: impl FnMut(&[u64], &[f32]),
) -> Result<(), Error> {
    let target = Target::new(isa).ok_or(Error::IsaUnavailable(isa))?;
    if columns == 0 {
        return Ok(());
    }
    let (codes, constant) = match activations {
        Activations::F32 => return Ok(()),
        Activations::Int8 | Activations::Int16 => {
            let parts = if activations == Activations::Int16 { 2 } else { 1 };
            for x in x.chunks_exact_mut(columns) {
                int8::approximate(target, parts, x);
            }
            return Ok(());
        }
        Activations::Codes1 => (1, false),
        Activations::Codes2 => (2, false),
        Activations::Codes3 => (3, false),
        Activations::Codes4 => (4, false),
        Activations::Offset1 => (1, true),
        Activations::Offset2 => (2, true),
        Activations::Offset3 => (3, true),
        Activations::Offset4 => (4, true),
    };
    let words = columns.div_ceil(64);
    let mut planes = vec![0; codes * words];
    for x in x.chunks_exact_mut(columns) {
        let all = target.run(Code { x, codes, constant, planes: &mut planes });
        tell(&planes, &all[..=codes]);
        let [offset, coefficients @ ..] = all;
        if !offset.is_finite() || !coefficients.iter().all(|a| a.is_finite()) {
            x.fill(NAN);
            continue;
        }
        // What each pattern of codes stands for.
        let mut levels = [0.0; 16];
        for (pattern, level) in levels.iter_mut().enumerate() {
            *level =
                coefficients.iter().take(codes).enumerate().fold(offset, |sum, (i, a)| {
                    if pattern >> i & 1 == 1 { sum + a } else { sum - a }
                });
        }
        for (word, x) in x.chunks_mut(64).enumerate() {
            let mut of_word = [0; 4];
            for (to, plane) in of_word.iter_mut().zip(planes.chunks_exact(words)) {
                *to = plane[word];
            }
            for (at, x) in x.iter_mut().enumerate() {
                let pattern = of_word.iter().enumerate().map(|(i, word)| (word >> at & 1) << i);
                *x = levels[pattern.sum::<u64>() as usize];
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// What is told gives what vectors become.
    #[test]
    fn told_codes_give_the_vectors() {
        const COLUMNS: usize = 70;
        let original: Vec<f32> =
            (0..3 * COLUMNS).map(|i| (i * 37 % 101) as f32 / 30.0 - 1.5).collect();
        for (activations, codes) in [
            (Activations::Codes1, 1),
            (Activations::Codes3, 3),
            (Activations::Offset2, 2),
            (Activations::Int8, 0),
        ] {
            let (mut x, mut told) = (original.clone(), Vec::new());
            let tell = |planes: &[u64], coefficients: &[f32]| {
                assert_eq!((planes.len(), coefficients.len()), (2 * codes, 1 + codes));
                told.extend((0..COLUMNS).map(|column| {
                    let words = planes.chunks(2).zip(&coefficients[1..]);
                    words.fold(coefficients[0], |sum, (plane, a)| {
                        let bit = plane[column / 64] >> (column % 64) & 1;
                        if bit == 1 { sum + a } else { sum - a }
                    })
                }));
            };
            approximate_telling(Isa::Scalar, activations, COLUMNS, &mut x, tell).unwrap();
            assert_ne!(x, original);
            assert_eq!(told, if codes > 0 { x } else { Vec::new() }, "{activations:?}");
        }
    }
}
