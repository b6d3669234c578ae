//! The ONNX nodes of each operator.

use amq_format::graph::{
    Binary, BinaryFunction as B, Cumulative, CumulativeKind, DataType, Fourier, Gather, Node, Op,
    Pad, PadMode, Reduce, ReduceKind, ScatterKind, Slice, TopK, Unary, UnaryFunction as F, ValueId,
};

use super::attribute::{float, int, ints, string};
use super::writer::{Layout, Writer};
use super::{recurrent, window};
use crate::onnx::proto::{AttributeProto, ElementType};
use crate::tensor::Data;

/// Writes the nodes that compute what a node does.
///
/// # Errors
/// Why ONNX cannot say it.
pub(super) fn write(writer: &mut Writer<'_>, node: &Node) -> Result<(), String> {
    let op = node.op.as_ref().ok_or("no operator")?;
    let mut plain = |name: &str, attributes: Vec<AttributeProto>| {
        let inputs = node.inputs.iter().map(|&value| writer.value(value)).collect();
        let outputs = node.outputs.iter().map(|&value| writer.module.name(value).to_owned());
        let outputs = outputs.collect();
        writer.node(name, inputs, outputs, attributes);
        Ok(())
    };
    match op {
        Op::MatMul(_) => plain("MatMul", Vec::new()),
        Op::Gather(Gather { axis }) => plain("Gather", vec![int("axis", *axis)]),
        Op::Select(_) => plain("Where", Vec::new()),
        Op::Concat(op) => plain("Concat", vec![int("axis", op.axis)]),
        Op::Softmax(op) => {
            plain(if op.log { "LogSoftmax" } else { "Softmax" }, vec![int("axis", op.axis)])
        }
        Op::Transpose(op) => {
            let perm: Vec<u64> = op.perm.iter().map(|&axis| axis.into()).collect();
            plain("Transpose", vec![ints("perm", &perm)])
        }
        Op::Cast(op) => plain("Cast", vec![int("to", ElementType::from(op.to()) as i32)]),
        Op::GatherElements(op) => plain("GatherElements", vec![int("axis", op.axis)]),
        Op::GatherNd(op) => plain("GatherND", vec![int("batch_dims", op.batch_axes)]),
        Op::ScatterElements(op) => {
            plain("ScatterElements", vec![int("axis", op.axis), reduction(op.kind())])
        }
        Op::ScatterNd(op) => plain("ScatterND", vec![reduction(op.kind())]),
        Op::Linear(_) => linear(writer, node),
        Op::Conv(op) => window::conv(writer, node, op),
        Op::Pool(op) => window::pool(writer, node, op),
        Op::Fold(op) => window::fold(writer, node, op),
        Op::Resize(op) => window::resize(writer, node, op),
        Op::GridSample(op) => window::grid_sample(writer, node, op),
        Op::RoiAlign(op) => window::roi_align(writer, node, op),
        Op::Recurrent(op) => recurrent::layer(writer, node, op),
        Op::Unary(op) => unary(writer, node, op),
        Op::Binary(op) => binary(writer, node, op),
        Op::Reduce(op) => reduce(writer, node, op),
        Op::Slice(op) => slice(writer, node, op),
        Op::Pad(op) => pad(writer, node, op),
        Op::TopK(op) => top_k(writer, node, op),
        Op::Cumulative(op) => cumulative(writer, node, op),
        Op::Fourier(op) => fourier(writer, node, op),
        Op::Reshape(op) => {
            let shape = writer.vector(&op.dims)?;
            // A size of 0 is meant.
            of_one(writer, node, "Reshape", vec![shape], vec![int("allowzero", 1)])
        }
        Op::Expand(op) => {
            let shape = writer.vector(&op.dims)?;
            of_one(writer, node, "Expand", vec![shape], Vec::new())
        }
        Op::Dims(op) => {
            let sizes = writer.vector(&op.dims)?;
            let output = output(writer, node);
            writer.node("Identity", vec![sizes], vec![output], Vec::new());
            Ok(())
        }
        Op::ReverseSequence(op) => {
            let lengths = writer.i64s(node.inputs[1]);
            let axes = vec![int("time_axis", op.time_axis), int("batch_axis", op.batch_axis)];
            of_one(writer, node, "ReverseSequence", vec![lengths], axes)
        }
        Op::Sizes(_) => {
            of_one(writer, node, "Identity", Vec::new(), Vec::new())?;
            for (index, name) in node.binds.iter().enumerate() {
                writer.bind_element(name, node.outputs[0], index);
            }
            Ok(())
        }
        Op::NonZero(_) => {
            of_one(writer, node, "NonZero", Vec::new(), Vec::new())?;
            bind(writer, node, node.outputs[0], 1);
            Ok(())
        }
        Op::Unique(op) => {
            let x = writer.value(node.inputs[0]);
            let entries = writer.fresh("entries");
            let module = writer.module;
            let mut outputs = vec![entries];
            outputs.extend(node.outputs.iter().map(|&value| module.name(value).to_owned()));
            // Their number is that of the first or the last output.
            let counted = [0, 2].into_iter().filter_map(|at| node.outputs.get(at).copied());
            let counted: Vec<ValueId> = counted.filter(|&value| value != 0).collect();
            let attributes = vec![int("axis", 0), int("sorted", !op.unsorted)];
            writer.node("Unique", vec![x], outputs, attributes);
            match counted.first() {
                Some(&value) => bind(writer, node, value, 0),
                None if node.binds.is_empty() => {}
                None => return Err("a number of entries that no output has".into()),
            }
            Ok(())
        }
        Op::Series(_) => {
            let inputs = node.inputs.iter().map(|&value| writer.without_axes(value)).collect();
            let output = output(writer, node);
            writer.node("Range", inputs, vec![output], Vec::new());
            bind(writer, node, node.outputs[0], 0);
            Ok(())
        }
        Op::NonMaxSuppression(op) => {
            let inputs = node.inputs.iter().map(|&value| writer.value(value)).collect();
            let output = output(writer, node);
            let attributes = vec![int("center_point_box", op.centered)];
            writer.node("NonMaxSuppression", inputs, vec![output], attributes);
            bind(writer, node, node.outputs[0], 0);
            Ok(())
        }
        Op::If(_) | Op::Loop(_) => Err("a graph in a node".into()),
    }
}

