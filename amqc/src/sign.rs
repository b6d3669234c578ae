//! Which values are never negative: codes of such vectors are nearer with an offset.
//!
//! Results are right whatever is found here; only how near they are depends on it.

use std::collections::BTreeSet;

use amq_format::graph::{
    BinaryFunction, Cell, DataType, Interpolation, Node, Op, PadMode, Unary, UnaryFunction, ValueId,
};

use crate::error::Result;
use crate::ir::{Module, fact};
use crate::tensor::Data;

/// The values whose elements are at least zero, or NaN, for every input.
///
/// # Errors
/// An operator cannot take the inputs that it has.
pub(crate) fn never_negative(module: &Module) -> Result<BTreeSet<ValueId>> {
    let facts = module.facts()?;
    let unsigned = |value: ValueId| {
        let data_type = fact(&facts, value).map(|fact| fact.data_type);
        matches!(
            data_type,
            Some(DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64 | DataType::Bool)
        )
    };
    let mut found = BTreeSet::new();
    found.extend(module.graph.inputs.iter().map(|port| port.value).filter(|&v| unsigned(v)));
    let constants = module.constants.iter();
    found.extend(constants.filter(|(_, c)| at_least_zero(&c.data)).map(|(&value, _)| value));
    for node in &module.graph.nodes {
        let holds = gives(node, &found);
        found.extend(node.outputs.iter().copied().filter(|&value| holds || unsigned(value)));
    }
    // Its number stands for no value.
    found.remove(&amq_format::graph::ABSENT);
    Ok(found)
}

fn at_least_zero(data: &Data) -> bool {
    match data {
        Data::F32(floats) => floats.iter().all(|&x| x >= 0.0),
        data => data.integers().is_some_and(|integers| integers.iter().all(|&x| x >= 0)),
    }
}

/// Whether what a node gives is never negative, from which of its inputs are not. Of an operator
/// that is not named here nothing is known.
fn gives(node: &Node, found: &BTreeSet<ValueId>) -> bool {
    let given = |input: usize| node.inputs.get(input).is_some_and(|value| found.contains(value));
    let absent = |input: usize| node.inputs.get(input).is_none_or(|&value| value == 0);
    match &node.op {
        Some(Op::Unary(unary)) => of_unary(unary, given(0)),
        Some(Op::Binary(binary)) => of_binary(binary.function(), given(0), given(1)),
        Some(Op::Select(_)) => given(1) && given(2),
        Some(Op::Softmax(softmax)) => !softmax.log,
        Some(Op::Concat(_)) => (0..node.inputs.len()).all(given),
        Some(Op::MatMul(_)) => given(0) && given(1),
        Some(Op::Pad(pad)) => {
            given(0) && (pad.mode() != PadMode::Constant || absent(1) || given(1))
        }
        Some(Op::Cast(cast)) => given(0) && matches!(cast.to(), DataType::F32 | DataType::I64),
        Some(Op::Recurrent(layer)) => {
            layer.cell() == Cell::Rnn && layer.functions.iter().all(|f| of_unary(f, false))
        }
        Some(
            Op::Pool(_)
            | Op::Reduce(_)
            | Op::Gather(_)
            | Op::Slice(_)
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Expand(_)
            | Op::TopK(_)
            | Op::GatherElements(_)
            | Op::GatherNd(_)
            | Op::Cumulative(_)
            | Op::ReverseSequence(_)
            | Op::Fold(_)
            | Op::RoiAlign(_),
        ) => given(0),
        Some(Op::Resize(resize)) => {
            given(0) && resize.mode() != Interpolation::Cubic && resize.outside >= 0.0
        }
        Some(Op::GridSample(sample)) => given(0) && sample.mode() != Interpolation::Cubic,
        _ => false,
    }
}

