//! Small integer tensors whose elements are known as numbers or dimensions: what graphs compute
//! shapes with.
//!
//! Everything here returns `None` where the result is not certain for all sizes that names can stand
//! for; the operator is then left to run time.

use crate::dim::Dim;
use crate::value::DataType;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The most elements that are followed.
pub const MAX_KNOWN: usize = 1024;

/// A tensor of integers or bool (0 and 1).
#[derive(Clone, Debug, PartialEq)]
pub struct Elements {
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its elements, row-major.
    pub values: Vec<Dim>,
}

/// Dimensions of tensors, which are not negative although an expression alone may not show it.
pub(crate) type Sizes = BTreeSet<Dim>;

fn count(dims: &[usize]) -> Option<usize> {
    let count = dims.iter().try_fold(1usize, |product, &d| product.checked_mul(d))?;
    (count <= MAX_KNOWN && dims.len() <= 16).then_some(count)
}

/// Splits a row-major position into one index an axis.
fn unravel(mut position: usize, dims: &[usize]) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for (i, &d) in index.iter_mut().zip(dims).rev() {
        *i = position % d;
        position /= d;
    }
    index
}

fn ravel(index: &[usize], dims: &[usize]) -> usize {
    index.iter().zip(dims).fold(0, |position, (i, d)| position * d + i)
}

/// The position in `dims` that a position in the larger shape `to` reads when broadcast.
fn broadcast_position(index: &[usize], dims: &[usize]) -> Option<usize> {
    let tail = &index[index.len().checked_sub(dims.len())?..];
    let own: Vec<usize> =
        tail.iter().zip(dims).map(|(&i, &d)| if d == 1 { 0 } else { i }).collect();
    Some(ravel(&own, dims))
}

fn broadcast_dims(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| {
        (axis + dims.len()).checked_sub(rank).map_or(1, |own| dims[own])
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y || y == 1 => Some(x),
            (1, y) => Some(y),
            _ => None,
        })
        .collect()
}

impl Elements {
    /// A tensor of one axis.
    pub fn vector(values: Vec<Dim>) -> Elements {
        Elements { dims: vec![values.len()], values }
    }

    /// Its elements, where all are numbers.
    pub fn numbers(&self) -> Option<Vec<i64>> {
        self.values.iter().map(Dim::as_size).collect()
    }

    /// Whether an integer type or bool can hold its elements, as far as they are numbers.
    pub(crate) fn fit(&self, data_type: DataType) -> bool {
        self.values.iter().filter_map(Dim::as_size).all(|size| data_type.holds(size))
    }

    /// A tensor of shape `dims` whose element at an index is the one here at `source(index)`.
    fn pick(
        &self,
        dims: Vec<usize>,
        source: &dyn Fn(&[usize]) -> Option<usize>,
    ) -> Option<Elements> {
        let values = (0..count(&dims)?)
            .map(|position| self.values.get(source(&unravel(position, &dims))?).cloned())
            .collect::<Option<_>>()?;
        Some(Elements { dims, values })
    }

    pub(crate) fn reshape(&self, dims: &[Dim]) -> Option<Elements> {
        let dims: Vec<usize> =
            dims.iter().map(|d| usize::try_from(d.as_size()?).ok()).collect::<Option<_>>()?;
        (count(&dims)? == self.values.len()).then(|| Elements { dims, values: self.values.clone() })
    }

    pub(crate) fn transpose(&self, perm: &[u32]) -> Option<Elements> {
        let order: Vec<usize> = perm.iter().map(|&axis| axis as usize).collect();
        let dims = order.iter().map(|&axis| self.dims.get(axis).copied()).collect::<Option<_>>()?;
        self.pick(dims, &|index| {
            let mut own = vec![0; index.len()];
            order.iter().zip(index).for_each(|(&axis, &i)| own[axis] = i);
            Some(ravel(&own, &self.dims))
        })
    }

    pub(crate) fn gather(&self, axis: usize, indices: &Elements) -> Option<Elements> {
        let size = *self.dims.get(axis)?;
        let chosen: Vec<usize> = indices
            .numbers()?
            .into_iter()
            .map(|i| usize::try_from(if i < 0 { i + size as i64 } else { i }).ok())
            .map(|i| i.filter(|&i| i < size))
            .collect::<Option<_>>()?;
        let rank = indices.dims.len();
        let dims = [&self.dims[..axis], &indices.dims, &self.dims[axis + 1..]].concat();
        self.pick(dims, &|index| {
            let at = chosen.get(ravel(&index[axis..axis + rank], &indices.dims))?;
            let own = [&index[..axis], &[*at], &index[axis + rank..]].concat();
            Some(ravel(&own, &self.dims))
        })
    }