fn output(writer: &Writer<'_>, node: &Node) -> String {
    writer.module.name(node.outputs[0]).to_owned()
}

/// Lets the names that a node gives stand for the size of one of its outputs.
fn bind(writer: &mut Writer<'_>, node: &Node, value: ValueId, axis: usize) {
    for name in &node.binds {
        writer.bind(name, value, axis);
    }
}

/// A node of the first input and others that are made for it.
fn of_one(
    writer: &mut Writer<'_>,
    node: &Node,
    op: &str,
    others: Vec<String>,
    attributes: Vec<AttributeProto>,
) -> Result<(), String> {
    let mut inputs = vec![writer.value(node.inputs[0])];
    inputs.extend(others);
    let output = output(writer, node);
    writer.node(op, inputs, vec![output], attributes);
    Ok(())
}

fn reduction(kind: ScatterKind) -> AttributeProto {
    let name = match kind {
        ScatterKind::Replace => "none",
        ScatterKind::Add => "add",
        ScatterKind::Mul => "mul",
        ScatterKind::Max => "max",
        ScatterKind::Min => "min",
    };
    string("reduction", name)
}

fn linear(writer: &mut Writer<'_>, node: &Node) -> Result<(), String> {
    let inputs =
        vec![writer.value(node.inputs[0]), writer.constant(node.inputs[1], Layout::Turned)];
    let output = output(writer, node);
    match node.inputs.get(2).map(|&bias| writer.value(bias)).filter(|bias| !bias.is_empty()) {
        Some(bias) => {
            let product = writer.step("MatMul", inputs, Vec::new());
            writer.node("Add", vec![product, bias], vec![output], Vec::new());
        }
        None => writer.node("MatMul", inputs, vec![output], Vec::new()),
    }
    Ok(())
}

