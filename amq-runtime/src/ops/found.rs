//! Operators that find sizes when they run.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

use amq_format::graph::{NonZero, Series, Sizes, Unique};

use super::order::{By, compare};
use crate::call::{Call, Dynamic, Memory, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, Rounded, ensure, fault};
use crate::view::{Data, DataMut};

/// Calls with the elements, whatever their type.
macro_rules! with_elements {
    ($data:expr, |$x:ident| $body:expr) => {
        match $data {
            Data::F32($x) => $body,
            Data::I64($x) => $body,
            Data::I32($x) => $body,
            Data::U8($x) | Data::Bool($x) => $body,
            Data::I8($x) => $body,
            Data::I16($x) => $body,
            Data::U16($x) => $body,
            Data::U32($x) => $body,
            Data::U64($x) => $body,
        }
    };
}

impl Compute for Sizes {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, _: &Shapes<'_>) -> Result<Computation, Fault> {
        Ok(Computation::Dynamic(Box::new(Given)))
    }
}

struct Given;

impl Dynamic for Given {
    fn run(&mut self, call: &mut Call<'_>, sizes: &mut Vec<i64>) -> Result<(), Fault> {
        let Data::I64(x) = call.inputs.data(0)? else { return Err(mismatch()) };
        let negative = x.iter().position(|&size| size < 0);
        if let Some(i) = negative {
            return Err(fault!("element {i} of the sizes that it is given is {}", x[i]));
        }
        if let Some(Some(output)) = call.outputs.each().next() {
            let DataMut::I64(y) = output else { return Err(mismatch()) };
            y.copy_from_slice(x);
        }
        sizes.extend(x);
        Ok(())
    }
}

impl Compute for NonZero {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        Ok(Computation::Dynamic(Box::new(Places { dims: shapes.input(0)?.dims.clone() })))
    }
}

struct Places {
    dims: Vec<usize>,
}

impl Dynamic for Places {
    fn run(&mut self, call: &mut Call<'_>, sizes: &mut Vec<i64>) -> Result<(), Fault> {
        let x = call.inputs.data(0)?;
        with_elements!(x, |elements| {
            let zero = Default::default();
            self.find(x.len(), &|i| elements[i] != zero, call, sizes)
        })
    }
}

impl Places {
    /// Compiled once for all types.
    fn find(
        &self,
        len: usize,
        is_found: &dyn Fn(usize) -> bool,
        call: &mut Call<'_>,
        sizes: &mut Vec<i64>,
    ) -> Result<(), Fault> {
        let found = || (0..len).filter(|&i| is_found(i));
        let count = found().count();
        sizes.push(count as i64);
        let (axes, budget) = (self.dims.len(), &mut call.memory.scratch.budget);
        let places = call.outputs.grown(0, axes.saturating_mul(count), budget)?;
        let Some(DataMut::I64(places)) = places else {
            return if places.is_none() { Ok(()) } else { Err(mismatch()) };
        };
        let mut inner = len;
        for (axis, &size) in self.dims.iter().enumerate() {
            if size == 0 {
                return Ok(());
            }
            inner /= size;
            let row = &mut places[axis * count..][..count];
            row.iter_mut().zip(found()).for_each(|(y, i)| *y = (i / inner % size) as i64);
        }
        Ok(())
    }
}

impl Compute for Unique {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let dims = &shapes.input(0)?.dims;
        let (entries, inner) = match dims.as_slice() {
            [entries, inner @ ..] => (*entries, inner.iter().product()),
            [] => return Err(fault!("its input has no axes")),
        };
        u32::try_from(entries).map_err(|_| fault!("{entries} entries are too many"))?;
        Ok(Computation::Dynamic(Box::new(Different { entries, inner, unsorted: self.unsorted })))
    }
}

struct Different {
    /// Entries along the first axis, fewer than 2^32.
    entries: usize,
    /// Elements of an entry.
    inner: usize,
    unsorted: bool,
}

impl Dynamic for Different {
    fn reserve(&mut self, memory: &mut Memory) {
        memory.scratch.budget.grow(&mut memory.order, 2 * self.entries, 0);
    }

