//! Operators whose results keep the type that their inputs have in the model.

use amq_format::graph::{BinaryFunction, Op, UnaryFunction};

/// Whether what an operator gives are elements of its inputs, or their negatives.
pub(super) fn chooses(op: Option<&Op>) -> bool {
    use BinaryFunction as B;
    use UnaryFunction as U;
    match op {
        Some(Op::Unary(unary)) => matches!(unary.function(), U::Abs | U::Neg | U::Relu),
        Some(Op::Binary(binary)) => matches!(binary.function(), B::Min | B::Max),
        Some(
            Op::Reshape(_)
            | Op::Slice(_)
            | Op::Transpose(_)
            | Op::Expand(_)
            | Op::Gather(_)
            | Op::GatherElements(_)
            | Op::GatherNd(_)
            | Op::ReverseSequence(_)
            | Op::Concat(_)
            | Op::Pad(_)
            | Op::Select(_)
            | Op::TopK(_),
        ) => true,
        _ => false,
    }
}
