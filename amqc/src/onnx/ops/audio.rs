//! Spectra: Fourier transforms, windows and scales of loudness.

use std::f64::consts::PI;

use amq_format::graph::{BinaryFunction as B, DataType, Dim, Fourier, Gather, Op, Pad};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;
use crate::onnx::tensor::data_type;
use crate::tensor::{Data, Tensor};

/// The only element of an input that must be known.
fn one_known(r: &mut Reader<'_, '_>, i: usize) -> Result<Option<Dim>> {
    match r.optional_known_input(i)?.map(|known| known.values).as_deref() {
        None => Ok(None),
        Some([value]) => Ok(Some(value.clone())),
        Some(other) => Err(Error::bad_file(format!("its input {i} has {} elements", other.len()))),
    }
}

fn fourier(
    r: &mut Reader<'_, '_>,
    part: &str,
    x: Value,
    points: Dim,
    (inverse, onesided): (bool, bool),
) -> Result<Value> {
    r.emit(part, Op::Fourier(Fourier { points: vec![points], inverse, onesided }), &[x])
}

/// DFT, whose axis is an attribute before opset 20 and an input since.
pub(in crate::onnx) fn dft(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let rank = r.rank(x);
    let inverse = r.flag("inverse", false)?;
    let onesided = r.flag("onesided", false)?;
    let axis = if r.opset < 20 {
        r.int("axis")?.unwrap_or(1)
    } else {
        match one_known(r, 2)? {
            Some(axis) => axis.as_size().ok_or_else(|| Error::unsupported("an unknown axis"))?,
            None => -2,
        }
    };
    let axis = r.axis(axis, rank)?;
    if axis + 1 == rank {
        return Err(Error::bad_file("its axis is that of real and imaginary parts"));
    }
    let size = r.dims(x)[axis].clone();
    let points = match one_known(r, 1)? {
        Some(points) => points,
        // Half a spectrum is taken to be that of an even number of points.
        None if inverse && onesided => {
            let less = r.dim(size.add(&Dim::from(-1)))?;
            r.dim(less.mul(&Dim::from(2)))?
        }
        None => size,
    };
    // The axis goes before the last one, and back.
    let mut perm: Vec<u32> = (0..rank as u32).collect();
    perm.swap(axis, rank - 2);
    let turn = axis != rank - 2;
    let mut y = if turn { r.transpose("turned", x, &perm)? } else { x };
    y = if inverse && onesided {
        real_inverse(r, y, rank - 2, points)?
    } else {
        fourier(r, "", y, points, (inverse, onesided))?
    };
    if turn {
        y = r.transpose("turned_back", y, &perm)?;
    }
    r.give(0, y)
}

/// The real signal of half a spectrum along `axis`: the other half is its conjugate.
fn real_inverse(r: &mut Reader<'_, '_>, x: Value, axis: usize, points: Dim) -> Result<Value> {
    let rank = r.rank(x);
    let count = points.as_size().filter(|&count| count > 0);
    let count = count.ok_or_else(|| {
        Error::unsupported(format!("a signal of {points} points of half a spectrum"))
    })?;
    let half = Dim::from(count / 2 + 1);
    let begins = vec![Dim::from(0); rank];
    let mut ends = begins.clone();
    ends[axis] = r.dim(half.sub(&r.dims(x)[axis]))?;
    let x = r.emit("half", Op::Pad(Pad { mode: 0, begins, ends }), &[x])?;
    // Points (n - 1) / 2 down to 1 come again, with the imaginary part negated.
    let bounds = (Dim::from((count - 1) / 2), Dim::from(0), -1);
    let other = r.sliced("other_half", x, axis, bounds)?;
    let signs = Tensor { dims: vec![2], data: Data::F32(vec![1.0, -1.0]) };
    let signs = r.constant("signs", signs)?;
    let other = r.binary("conjugate", B::Mul, other, signs)?;
    let whole = r.joined("spectrum", axis, &[x, other])?;
    let y = fourier(r, "", whole, points, (true, false))?;
    r.sliced("real", y, rank - 1, (Dim::from(0), Dim::from(1), 1))
}