    fn run(&mut self, call: &mut Call<'_>, sizes: &mut Vec<i64>) -> Result<(), Fault> {
        let (order, numbers) = call.memory.order[..2 * self.entries].split_at_mut(self.entries);
        let count = match call.inputs.data(0)? {
            Data::F32(x) => self.number(x, order, numbers, compare),
            Data::I64(x) => self.number(x, order, numbers, Ord::cmp),
            Data::I32(x) => self.number(x, order, numbers, Ord::cmp),
            Data::U8(x) | Data::Bool(x) => self.number(x, order, numbers, Ord::cmp),
            Data::I8(x) => self.number(x, order, numbers, Ord::cmp),
            Data::I16(x) => self.number(x, order, numbers, Ord::cmp),
            Data::U16(x) => self.number(x, order, numbers, Ord::cmp),
            Data::U32(x) => self.number(x, order, numbers, Ord::cmp),
            Data::U64(x) => self.number(x, order, numbers, Ord::cmp),
        };
        sizes.push(count as i64);
        let budget = &mut call.memory.scratch.budget;
        if let Some(firsts) = call.outputs.grown(0, count, budget)? {
            let DataMut::I64(firsts) = firsts else { return Err(mismatch()) };
            for (i, &number) in numbers.iter().enumerate().rev() {
                firsts[number as usize] = i as i64;
            }
        }
        if let Some(which) = call.outputs.grown(1, self.entries, budget)? {
            let DataMut::I64(which) = which else { return Err(mismatch()) };
            which.iter_mut().zip(&*numbers).for_each(|(y, &number)| *y = i64::from(number));
        }
        if let Some(counts) = call.outputs.grown(2, count, budget)? {
            let DataMut::I64(counts) = counts else { return Err(mismatch()) };
            counts.fill(0);
            numbers.iter().for_each(|&number| counts[number as usize] += 1);
        }
        Ok(())
    }
}

impl Different {
    /// Numbers the entries, equal ones alike; how many are different.
    fn number<T>(
        &self,
        x: &[T],
        order: &mut [u32],
        numbers: &mut [u32],
        compare: impl Fn(&T, &T) -> Ordering,
    ) -> usize {
        let entry = |i: u32| &x[i as usize * self.inner..][..self.inner];
        let by_elements = |&i: &u32, &j: &u32| {
            let mut pairs = entry(i).iter().zip(entry(j));
            let differ = pairs.find_map(|(a, b)| Some(compare(a, b)).filter(|order| order.is_ne()));
            differ.unwrap_or(Ordering::Equal)
        };
        self.number_by(&by_elements, order, numbers)
    }

    fn number_by(&self, by_elements: &By<'_>, order: &mut [u32], numbers: &mut [u32]) -> usize {
        order.iter_mut().zip(0..).for_each(|(slot, i)| *slot = i);
        order.sort_unstable_by(by_elements);
        let mut count = 0;
        for (at, i) in order.iter().enumerate() {
            let new = at == 0 || by_elements(&order[at - 1], i).is_ne();
            count += u32::from(new);
            numbers[*i as usize] = count - 1;
        }
        if self.unsorted {
            // Numbered anew as they are met.
            order.fill(u32::MAX);
            let mut next = 0;
            for number in numbers {
                let renumbered = &mut order[*number as usize];
                if *renumbered == u32::MAX {
                    (*renumbered, next) = (next, next + 1);
                }
                *number = *renumbered;
            }
        }
        count as usize
    }
}

impl Compute for Series {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, _: &Shapes<'_>) -> Result<Computation, Fault> {
        Ok(Computation::Dynamic(Box::new(Steps)))
    }
}

struct Steps;