    pub(crate) fn slice(&self, axis: usize, start: i64, end: i64, step: i64) -> Option<Elements> {
        let size = *self.dims.get(axis)? as i64;
        let from_end = |bound: i64| if bound < 0 { bound.saturating_add(size) } else { bound };
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let start = from_end(start).clamp(low.max(0), high.max(low.max(0)));
        let end = from_end(end).clamp(low, high);
        let span = if step > 0 { end - start } else { start - end };
        let length = if span > 0 && size > 0 {
            span.unsigned_abs().div_ceil(step.unsigned_abs()) as usize
        } else {
            0
        };
        let mut dims = self.dims.clone();
        dims[axis] = length;
        self.pick(dims, &|index| {
            let mut own = index.to_vec();
            own[axis] = usize::try_from(start + index[axis] as i64 * step).ok()?;
            Some(ravel(&own, &self.dims))
        })
    }

    pub(crate) fn expand(&self, dims: &[Dim]) -> Option<Elements> {
        let dims: Vec<usize> =
            dims.iter().map(|d| usize::try_from(d.as_size()?).ok()).collect::<Option<_>>()?;
        let dims = broadcast_dims(&self.dims, &dims)?;
        self.pick(dims, &|index| broadcast_position(index, &self.dims))
    }

    pub(crate) fn concat(parts: &[&Elements], axis: usize) -> Option<Elements> {
        let (first, rest) = parts.split_first()?;
        let mut dims = first.dims.clone();
        for part in rest {
            *dims.get_mut(axis)? += part.dims.get(axis)?;
            let same = |d: &[usize]| [&d[..axis], &d[axis + 1..]].concat();
            if part.dims.len() != dims.len() || same(&part.dims) != same(&dims) {
                return None;
            }
        }
        let outer = count(&dims[..axis])?;
        count(&dims)?;
        let mut values = Vec::new();
        for i in 0..outer {
            for part in parts {
                let inner: usize = part.dims[axis..].iter().product();
                values.extend_from_slice(part.values.get(i * inner..(i + 1) * inner)?);
            }
        }
        Some(Elements { dims, values })
    }

    /// What `f` makes of each element, if it makes something of all.
    pub(crate) fn map(&self, f: impl Fn(&Dim) -> Option<Dim>) -> Option<Elements> {
        let values = self.values.iter().map(f).collect::<Option<_>>()?;
        Some(Elements { dims: self.dims.clone(), values })
    }

    pub(crate) fn zip(
        &self,
        other: &Elements,
        f: impl Fn(&Dim, &Dim) -> Option<Dim>,
    ) -> Option<Elements> {
        let dims = broadcast_dims(&self.dims, &other.dims)?;
        let values = (0..count(&dims)?)
            .map(|position| {
                let index = unravel(position, &dims);
                let a = self.values.get(broadcast_position(&index, &self.dims)?)?;
                let b = other.values.get(broadcast_position(&index, &other.dims)?)?;
                f(a, b)
            })
            .collect::<Option<_>>()?;
        Some(Elements { dims, values })
    }

    /// `a` where this is 1, else `b`.
    pub(crate) fn select(&self, a: &Elements, b: &Elements) -> Option<Elements> {
        let dims = broadcast_dims(&broadcast_dims(&self.dims, &a.dims)?, &b.dims)?;
        let values = (0..count(&dims)?)
            .map(|position| {
                let index = unravel(position, &dims);
                let at = |e: &Elements| e.values.get(broadcast_position(&index, &e.dims)?).cloned();
                if at(self)?.as_size()? != 0 { at(a) } else { at(b) }
            })
            .collect::<Option<_>>()?;
        Some(Elements { dims, values })
    }
}

fn not_negative(dim: &Dim, sizes: &Sizes) -> bool {
    let zero = Dim::from(0);
    sizes.contains(dim) || dim.larger(&zero).is_ok_and(|larger| larger == *dim)
}

/// How a and b compare, where that is certain.
pub(crate) fn compare(a: &Dim, b: &Dim, sizes: &Sizes) -> Option<Ordering> {
    let one = Dim::from(1);
    let negative = |dim: &Dim| dim.as_size().is_some_and(|size| size < 0);
    if a == b {
        Some(Ordering::Equal)
    } else if not_negative(&a.sub(b).ok()?.sub(&one).ok()?, sizes)
        || (not_negative(a, sizes) && negative(b))
    {
        Some(Ordering::Greater)
    } else if not_negative(&b.sub(a).ok()?.sub(&one).ok()?, sizes)
        || (not_negative(b, sizes) && negative(a))
    {
        Some(Ordering::Less)
    } else {
        None
    }
}