/// Whether a function of elements is never negative; `x`: whether they are not.
fn of_unary(unary: &Unary, x: bool) -> bool {
    use UnaryFunction as F;
    let Unary { alpha, beta, .. } = *unary;
    match unary.function() {
        F::Abs | F::Exp | F::Relu | F::Sigmoid | F::HardSigmoid | F::Softplus | F::Sqrt => true,
        F::ThresholdedRelu => x || alpha >= 0.0,
        F::Clip => beta >= 0.0 && (x || alpha >= 0.0),
        F::Sign
        | F::Floor
        | F::Ceil
        | F::Round
        | F::Reciprocal
        | F::Erf
        | F::LeakyRelu
        | F::Elu
        | F::Celu
        | F::HardSwish
        | F::Tanh
        | F::Softsign
        | F::ToF16
        | F::ToBf16 => x,
        F::Selu => x && beta >= 0.0,
        F::ScaledTanh | F::Affine => x && alpha >= 0.0 && beta >= 0.0,
        F::Not | F::Acos | F::Cosh | F::Acosh => true,
        F::Asin | F::Atan | F::Sinh | F::Asinh | F::Atanh => x,
        F::Neg | F::Log | F::Sin | F::Cos | F::Tan => false,
    }
}

/// Whether a function of two elements is never negative; `a`, `b`: whether they are not.
fn of_binary(function: BinaryFunction, a: bool, b: bool) -> bool {
    use BinaryFunction as F;
    match function {
        F::Add | F::Mul | F::Div | F::Min => a && b,
        F::Max => a || b,
        F::Pow | F::Prelu | F::Remainder | F::ShiftRight => a,
        F::Modulo => b,
        F::Sub | F::ShiftLeft => false,
        F::Equal | F::Less | F::LessOrEqual | F::Greater | F::GreaterOrEqual => true,
        F::And => a || b,
        F::Or | F::Xor => a && b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::tests::{A, Build, ElementType, f32s};

    /// Whether `y` is never negative, where x is a float input and p, m are constants.
    fn holds(nodes: impl FnOnce(Build) -> Build) -> bool {
        let build = Build::new(13).input("x", "1 2 4 4").typed("u", ElementType::Uint8, "1 2 4 4");
        let build =
            build.initializer(f32s("p", &[1], &[0.5])).initializer(f32s("m", &[1], &[-1.0]));
        let module = nodes(build).output("y").import().unwrap();
        let found = never_negative(&module).unwrap();
        (0..module.graph.values.len() as ValueId)
            .any(|value| module.name(value) == "y" && found.contains(&value))
    }

    #[test]
    fn functions_of_any_input() {
        for (op, expected) in [
            ("Relu", true),
            ("Sigmoid", true),
            ("HardSigmoid", true),
            ("Softmax", true),
            ("Exp", true),
            ("Abs", true),
            ("LogSoftmax", false),
            ("Tanh", false),
            ("LeakyRelu", false),
            ("Identity", false),
        ] {
            assert_eq!(holds(|build| build.node(op, "x", "y")), expected, "{op}");
        }
        for (inputs, expected) in [("x p", true), ("x m", false), ("x", false)] {
            assert_eq!(holds(|build| build.node("Clip", inputs, "y")), expected, "{inputs}");
        }
    }

    #[test]
    fn what_keeps_the_sign() {
        let after = |op: &str, inputs: &str, attributes: &[(&str, A<'_>)]| {
            holds(|build| build.node("Relu", "x", "r").node_with(op, inputs, "y", attributes))
        };
        let window: &[(&str, A<'_>)] = &[("kernel_shape", A::Is(&[2, 2]))];
        assert!(after("MaxPool", "r", window));
        assert!(after("AveragePool", "r", window));
        assert!(after("Transpose", "r", &[]));
        assert!(after("Flatten", "r", &[]));
        assert!(after("ReduceMean", "r", &[]));
        assert!(after("Concat", "r r", &[("axis", A::I(1))]));
        assert!(!after("Concat", "r x", &[("axis", A::I(1))]));
        assert!(after("Add", "r p", &[]));
        assert!(!after("Add", "r m", &[]));
        assert!(!after("Sub", "r p", &[]));
        assert!(after("Max", "r x", &[]));
        assert!(!after("Min", "r x", &[]));
        assert!(!after("MaxPool", "x", window));
    }

    #[test]
    fn bytes_are_not_negative_in_float_either() {
        let float = &[("to", A::I(1))];
        let cast = |build: Build| build.node_with("Cast", "u", "c", float);
        assert!(holds(|build| cast(build).node("Mul", "c p", "y")));
        assert!(!holds(|build| cast(build).node("Sub", "c p", "y")));
    }
}
