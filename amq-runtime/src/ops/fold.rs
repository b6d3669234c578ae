//! Windows put together again.

use alloc::boxed::Box;
use core::ops::Range;

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
    /// The entry that an element of the window at a position falls on, if it is one.
    #[inline(always)]
    fn entry(&self, position: usize, element: usize) -> Option<usize> {
        let at = position * self.stride + element * self.dilation;
        at.checked_sub(self.pad).filter(|at| *at < self.size)
    }

    /// The elements of the window at a position that fall on entries.
    #[inline(always)]
    fn inside(&self, position: usize) -> Range<usize> {
        let start = position * self.stride;
        let first = self.pad.saturating_sub(start).div_ceil(self.dilation);
        let end = (self.size + self.pad).saturating_sub(start).div_ceil(self.dilation);
        first.min(self.kernel)..end.min(self.kernel)
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
                positions: x.dims[i + 1],
                size: y.dims[i + 2],
            };
        }
        Ok(Computation::Kernel(Box::new(Windows { axes, channels: y.dims[1] })))
    }
}

struct Windows {
    axes: [Axis; AXES],
    /// Channels of y.
    channels: usize,
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
        let channels = self.channels;
        let items = x.chunks_exact(channels * elements * positions);
        for (x, y) in items.zip(y.chunks_exact_mut(channels * plane)) {
            for (channel, y) in y.chunks_exact_mut(plane).enumerate() {
                call.target.vectorize(
                    #[inline(always)]
                    || self.plane(&x[channel * elements..], channels * elements, y),
                );
            }
        }
        Ok(())
    }
}

impl Windows {
    /// One channel of windows that are `step` elements apart.
    #[inline(always)]
    fn plane(&self, x: &[f32], step: usize, y: &mut [f32]) {
        let [depth, height, width] = &self.axes;
        let mut windows = x.chunks(step);
        for z in 0..depth.positions {
            for r in 0..height.positions {
                for c in 0..width.positions {
                    let Some(window) = windows.next() else { return };
                    self.window(window, [z, r, c], y);
                }
            }
        }
    }

    /// Adds one window where it falls.
    #[inline(always)]
    fn window(&self, x: &[f32], [z, r, c]: [usize; AXES], y: &mut [f32]) {
        let [depth, height, width] = &self.axes;
        let columns = width.inside(c);
        let Some(first) = width.entry(c, columns.start) else { return };
        for layer in depth.inside(z) {
            let Some(at_layer) = depth.entry(z, layer) else { continue };
            for row in height.inside(r) {
                let Some(at_row) = height.entry(r, row) else { continue };
                let x = &x[(layer * height.kernel + row) * width.kernel..][columns.clone()];
                let y = &mut y[(at_layer * height.size + at_row) * width.size..][first..];
                if width.dilation == 1 {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
                } else {
                    y.iter_mut().step_by(width.dilation).zip(x).for_each(|(y, x)| *y += x);
                }
            }
        }
    }
}
