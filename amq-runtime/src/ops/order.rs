//! The largest and the smallest.

use alloc::boxed::Box;
use core::cmp::Ordering;

use amq_format::graph::TopK;

use super::binary::larger;
use super::reduce::in_lanes;
use crate::call::{Call, Kernel, Memory, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, fault};
use crate::view::{Data, DataMut};

impl Compute for TopK {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, axis) = (shapes.input(0)?, self.axis as usize);
        let size = x.dims[axis];
        u32::try_from(size).map_err(|_| fault!("{size} entries are too many"))?;
        Ok(Computation::Kernel(Box::new(Chosen {
            size,
            inner: x.dims[axis + 1..].iter().product(),
            k: shapes.outputs.first().map_or(0, |values| values.dims[axis]),
            smallest: self.smallest,
            unsorted: self.unsorted,
        })))
    }
}

struct Chosen {
    /// Entries along the axis, fewer than 2^32.
    size: usize,
    /// Steps from one entry along the axis to the next.
    inner: usize,
    k: usize,
    smallest: bool,
    unsorted: bool,
}

impl Kernel for Chosen {
    fn reserve(&self, memory: &mut Memory) {
        memory.scratch.budget.grow(&mut memory.order, self.size, 0);
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let order = &mut call.memory.order[..self.size];
        let x = call.inputs.data(0)?;
        let mut outputs = call.outputs.each();
        let (values, indices) = (outputs.next().flatten(), outputs.next().flatten());
        let indices = match indices {
            Some(DataMut::I64(indices)) => Some(indices),
            None => None,
            _ => return Err(mismatch()),
        };
        macro_rules! choose {
            ($x:expr, $kind:ident, $compare:expr, $fast:literal) => {{
                let values = match values {
                    Some(DataMut::$kind(values)) => Some(values),
                    None => None,
                    _ => return Err(mismatch()),
                };
                self.choose::<_, $fast>($x, values, indices, order, $compare)
            }};
        }
        match x {
            Data::F32(x) if self.k == 1 && self.inner == 1 && !self.smallest => {
                let values = match values {
                    Some(DataMut::F32(values)) => Some(values),
                    None => None,
                    _ => return Err(mismatch()),
                };
                call.target.vectorize(
                    #[inline(always)]
                    || self.largest(x, values, indices),
                );
            }
            Data::F32(x) => choose!(x, F32, compare, true),
            Data::I64(x) => choose!(x, I64, Ord::cmp, false),
            Data::I32(x) => choose!(x, I32, Ord::cmp, false),
            Data::U8(x) => choose!(x, U8, Ord::cmp, false),
            Data::I8(x) => choose!(x, I8, Ord::cmp, false),
            Data::I16(x) => choose!(x, I16, Ord::cmp, false),
            Data::U16(x) => choose!(x, U16, Ord::cmp, false),
            Data::U32(x) => choose!(x, U32, Ord::cmp, false),
            Data::U64(x) => choose!(x, U64, Ord::cmp, false),
            Data::Bool(_) => return Err(mismatch()),
        }
        Ok(())
    }
}

/// Floats in order: NaN is larger than every number, and the zeros are equal.
pub(super) fn compare(a: &f32, b: &f32) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Which of two entries comes first, as something that is known only when it runs: sorting has much code, which is then there
/// once for all types.
pub(super) type By<'a> = dyn Fn(&u32, &u32) -> Ordering + 'a;