/// Pieces that a window of STFT is put together of, at most.
const MOST_PIECES: i64 = 8;

/// What steps and lengths may be, so that their sums and products are numbers.
const MOST: std::ops::RangeInclusive<i64> = 1..=i32::MAX as i64;

/// STFT: windows of the signal, each transformed.
pub(in crate::onnx) fn short_time(r: &mut Reader<'_, '_>) -> Result<()> {
    let signal = r.input(0)?;
    let step = one_known(r, 1)?.and_then(|step| step.as_size()).filter(|step| MOST.contains(step));
    let step = step.ok_or_else(|| Error::unsupported("its frame_step is no constant"))?;
    let window = r.optional_input(2);
    let length = match (one_known(r, 3)?, window) {
        (Some(length), _) => length.as_size(),
        (None, Some(window)) => r.dims(window).first().and_then(Dim::as_size),
        (None, None) => None,
    };
    let length = length.filter(|length| MOST.contains(length));
    let length = length.ok_or_else(|| Error::unsupported("its frame_length is no constant"))?;
    let onesided = r.flag("onesided", true)?;
    let dims = r.dims(signal);
    let (dims, signal) = match dims.len() {
        // Some exporters leave out the axis of real and imaginary parts.
        2 => {
            let dims = vec![dims[0].clone(), dims[1].clone(), Dim::from(1)];
            (dims.clone(), r.reshape("real", signal, dims)?)
        }
        3 => (dims, signal),
        rank => return Err(Error::bad_file(format!("its signal has {rank} axes, not 3"))),
    };
    let room = r.dim(dims[1].add(&Dim::from(-length)))?;
    let steps = r.dim(room.floor_div(&Dim::from(step)))?;
    let frames = r.dim(steps.add(&Dim::from(1)))?;
    let mut y = windows(r, signal, &dims, &frames, step, length)?;
    if let Some(window) = window {
        let window = r.reshape("window", window, vec![Dim::from(length), Dim::from(1)])?;
        y = r.binary("weighted", B::Mul, y, window)?;
    }
    let y = fourier(r, "", y, Dim::from(length), (false, onesided))?;
    r.give(0, y)
}

/// Windows of `length` points, one every `step`, of a signal `[batch][point][part]`:
/// `[batch][window][point][part]`.
fn windows(
    r: &mut Reader<'_, '_>,
    signal: Value,
    dims: &[Dim],
    frames: &Dim,
    step: i64,
    length: i64,
) -> Result<Value> {
    let pieces = (length + step - 1) / step;
    if pieces > MOST_PIECES || frames.as_size().is_none() {
        let firsts = r.count_up("frames", frames)?;
        let step = r.number("step", DataType::I64, step)?;
        let firsts = r.binary("firsts", B::Mul, firsts, step)?;
        let firsts = r.reshape("firsts_reshape", firsts, vec![frames.clone(), Dim::from(1)])?;
        let within = r.count_up("within", &Dim::from(length))?;
        let places = r.binary("places", B::Add, firsts, within)?;
        return r.emit("windows", Op::Gather(Gather { axis: 1 }), &[signal, places]);
    }
    // A table of places would be a constant larger than the signal. A window is a few pieces of `step`
    // points, each of which is the signal, shifted.
    let all = r.dim(frames.add(&Dim::from(pieces - 1)))?;
    let all = r.dim(all.mul(&Dim::from(step)))?;
    let begins = vec![Dim::from(0); 3];
    let mut ends = begins.clone();
    ends[1] = r.dim(all.sub(&dims[1]))?;
    let signal = r.emit("whole", Op::Pad(Pad { mode: 0, begins, ends }), &[signal])?;
    let each = r.dim(frames.mul(&Dim::from(step)))?;
    let shape = vec![dims[0].clone(), frames.clone(), Dim::from(step), dims[2].clone()];
    let mut shifted = Vec::new();
    for piece in 0..pieces {
        let from = Dim::from(piece * step);
        let to = r.dim(each.add(&from))?;
        let part = r.sliced(&format!("piece_{piece}"), signal, 1, (from, to, 1))?;
        shifted.push(r.reshape(&format!("pieces_{piece}"), part, shape.clone())?);
    }
    let y = r.joined("pieces", 2, &shifted)?;
    r.sliced("windows", y, 2, (Dim::from(0), Dim::from(length), 1))
}

