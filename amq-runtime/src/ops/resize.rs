//! Resizing: each axis by itself, with the entries and weights of every place found when a call is
//! planned.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::{Interpolation, Placement, Resize, Rounding};

use super::pad::Border;
use super::walk::strides;
use crate::call::{Call, Kernel, Memory, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, ensure, fault};
use crate::view::{Data, DataMut, with_same_type};

/// An axis that is resized.
struct Axis {
    /// Entries before.
    from: usize,
    /// Entries behind.
    to: usize,
    /// Of the first and the last place of the region of interest, in parts of the axis.
    region: [f64; 2],
    scale: f64,
}

impl Axis {
    /// The place on the axis that place `i` of the result belongs to.
    fn place(&self, placement: Placement, i: usize) -> f64 {
        let (i, from, scale) = (i as f64, self.from as f64, self.scale);
        let half_pixel = (i + 0.5) / scale - 0.5;
        let to = from * scale;
        match placement {
            Placement::HalfPixel => half_pixel,
            Placement::PytorchHalfPixel if self.to == 1 => 0.0,
            Placement::PytorchHalfPixel => half_pixel,
            Placement::HalfPixelSymmetric => from / 2.0 * (1.0 - self.to as f64 / to) + half_pixel,
            Placement::AlignCorners if to == 1.0 => 0.0,
            Placement::AlignCorners => i * (from - 1.0) / (to - 1.0),
            Placement::Asymmetric => i / scale,
            Placement::HalfPixelForNearest => (i + 0.5) / scale,
            Placement::Crop => {
                let [start, end] = self.region;
                let part = if to == 1.0 {
                    (end - start) * (from - 1.0) / 2.0
                } else {
                    i * (end - start) * (from - 1.0) / (to - 1.0)
                };
                part + start * (from - 1.0)
            }
        }
    }

    /// The entry that stands at a place, at its ends the first or last.
    fn entry(&self, at: f64) -> usize {
        at.clamp(0.0, self.from.saturating_sub(1) as f64) as usize
    }
}

/// The largest of two neighbours below a place, and how far above it the place is: up to 1.
fn below(place: f64) -> (f64, f64) {
    let below = libm::ceil(place) - 1.0;
    (below, place - below)
}

/// The cubic's weight at a distance.
fn cubic(distance: f64, a: f64) -> f64 {
    let x = distance.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// Most weights of an axis.
const MOST_TAPS: usize = 1 << 24;

/// One axis of an interpolation.
struct Pass {
    /// Entries before.
    from: usize,
    /// Entries behind.
    to: usize,
    /// Elements of an entry.
    inner: usize,
    /// Entries that make one.
    taps: usize,
    /// `[place][tap]`
    entries: Vec<u32>,
    /// `[place][tap]`
    weights: Vec<f32>,
    /// Places that lie outside of the axis.
    outside: Vec<usize>,
}

/// An empty vector with room for so many elements, if there is memory for that.
fn room<T>(count: usize) -> Result<Vec<T>, Fault> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(count).map_err(|_| fault!("{count} entries are too many"))?;
    Ok(vec)
}

