//! Functions of each element and of pairs, choices, reductions and softmax: the runtime computes them.

use amq_format::graph::{BinaryFunction as B, Op, ReduceKind, Softmax};

use rayon::prelude::*;

use super::layer::{Gradients, Inputs, Layer, by_output, floats, optional};
use super::single::Program;
use crate::error::Result;
use crate::tensor::Tensor;
use crate::tune::function::{is_smooth, multiply_by_derivative};

/// Elements that one piece of work has at least.
const LEAST: usize = 1 << 12;

/// Whether the operator is one of these and has a gradient.
pub(super) fn has_gradient(op: &Op) -> bool {
    match op {
        Op::Unary(unary) => is_smooth(unary),
        Op::Binary(binary) => matches!(
            binary.function(),
            B::Add | B::Sub | B::Mul | B::Div | B::Pow | B::Min | B::Max | B::Prelu
        ),
        Op::Select(_) | Op::Softmax(_) | Op::Reduce(_) => true,
        _ => false,
    }
}

/// A node of such an operator.
pub(super) struct Elementwise(pub(in crate::tune) Program);

/// For each element of a shape, its place in one that is broadcast to it; a size of 1 is stretched.
pub(super) fn places(dims: &[usize], of: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    let mut stride = 1;
    let strides: Vec<usize> = (0..dims.len())
        .rev()
        .map(|axis| {
            let size = (axis + of.len()).checked_sub(dims.len()).map_or(1, |axis| of[axis]);
            let own = if size == 1 { 0 } else { stride };
            stride *= size;
            own
        })
        .collect();
    for (&size, stride) in dims.iter().zip(strides.into_iter().rev()) {
        places = places.iter().flat_map(|at| (0..size).map(move |i| at + i * stride)).collect();
    }
    places
}

/// The shape that a reduction gives where all axes stay.
fn kept(dims: &[usize], axes: &[u32]) -> Vec<usize> {
    let reduced = |axis: usize| axes.iter().any(|&reduced| reduced as usize == axis);
    dims.iter().enumerate().map(|(axis, &size)| if reduced(axis) { 1 } else { size }).collect()
}

/// The derivatives of a function of two elements.
fn partial(function: B, a: f32, b: f32, y: f32) -> [f32; 2] {
    match function {
        B::Add => [1.0, 1.0],
        B::Sub => [1.0, -1.0],
        B::Mul => [b, a],
        B::Div => [1.0 / b, -y / b],
        B::Pow => [b * a.powf(b - 1.0), if a > 0.0 { y * a.ln() } else { 0.0 }],
        B::Min => {
            if b > a {
                [1.0, 0.0]
            } else {
                [0.0, 1.0]
            }
        }
        B::Max => {
            if b < a {
                [1.0, 0.0]
            } else {
                [0.0, 1.0]
            }
        }
        B::Prelu => {
            if a >= 0.0 {
                [1.0, 0.0]
            } else {
                [b, a]
            }
        }
        _ => [0.0, 0.0],
    }
}

impl Layer for Elementwise {
    fn forward(&mut self, inputs: &Inputs<'_>) -> Result<Vec<Option<Tensor>>> {
        self.0.run(inputs)
    }

