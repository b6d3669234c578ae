//! Elements that indices choose, and elements that are written where indices say.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::{GatherElements, GatherNd, ScatterElements, ScatterKind, ScatterNd};

use super::binary::{Integer, larger, smaller};
use super::gather::entry;
use super::walk::{Walk, strides};
use crate::call::{Call, Kernel, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, ensure};
use crate::shape::Shape;
use crate::view::{Data, DataMut, with_same_type};

/// Where the elements are that indices choose along an axis.
struct Places {
    /// The rows of the indices, in x without the axis.
    walk: Walk<1>,
    /// Entries along the axis.
    size: usize,
    /// From one to the next.
    step: usize,
}

impl Places {
    fn new(x: &Shape, indices: &Shape, axis: usize) -> Result<Places, Fault> {
        let mut steps = strides(&x.dims);
        let step = steps[axis].unsigned_abs();
        steps[axis] = 0;
        let beyond = |k: usize| k != axis && indices.dims[k] > x.dims[k] && indices.len() > 0;
        ensure!(!(0..x.dims.len()).any(beyond), "its indices reach beyond x");
        let walk = Walk::new(&indices.dims, [&steps], [0]);
        Ok(Places { walk, size: x.dims[axis], step })
    }

    /// Calls `visit` with the places in x of some indices after the other, in order, and the number of the first.
    /// Of some at a time, since this is compiled once for all types.
    fn each(&self, indices: Data<'_>, visit: &mut dyn FnMut(&[usize], usize)) -> Result<(), Fault> {
        let (mut places, mut count, mut at) = ([0; 64], 0, 0);
        for [start] in self.walk.rows() {
            for column in 0..self.walk.inner {
                let lane = start + column * self.walk.strides[0].unsigned_abs();
                places[count] = lane + entry(indices, at, self.size)? * self.step;
                (count, at) = (count + 1, at + 1);
                if count == places.len() {
                    visit(&places, at - count);
                    count = 0;
                }
            }
        }
        visit(&places[..count], at - count);
        Ok(())
    }
}

impl Compute for GatherElements {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let places = Places::new(shapes.input(0)?, shapes.input(1)?, self.axis as usize)?;
        Ok(Computation::Kernel(Box::new(Chosen(places))))
    }
}

struct Chosen(Places);

impl Kernel for Chosen {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let indices = call.inputs.data(1)?;
        with_same_type!(call.inputs.data(0)?, call.outputs.data()?, |x, y| {
            self.0.each(indices, &mut |places, at| {
                y[at..].iter_mut().zip(places).for_each(|(y, &place)| *y = x[place]);
            })
        }, else Err(mismatch()))
    }
}

/// Writes x to y, and then what `write` does with a function that combines elements.
macro_rules! scattered {
    ($call:expr, $kind:expr, |$updates:ident, $y:ident, $combine:ident| $write:expr) => {{
        let (x, updates) = ($call.inputs.data(0)?, $call.inputs.data(2)?);
        macro_rules! each {
            ($x:expr, $u:expr, $out:expr, $function:expr) => {{
                $out.copy_from_slice($x);
                let ($updates, $y, $combine) = ($u, $out, $function);
                $write
            }};
        }
        match (x, updates, $call.outputs.data()?) {
            (Data::F32(x), Data::F32(u), DataMut::F32(y)) => each!(x, u, y, float_function($kind)),
            (Data::I64(x), Data::I64(u), DataMut::I64(y)) => each!(x, u, y, function($kind)),
            (Data::I32(x), Data::I32(u), DataMut::I32(y)) => each!(x, u, y, function($kind)),
            (Data::U8(x), Data::U8(u), DataMut::U8(y)) => each!(x, u, y, function($kind)),
            (Data::I8(x), Data::I8(u), DataMut::I8(y)) => each!(x, u, y, function($kind)),
            (Data::I16(x), Data::I16(u), DataMut::I16(y)) => each!(x, u, y, function($kind)),
            (Data::U16(x), Data::U16(u), DataMut::U16(y)) => each!(x, u, y, function($kind)),
            (Data::U32(x), Data::U32(u), DataMut::U32(y)) => each!(x, u, y, function($kind)),
            (Data::U64(x), Data::U64(u), DataMut::U64(y)) => each!(x, u, y, function($kind)),
            (Data::Bool(x), Data::Bool(u), DataMut::Bool(y)) => each!(x, u, y, function($kind)),
            _ => Err(mismatch()),
        }
    }};
}

