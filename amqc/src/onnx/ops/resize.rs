//! Resizing, and values between entries.

use amq_format::graph::{
    BinaryFunction, Dim, GridSample, Interpolation, Op, Placement, ReduceKind, Resize, RoiAlign,
    Rounding, SamplePadding,
};

use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;
use crate::tensor::{Data, Tensor};

/// What an opset lets a node say of places and weights.
struct Ways {
    mode: Interpolation,
    placement: Placement,
    rounding: Rounding,
    cubic: f32,
    exclude_outside: bool,
    antialias: bool,
    outside: f32,
}

fn mode(r: &mut Reader<'_, '_>) -> Result<Interpolation> {
    match r.string("mode")?.unwrap_or("nearest") {
        "nearest" => Ok(Interpolation::Nearest),
        "linear" | "bilinear" => Ok(Interpolation::Linear),
        "cubic" if r.opset >= 11 => Ok(Interpolation::Cubic),
        other => Err(Error::bad_file(format!("mode {other:?} in opset {}", r.opset))),
    }
}

fn ways(r: &mut Reader<'_, '_>) -> Result<Ways> {
    let mode = mode(r)?;
    if r.opset < 11 {
        let (placement, rounding) = (Placement::Asymmetric, Rounding::Floor);
        let (cubic, outside) = (0.0, 0.0);
        let (exclude_outside, antialias) = (false, false);
        return Ok(Ways { mode, placement, rounding, cubic, exclude_outside, antialias, outside });
    }
    let transformation = r.string("coordinate_transformation_mode")?.unwrap_or("half_pixel");
    let placement = match transformation {
        "half_pixel" => Placement::HalfPixel,
        "pytorch_half_pixel" => Placement::PytorchHalfPixel,
        "half_pixel_symmetric" if r.opset >= 19 => Placement::HalfPixelSymmetric,
        "align_corners" => Placement::AlignCorners,
        "asymmetric" => Placement::Asymmetric,
        "tf_half_pixel_for_nn" if r.opset < 13 => Placement::HalfPixelForNearest,
        "tf_crop_and_resize" => Placement::Crop,
        other => {
            return Err(Error::bad_file(format!(
                "coordinate_transformation_mode {other:?} in opset {}",
                r.opset
            )));
        }
    };
    let rounding = match r.string("nearest_mode")?.unwrap_or("round_prefer_floor") {
        "round_prefer_floor" => Rounding::HalfDown,
        "round_prefer_ceil" => Rounding::HalfUp,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => return Err(Error::bad_file(format!("nearest_mode {other:?}"))),
    };
    let cubic = r.float("cubic_coeff_a")?.unwrap_or(-0.75);
    let exclude_outside = r.flag("exclude_outside", false)?;
    let antialias = r.opset >= 18 && r.flag("antialias", false)?;
    let outside = r.float("extrapolation_value")?.unwrap_or(0.0);
    // What has no effect is written as if it were not there.
    let (nearest, cubic_mode) = (mode == Interpolation::Nearest, mode == Interpolation::Cubic);
    Ok(Ways {
        mode,
        placement,
        rounding: if nearest { rounding } else { Rounding::HalfDown },
        cubic: if cubic_mode { cubic + 0.0 } else { 0.0 },
        exclude_outside: exclude_outside && !nearest,
        antialias: antialias && !nearest,
        outside: if placement == Placement::Crop { outside + 0.0 } else { 0.0 },
    })
}

/// The floats of a constant input; none where it is absent or empty.
fn floats(r: &mut Reader<'_, '_>, i: usize) -> Result<Option<Vec<f32>>> {
    let Some(value) = r.optional_input(i) else { return Ok(None) };
    if r.dims(value).iter().any(|dim| dim.as_size() == Some(0)) {
        return Ok(None);
    }
    match r.builder.constant_of(value).map(|constant| &constant.data) {
        Some(Data::F32(floats)) => Ok(Some(floats.clone())),
        _ => Err(Error::unsupported(format!("its input {i} is no constant"))
            .remedy("export the model with constant scales, or with sizes")),
    }
}

