//! Convolution and pooling, resizing and samples of images.

use amq_format::graph::{
    ABSENT, AutoPad, Conv, Dim, Fold, GridSample, Interpolation, Node, Placement, Pool, PoolKind,
    Resize, RoiAlign, Rounding, SamplePadding,
};

use super::attribute::{float, int, ints, string};
use super::writer::{Layout, Writer};
use crate::onnx::proto::AttributeProto;
use crate::tensor::Data;

fn borders(auto_pad: AutoPad, pads: &[u64]) -> AttributeProto {
    match auto_pad {
        AutoPad::Explicit => ints("pads", pads),
        AutoPad::SameUpper => string("auto_pad", "SAME_UPPER"),
        AutoPad::SameLower => string("auto_pad", "SAME_LOWER"),
    }
}

pub(super) fn conv(writer: &mut Writer<'_>, node: &Node, op: &Conv) -> Result<(), String> {
    let mut inputs = vec![writer.value(node.inputs[0])];
    inputs.push(writer.constant(node.inputs[1], Layout::ChannelsFirst));
    inputs.extend(node.inputs.get(2).map(|&bias| writer.value(bias)));
    let attributes = vec![
        ints("strides", &op.strides),
        ints("dilations", &op.dilations),
        borders(op.auto_pad(), &op.pads),
        int("group", op.groups as i64),
    ];
    let output = writer.module.name(node.outputs[0]).to_owned();
    writer.node("Conv", inputs, vec![output], attributes);
    Ok(())
}

/// As Col2Im, whose windows are columns, and must end where its padding does.
pub(super) fn fold(writer: &mut Writer<'_>, node: &Node, op: &Fold) -> Result<(), String> {
    let dims = writer.dims(node.inputs[0]).to_vec();
    let [_, positions @ .., columns] = dims.as_slice() else {
        return Err("windows without positions".into());
    };
    let columns = columns.as_size().ok_or("windows of a size that data decide")?;
    // Of each axis what windows reach behind its end, or what lies behind all windows.
    let (mut ends, mut rests, mut image) = (Vec::new(), Vec::new(), Vec::new());
    for (i, size) in op.sizes.iter().enumerate() {
        let stride = op.strides[i] as i64;
        let extent = (op.kernel[i] as i64 - 1) * op.dilations[i] as i64 + 1;
        let first = Dim::from(extent - op.pads[i] as i64 - stride);
        let reached = positions[i].mul(&Dim::from(stride)).and_then(|last| last.add(&first));
        let reached = reached.map_err(|error| error.to_string())?;
        let behind = reached.sub(size).ok().and_then(|behind| behind.as_size());
        let behind = behind.ok_or("windows of which data decide where they end")?;
        ends.push(behind.max(0) as u64);
        rests.push((-behind).max(0));
        image.push(if behind < 0 { reached } else { size.clone() });
    }
    if image.iter().any(|size| size.as_size().is_some_and(|size| size <= 0)) {
        return Err("windows that lie beside the axes".into());
    }
    let shape = writer.integers(&[0, -1, columns]);
    let x = writer.value(node.inputs[0]);
    let windows = writer.step("Reshape", vec![x, shape], Vec::new());
    let windows = writer.step("Transpose", vec![windows], vec![ints("perm", &[0, 2, 1])]);
    let kernel: Vec<i64> = op.kernel.iter().map(|&size| size as i64).collect();
    let inputs = vec![windows, writer.vector(&image)?, writer.integers(&kernel)];
    let pads: Vec<u64> = op.pads.iter().copied().chain(ends).collect();
    let attributes =
        vec![ints("strides", &op.strides), ints("dilations", &op.dilations), ints("pads", &pads)];
    let output = writer.module.name(node.outputs[0]).to_owned();
    if rests.iter().all(|&rest| rest == 0) {
        writer.node("Col2Im", inputs, vec![output], attributes);
        return Ok(());
    }
    let y = writer.step("Col2Im", inputs, attributes);
    let mut pads = vec![0; 2 + rests.len() + 2];
    pads.extend(rests);
    let pads = writer.integers(&pads);
    writer.node("Pad", vec![y, pads], vec![output], Vec::new());
    Ok(())
}

pub(super) fn pool(writer: &mut Writer<'_>, node: &Node, op: &Pool) -> Result<(), String> {
    let inputs = vec![writer.value(node.inputs[0])];
    let mut attributes = vec![
        ints("kernel_shape", &op.kernel),
        ints("strides", &op.strides),
        ints("dilations", &op.dilations),
        borders(op.auto_pad(), &op.pads),
        int("ceil_mode", op.ceil_mode),
    ];
    let module = writer.module;
    let outputs: Vec<String> =
        node.outputs.iter().map(|&value| module.name(value).to_owned()).collect();
    match op.kind() {
        PoolKind::Max => {
            let mut outputs = outputs;
            if outputs[0].is_empty() {
                outputs[0] = writer.fresh("largest");
            }
            writer.node("MaxPool", inputs, outputs, attributes);
        }
        PoolKind::Average => {
            attributes.push(int("count_include_pad", op.count_include_pad));
            writer.node("AveragePool", inputs, outputs, attributes);
        }
        PoolKind::Sum if op.ceil_mode => return Err("sums of windows that are not whole".into()),
        PoolKind::Sum => {
            attributes.push(int("count_include_pad", true));
            let mean = writer.step("AveragePool", inputs, attributes);
            let count: u64 = op.kernel.iter().product();
            let count = writer.scalar(count as f32);
            writer.node("Mul", vec![mean, count], outputs, Vec::new());
        }
    }
    Ok(())
}

