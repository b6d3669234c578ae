//! Einsum, as products and sums over axes that have names.

use amq_format::graph::{BinaryFunction as B, DataType, Dim, MatMul, Op, ReduceKind};

use super::layout::product;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

/// A tensor whose axes have names: letters, or numbers for those of an ellipsis, from its end.
#[derive(Clone)]
struct Named {
    value: Value,
    axes: Vec<char>,
}

pub(in crate::onnx) fn einsum(r: &mut Reader<'_, '_>) -> Result<()> {
    let equation = r.string("equation")?.ok_or_else(|| Error::bad_file("equation is missing"))?;
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let wrong = || Error::bad_file(format!("equation {equation:?}"));
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let values = r.inputs()?;
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != values.len() {
        return Err(wrong());
    }
    let mut operands = Vec::with_capacity(values.len());
    for (&value, term) in values.iter().zip(&terms) {
        let axes = axes_of(term, Some(r.rank(value))).ok_or_else(wrong)?;
        operands.push(distinct(r, Named { value, axes })?);
    }
    let dotted = operands.iter().flat_map(|named| &named.axes).filter(|axis| axis.is_ascii_digit());
    let mut dotted: Vec<char> = dotted.copied().collect();
    dotted.sort_unstable_by(|a, b| b.cmp(a));
    dotted.dedup();
    let result = match right {
        Some(right) => {
            let (before, behind) = right.split_once("...").unwrap_or((right, ""));
            let dots = if right.contains("...") { dotted } else { Vec::new() };
            before.chars().chain(dots).chain(behind.chars()).collect()
        }
        None => {
            let letters = |c: &char| c.is_ascii_alphabetic();
            let mut once: Vec<char> = left.chars().filter(letters).collect();
            once.retain(|c| left.matches(*c).count() == 1);
            once.sort_unstable();
            [dotted, once].concat()
        }
    };
    let known = |axis: &char| operands.iter().any(|named| named.axes.contains(axis));
    let twice = |i: usize| result[..i].contains(&result[i]);
    if !result.iter().all(known) || (0..result.len()).any(twice) {
        return Err(wrong());
    }

    let mut rest = operands.into_iter();
    let mut sum = rest.next().ok_or_else(wrong)?;
    let mut number = 0;
    while let Some(next) = rest.next() {
        number += 1;
        let later: Vec<char> = rest.clone().flat_map(|named| named.axes).collect();
        let kept = |axis: &char| result.contains(axis) || later.contains(axis);
        sum = multiplied(r, number, sum, next, kept)?;
    }
    sum = summed(r, "sum", sum, |axis| result.contains(axis))?;
    let perm = places(&sum, &result);
    let y = match perm.iter().enumerate().all(|(i, &axis)| i as u32 == axis) {
        true => sum.value,
        false => r.transpose("", sum.value, &perm)?,
    };
    r.give(0, y)
}

/// The names of axes in a term; those that an ellipsis stands for follow from the number of axes.
fn axes_of(term: &str, rank: Option<usize>) -> Option<Vec<char>> {
    let letters = |part: &str| part.chars().all(|c| c.is_ascii_alphabetic());
    let axes: Vec<char> = match term.split_once("...") {
        Some((before, behind)) => {
            let count = rank?.checked_sub(before.len() + behind.len())?;
            if !letters(before) || !letters(behind) || count > 9 {
                return None;
            }
            let dots = (0..count).rev().map(|i| char::from(b'0' + i as u8));
            before.chars().chain(dots).chain(behind.chars()).collect()
        }
        None if letters(term) => term.chars().collect(),
        None => return None,
    };
    (Some(axes.len()) == rank).then_some(axes)
}

/// Where the axes of an order are.
fn places(named: &Named, order: &[char]) -> Vec<u32> {
    let place = |axis: &char| named.axes.iter().position(|other| other == axis);
    order.iter().filter_map(place).map(|place| place as u32).collect()
}