/// What is made of the element that is there and the one that comes.
fn function<T: Integer>(kind: ScatterKind) -> fn(T, T) -> T {
    match kind {
        ScatterKind::Replace => |_, new| new,
        ScatterKind::Add => T::add,
        ScatterKind::Mul => T::mul,
        ScatterKind::Max => T::max,
        ScatterKind::Min => T::min,
    }
}

fn float_function(kind: ScatterKind) -> fn(f32, f32) -> f32 {
    match kind {
        ScatterKind::Replace => |_, new| new,
        ScatterKind::Add => |old, new| old + new,
        ScatterKind::Mul => |old, new| old * new,
        ScatterKind::Max => larger,
        ScatterKind::Min => smaller,
    }
}

impl Compute for ScatterElements {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let places = Places::new(shapes.input(0)?, shapes.input(1)?, self.axis as usize)?;
        ensure!(
            shapes.input(2)?.dims == shapes.input(1)?.dims,
            "its updates are not as many as its indices"
        );
        Ok(Computation::Kernel(Box::new(Written { places, kind: self.kind() })))
    }
}

struct Written {
    places: Places,
    kind: ScatterKind,
}

impl Kernel for Written {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let indices = call.inputs.data(1)?;
        scattered!(call, self.kind, |updates, y, combine| {
            self.places.each(indices, &mut |places, at| {
                let updates = places.iter().zip(&updates[at..]);
                updates.for_each(|(&place, &new)| y[place] = combine(y[place], new));
            })
        })
    }
}

/// Where parts are that tuples of indices choose.
struct Tuples {
    /// Entries along each axis that is chosen from, and the step from one to the next.
    axes: Vec<(usize, usize)>,
    /// Elements of a part.
    part: usize,
}

impl Tuples {
    /// Of x behind `batch` axes.
    fn new(x: &Shape, indices: &Shape, batch: usize) -> Tuples {
        let count = indices.dims.last().copied().unwrap_or_default();
        let steps = strides(&x.dims);
        let axes = (batch..batch + count).map(|axis| (x.dims[axis], steps[axis].unsigned_abs()));
        Tuples { axes: axes.collect(), part: x.dims[batch + count..].iter().product() }
    }

    /// Where the part of tuple number `at` begins.
    #[inline(never)]
    fn start(&self, indices: Data<'_>, at: usize) -> Result<usize, Fault> {
        let mut start = 0;
        for (k, &(size, step)) in self.axes.iter().enumerate() {
            start += entry(indices, at * self.axes.len() + k, size)? * step;
        }
        Ok(start)
    }
}

impl Compute for GatherNd {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, indices, batch) = (shapes.input(0)?, shapes.input(1)?, self.batch_axes as usize);
        let batches: usize = x.dims[..batch].iter().product();
        let outer: usize = indices.dims[..indices.dims.len() - 1].iter().product();
        Ok(Computation::Kernel(Box::new(Parts {
            tuples: Tuples::new(x, indices, batch),
            together: outer.checked_div(batches).unwrap_or_default(),
            batch: x.dims[batch..].iter().product(),
        })))
    }
}

struct Parts {
    tuples: Tuples,
    /// Tuples of a batch item.
    together: usize,
    /// Elements of a batch item of x.
    batch: usize,
}

impl Kernel for Parts {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let indices = call.inputs.data(1)?;
        let part = self.tuples.part;
        with_same_type!(call.inputs.data(0)?, call.outputs.data()?, |x, y| {
            for (at, y) in y.chunks_exact_mut(part.max(1)).enumerate() {
                let start = at / self.together * self.batch + self.tuples.start(indices, at)?;
                y.copy_from_slice(&x[start..start + part]);
            }
        }, else return Err(mismatch()));
        Ok(())
    }
}

impl Compute for ScatterNd {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, indices) = (shapes.input(0)?, shapes.input(1)?);
        let tuples = Tuples::new(x, indices, 0);
        let outer: usize = indices.dims[..indices.dims.len() - 1].iter().product();
        ensure!(
            outer * tuples.part == shapes.input(2)?.len(),
            "its updates are not as many as its indices choose"
        );
        Ok(Computation::Kernel(Box::new(WrittenParts { tuples, kind: self.kind() })))
    }
}

struct WrittenParts {
    tuples: Tuples,
    kind: ScatterKind,
}

impl Kernel for WrittenParts {
    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let indices = call.inputs.data(1)?;
        let part = self.tuples.part;
        scattered!(call, self.kind, |updates, y, combine| {
            for (at, updates) in updates.chunks_exact(part.max(1)).enumerate() {
                let start = self.tuples.start(indices, at)?;
                let y = &mut y[start..start + part];
                y.iter_mut().zip(updates).for_each(|(y, &new)| *y = combine(*y, new));
            }
            Ok(())
        })
    }
}