/// The type that the node asks for, in which constants are given.
fn output_type(r: &mut Reader<'_, '_>) -> Result<()> {
    let to = r.int("output_datatype")?.unwrap_or(1);
    match data_type(i32::try_from(to).unwrap_or_default()) {
        Some((DataType::F32, precision)) => {
            r.precision = Some(precision);
            Ok(())
        }
        _ => Err(Error::unsupported(format!("output_datatype {to}"))),
    }
}

/// A window of a constant size: `a_0 - a_1 cos(2 pi i / n) + a_2 cos(4 pi i / n)`.
pub(in crate::onnx) fn window(r: &mut Reader<'_, '_>, [a0, a1, a2]: [f64; 3]) -> Result<()> {
    let size = one_known(r, 0)?.and_then(|size| size.as_size());
    let size = size.filter(|size| (0..1 << 24).contains(size));
    let size = size.ok_or_else(|| Error::unsupported("its size is no constant"))?;
    output_type(r)?;
    let periodic = r.flag("periodic", true)?;
    let points = if periodic { size } else { size - 1 } as f64;
    let value = |i: i64| {
        let angle = if points > 0.0 { 2.0 * PI * i as f64 / points } else { 0.0 };
        (a0 - a1 * angle.cos() + a2 * (2.0 * angle).cos()) as f32
    };
    let data = Data::F32((0..size).map(value).collect());
    let y = r.constant("", Tensor { dims: vec![size as usize], data })?;
    r.give(0, y)
}

/// An input that is one constant number.
fn constant(r: &mut Reader<'_, '_>, i: usize) -> Result<f64> {
    let value = r.input(i)?;
    if let Some(number) = r.constant_scalar(value) {
        return Ok(f64::from(number));
    }
    let number = one_known(r, i)?.and_then(|dim| dim.as_size());
    number
        .map(|number| number as f64)
        .ok_or_else(|| Error::unsupported(format!("its input {i} is no constant")))
}

/// MelWeightMatrix of constants: triangles over the points of a spectrum.
pub(in crate::onnx) fn mel_weights(r: &mut Reader<'_, '_>) -> Result<()> {
    let (bins, points, rate) = (constant(r, 0)?, constant(r, 1)?, constant(r, 2)?);
    let (lower, upper) = (constant(r, 3)?, constant(r, 4)?);
    output_type(r)?;
    let fits = |x: f64| (1.0..65536.0).contains(&x);
    if !fits(bins) || !fits(points) || rate <= 0.0 {
        return Err(Error::bad_file(format!("{bins} bins of {points} points at {rate} Hz")));
    }
    let (bins, rows) = (bins as usize, points as usize / 2 + 1);
    let mel = |hertz: f64| 2595.0 * (hertz / 700.0).ln_1p() / 10f64.ln();
    let (low, high) = (mel(lower), mel(upper));
    let step = (high - low) / (bins + 2) as f64;
    let place = |i: usize| {
        let hertz = 700.0 * ((low + i as f64 * step) / 2595.0 * 10f64.ln()).exp_m1();
        ((points + 1.0) * hertz / rate).floor()
    };
    let mut data = vec![0.0f32; rows * bins];
    for bin in 0..bins {
        let [left, middle, right] = [place(bin), place(bin + 1), place(bin + 2)];
        let end = rows as f64;
        let inside = |at: f64| (0.0..=end).contains(&at);
        if !inside(left) || !inside(right) || middle >= end {
            return Err(Error::bad_file("its edges lie outside of the spectrum"));
        }
        for row in left as usize..(right as usize).max(middle as usize + 1) {
            let at = row as f64;
            data[row * bins + bin] = if at <= middle && middle == left {
                1.0
            } else if at <= middle && (at < middle || right <= middle) {
                ((at - left) / (middle - left)) as f32
            } else {
                ((right - at) / (right - middle)) as f32
            };
        }
    }
    let y = r.constant("", Tensor { dims: vec![rows, bins], data: Data::F32(data) })?;
    r.give(0, y)
}