impl Dynamic for Steps {
    fn run(&mut self, call: &mut Call<'_>, sizes: &mut Vec<i64>) -> Result<(), Fault> {
        let [start, limit, step] = [0, 1, 2].map(|i| call.inputs.data(i));
        macro_rules! integers {
            ($kind:ident, $start:expr, $limit:expr, $step:expr) => {{
                let (start, limit, step) = ($start, $limit, $step);
                let count = count(start as i128, limit as i128, step as i128)?;
                let budget = &mut call.memory.scratch.budget;
                sizes.push(i64::try_from(count).unwrap_or(i64::MAX));
                let numbers = call.outputs.grown(0, count, budget)?;
                if let Some(DataMut::$kind(numbers)) = numbers {
                    let mut number = start;
                    for y in numbers {
                        *y = number;
                        number = number.wrapping_add(step);
                    }
                }
            }};
        }
        match (start?, limit?, step?) {
            (Data::F32(&[start]), Data::F32(&[limit]), Data::F32(&[step])) => {
                let span = f64::from(limit) - f64::from(start);
                let count = libm::ceil(span / f64::from(step));
                ensure!(
                    !count.is_nan(),
                    "it is to go from {} to {} in steps of {}",
                    Rounded(start),
                    Rounded(limit),
                    Rounded(step)
                );
                // Negative numbers become 0, and too large ones the largest.
                let count = count as usize;
                sizes.push(i64::try_from(count).unwrap_or(i64::MAX));
                let budget = &mut call.memory.scratch.budget;
                if let Some(DataMut::F32(numbers)) = call.outputs.grown(0, count, budget)? {
                    let number = |(i, y): (usize, &mut f32)| *y = start + i as f32 * step;
                    numbers.iter_mut().enumerate().for_each(number);
                }
            }
            (Data::I64(&[a]), Data::I64(&[b]), Data::I64(&[c])) => integers!(I64, a, b, c),
            (Data::I32(&[a]), Data::I32(&[b]), Data::I32(&[c])) => integers!(I32, a, b, c),
            (Data::I16(&[a]), Data::I16(&[b]), Data::I16(&[c])) => integers!(I16, a, b, c),
            (Data::I8(&[a]), Data::I8(&[b]), Data::I8(&[c])) => integers!(I8, a, b, c),
            (Data::U64(&[a]), Data::U64(&[b]), Data::U64(&[c])) => integers!(U64, a, b, c),
            (Data::U32(&[a]), Data::U32(&[b]), Data::U32(&[c])) => integers!(U32, a, b, c),
            (Data::U16(&[a]), Data::U16(&[b]), Data::U16(&[c])) => integers!(U16, a, b, c),
            (Data::U8(&[a]), Data::U8(&[b]), Data::U8(&[c])) => integers!(U8, a, b, c),
            _ => return Err(mismatch()),
        }
        Ok(())
    }
}