/// `floor(size scale)`
fn scaled(r: &Reader<'_, '_>, size: &Dim, scale: f32) -> Result<Dim> {
    if let Some(size) = size.as_size() {
        return Ok(Dim::from((size as f64 * f64::from(scale)).floor() as i64));
    }
    // Numbers with few bits are fractions whose products with any size are exact.
    let (mut numerator, mut denominator) = (f64::from(scale), 1i64);
    while numerator.fract() != 0.0 && denominator < 1 << 10 {
        (numerator, denominator) = (numerator * 2.0, denominator * 2);
    }
    if numerator.fract() != 0.0 {
        return Err(Error::unsupported(format!("the scale {scale} of an axis of size {size}"))
            .remedy("give that dimension a size with --dim, or export the model with sizes"));
    }
    let product = r.dim(size.mul(&Dim::from(numerator as i64)))?;
    r.dim(product.floor_div(&Dim::from(denominator)))
}

pub(in crate::onnx) fn resize(r: &mut Reader<'_, '_>) -> Result<()> {
    let x = r.input(0)?;
    let ways = ways(r)?;
    let rank = r.rank(x);
    let (region, scales, sizes) = if r.opset < 11 {
        (None, floats(r, 1)?, None)
    } else {
        let region = match r.optional_input(1) {
            Some(_) if ways.placement == Placement::Crop => floats(r, 1)?,
            _ => None,
        };
        let sizes = match r.optional_input(3) {
            Some(sizes) if r.dims(sizes).first().and_then(Dim::as_size) != Some(0) => {
                Some(r.sizes_input(3)?)
            }
            _ => None,
        };
        (region, floats(r, 2)?, sizes)
    };
    let axes = if r.opset < 18 { None } else { r.ints("axes")? };
    let axes = match axes {
        Some(axes) => r.axes(axes, rank)?,
        None => (0..rank).collect(),
    };
    let policy = if r.opset < 18 { None } else { r.string("keep_aspect_ratio_policy")? };
    let given = Given { axes, scales, sizes, region };
    let y = resized(r, x, ways, given, policy.unwrap_or("stretch"))?;
    r.give(0, y)
}

/// Upsample of opset 7 to 9, whose scales are an attribute at first.
pub(in crate::onnx) fn upsample(r: &mut Reader<'_, '_>) -> Result<()> {
    if r.opset >= 10 {
        return Err(Error::bad_file(format!("the operator does not exist in opset {}", r.opset)));
    }
    let x = r.input(0)?;
    let ways = ways(r)?;
    let scales = if r.opset < 7 {
        let mut scale = |name: &str| {
            r.float(name)?.ok_or_else(|| Error::bad_file(format!("attribute {name:?} is missing")))
        };
        Some(vec![1.0, 1.0, scale("height_scale")?, scale("width_scale")?])
    } else if r.opset < 9 {
        r.floats("scales")?.map(<[f32]>::to_vec)
    } else {
        floats(r, 1)?
    };
    let axes = (0..r.rank(x)).collect();
    let given = Given { axes, scales, sizes: None, region: None };
    let y = resized(r, x, ways, given, "stretch")?;
    r.give(0, y)
}

/// How large the result is to be.
struct Given {
    axes: Vec<usize>,
    scales: Option<Vec<f32>>,
    sizes: Option<Vec<Dim>>,
    /// Starts of all axes, then ends.
    region: Option<Vec<f32>>,
}

