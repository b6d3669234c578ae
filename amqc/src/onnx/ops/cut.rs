//! Parts of tensors: slices, and tensors in parts.

use amq_format::Elements;
use amq_format::graph::{BinaryFunction as B, DataType, Dim, Gather, Op, Slice};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

/// Bounds of a slice: numbers, and each where it is known.
type Bounds = (Value, Vec<Option<Dim>>);

/// Bounds that are attributes.
fn attribute(r: &mut Reader<'_, '_>, name: &str) -> Result<Bounds> {
    let ints = r.ints(name)?.ok_or_else(|| Error::bad_file(format!("{name} are missing")))?;
    let dims: Vec<Dim> = ints.iter().copied().map(Dim::from).collect();
    let value = r.known(DataType::I64, Elements::vector(dims.clone()))?;
    Ok((value, dims.into_iter().map(Some).collect()))
}

/// Bounds that are an input.
fn bounds(r: &mut Reader<'_, '_>, i: usize) -> Result<Bounds> {
    let value = r.input(i)?;
    let known = r.partly_known(value)?;
    Ok((r.cast_to(&format!("bounds_{i}"), value, DataType::I64)?, known))
}

/// Slice, whose bounds are attributes before opset 10 and inputs since.
pub(in crate::onnx) fn slice(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let (starts, ends, axes, steps) = if r.opset < 10 {
        let (starts, ends) = (attribute(r, "starts")?, attribute(r, "ends")?);
        (starts, ends, r.ints("axes")?.map(<[i64]>::to_vec), None)
    } else {
        let (starts, ends, axes) = (bounds(r, 1)?, bounds(r, 2)?, r.optional_numbers(3)?);
        let steps = r.optional_input(4).map(|_| bounds(r, 4)).transpose()?;
        (starts, ends, axes, steps)
    };
    let count = starts.1.len();
    let axes = axes.unwrap_or_else(|| (0..count as i64).collect());
    let steps = match steps {
        Some(steps) => steps,
        None => {
            let ones = vec![Dim::from(1); count];
            let known = ones.iter().cloned().map(Some).collect();
            (r.known(DataType::I64, Elements::vector(ones))?, known)
        }
    };
    if ends.1.len() != count || axes.len() != count || steps.1.len() != count {
        return Err(Error::bad_file("starts, ends, axes and steps differ in number"));
    }
    if steps.1.contains(&Some(Dim::from(0))) {
        return Err(Error::bad_file("a step is 0"));
    }
    let axes = r.axes(&axes, r.rank(x))?;
    let dims = r.dims(x);
    let mut known = Slice::default();
    let mut decided = Vec::new();
    for (i, &axis) in axes.iter().enumerate() {
        let step = steps.1[i].as_ref().and_then(Dim::as_size);
        if let (Some(start), Some(end), Some(step)) = (&starts.1[i], &ends.1[i], step) {
            let one = Slice {
                axes: vec![axis as u32],
                starts: vec![start.clone()],
                ends: vec![end.clone()],
                steps: vec![step],
            };
            if one.ranges(&dims).is_ok() {
                known.axes.extend(one.axes);
                known.starts.extend(one.starts);
                known.ends.extend(one.ends);
                known.steps.extend(one.steps);
                continue;
            }
        }
        decided.push((i, axis));
    }
    let mut y = x;
    if !known.axes.is_empty() || decided.is_empty() {
        y = r.emit("", Op::Slice(known), &[x])?;
    }
    for (i, axis) in decided {
        let bound = |r: &mut Reader<'_, '_>, part: &str, bounds: &Bounds| match &bounds.1[i] {
            Some(dim) => scalar(r, dim.clone()),
            None => {
                let place = scalar(r, Dim::from(i as i64))?;
                r.emit(&format!("{part}_{i}"), Op::Gather(Gather { axis: 0 }), &[bounds.0, place])
            }
        };
        let start = bound(r, "start", &starts)?;
        let (end, step) = (bound(r, "end", &ends)?, bound(r, "step", &steps)?);
        y = cut(r, y, axis, &i.to_string(), [start, end, step])?;
    }
    r.give(0, y)
}

fn scalar(r: &mut Reader<'_, '_>, dim: Dim) -> Result<Value> {
    r.known(DataType::I64, Elements { dims: Vec::new(), values: vec![dim] })
}

