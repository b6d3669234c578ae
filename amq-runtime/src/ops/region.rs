//! Regions of images, in bins.

use alloc::boxed::Box;

use amq_format::graph::RoiAlign;

use super::binary::larger;
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, Rounded, ensure, fault};
use crate::kernels::math;
use crate::kernels::number::Number;
use crate::view::Data;

impl Compute for RoiAlign {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let x = shapes.input(0)?;
        let number = |size: u64| usize::try_from(size).map_err(|_| fault!("{size} is too large"));
        Ok(Computation::Kernel(Box::new(Regions {
            op: self.clone(),
            images: x.dims[0],
            channels: x.dims[1],
            size: [x.dims[2], x.dims[3]],
            bins: [number(self.height)?, number(self.width)?],
        })))
    }
}

struct Regions {
    op: RoiAlign,
    images: usize,
    channels: usize,
    /// Height and width of x.
    size: [usize; 2],
    /// Height and width of y.
    bins: [usize; 2],
}

/// The two entries around a place of an axis, and their weights.
struct Pair {
    entries: [usize; 2],
    weights: [f32; 2],
}

/// None beyond the axis.
fn pair(at: f32, size: usize) -> Option<Pair> {
    // NaN lies nowhere.
    if size == 0 || !(-1.0..=size as f32).contains(&at) {
        return None;
    }
    let at = at.at_least(0.0);
    let low = at as usize;
    if low + 1 >= size {
        return Some(Pair { entries: [size - 1; 2], weights: [1.0, 0.0] });
    }
    let part = at - low as f32;
    Some(Pair { entries: [low, low + 1], weights: [1.0 - part, part] })
}

/// Most samples along a side of a bin.
const MOST_SAMPLES: f32 = 65536.0;

impl Kernel for Regions {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, regions) = (call.inputs.f32(0)?, call.inputs.f32(1)?);
        let (images, y) = (call.inputs.data(2)?, call.outputs.f32()?);
        let [height, width] = self.size;
        let [rows, columns] = self.bins;
        let (plane, result) = (height * width, self.channels * rows * columns);
        if y.is_empty() {
            return Ok(());
        }
        for (number, y) in y.chunks_exact_mut(result).enumerate() {
            let image = match images {
                Data::I64(images) => images[number],
                Data::I32(images) => i64::from(images[number]),
                _ => return Err(mismatch()),
            };
            let image = usize::try_from(image).ok().filter(|&image| image < self.images);
            let image = image.ok_or_else(|| {
                fault!("region {number} is of an image that is not among the {}", self.images)
            })?;
            let x = &x[image * self.channels * plane..][..self.channels * plane];
            let region = &regions[number * 4..][..4];
            let vertical = self.side(region[1], region[3], rows)?;
            let horizontal = self.side(region[0], region[2], columns)?;
            let starts = if self.op.max { f32::NEG_INFINITY } else { 0.0 };
            y.fill(starts);
            for bin in 0..rows * columns {
                let (row, column) = (bin / columns, bin % columns);
                for i in 0..vertical.samples {
                    for j in 0..horizontal.samples {
                        let pairs = (
                            pair(vertical.place(row, i), height),
                            pair(horizontal.place(column, j), width),
                        );
                        let (Some(v), Some(h)) = pairs else {
                            if self.op.max {
                                let bins = y[bin..].iter_mut().step_by(rows * columns);
                                bins.for_each(|y| *y = larger(0.0, *y));
                            }
                            continue;
                        };
                        for channel in 0..self.channels {
                            let part = |a: usize, b: usize| {
                                let at = v.entries[a] * width + h.entries[b];
                                x[channel * plane + at] * (v.weights[a] * h.weights[b])
                            };
                            let parts = [part(0, 0), part(0, 1), part(1, 0), part(1, 1)];
                            let y = &mut y[channel * rows * columns + bin];
                            if self.op.max {
                                *y = parts.into_iter().fold(*y, |most, part| larger(part, most));
                            } else {
                                *y += ((parts[0] + parts[1]) + parts[2]) + parts[3];
                            }
                        }
                    }
                }
            }
            let count = vertical.samples * horizontal.samples;
            if count == 0 {
                y.fill(0.0);
            } else if !self.op.max {
                y.iter_mut().for_each(|y| *y /= count as f32);
            }
        }
        Ok(())
    }
}

/// A region along an axis.
struct Side {
    start: f32,
    /// Size of a bin.
    bin: f32,
    /// Samples of a bin.
    samples: usize,
}

impl Side {
    fn place(&self, bin: usize, sample: usize) -> f32 {
        let within = (sample as f32 + 0.5) * self.bin / self.samples as f32;
        self.start + bin as f32 * self.bin + within
    }
}

impl Regions {
    fn side(&self, start: f32, end: f32, bins: usize) -> Result<Side, Fault> {
        let offset = if self.op.half_pixel { 0.5 } else { 0.0 };
        let start = start * self.op.scale - offset;
        let mut size = end * self.op.scale - offset - start;
        if !self.op.half_pixel {
            size = size.at_least(1.0);
        }
        let bin = size / bins as f32;
        let samples = if self.op.samples > 0 { self.op.samples as f32 } else { math::ceil(bin) };
        ensure!(
            samples <= MOST_SAMPLES,
            "a region from {} of size {} is too large",
            Rounded(start),
            Rounded(size)
        );
        Ok(Side { start, bin, samples: samples as usize })
    }
}
