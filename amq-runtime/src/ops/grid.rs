//! Values at points between entries.

use alloc::boxed::Box;

use amq_format::graph::{GridSample, Interpolation, SamplePadding};

use crate::call::{Call, Kernel};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::kernels::math;
use crate::kernels::number::Number;

/// Most spatial axes.
const AXES: usize = 3;

/// Entries along an axis that a value is made of.
const TAPS: usize = 4;

/// The coefficient of the cubic.
const CUBIC: f32 = -0.75;

impl Compute for GridSample {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, y) = (shapes.input(0)?, shapes.output()?);
        let mut sizes = [1; AXES];
        sizes[..x.dims.len() - 2].copy_from_slice(&x.dims[2..]);
        Ok(Computation::Kernel(Box::new(Points {
            op: self.clone(),
            axes: x.dims.len() - 2,
            sizes,
            channels: x.dims[1],
            points: y.dims[2..].iter().product(),
        })))
    }
}

struct Points {
    op: GridSample,
    axes: usize,
    sizes: [usize; AXES],
    channels: usize,
    /// Points of a batch item.
    points: usize,
}

/// The entries that make a value along an axis, none where zero stands, and their weights.
struct Line {
    entries: [Option<usize>; TAPS],
    weights: [f32; TAPS],
    taps: usize,
}

impl Kernel for Points {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, grid, y) = (call.inputs.f32(0)?, call.inputs.f32(1)?, call.outputs.f32()?);
        let Points { axes, channels, points, .. } = *self;
        let plane: usize = self.sizes[..axes].iter().product();
        if y.is_empty() {
            return Ok(());
        }
        for (item, y) in y.chunks_exact_mut(channels * points).enumerate() {
            let x = &x[item * channels * plane..][..channels * plane];
            for point in 0..points {
                let place = &grid[(item * points + point) * axes..][..axes];
                let lines: [Line; AXES] = core::array::from_fn(|axis| match axis < axes {
                    // Coordinates come the last axis first.
                    true => self.line(place[axes - 1 - axis], self.sizes[axis]),
                    false => Line { entries: [Some(0); TAPS], weights: [1.0; TAPS], taps: 1 },
                });
                for channel in 0..channels {
                    let x = &x[channel * plane..][..plane];
                    y[channel * points + point] = self.value(x, &lines);
                }
            }
        }
        Ok(())
    }
}

impl Points {
    /// The value of one channel where the lines cross: along the last axis first.
    fn value(&self, x: &[f32], lines: &[Line; AXES]) -> f32 {
        let [first, second, third] = lines;
        let along = |line: &Line, value: &dyn Fn(usize) -> f32| {
            let each = line.entries.iter().zip(&line.weights).take(line.taps);
            each.fold(0.0, |sum, (entry, weight)| sum + entry.map_or(0.0, value) * weight)
        };
        along(first, &|i| {
            let i = i * self.sizes[1];
            along(second, &|j| {
                let j = (i + j) * self.sizes[2];
                along(third, &|k| x[j + k])
            })
        })
    }

    /// What makes a value at a coordinate along an axis.
    fn line(&self, coordinate: f32, size: usize) -> Line {
        let length = size as f32;
        let at = match self.op.align_corners {
            true => (coordinate + 1.0) / 2.0 * (length - 1.0),
            false => ((coordinate + 1.0) * length - 1.0) / 2.0,
        };
        let at = match self.op.padding() {
            SamplePadding::Zeros => at,
            SamplePadding::Border => at.at_least(0.0).at_most(length - 1.0),
            SamplePadding::Reflection => self.reflected(at, length),
        };
        let (first, weights, taps) = match self.op.mode() {
            Interpolation::Nearest => (math::round(at), [1.0, 0.0, 0.0, 0.0], 1),
            Interpolation::Linear => {
                let floor = math::floor(at);
                (floor, [1.0 - (at - floor), at - floor, 0.0, 0.0], 2)
            }
            Interpolation::Cubic => {
                let floor = math::floor(at);
                (floor - 1.0, cubic(at - floor), 4)
            }
        };
        let entry = |tap: usize| {
            let at = first + tap as f32;
            let at = match self.op.padding() {
                SamplePadding::Zeros if (0.0..length).contains(&at) => at,
                SamplePadding::Zeros => return None,
                SamplePadding::Border => at,
                SamplePadding::Reflection => self.reflected(at, length),
            };
            // A coordinate that is no number stands for the first entry.
            (size > 0).then(|| (at.max(0.0) as usize).min(size - 1))
        };
        Line { entries: core::array::from_fn(entry), weights, taps }
    }

    /// A place moved between the ends of the axis by mirroring it there.
    fn reflected(&self, at: f32, length: f32) -> f32 {
        let (low, high) =
            if self.op.align_corners { (0.0, length - 1.0) } else { (-0.5, length - 0.5) };
        let (range, beyond) = (high - low, if at < low { low - at } else { at - high });
        if beyond.is_nan() || beyond <= 0.0 || range <= 0.0 {
            return if range <= 0.0 { low } else { at };
        }
        let times = math::floor(beyond / range);
        let left = beyond - times * range;
        // An even number of mirrors more leads back from the end that it left at.
        let even = libm::fmodf(times, 2.0) == 0.0;
        if even == (at < low) { low + left } else { high - left }
    }
}

/// Weights of four neighbours for a value `x` behind the second.
fn cubic(x: f32) -> [f32; TAPS] {
    let near = |x: f32| ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((CUBIC * x - 5.0 * CUBIC) * x + 8.0 * CUBIC) * x - 4.0 * CUBIC;
    [far(x + 1.0), near(x), near(1.0 - x), far(2.0 - x)]
}