fn unary(writer: &mut Writer<'_>, node: &Node, op: &Unary) -> Result<(), String> {
    let Unary { alpha, beta, .. } = *op;
    let (name, attributes) = match op.function() {
        F::Abs => ("Abs", Vec::new()),
        F::Neg => ("Neg", Vec::new()),
        F::Sign => ("Sign", Vec::new()),
        F::Floor => ("Floor", Vec::new()),
        F::Ceil => ("Ceil", Vec::new()),
        F::Round => ("Round", Vec::new()),
        F::Reciprocal => ("Reciprocal", Vec::new()),
        F::Sqrt => ("Sqrt", Vec::new()),
        F::Exp => ("Exp", Vec::new()),
        F::Log => ("Log", Vec::new()),
        F::Erf => ("Erf", Vec::new()),
        F::Not => ("Not", Vec::new()),
        F::Relu => ("Relu", Vec::new()),
        F::LeakyRelu => ("LeakyRelu", vec![float("alpha", alpha)]),
        F::ThresholdedRelu => ("ThresholdedRelu", vec![float("alpha", alpha)]),
        F::Elu => ("Elu", vec![float("alpha", alpha)]),
        F::Selu => ("Selu", vec![float("alpha", alpha), float("gamma", beta)]),
        F::Celu => ("Celu", vec![float("alpha", alpha)]),
        F::Sigmoid => ("Sigmoid", Vec::new()),
        F::HardSigmoid => ("HardSigmoid", vec![float("alpha", alpha), float("beta", beta)]),
        F::HardSwish => ("HardSwish", Vec::new()),
        F::Tanh => ("Tanh", Vec::new()),
        F::Softplus => ("Softplus", Vec::new()),
        F::Softsign => ("Softsign", Vec::new()),
        F::Sin => ("Sin", Vec::new()),
        F::Cos => ("Cos", Vec::new()),
        F::Tan => ("Tan", Vec::new()),
        F::Asin => ("Asin", Vec::new()),
        F::Acos => ("Acos", Vec::new()),
        F::Atan => ("Atan", Vec::new()),
        F::Sinh => ("Sinh", Vec::new()),
        F::Cosh => ("Cosh", Vec::new()),
        F::Asinh => ("Asinh", Vec::new()),
        F::Acosh => ("Acosh", Vec::new()),
        F::Atanh => ("Atanh", Vec::new()),
        F::Clip => {
            let bounds = vec![writer.scalar(alpha), writer.scalar(beta)];
            return of_one(writer, node, "Clip", bounds, Vec::new());
        }
        F::Affine => return affine(writer, node, alpha, beta),
        F::ScaledTanh => {
            let inner = vec![writer.value(node.inputs[0]), writer.scalar(beta)];
            let inner = writer.step("Mul", inner, Vec::new());
            let tanh = writer.step("Tanh", vec![inner], Vec::new());
            let (alpha, output) = (writer.scalar(alpha), output(writer, node));
            writer.node("Mul", vec![tanh, alpha], vec![output], Vec::new());
            return Ok(());
        }
        F::ToF16 => return rounded(writer, node, ElementType::Float16),
        F::ToBf16 => return rounded(writer, node, ElementType::Bfloat16),
    };
    of_one(writer, node, name, Vec::new(), attributes)
}

/// `alpha x + beta`
fn affine(writer: &mut Writer<'_>, node: &Node, alpha: f32, beta: f32) -> Result<(), String> {
    let product = vec![writer.value(node.inputs[0]), writer.scalar(alpha)];
    let product = writer.step("Mul", product, Vec::new());
    let (beta, output) = (writer.scalar(beta), output(writer, node));
    writer.node("Add", vec![product, beta], vec![output], Vec::new());
    Ok(())
}

/// To a narrower float and back.
fn rounded(writer: &mut Writer<'_>, node: &Node, to: ElementType) -> Result<(), String> {
    let x = vec![writer.value(node.inputs[0])];
    let narrow = writer.step("Cast", x, vec![int("to", to as i32)]);
    let output = output(writer, node);
    let back = vec![int("to", ElementType::Float as i32)];
    writer.node("Cast", vec![narrow], vec![output], back);
    Ok(())
}