impl Pass {
    fn new(op: &Resize, axis: &Axis, inner: usize) -> Result<Pass, Fault> {
        let a = f64::from(op.cubic);
        // A smaller result stands for more entries than there are places.
        let stretch = if op.antialias { axis.scale.min(1.0) } else { 1.0 };
        let half = match op.mode() {
            Interpolation::Cubic => libm::ceil(2.0 / stretch),
            _ => libm::ceil(1.0 / stretch),
        };
        // As a float: a scale near 0 asks for more than an integer holds.
        let (to, each) = (axis.to, 2.0 * half);
        ensure!(
            each * to.max(1) as f64 <= MOST_TAPS as f64,
            "{} entries for each of {to}",
            each as u64
        );
        let taps = each as usize;
        let count = to * taps;
        let (mut entries, mut weights) = (room(count)?, room(count)?);
        let mut outside = Vec::new();
        let mut at_place = room::<f64>(taps)?;
        for i in 0..axis.to {
            let place = axis.place(op.placement(), i);
            let (base, ratio) = below(place);
            let last = axis.from as f64 - 1.0;
            if op.placement() == Placement::Crop && !(0.0..=last).contains(&place) {
                outside.push(i);
            }
            at_place.clear();
            let first = base - half + 1.0;
            for tap in 0..taps {
                let distance = ((tap as f64 - half + 1.0) - ratio) * stretch;
                let weight = match op.mode() {
                    Interpolation::Cubic => cubic(distance, a),
                    _ => (1.0 - distance.abs()).max(0.0),
                };
                let at = first + tap as f64;
                let counts = !op.exclude_outside || (0.0..=last).contains(&at);
                at_place.push(if counts { weight } else { 0.0 });
                entries.push(axis.entry(at) as u32);
            }
            let scaled = op.exclude_outside || stretch < 1.0;
            let sum = if scaled { at_place.iter().sum() } else { 1.0 };
            weights.extend(at_place.iter().map(|weight| (weight / sum) as f32));
        }
        let Axis { from, to, .. } = *axis;
        Ok(Pass { from, to, inner, taps, entries, weights, outside })
    }

    /// Resizes `[..][from][inner]` to `[..][to][inner]`.
    #[inline(always)]
    fn run(&self, x: &[f32], y: &mut [f32]) {
        let Pass { from, to, inner, taps, .. } = *self;
        if x.is_empty() || y.is_empty() {
            return;
        }
        let places = || self.entries.chunks_exact(taps).zip(self.weights.chunks_exact(taps));
        for (x, y) in x.chunks_exact(from * inner).zip(y.chunks_exact_mut(to * inner)) {
            if inner == 1 {
                for (y, (entries, weights)) in y.iter_mut().zip(places()) {
                    let terms = entries.iter().zip(weights).map(|(&e, w)| x[e as usize] * w);
                    *y = terms.fold(0.0, |sum, term| sum + term);
                }
                continue;
            }
            for (y, (entries, weights)) in y.chunks_exact_mut(inner).zip(places()) {
                y.fill(0.0);
                for (&entry, w) in entries.iter().zip(weights) {
                    let x = &x[entry as usize * inner..][..inner];
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += x * w);
                }
            }
        }
    }
}

impl Compute for Resize {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, y) = (shapes.input(0)?, shapes.output()?);
        let axes = self.axes.iter().enumerate().map(|(i, &axis)| {
            let (from, to) = (x.dims[axis as usize], y.dims[axis as usize]);
            let quotient = to as f64 / from as f64;
            let part = |at: usize| self.region.get(at).copied().map_or(0.0, f64::from);
            let region = [part(i), part(self.axes.len() + i)];
            let scale = self.scales.get(i).copied().map_or(quotient, f64::from);
            (axis as usize, Axis { from, to, region, scale })
        });
        for &size in &x.dims {
            u32::try_from(size).map_err(|_| fault!("{size} entries are too many"))?;
        }
        if self.mode() == Interpolation::Nearest {
            return nearest(self, &x.dims, &y.dims, axes, y.len());
        }
        let (mut dims, mut passes, mut largest) = (x.dims.clone(), Vec::new(), 0);
        for (axis, sizes) in axes.rev() {
            let inner = dims[axis + 1..].iter().product();
            dims[axis] = sizes.to;
            passes.push(Pass::new(self, &sizes, inner)?);
            let len = dims.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
            largest = largest.max(len.ok_or_else(|| fault!("its result is too large"))?);
        }
        Ok(Computation::Kernel(Box::new(Interpolated { passes, largest, outside: self.outside })))
    }
}

