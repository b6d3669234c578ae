//! Products with vectors that are tabulated in two parts.

use crate::kernels::lanes::Line;
use crate::kernels::tables::{Vectors, Weights};
use crate::kernels::{BLOCK, NAN, Output, Target};

/// Results of second parts that are held at a time.
const RESULTS: usize = 2048;

/// Vectors that blocks of rows meet at least, if there are so many.
const LEAST_VECTORS: usize = 8;

/// Bytes of weights that meet first and second parts in turn: they should stay in the first cache.
const LINES_BYTES: usize = 1 << 14;

/// Multiplies both parts of each vector, adds the results, and the bias to the sum. Where stacks are small it is a function of its
/// own: no other product needs as much.
#[cfg_attr(target_os = "none", inline(never))]
pub(super) fn multiply(
    weights: &Weights,
    target: Target,
    parts: [Vectors<'_>; 2],
    out: Output<'_>,
) {
    let Output { data, rows, row_stride, vector_stride, bias, blocks, order } = out;
    let taps = weights.layout.taps;
    let vectors = parts[0].places.len() / taps;
    let bytes = taps * weights.layout.words() * weights.bits * size_of::<Line>();
    let most = RESULTS / BLOCK / vectors.clamp(1, LEAST_VECTORS);
    let together = (LINES_BYTES / bytes.max(1)).clamp(1, most);
    let count = RESULTS / BLOCK / together;
    // Kernels take four vectors at a time.
    let count = if count < 4 { count } else { count / 4 * 4 };
    let units = blocks.len().div_ceil(together);
    let mut second = [0.0; RESULTS];
    for place in 0..units {
        let first = order.block(place, units) * together;
        let rows = (rows - first * BLOCK).min(together * BLOCK);
        let start = blocks.start + first;
        let blocks = start..blocks.end.min(start + together);
        let bias = bias.map(|bias| &bias[start * BLOCK..][..rows]);
        for vector in (0..vectors).step_by(count) {
            let count = count.min(vectors - vector);
            let data = &mut data[first * BLOCK * row_stride + vector * vector_stride..];
            let parts = parts.map(|part| {
                let places = &part.places[vector * taps..][..count * taps];
                Vectors { places, ..part }
            });
            let strides = [row_stride, vector_stride];
            // Results that lie side by side are added side by side.
            let held = if vector_stride == 1 { [count, 1] } else { [1, rows] };
            for (part, to, [row_stride, vector_stride]) in
                [(parts[0], &mut *data, strides), (parts[1], &mut second[..], held)]
            {
                let blocks = blocks.clone();
                let to =
                    Output { data: to, rows, row_stride, vector_stride, bias: None, blocks, order };
                weights.multiply(target, part, to);
            }
            target.vectorize(
                #[inline(always)]
                || {
                    if vector_stride == 1 {
                        for row in 0..rows {
                            let to = &mut data[row * row_stride..][..count];
                            let bias = bias.map(|bias| bias[row]);
                            for (y, more) in to.iter_mut().zip(&second[row * count..]) {
                                *y = sum(*y, *more, bias);
                            }
                        }
                        return;
                    }
                    for vector in 0..count {
                        let more = &second[vector * rows..][..rows];
                        let from = vector * vector_stride;
                        for (row, more) in more.iter().enumerate() {
                            let y = &mut data[from + row * row_stride];
                            *y = sum(*y, *more, bias.map(|bias| bias[row]));
                        }
                    }
                },
            );
        }
    }
}

#[inline(always)]
fn sum(first: f32, second: f32, bias: Option<f32>) -> f32 {
    let sum = first + second;
    let sum = bias.map_or(sum, |bias| sum + bias);
    if sum.is_nan() { NAN } else { sum }
}