fn binary(writer: &mut Writer<'_>, node: &Node, op: &Binary) -> Result<(), String> {
    let data_type = writer.data_type(node.inputs[0]);
    let is_float = data_type == DataType::F32;
    let unsigned =
        matches!(data_type, DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64);
    let logical = |of_bool: &'static str, of_bits: &'static str| {
        if data_type == DataType::Bool { of_bool } else { of_bits }
    };
    let mut attributes = Vec::new();
    let name = match op.function() {
        B::Add => "Add",
        B::Sub => "Sub",
        B::Mul => "Mul",
        B::Div => "Div",
        B::Pow => "Pow",
        B::Min => "Min",
        B::Max => "Max",
        B::Prelu => "PRelu",
        B::Equal => "Equal",
        B::Less => "Less",
        B::LessOrEqual => "LessOrEqual",
        B::Greater => "Greater",
        B::GreaterOrEqual => "GreaterOrEqual",
        B::And => logical("And", "BitwiseAnd"),
        B::Or => logical("Or", "BitwiseOr"),
        B::Xor => logical("Xor", "BitwiseXor"),
        B::Remainder => {
            attributes.push(int("fmod", 1));
            "Mod"
        }
        B::Modulo if is_float => return Err("Mod of floats has the dividend's sign".into()),
        B::Modulo => "Mod",
        B::ShiftLeft | B::ShiftRight if !unsigned => return Err("shifts of signed bits".into()),
        B::ShiftLeft => {
            attributes.push(string("direction", "LEFT"));
            "BitShift"
        }
        B::ShiftRight => {
            attributes.push(string("direction", "RIGHT"));
            "BitShift"
        }
    };
    let second = writer.value(node.inputs[1]);
    of_one(writer, node, name, vec![second], attributes)
}

fn reduce(writer: &mut Writer<'_>, node: &Node, op: &Reduce) -> Result<(), String> {
    let name = match op.kind() {
        ReduceKind::Sum => "ReduceSum",
        ReduceKind::Mean => "ReduceMean",
        ReduceKind::Max => "ReduceMax",
        ReduceKind::Min => "ReduceMin",
        ReduceKind::Product => "ReduceProd",
    };
    let axes: Vec<i64> = op.axes.iter().map(|&axis| axis.into()).collect();
    let axes = writer.integers(&axes);
    // No axes are none.
    let attributes = vec![int("keepdims", op.keep_dims), int("noop_with_empty_axes", 1)];
    of_one(writer, node, name, vec![axes], attributes)
}

fn slice(writer: &mut Writer<'_>, node: &Node, op: &Slice) -> Result<(), String> {
    let axes: Vec<i64> = op.axes.iter().map(|&axis| axis.into()).collect();
    let others = vec![
        writer.vector(&op.starts)?,
        writer.vector(&op.ends)?,
        writer.integers(&axes),
        writer.integers(&op.steps),
    ];
    of_one(writer, node, "Slice", others, Vec::new())
}

fn pad(writer: &mut Writer<'_>, node: &Node, op: &Pad) -> Result<(), String> {
    let mode = match op.mode() {
        PadMode::Constant => "constant",
        PadMode::Reflect => "reflect",
        PadMode::Edge => "edge",
        PadMode::Wrap => "wrap",
    };
    let all: Vec<_> = op.begins.iter().chain(&op.ends).cloned().collect();
    let mut others = vec![writer.vector(&all)?];
    others.extend(node.inputs.get(1).map(|&value| writer.without_axes(value)));
    of_one(writer, node, "Pad", others, vec![string("mode", mode)])
}

fn top_k(writer: &mut Writer<'_>, node: &Node, op: &TopK) -> Result<(), String> {
    let inputs = vec![writer.value(node.inputs[0]), writer.vector(&op.k)?];
    let mut outputs = Vec::new();
    for at in 0..2 {
        let value = node.outputs.get(at).copied().unwrap_or_default();
        let name = writer.module.name(value).to_owned();
        outputs.push(if name.is_empty() { writer.fresh("unread") } else { name });
    }
    let attributes =
        vec![int("axis", op.axis), int("largest", !op.smallest), int("sorted", !op.unsorted)];
    writer.node("TopK", inputs, outputs, attributes);
    Ok(())
}

fn cumulative(writer: &mut Writer<'_>, node: &Node, op: &Cumulative) -> Result<(), String> {
    if op.kind() == CumulativeKind::Product {
        return Err("running products".into());
    }
    let axis = writer.own("axis", &[], Data::I64(vec![op.axis.into()]));
    let attributes = vec![int("exclusive", op.exclusive), int("reverse", op.reverse)];
    of_one(writer, node, "CumSum", vec![axis], attributes)
}

fn fourier(writer: &mut Writer<'_>, node: &Node, op: &Fourier) -> Result<(), String> {
    let points = writer.vector(&op.points)?;
    let none = writer.integers(&[]);
    let points = writer.step("Reshape", vec![points, none], Vec::new());
    let attributes = vec![int("inverse", op.inverse), int("onesided", op.onesided)];
    of_one(writer, node, "DFT", vec![points], attributes)
}