/// The entry that is nearest to each place.
fn nearest(
    op: &Resize,
    from: &[usize],
    to: &[usize],
    axes: impl Iterator<Item = (usize, Axis)>,
    len: usize,
) -> Result<Computation, Fault> {
    let steps = strides(from);
    let mut sources = Vec::with_capacity(to.len());
    for (axis, &size) in to.iter().enumerate() {
        let count = if len == 0 { 0 } else { size };
        let mut entries = room(count)?;
        entries.extend((0..count).map(|i| Some(i * steps[axis].unsigned_abs())));
        sources.push(entries);
    }
    for (axis, sizes) in axes {
        for (i, source) in sources[axis].iter_mut().enumerate() {
            let place = sizes.place(op.placement(), i);
            let entry = match op.rounding() {
                Rounding::HalfDown => libm::ceil(place - 0.5),
                Rounding::HalfUp => libm::floor(place + 0.5),
                Rounding::Floor => libm::floor(place),
                Rounding::Ceil => libm::ceil(place),
            };
            let inside = (0.0..=sizes.from as f64 - 1.0).contains(&place);
            let inside = inside || op.placement() != Placement::Crop;
            *source = inside.then(|| sizes.entry(entry) * steps[axis].unsigned_abs());
        }
    }
    let last = sources.pop().unwrap_or_else(|| alloc::vec![Some(0)]);
    // Where nothing lies outside, offsets alone.
    let whole: Option<Vec<usize>> = last.iter().copied().collect();
    let border = Border { outer: sources, last, body: 0..0 };
    Ok(Computation::Kernel(Box::new(Nearest { border, whole, outside: op.outside })))
}

struct Nearest {
    border: Border,
    whole: Option<Vec<usize>>,
    outside: f32,
}

impl Kernel for Nearest {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        match (call.inputs.data(0)?, call.outputs.data()?) {
            (Data::F32(x), DataMut::F32(y)) => self.fill(x, self.outside, y),
            (x, y) => with_same_type!(x, y, |x, y| {
                self.fill(x, Default::default(), y);
            }, else return Err(mismatch())),
        }
        Ok(())
    }
}

impl Nearest {
    fn fill<T: Copy>(&self, x: &[T], outside: T, y: &mut [T]) {
        let Some(whole) = &self.whole else { return self.border.fill(x, outside, y) };
        if y.is_empty() {
            return;
        }
        let width = whole.len();
        let (mut before, mut row) = (None, 0);
        self.border.each_row(y.len() / width, &mut |at| {
            // Rows that come again are copied.
            if at.is_some() && at == before {
                y.copy_within((row - 1) * width..row * width, row * width);
            } else {
                let y = &mut y[row * width..][..width];
                match at {
                    Some(at) => {
                        let x = &x[at..];
                        y.iter_mut().zip(whole).for_each(|(y, &source)| *y = x[source]);
                    }
                    None => y.fill(outside),
                }
            }
            (before, row) = (at, row + 1);
        });
    }
}

struct Interpolated {
    /// From the last axis to the first.
    passes: Vec<Pass>,
    /// Elements of the largest result of a pass.
    largest: usize,
    /// What stands outside of x.
    outside: f32,
}

impl Kernel for Interpolated {
    fn reserve(&self, memory: &mut Memory) {
        if self.passes.len() > 1 {
            memory.scratch.budget.grow(&mut memory.work, 2 * self.largest, 0.0);
        }
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.f32(0)?, call.outputs.f32()?);
        let Some((last, passes)) = self.passes.split_last() else {
            y.copy_from_slice(x);
            return Ok(());
        };
        let run = |pass: &Pass, x: &[f32], y: &mut [f32]| {
            call.target.vectorize(
                #[inline(always)]
                || pass.run(x, y),
            );
        };
        let half = if passes.is_empty() { 0 } else { self.largest };
        let (mut to, mut from) = call.memory.work[..2 * half].split_at_mut(half);
        let mut len = x.len();
        for (i, pass) in passes.iter().enumerate() {
            let made = len / pass.from.max(1) * pass.to;
            run(pass, if i == 0 { x } else { &from[..len] }, &mut to[..made]);
            (to, from, len) = (from, to, made);
        }
        run(last, if passes.is_empty() { x } else { &from[..len] }, y);
        for pass in &self.passes {
            let entry = pass.to * pass.inner;
            for y in y.chunks_exact_mut(entry.max(1)).filter(|_| !pass.outside.is_empty()) {
                for place in &pass.outside {
                    y[place * pass.inner..][..pass.inner].fill(self.outside);
                }
            }
        }
        Ok(())
    }
}