impl Chosen {
    /// Puts the entries that are chosen first.
    fn sort(&self, order: &mut [u32], first: impl Fn(&u32, &u32) -> Ordering + Copy) {
        order.iter_mut().zip(0..).for_each(|(slot, i)| *slot = i);
        if self.k < self.size {
            order.select_nth_unstable_by(self.k - 1, first);
        }
        let chosen = &mut order[..self.k];
        if self.unsorted {
            chosen.sort_unstable_by(&Ord::cmp as &By<'_>);
        } else {
            chosen.sort_unstable_by(first);
        }
    }

    /// The largest of each row: first what it is, then where it is first.
    #[inline(always)]
    fn largest(&self, x: &[f32], mut values: Option<&mut [f32]>, mut indices: Option<&mut [i64]>) {
        for (i, x) in x.chunks_exact(self.size.max(1)).enumerate() {
            let most = in_lanes(x, f32::NEG_INFINITY, |x| x, larger);
            let first = x.iter().position(|&x| x == most || x.is_nan() && most.is_nan());
            let first = first.unwrap_or_default();
            if let Some(values) = &mut values {
                values[i] = x[first];
            }
            if let Some(indices) = &mut indices {
                indices[i] = first as i64;
            }
        }
    }

    /// Fast where all is compiled for this type of elements; one code serves the others.
    fn choose<T: Copy, const FAST: bool>(
        &self,
        x: &[T],
        mut values: Option<&mut [T]>,
        indices: Option<&mut [i64]>,
        order: &mut [u32],
        compare: impl Fn(&T, &T) -> Ordering,
    ) {
        let ascending = |a: usize, b: usize| compare(&x[a], &x[b]);
        let mut copy = |to: usize, from: usize| {
            if let Some(values) = &mut values {
                values[to] = x[from];
            }
        };
        if FAST {
            self.choose_places::<_, true>(x.len(), ascending, &mut copy, indices, order);
        } else {
            let ascending: &dyn Fn(usize, usize) -> Ordering = &ascending;
            self.choose_places::<_, false>(x.len(), ascending, &mut copy, indices, order);
        }
    }

    /// Orders places by the elements there, and copies the elements that are chosen.
    fn choose_places<F: Fn(usize, usize) -> Ordering, const FAST: bool>(
        &self,
        len: usize,
        ascending: F,
        copy: &mut dyn FnMut(usize, usize),
        mut indices: Option<&mut [i64]>,
        order: &mut [u32],
    ) {
        let Chosen { size, inner, k, .. } = *self;
        if k == 0 || len == 0 {
            return;
        }
        for block in 0..len / (size * inner) {
            for column in 0..inner {
                let at = |i: u32| (block * size + i as usize) * inner + column;
                let first = |&i: &u32, &j: &u32| {
                    let ascending = ascending(at(i), at(j));
                    let better = if self.smallest { ascending } else { ascending.reverse() };
                    better.then(i.cmp(&j))
                };
                if k == 1 {
                    // Without an order of all.
                    let best = |best: u32, i: u32| if first(&i, &best).is_lt() { i } else { best };
                    order[0] = (1..size as u32).fold(0, best);
                } else if FAST {
                    self.sort(order, first);
                } else {
                    self.sort(order, &first as &By<'_>);
                }
                for (row, &i) in order[..k].iter().enumerate() {
                    let to = (block * k + row) * inner + column;
                    copy(to, at(i));
                    if let Some(indices) = &mut indices {
                        indices[to] = i64::from(i);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::ops::testing::{Tensor, run_all};
    use crate::view::Buffer;
    use amq_format::graph::{Dim, Op};
    use proptest::prelude::*;

    /// Takes the best that is left, k times.
    fn naive(x: &[f32], k: usize, op: &TopK) -> Vec<usize> {
        let better = |i: usize, j: usize| {
            let rank =
                |x: f32| if x.is_nan() { f64::INFINITY } else { f64::from(x).clamp(-1e9, 1e9) };
            let (a, b) = (rank(x[i]), rank(x[j]));
            if op.smallest { a < b } else { a > b }
        };
        let mut left: Vec<usize> = (0..x.len()).collect();
        let mut taken = Vec::new();
        for _ in 0..k {
            let best =
                left.iter().copied().reduce(|best, i| if better(i, best) { i } else { best });
            taken.extend(best);
            left.retain(|&i| Some(i) != best);
        }
        if op.unsorted {
            taken.sort_unstable();
        }
        taken
    }

    proptest! {
        #[test]
        fn the_best_are_those_that_are_taken_one_by_one(
            sizes in [1usize..4, 1usize..40, 1usize..4],
            seed in any::<u64>(),
            (smallest, unsorted) in any::<(bool, bool)>(),
        ) {
            let [outer, size, inner] = sizes;
            let k = seed as usize % (size + 1);
            let op = TopK { axis: 1, k: Vec::from([Dim::from(k as i64)]), smallest, unsorted };
            // Few different numbers, so that many are equal.
            let few = [-1.5, -0.0, 0.0, 2.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                few[(state >> 33) as usize % few.len()]
            };
            let x: Vec<f32> = (0..outer * size * inner).map(|_| next()).collect();
            let input: Tensor = (sizes.to_vec(), Buffer::F32(x.clone()));
            let found = run_all(Op::TopK(op.clone()), &[input]).unwrap();
            let (mut values, mut indices) = (Vec::new(), Vec::new());
            values.resize(outer * k * inner, 0.0f32);
            indices.resize(values.len(), 0i64);
            for o in 0..outer {
                for i in 0..inner {
                    let at = |entry: usize| x[(o * size + entry) * inner + i];
                    let line: Vec<f32> = (0..size).map(at).collect();
                    for (row, entry) in naive(&line, k, &op).into_iter().enumerate() {
                        let to = (o * k + row) * inner + i;
                        values[to] = line[entry];
                        indices[to] = entry as i64;
                    }
                }
            }
            let Buffer::F32(got) = &found[0].1 else { panic!() };
            prop_assert!(got.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()));
            prop_assert_eq!(got.len(), values.len());
            prop_assert_eq!(&found[1].1, &Buffer::I64(indices));
            prop_assert_eq!(&found[1].0, &[outer, k, inner]);
        }
    }
}