fn resized(
    r: &mut Reader<'_, '_>,
    x: Value,
    ways: Ways,
    given: Given,
    policy: &str,
) -> Result<Value> {
    let dims = r.dims(x);
    let Given { axes, mut scales, sizes, region } = given;
    let count = axes.len();
    let sizes = match (&scales, sizes) {
        (Some(scales), None) if scales.len() == count => {
            let each = axes.iter().zip(scales).map(|(&axis, &scale)| scaled(r, &dims[axis], scale));
            each.collect::<Result<Vec<Dim>>>()?
        }
        (None, Some(sizes)) if sizes.len() == count => match policy {
            "stretch" => sizes,
            "not_larger" | "not_smaller" => {
                let (common, kept) = aspect(&dims, &axes, &sizes, policy == "not_larger")?;
                scales = Some(vec![common; count]);
                kept
            }
            other => return Err(Error::bad_file(format!("keep_aspect_ratio_policy {other:?}"))),
        },
        _ => {
            return Err(Error::bad_file("it needs either scales or sizes, one for each axis"));
        }
    };
    let positive = |scale: &f32| *scale > 0.0 && scale.is_finite();
    if let Some(scale) = scales.iter().flatten().find(|scale| !positive(scale)) {
        return Err(Error::bad_file(format!("the scale {scale} is not positive")));
    }
    // Before opset 11 the standard does not say which entry is nearest.
    let between = |scale: &&f32| **scale < 1.0 && (1.0 / f64::from(**scale)).fract() != 0.0;
    if r.opset < 11
        && ways.mode == Interpolation::Nearest
        && let Some(scale) = scales.iter().flatten().find(between)
    {
        return Err(Error::unsupported(format!("nearest entries for the scale {scale}"))
            .remedy("export the model with opset 11 or later"));
    }
    let crop = ways.placement == Placement::Crop;
    let region = match region.filter(|_| crop) {
        Some(region) if region.len() == 2 * count => region,
        None if !crop => Vec::new(),
        _ => return Err(Error::bad_file("the region of interest has not two numbers an axis")),
    };
    // Axes that stay as they are need not be named.
    let mut order: Vec<usize> = (0..count)
        .filter(|&i| {
            let same = scales.as_ref().is_none_or(|scales| scales[i] == 1.0);
            crop || !(same && sizes[i] == dims[axes[i]])
        })
        .collect();
    order.sort_unstable_by_key(|&i| axes[i]);
    if order.is_empty() {
        return Ok(x);
    }
    let pick = |from: &[f32]| -> Vec<f32> { order.iter().map(|&i| from[i]).collect() };
    let region = match region.is_empty() {
        true => region,
        false => [pick(&region[..count]), pick(&region[count..])].concat(),
    };
    let op = Resize {
        mode: ways.mode.into(),
        placement: ways.placement.into(),
        rounding: ways.rounding.into(),
        axes: order.iter().map(|&i| axes[i] as u32).collect(),
        sizes: order.iter().map(|&i| sizes[i].clone()).collect(),
        scales: scales.as_deref().map_or(Vec::new(), pick),
        region,
        cubic: ways.cubic,
        exclude_outside: ways.exclude_outside,
        antialias: ways.antialias,
        outside: ways.outside,
    };
    r.emit("", Op::Resize(op), &[x])
}

/// The one scale of all axes that keeps within, or reaches, all sizes; and the sizes that it gives.
fn aspect(dims: &[Dim], axes: &[usize], sizes: &[Dim], within: bool) -> Result<(f32, Vec<Dim>)> {
    let unknown = || {
        Error::unsupported("keep_aspect_ratio_policy with sizes that are no numbers")
            .remedy("give dimensions sizes with --dim")
    };
    let mut from = Vec::with_capacity(axes.len());
    let mut scale: Option<f64> = None;
    for (&axis, size) in axes.iter().zip(sizes) {
        let before = dims[axis].as_size().ok_or_else(unknown)? as f64;
        let this = size.as_size().ok_or_else(unknown)? as f64 / before;
        scale = Some(scale.map_or(this, |s| if within { s.min(this) } else { s.max(this) }));
        from.push(before);
    }
    let scale = scale.ok_or_else(unknown)?;
    let kept = from.iter().map(|size| Dim::from((size * scale + 0.5).floor() as i64));
    Ok((scale as f32, kept.collect()))
}

pub(in crate::onnx) fn grid_sample(r: &mut Reader<'_, '_>) -> Result<()> {
    let inputs = [r.input(0)?, r.input(1)?];
    let mode = match r.string("mode")?.unwrap_or("linear") {
        "linear" | "bilinear" => Interpolation::Linear,
        "cubic" | "bicubic" => Interpolation::Cubic,
        "nearest" => Interpolation::Nearest,
        other => return Err(Error::bad_file(format!("mode {other:?}"))),
    };
    let padding = match r.string("padding_mode")?.unwrap_or("zeros") {
        "zeros" => SamplePadding::Zeros,
        "border" => SamplePadding::Border,
        "reflection" => SamplePadding::Reflection,
        other => return Err(Error::bad_file(format!("padding_mode {other:?}"))),
    };
    let align_corners = r.flag("align_corners", false)?;
    let op = GridSample { mode: mode.into(), padding: padding.into(), align_corners };
    let y = r.emit("", Op::GridSample(op), &inputs)?;
    r.give(0, y)
}