/// How many integers there are.
fn count(start: i128, limit: i128, step: i128) -> Result<usize, Fault> {
    ensure!(step != 0, "its step is 0");
    let span = if step > 0 { limit - start } else { start - limit };
    // Neither needs more than 64 bits, in which a division is less code.
    let count = (span.max(0) as u64).div_ceil(step.unsigned_abs() as u64);
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Tensor, floats, integers, run, run_all};
    use crate::view::Buffer;
    use amq_format::graph::Op;
    use proptest::prelude::*;

    fn i64s(tensor: &Tensor) -> &[i64] {
        match &tensor.1 {
            Buffer::I64(elements) => elements,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sizes_are_what_they_are_given_and_not_negative() {
        let (dims, given) = run(Op::Sizes(Sizes {}), &[integers(&[2], [3, 0])]).unwrap();
        assert_eq!((dims, given), integers(&[2], [3, 0]));
        let error = run(Op::Sizes(Sizes {}), &[integers(&[2], [3, -1])]).unwrap_err();
        assert_eq!(error, "element 1 of the sizes that it is given is -1");
    }

    #[test]
    fn indices_of_what_is_not_zero_are_in_its_order() {
        let x = floats(&[2, 3], [0.0, 1.0, -0.0, f32::NAN, 0.0, 2.0]);
        let (dims, found) = run(Op::NonZero(NonZero {}), &[x]).unwrap();
        assert_eq!((dims, found), integers(&[2, 3], [0, 1, 1, 1, 0, 2]));
        // A scalar has no axes, and nothing is found in an empty tensor.
        for (dims, elements, expected) in
            [(&[][..], &[1.0][..], [0, 1]), (&[], &[0.0], [0, 0]), (&[2, 0], &[], [2, 0])]
        {
            let x = floats(dims, elements.iter().copied());
            assert_eq!(run(Op::NonZero(NonZero {}), &[x]).unwrap().0, expected);
        }
    }

    #[test]
    fn steps_end_before_the_limit() {
        let of = |[start, limit, step]: [f32; 3]| {
            let inputs = [start, limit, step].map(|x| floats(&[], [x]));
            run(Op::Series(Series {}), &inputs)
        };
        let numbers = |bounds: [f32; 3]| of(bounds).map(|(dims, y)| (dims[0], y));
        assert_eq!(of([1.0, 2.0, 0.25]).unwrap(), floats(&[4], [1.0, 1.25, 1.5, 1.75]));
        assert_eq!(of([1.0, -0.5, -1.0]).unwrap(), floats(&[2], [1.0, 0.0]));
        assert_eq!(numbers([1.0, 0.0, 1.0]).unwrap().0, 0);
        // 0.6 / 0.2 is 3 in f32; of the two floats it is a little more.
        assert_eq!(numbers([0.0, 0.6, 0.2]).unwrap().0, 4);
        assert!(of([1.0, 1.0, 0.0]).unwrap_err().contains("from 1 to 1 in steps of 0"));
        assert!(of([0.0, 1.0, 0.0]).is_err(), "endless");
        let of = |bounds: [i64; 3]| {
            let inputs = bounds.map(|x| integers(&[1], [x]));
            run(Op::Series(Series {}), &inputs)
        };
        assert_eq!(of([7, 0, -3]).unwrap(), integers(&[3], [7, 4, 1]));
        assert_eq!(of([i64::MIN, i64::MAX, i64::MAX]).unwrap().0, [3]);
        assert_eq!(of([0, 1, 0]).unwrap_err(), "its step is 0");
        assert!(of([0, i64::MAX, 1]).is_err(), "more than memory");
    }

    proptest! {
        /// Compared with all pairs.
        #[test]
        fn different_entries_are_found(
            (entries, inner) in (0usize..20, 0usize..3),
            seed in any::<u64>(),
            unsorted in any::<bool>(),
        ) {
            let few = [-1.5, -0.0, 0.0, f32::NAN, f32::INFINITY, 2.0];
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                few[(state >> 33) as usize % few.len()]
            };
            let x: Vec<f32> = (0..entries * inner).map(|_| next()).collect();
            let input = floats(&[entries, inner], x.iter().copied());
            let outputs = run_all(Op::Unique(Unique { unsorted }), &[input]).unwrap();
            let rank = |x: f32| if x.is_nan() { 1e30 } else { x.min(1e20) + 0.0 };
            let entry = |i: usize| -> Vec<f32> {
                x[i * inner..][..inner].iter().map(|&x| rank(x)).collect()
            };
            let same = |i: usize, j: usize| entry(i) == entry(j);
            let mut firsts: Vec<usize> =
                (0..entries).filter(|&i| !(0..i).any(|j| same(i, j))).collect();
            if !unsorted {
                firsts.sort_by(|&i, &j| entry(i).partial_cmp(&entry(j)).unwrap());
            }
            let which = |i: usize| firsts.iter().position(|&first| same(i, first)).unwrap() as i64;
            let count = |first: &usize| (0..entries).filter(|&i| same(i, *first)).count() as i64;
            prop_assert_eq!(i64s(&outputs[0]), firsts.iter().map(|&i| i as i64).collect::<Vec<_>>());
            prop_assert_eq!(i64s(&outputs[1]), (0..entries).map(which).collect::<Vec<_>>());
            prop_assert_eq!(i64s(&outputs[2]), firsts.iter().map(count).collect::<Vec<_>>());
            prop_assert_eq!(&outputs[2].0, &[firsts.len()]);
        }
    }

    #[test]
    fn entries_have_an_axis() {
        let error = run(Op::Unique(Unique { unsorted: false }), &[floats(&[], [1.0])]);
        assert!(error.unwrap_err().contains("axis 0"));
    }
}
