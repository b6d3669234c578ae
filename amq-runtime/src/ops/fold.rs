//! Windows put together again.

use alloc::boxed::Box;

use amq_format::graph::Fold;

use crate::call::{Call, Kernel};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, fault};

/// Spatial axes; those that are missing stand before the others, with one entry.
const AXES: usize = 3;

#[derive(Clone, Copy)]
struct Axis {
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    /// Positions of the window.
    positions: usize,
    /// Entries of y.
    size: usize,
}

impl Axis {
    /// For one element of the window, the positions at which it falls on an entry, and the entry at
    /// the first of them.
    fn reach(&self, element: usize) -> (core::ops::Range<usize>, usize) {
        let at = element * self.dilation;
        let first = self.pad.saturating_sub(at).div_ceil(self.stride);
        let end = (self.size + self.pad).saturating_sub(at).div_ceil(self.stride);
        let end = end.min(self.positions).max(first);
        (first..end, (first * self.stride + at).saturating_sub(self.pad))
    }
}

impl Compute for Fold {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, y) = (shapes.input(0)?, shapes.output()?);
        let mut axes =
            [Axis { kernel: 1, stride: 1, dilation: 1, pad: 0, positions: 1, size: 1 }; AXES];
        let lead = AXES - self.kernel.len();
        let number = |size: u64| usize::try_from(size).map_err(|_| fault!("{size} is too large"));
        for (i, axis) in axes[lead..].iter_mut().enumerate() {
            *axis = Axis {
                kernel: number(self.kernel[i])?,
                stride: number(self.strides[i])?,
                dilation: number(self.dilations[i])?,
                pad: number(self.pads[i])?,
                positions: x.dims[i + 2],
                size: y.dims[i + 2],
            };
        }
        Ok(Computation::Kernel(Box::new(Windows { axes })))
    }
}

struct Windows {
    axes: [Axis; AXES],
}

impl Kernel for Windows {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.f32(0)?, call.outputs.f32()?);
        y.fill(0.0);
        let elements: usize = self.axes.iter().map(|axis| axis.kernel).product();
        let positions: usize = self.axes.iter().map(|axis| axis.positions).product();
        let plane: usize = self.axes.iter().map(|axis| axis.size).product();
        if x.is_empty() || y.is_empty() {
            return Ok(());
        }
        let planes = x.chunks_exact(elements * positions).zip(y.chunks_exact_mut(plane));
        for (x, y) in planes {
            call.target.vectorize(
                #[inline(always)]
                || self.plane(x, y),
            );
        }
        Ok(())
    }
}

impl Windows {
    /// One channel: the elements of a window one after the other.
    #[inline(always)]
    fn plane(&self, x: &[f32], y: &mut [f32]) {
        let [depth, height, width] = &self.axes;
        let positions = depth.positions * height.positions * width.positions;
        for (element, x) in x.chunks_exact(positions).enumerate() {
            let (column, rest) = (element % width.kernel, element / width.kernel);
            let (row, layer) = (rest % height.kernel, rest / height.kernel);
            let (columns, first_column) = width.reach(column);
            let (rows, first_row) = height.reach(row);
            let (layers, first_layer) = depth.reach(layer);
            for (i, z) in layers.enumerate() {
                let at_layer = (first_layer + i * depth.stride) * height.size;
                for (j, r) in rows.clone().enumerate() {
                    let from = (z * height.positions + r) * width.positions;
                    let x = &x[from..from + width.positions][columns.clone()];
                    let to = (at_layer + first_row + j * height.stride) * width.size;
                    let y = &mut y[to..to + width.size][first_column.min(width.size)..];
                    if width.stride == 1 {
                        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
                    } else {
                        y.iter_mut().step_by(width.stride).zip(x).for_each(|(y, x)| *y += x);
                    }
                }
            }
        }
    }
}