/// Each name once: where it is twice, the diagonal.
fn distinct(r: &mut Reader<'_, '_>, mut named: Named) -> Result<Named> {
    let twice = |named: &Named| {
        (0..named.axes.len()).find_map(|i| {
            let first = named.axes[..i].iter().position(|axis| *axis == named.axes[i])?;
            Some((first, i))
        })
    };
    while let Some((first, second)) = twice(&named) {
        let dims = r.dims(named.value);
        let size = dims[first].as_size().filter(|&size| dims[second].as_size() == Some(size));
        let size = size.ok_or_else(|| {
            Error::unsupported(format!(
                "the diagonal of axes of sizes {} and {}",
                dims[first], dims[second]
            ))
        })?;
        let others: Vec<usize> =
            (0..dims.len()).filter(|axis| ![first, second].contains(axis)).collect();
        let perm: Vec<u32> =
            others.iter().chain([&first, &second]).map(|&axis| axis as u32).collect();
        let turned = r.transpose("diagonal_last", named.value, &perm)?;
        let mut flat: Vec<Dim> = others.iter().map(|&axis| dims[axis].clone()).collect();
        flat.push(Dim::from(size * size));
        let flat = r.reshape("diagonal_flat", turned, flat)?;
        let bounds = (Dim::from(0), Dim::from(i64::MAX), size + 1);
        let value = r.sliced("diagonal", flat, others.len(), bounds)?;
        let mut axes: Vec<char> = others.iter().map(|&axis| named.axes[axis]).collect();
        axes.push(named.axes[first]);
        named = Named { value, axes };
    }
    Ok(named)
}

/// Sums over the axes that are not kept.
fn summed(
    r: &mut Reader<'_, '_>,
    part: &str,
    named: Named,
    kept: impl Fn(&char) -> bool,
) -> Result<Named> {
    let gone: Vec<usize> = (0..named.axes.len()).filter(|&i| !kept(&named.axes[i])).collect();
    if gone.is_empty() {
        return Ok(named);
    }
    let value = r.reduced(part, ReduceKind::Sum, named.value, &gone, false)?;
    Ok(Named { value, axes: named.axes.into_iter().filter(|axis| kept(axis)).collect() })
}

/// The product of two, summed over the axes that are not kept.
fn multiplied(
    r: &mut Reader<'_, '_>,
    number: usize,
    a: Named,
    b: Named,
    kept: impl Fn(&char) -> bool,
) -> Result<Named> {
    let part = |name: &str| format!("{name}_{number}");
    let a = summed(r, &part("a_sum"), a, |axis| kept(axis) || b.axes.contains(axis))?;
    let b = summed(r, &part("b_sum"), b, |axis| kept(axis) || a.axes.contains(axis))?;
    let both = |keep: bool| -> Vec<char> {
        let axes = a.axes.iter().filter(|axis| b.axes.contains(axis) && kept(axis) == keep);
        axes.copied().collect()
    };
    let (batch, contracted) = (both(true), both(false));
    let alone = |own: &Named, other: &Named| -> Vec<char> {
        own.axes.iter().filter(|axis| !other.axes.contains(axis)).copied().collect()
    };
    let (left, right) = (alone(&a, &b), alone(&b, &a));
    let a_order = [&batch[..], &left, &contracted].concat();
    let b_order = [&batch[..], &contracted, &right].concat();
    let x = r.transpose(&part("a"), a.value, &places(&a, &a_order))?;
    let y = r.transpose(&part("b"), b.value, &places(&b, &b_order))?;
    let (x_dims, y_dims) = (r.dims(x), r.dims(y));
    let axes = [&batch[..], &left, &right].concat();
    let left_dims = &x_dims[batch.len()..batch.len() + left.len()];
    let right_dims = &y_dims[batch.len() + contracted.len()..];
    if contracted.is_empty() || r.data_type(x) != DataType::F32 {
        if !contracted.is_empty() {
            return Err(Error::unsupported("sums of products of integers")
                .remedy("cast the integers to float before"));
        }
        let one = Dim::from(1);
        let x_wide = [&x_dims[..], &vec![one.clone(); right.len()]].concat();
        let y_wide = [&y_dims[..batch.len()], &vec![one; left.len()], right_dims].concat();
        let x = r.reshape(&part("a_wide"), x, x_wide)?;
        let y = r.reshape(&part("b_wide"), y, y_wide)?;
        let value = r.binary(&part("product"), B::Mul, x, y)?;
        return Ok(Named { value, axes });
    }
    let middle = product(&x_dims[batch.len() + left.len()..])?;
    let other = product(&y_dims[batch.len()..batch.len() + contracted.len()])?;
    let x_flat = [&x_dims[..batch.len()], &[product(left_dims)?, middle]].concat();
    let y_flat = [&y_dims[..batch.len()], &[other, product(right_dims)?]].concat();
    let x = r.reshape(&part("a_matrix"), x, x_flat)?;
    let y = r.reshape(&part("b_matrix"), y, y_flat)?;
    let value = r.emit(&part("product"), Op::MatMul(MatMul {}), &[x, y])?;
    let found = r.dims(value);
    let dims = [&found[..batch.len()], left_dims, right_dims].concat();
    let value = r.reshape(&part("product_axes"), value, dims)?;
    Ok(Named { value, axes })
}