/// The entries of one axis between bounds that data decide, each a scalar, as ONNX's Slice takes them.
fn cut(
    r: &mut Reader<'_, '_>,
    x: Value,
    axis: usize,
    part: &str,
    [start, end, step]: [Value; 3],
) -> Result<Value> {
    let size = r.dims(x)[axis].clone();
    let size = scalar(r, size)?;
    let [zero, one] = [r.number("zero", DataType::I64, 0)?, r.number("one", DataType::I64, 1)?];
    let mut of = |name: &str, function: B, a: Value, b: Value| {
        r.binary(&format!("{name}_{part}"), function, a, b)
    };
    // Backwards, the last entry comes first, and the end may lie before entry 0.
    let backwards = of("backwards", B::Less, step, zero)?;
    let last = of("last", B::Sub, size, one)?;
    let before = of("before", B::Sub, zero, one)?;
    let beginning = of("beginning", B::Min, zero, last)?;
    let wrapped =
        [of("start_wrapped", B::Add, start, size)?, of("end_wrapped", B::Add, end, size)?];
    let negative =
        [of("start_negative", B::Less, start, zero)?, of("end_negative", B::Less, end, zero)?];
    let mut choose = |name: &str, condition: Value, a: Value, b: Value| {
        r.select(&format!("{name}_{part}"), condition, a, b)
    };
    let most = choose("most", backwards, last, size)?;
    let least = [
        choose("first_least", backwards, beginning, zero)?,
        choose("end_least", backwards, before, zero)?,
    ];
    let start = choose("start_chosen", negative[0], wrapped[0], start)?;
    let end = choose("end_chosen", negative[1], wrapped[1], end)?;
    let mut of = |name: &str, function: B, a: Value, b: Value| {
        r.binary(&format!("{name}_{part}"), function, a, b)
    };
    let start = of("start_above", B::Max, start, least[0])?;
    let start = of("first", B::Min, start, most)?;
    let end = of("end_above", B::Max, end, least[1])?;
    let end = of("end_within", B::Min, end, most)?;
    let (ahead, back) = (of("ahead", B::Sub, end, start)?, of("back", B::Sub, start, end)?);
    let span = r.select(&format!("span_{part}"), backwards, back, ahead)?;
    let magnitude = r.magnitude(&format!("magnitude_{part}"), step)?;
    let mut of = |name: &str, function: B, a: Value, b: Value| {
        r.binary(&format!("{name}_{part}"), function, a, b)
    };
    let less = of("span_less", B::Sub, span, one)?;
    let steps = of("steps", B::Div, less, magnitude)?;
    let count = of("count", B::Add, steps, one)?;
    let some = of("some", B::Greater, span, zero)?;
    let count = r.select(&format!("count_chosen_{part}"), some, count, zero)?;
    let count = match r.sizes(&format!("length_{part}"), count)?.as_slice() {
        [count] => count.clone(),
        _ => return Err(Error::unsupported("a bound has not one element")),
    };
    let places = r.count_up(&format!("numbers_{part}"), &count)?;
    let places = r.binary(&format!("strides_{part}"), B::Mul, places, step)?;
    let places = r.binary(&format!("places_{part}"), B::Add, places, start)?;
    r.emit(&format!("cut_{part}"), Op::Gather(Gather { axis: axis as u32 }), &[x, places])
}

/// Split, whose sizes are an attribute before opset 13 and an input since; each part is a slice.
pub(in crate::onnx) fn split(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let axis = r.int("axis")?.unwrap_or(0);
    let axis = r.axis(axis, r.rank(x))?;
    let size = r.dims(x)[axis].clone();
    let given = if r.opset < 2 && r.input_count() > 1 {
        Some(r.sizes_input(1)?)
    } else if r.opset < 13 {
        r.ints("split")?.map(|sizes| sizes.iter().copied().map(Dim::from).collect::<Vec<_>>())
    } else {
        r.optional_input(1).map(|sizes| r.split_sizes(sizes, &size)).transpose()?
    };
    let count = r.output_count();
    if r.opset >= 18
        && let Some(number) = r.int("num_outputs")?
        && number != count as i64
    {
        return Err(Error::bad_file(format!(
            "num_outputs is {number}, and it has {count} outputs"
        )));
    }
    let decided = given.iter().flatten().any(|part| part.as_given().is_some());
    let complex = |error| Error::unsupported(format!("the parts' sizes: {error}"));
    let parts = match given {
        Some(parts) => parts,
        None => {
            let number = Dim::from(count as i64);
            let part = size.ceil_div(&number).map_err(complex)?;
            // Since opset 18 the last part may be smaller; by how much depends on the size.
            let uneven = r.opset < 18 || size.as_size().is_none();
            if uneven && part.mul(&number).map_err(complex)? != size {
                return Err(Error::unsupported(format!(
                    "an axis of size {size} in {count} equal parts"
                ))
                .remedy("export the model with the sizes of the parts given"));
            }
            let mut parts = vec![part; count];
            // The last part is what is left.
            if let Some((last, others)) = parts.split_last_mut() {
                *last = others
                    .iter()
                    .try_fold(size.clone(), |left, part| left.sub(part))
                    .map_err(complex)?;
            }
            parts
        }
    };
    if parts.len() != count {
        return Err(Error::bad_file(format!("{} sizes for {count} outputs", parts.len())));
    }
    if parts.iter().any(|part| part.as_size().is_some_and(|size| size < 0)) {
        let sizes: Vec<_> = parts.iter().map(Dim::to_string).collect();
        return Err(Error::bad_file(format!(
            "an axis of size {size} in {count} parts of sizes {}",
            sizes.join(", ")
        )));
    }
    let mut start = Dim::from(0);
    for (i, part) in parts.iter().enumerate() {
        let end = start.add(part).map_err(complex)?;
        if r.wants(i) {
            let y = r.sliced(&i.to_string(), x, axis, (start, end.clone(), 1))?;
            // Bounds are within the axis, which their expressions may not show.
            let mut dims = r.dims(x);
            dims[axis] = part.clone();
            let y = r.reshape(&format!("part_{i}"), y, dims)?;
            r.give(i, y)?;
        }
        start = end;
    }
    if start != size && !decided {
        return Err(Error::unsupported(format!(
            "its parts have {start} entries together, and the axis {size}"
        )));
    }
    Ok(())
}