fn mode(mode: Interpolation) -> AttributeProto {
    let mode = match mode {
        Interpolation::Nearest => "nearest",
        Interpolation::Linear => "linear",
        Interpolation::Cubic => "cubic",
    };
    string("mode", mode)
}

pub(super) fn resize(writer: &mut Writer<'_>, node: &Node, op: &Resize) -> Result<(), String> {
    let placement = match op.placement() {
        Placement::HalfPixel => "half_pixel",
        Placement::PytorchHalfPixel => "pytorch_half_pixel",
        Placement::HalfPixelSymmetric => "half_pixel_symmetric",
        Placement::AlignCorners => "align_corners",
        Placement::Asymmetric => "asymmetric",
        Placement::Crop => "tf_crop_and_resize",
        Placement::HalfPixelForNearest => return Err("a placement of older opsets".into()),
    };
    let rounding = match op.rounding() {
        Rounding::HalfDown => "round_prefer_floor",
        Rounding::HalfUp => "round_prefer_ceil",
        Rounding::Floor => "floor",
        Rounding::Ceil => "ceil",
    };
    let axes: Vec<u64> = op.axes.iter().map(|&axis| axis.into()).collect();
    let attributes = vec![
        mode(op.mode()),
        string("coordinate_transformation_mode", placement),
        string("nearest_mode", rounding),
        ints("axes", &axes),
        float("cubic_coeff_a", op.cubic),
        int("exclude_outside", op.exclude_outside),
        int("antialias", op.antialias),
        float("extrapolation_value", op.outside),
    ];
    let dims = writer.dims(node.inputs[0]);
    let is_stretched =
        op.axes.iter().zip(&op.scales).zip(&op.sizes).any(|((&axis, scale), size)| {
            let of_axis = dims.get(axis as usize).and_then(|dim| dim.as_size());
            let given = of_axis.map(|n| (n as f32 * scale).floor() as i64);
            given.zip(size.as_size()).is_some_and(|(given, size)| given != size)
        });
    if is_stretched {
        return Err("sizes that are not those of its scales".into());
    }
    let mut vector = |wanted: &str, data: &[f32]| match data {
        [] => String::new(),
        _ => writer.own(wanted, &[data.len()], Data::F32(data.to_vec())),
    };
    let (region, scales) = (vector("region", &op.region), vector("scales", &op.scales));
    let sizes = if scales.is_empty() { writer.vector(&op.sizes)? } else { String::new() };
    let inputs = vec![writer.value(node.inputs[0]), region, scales, sizes];
    let output = writer.module.name(node.outputs[0]).to_owned();
    writer.node("Resize", inputs, vec![output], attributes);
    Ok(())
}

pub(super) fn grid_sample(
    writer: &mut Writer<'_>,
    node: &Node,
    op: &GridSample,
) -> Result<(), String> {
    let padding = match op.padding() {
        SamplePadding::Zeros => "zeros",
        SamplePadding::Border => "border",
        SamplePadding::Reflection => "reflection",
    };
    let attributes = vec![
        mode(op.mode()),
        string("padding_mode", padding),
        int("align_corners", op.align_corners),
    ];
    let inputs = node.inputs.iter().map(|&value| writer.value(value)).collect();
    let output = writer.module.name(node.outputs[0]).to_owned();
    writer.node("GridSample", inputs, vec![output], attributes);
    Ok(())
}

pub(super) fn roi_align(writer: &mut Writer<'_>, node: &Node, op: &RoiAlign) -> Result<(), String> {
    let attributes = vec![
        string("mode", if op.max { "max" } else { "avg" }),
        int("output_height", op.height as i64),
        int("output_width", op.width as i64),
        int("sampling_ratio", op.samples as i64),
        float("spatial_scale", op.scale),
        string(
            "coordinate_transformation_mode",
            if op.half_pixel { "half_pixel" } else { "output_half_pixel" },
        ),
    ];
    let images = node.inputs.get(2).copied().unwrap_or(ABSENT);
    let inputs =
        vec![writer.value(node.inputs[0]), writer.value(node.inputs[1]), writer.i64s(images)];
    let output = writer.module.name(node.outputs[0]).to_owned();
    writer.node("RoiAlign", inputs, vec![output], attributes);
    Ok(())
}