    fn backward(
        &mut self,
        inputs: &Inputs<'_>,
        outputs: &Inputs<'_>,
        gradients: &[Option<Vec<f32>>],
        _: &[bool],
    ) -> Result<Gradients> {
        let mut found: Gradients = vec![None; inputs.len()];
        let by_y = by_output(gradients)?;
        let Some(op) = &self.0.node().op else { return Ok(found) };
        let y = floats(outputs, 0)?;
        let dims = |index: usize| inputs[index].map_or(&[][..], |tensor| &tensor.dims);
        let out = outputs[0].map_or(&[][..], |tensor| &tensor.dims);
        match op {
            Op::Unary(function) => {
                let x = floats(inputs, 0)?;
                let mut by_x = by_y.to_vec();
                let of_x = x.par_chunks(LEAST).zip(y.par_chunks(LEAST));
                (by_x.par_chunks_mut(LEAST).zip(of_x))
                    .for_each(|(by, of_x)| multiply_by_derivative(function, of_x, by));
                found[0] = Some(by_x);
            }
            Op::Binary(binary) => {
                let (a, b) = (floats(inputs, 0)?, floats(inputs, 1)?);
                if dims(0) == dims(1) {
                    let terms = a.par_iter().zip(b).zip(y).zip(by_y).with_min_len(LEAST);
                    let terms = terms.map(|(((&a, &b), &y), by_y)| {
                        let [da, db] = partial(binary.function(), a, b, y);
                        (by_y * da, by_y * db)
                    });
                    let (by_a, by_b) = terms.unzip();
                    (found[0], found[1]) = (Some(by_a), Some(by_b));
                    return Ok(found);
                }
                let (of_a, of_b) = (places(out, dims(0)), places(out, dims(1)));
                let [mut by_a, mut by_b] = [vec![0.0; a.len()], vec![0.0; b.len()]];
                for (at, (&i, &j)) in of_a.iter().zip(&of_b).enumerate() {
                    let [da, db] = partial(binary.function(), a[i], b[j], y[at]);
                    by_a[i] += by_y[at] * da;
                    by_b[j] += by_y[at] * db;
                }
                (found[0], found[1]) = (Some(by_a), Some(by_b));
            }
            Op::Select(_) => {
                let chosen = inputs[0].and_then(|c| c.data.integers()).unwrap_or_default();
                let of_choice = places(out, dims(0));
                for (index, takes) in [(1, true), (2, false)] {
                    let mut sum = vec![0.0; optional(inputs, index).map_or(0, <[f32]>::len)];
                    for (at, place) in places(out, dims(index)).into_iter().enumerate() {
                        if (chosen[of_choice[at]] != 0) == takes {
                            sum[place] += by_y[at];
                        }
                    }
                    found[index] = Some(sum);
                }
            }
            Op::Softmax(softmax) => found[0] = Some(by_softmax(softmax, out, y, by_y)),
            Op::Reduce(reduce) => {
                let x = floats(inputs, 0)?;
                let of_y = places(dims(0), &kept(dims(0), &reduce.axes));
                let count = x.len() as f32 / y.len().max(1) as f32;
                let mut taken = vec![false; y.len()];
                let by_x = x.iter().zip(&of_y).map(|(&x, &at)| match reduce.kind() {
                    ReduceKind::Sum => by_y[at],
                    ReduceKind::Mean => by_y[at] / count,
                    // The first of equals has it all.
                    ReduceKind::Max | ReduceKind::Min => {
                        let first = x == y[at] && !taken[at];
                        taken[at] |= first;
                        if first { by_y[at] } else { 0.0 }
                    }
                    ReduceKind::Product => by_y[at] * y[at] / x,
                });
                found[0] = Some(by_x.collect());
            }
            _ => {}
        }
        Ok(found)
    }
}

fn by_softmax(softmax: &Softmax, dims: &[usize], y: &[f32], by_y: &[f32]) -> Vec<f32> {
    let axis = softmax.axis as usize;
    let of_row = places(dims, &kept(dims, &[softmax.axis]));
    let mut sums = vec![0.0; y.len() / dims.get(axis).copied().unwrap_or(1).max(1)];
    for ((&row, y), g) in of_row.iter().zip(y).zip(by_y) {
        sums[row] += if softmax.log { *g } else { g * y };
    }
    let term = |((&row, &y), &g): ((&usize, &f32), &f32)| match softmax.log {
        true => g - y.exp() * sums[row],
        false => y * (g - sums[row]),
    };
    of_row.iter().zip(y).zip(by_y).map(term).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_broadcasting() {
        assert_eq!(places(&[2, 3], &[3]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(places(&[2, 3], &[2, 1]), [0, 0, 0, 1, 1, 1]);
        assert_eq!(places(&[2, 2, 2], &[2, 1, 2]), [0, 1, 0, 1, 2, 3, 2, 3]);
        assert_eq!(places(&[], &[]), [0]);
    }
}