pub(in crate::onnx) fn roi_align(r: &mut Reader<'_, '_>) -> Result<()> {
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?];
    let max = match r.string("mode")?.unwrap_or("avg") {
        "avg" => false,
        "max" => true,
        other => return Err(Error::bad_file(format!("mode {other:?}"))),
    };
    let half_pixel = if r.opset < 16 {
        false
    } else {
        match r.string("coordinate_transformation_mode")?.unwrap_or("half_pixel") {
            "half_pixel" => true,
            "output_half_pixel" => false,
            other => {
                return Err(Error::bad_file(format!("coordinate_transformation_mode {other:?}")));
            }
        }
    };
    let mut size = |name: &str, default: i64| {
        let size = r.int(name)?.unwrap_or(default);
        u64::try_from(size).map_err(|_| Error::bad_file(format!("{name} is {size}")))
    };
    let (height, width) = (size("output_height", 1)?, size("output_width", 1)?);
    let samples = size("sampling_ratio", 0)?;
    let scale = r.float("spatial_scale")?.unwrap_or(1.0);
    let op = RoiAlign { max, height, width, samples, scale, half_pixel };
    let y = r.emit("", Op::RoiAlign(op), &inputs)?;
    r.give(0, y)
}

/// AffineGrid: for each point of a grid of known size, where a matrix of its batch item takes it.
pub(in crate::onnx) fn affine_grid(r: &mut Reader<'_, '_>) -> Result<()> {
    let theta = r.input(0)?;
    let sizes = r.known_input(1)?.numbers();
    let spatial: Option<Vec<usize>> = sizes
        .as_deref()
        .and_then(|sizes| sizes.get(2..)?.iter().map(|&size| usize::try_from(size).ok()).collect());
    let spatial = spatial.filter(|sizes| matches!(sizes.len(), 2 | 3));
    let spatial = spatial.ok_or_else(|| Error::unsupported("a grid whose size is not known"))?;
    let align_corners = r.flag("align_corners", false)?;
    let axes = spatial.len();
    let points = spatial.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let points = points.filter(|&points| points <= 1 << 24);
    let points = points.ok_or_else(|| Error::unsupported("a grid of more than 2^24 points"))?;
    // Rows of coordinates, the last axis first, then of ones.
    let mut rows = vec![1.0f32; (axes + 1) * points];
    let mut behind = 1;
    for (row, &size) in spatial.iter().rev().enumerate() {
        for point in 0..points {
            let (i, n) = ((point / behind % size) as f64, size as f64);
            rows[row * points + point] = match align_corners {
                true => -1.0 + 2.0 * i / (n - 1.0),
                false => (2.0 * i + 1.0) / n - 1.0,
            } as f32;
        }
        behind *= size;
    }
    let dims = vec![1, 1, axes + 1, points];
    let grid = r.constant("points", Tensor { dims, data: Data::F32(rows) })?;
    let matrices = r.dims(theta);
    if matrices.len() != 3 {
        return Err(Error::bad_file(format!("theta has {} axes instead of 3", matrices.len())));
    }
    let batch = matrices[0].clone();
    let apart = [&matrices[..], &[Dim::from(1)]].concat();
    let apart = r.reshape("matrices", theta, apart)?;
    let products = r.binary("products", BinaryFunction::Mul, apart, grid)?;
    let sums = r.reduced("sums", ReduceKind::Sum, products, &[2], false)?;
    let turned = r.transpose("turned", sums, &[0, 2, 1])?;
    let spatial = spatial.iter().map(|&size| Dim::from(size as i64));
    let dims = [batch].into_iter().chain(spatial).chain([matrices[1].clone()]).collect();
    let y = r.reshape("", turned, dims)?;
    r.give(0, y)
}