/// a / b rounded towards zero, for b that is certainly positive.
pub(crate) fn divide(a: &Dim, b: &Dim, sizes: &Sizes) -> Option<Dim> {
    let zero = Dim::from(0);
    if let (Some(a), Some(b)) = (a.as_size(), b.as_size()) {
        return a.checked_div(b).map(Dim::from);
    }
    if compare(b, &zero, sizes) != Some(Ordering::Greater) && !sizes.contains(b) {
        return None;
    }
    if not_negative(a, sizes) {
        return a.floor_div(b).ok();
    }
    let above = a.larger(&zero).ok()?.floor_div(b).ok()?;
    let below = zero.sub(a).ok()?.larger(&zero).ok()?.floor_div(b).ok()?;
    above.sub(&below).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(dims: &[usize], values: &[i64]) -> Elements {
        Elements { dims: dims.to_vec(), values: values.iter().copied().map(Dim::from).collect() }
    }

    /// ONNX's rule: bounds from the end, the start clamped to the axis, then step by step.
    fn naive_slice(size: i64, start: i64, end: i64, step: i64) -> Vec<i64> {
        let from_end = |bound: i64| if bound < 0 { bound + size } else { bound };
        let (mut i, end) = (from_end(start), from_end(end));
        i = i.clamp(0, if step > 0 { size } else { (size - 1).max(0) });
        let mut taken = Vec::new();
        while if step > 0 { i < end.min(size) } else { i > end.max(-1) } {
            taken.extend((0..size).contains(&i).then_some(i));
            i += step;
        }
        taken
    }

    #[test]
    fn slices_are_onnxs() {
        for size in 0..4 {
            let x = numbers(&[size as usize], &(0..size).collect::<Vec<_>>());
            for (start, end) in (-6..7).flat_map(|start| (-6..7).map(move |end| (start, end))) {
                for step in [-3, -2, -1, 1, 2, 3] {
                    let found = x.slice(0, start, end, step).unwrap().numbers().unwrap();
                    let wanted = naive_slice(size, start, end, step);
                    assert_eq!(found, wanted, "[{start}:{end}:{step}] of {size}");
                }
            }
        }
        let x = numbers(&[3], &[0, 1, 2]);
        let all = x.slice(0, i64::MAX, i64::MIN, -1).unwrap();
        assert_eq!(all.numbers().unwrap(), [2, 1, 0]);
    }

    #[test]
    fn tensors_of_several_axes_are_row_major() {
        let x = numbers(&[2, 3], &[0, 1, 2, 3, 4, 5]);
        assert_eq!(x.transpose(&[1, 0]), Some(numbers(&[3, 2], &[0, 3, 1, 4, 2, 5])));
        assert_eq!(x.gather(1, &numbers(&[2], &[-1, 0])), Some(numbers(&[2, 2], &[2, 0, 5, 3])));
        assert_eq!(x.gather(0, &numbers(&[], &[1])), Some(numbers(&[3], &[3, 4, 5])));
        assert_eq!(x.gather(0, &numbers(&[1], &[2])), None);
        let both = Elements::concat(&[&x, &numbers(&[2, 1], &[8, 9])], 1);
        assert_eq!(both, Some(numbers(&[2, 4], &[0, 1, 2, 8, 3, 4, 5, 9])));
        assert_eq!(Elements::concat(&[&x, &numbers(&[1, 1], &[8])], 1), None);
        let sum = x.zip(&numbers(&[2, 1], &[10, 20]), |a, b| a.add(b).ok());
        assert_eq!(sum, Some(numbers(&[2, 3], &[10, 11, 12, 23, 24, 25])));
        assert_eq!(x.expand(&[Dim::from(2), Dim::from(1), Dim::from(1)]).unwrap().dims, [2, 2, 3]);
        assert_eq!(x.expand(&[Dim::from(2000), Dim::from(1)]), None);
    }

    #[test]
    fn division_truncates_for_every_size() {
        let less = Dim::named("n").add(&Dim::from(-5)).unwrap();
        for divisor in 1..4 {
            let quotient = divide(&less, &Dim::from(divisor), &Sizes::new()).unwrap();
            for n in 1..20 {
                assert_eq!(quotient.eval(&|_| Some(n)), Ok((n - 5) / divisor), "{n}, {divisor}");
            }
        }
        assert_eq!(divide(&less, &less, &Sizes::new()), None);
    }
}
