//! The ONNX operators that are read, in one table.

use std::fmt::Write;

use amq_format::graph::{BinaryFunction as B, CumulativeKind, ReduceKind, UnaryFunction as U};

use super::attrs::Reader;
use super::ops::{
    along, attention, audio, batch_norm, blocks, control, conv, cut, data, einsum, elementwise,
    found, index, layout, linear_attention, loss, matrix, microsoft, norm, parts, quantized,
    recurrent, reduce, resize, sequence, transposed,
};
use crate::error::{Error, Result};

/// Oldest version of ONNX's operator set that is read.
pub(super) const OLDEST_OPSET: i64 = 1;
/// Newest version of ONNX's operator set that is read.
pub(super) const NEWEST_OPSET: i64 = 28;

/// An ONNX operator that is read.
pub(super) struct Operator {
    pub(super) name: &'static str,
    /// The opset it came with, or the oldest one that is read.
    pub(super) since: i64,
    /// Turns a node into operators of the vocabulary.
    pub(super) read: fn(&mut Reader<'_, '_>) -> Result<()>,
    /// What is refused of it.
    limits: &'static str,
}

const fn op(
    name: &'static str,
    since: i64,
    read: fn(&mut Reader<'_, '_>) -> Result<()>,
    limits: &'static str,
) -> Operator {
    Operator { name, since, read, limits }
}

const FLOAT: &str = "float only";
const WINDOW: &str = "one to three spatial axes";
const KERNEL: &str = "one to three spatial axes; W and B must be constant once the graph is folded";
const STRUCTURE: &str = "what is in it must be known: no tensor may be chosen by data";
const SQUEEZE: &str =
    "constant axes; without axes, a size that is not known must not be 1 when the model runs";
const AXES: &str = "constant axes";
const GATES: &str = "weights and biases must be constant once the graph is folded; \
                     Affine and ScaledTanh need their alpha and beta; \
                     a sequence of length 0 leaves its initial states, which onnxruntime sets to 0";

/// All operators, by name.
const OPERATORS: &[Operator] = &[
    op("Abs", 1, elementwise::abs, ""),
    op("Acos", 7, |r| elementwise::unary(r, U::Acos), FLOAT),
    op("Acosh", 9, |r| elementwise::unary(r, U::Acosh), FLOAT),
    op("Add", 1, |r| elementwise::binary(r, B::Add), ""),
    op("AffineGrid", 20, resize::affine_grid, "the size must be constant"),
    op("And", 1, |r| elementwise::binary(r, B::And), ""),
    op("ArgMax", 1, |r| index::arg_best(r, false), "NaN counts as the largest"),
    op("ArgMin", 1, |r| index::arg_best(r, true), "NaN counts as the largest"),
    op("Asin", 7, |r| elementwise::unary(r, U::Asin), FLOAT),
    op("Asinh", 9, |r| elementwise::unary(r, U::Asinh), FLOAT),
    op("Atan", 7, |r| elementwise::unary(r, U::Atan), FLOAT),
    op("Atanh", 9, |r| elementwise::unary(r, U::Atanh), FLOAT),
    op("Attention", 23, attention::attention, "the size of a head or the scale must be known"),
    op("AveragePool", 1, conv::average_pool, WINDOW),
    op(
        "BatchNormalization",
        1,
        batch_norm::batch_normalization,
        "statistics by channel; in training what becomes of them from opset 14 on",
    ),
    op("BitCast", 26, data::bit_cast, "between integers of as many bits"),
    op("BitShift", 11, elementwise::shift, ""),
    op("BitwiseAnd", 18, |r| elementwise::bitwise(r, B::And), ""),
    op("BitwiseNot", 18, elementwise::bitwise_not, ""),
    op("BitwiseOr", 18, |r| elementwise::bitwise(r, B::Or), ""),
    op("BitwiseXor", 18, |r| elementwise::bitwise(r, B::Xor), ""),
    op("BlackmanWindow", 17, |r| audio::window(r, [0.42, 0.5, 0.08]), "constant size; float types"),
    op(
        "Cast",
        1,
        data::cast,
        "to and from float, float16, bfloat16, double, bool and integers of 8 to 64 bits",
    ),
    op("CastLike", 15, data::cast_like, ""),
    op(
        "CausalConvWithState",
        27,
        conv::causal_conv,
        "W and B must be constant once the graph is folded",
    ),
    op("Ceil", 1, |r| elementwise::unary(r, U::Ceil), FLOAT),
    op("Celu", 12, |r| elementwise::with_parameters(r, U::Celu, ("alpha", 1.0), None), FLOAT),
    op("CenterCropPad", 18, parts::center_crop_pad, "sizes must be known"),
    op("Clip", 1, elementwise::clip, ""),
    op("Col2Im", 18, blocks::column_to_image, "one to three spatial axes; constant blocks"),
    op("Compress", 9, found::compress, ""),
    op("Concat", 1, parts::concat, ""),
    op("ConcatFromSequence", 11, sequence::joined, STRUCTURE),
    op("Constant", 1, data::constant, "no strings"),
    op("ConstantOfShape", 9, data::constant_of_shape, ""),
    op("Conv", 1, conv::conv, KERNEL),
    op("ConvInteger", 10, quantized::conv_integer, "sums of at most 65536 products"),
    op("ConvTranspose", 1, transposed::conv_transpose, KERNEL),
    op("Cos", 7, |r| elementwise::unary(r, U::Cos), FLOAT),
    op("Cosh", 9, |r| elementwise::unary(r, U::Cosh), FLOAT),
    op("CumProd", 26, |r| along::cumulative(r, CumulativeKind::Product), "constant axis"),
    op("CumSum", 11, |r| along::cumulative(r, CumulativeKind::Sum), "constant axis"),
    op(
        "DFT",
        17,
        audio::dft,
        "the axis and, of half a spectrum, the number of points must be known",
    ),
    op("DepthToSpace", 1, blocks::depth_to_space, ""),
    op("DequantizeLinear", 10, quantized::dequantize_linear, "blocks along an axis of fixed size"),
    op("Div", 1, |r| elementwise::binary(r, B::Div), ""),
    op("Dropout", 1, data::dropout, "inference only; the mask must not be used"),
    op("DynamicQuantizeLinear", 11, quantized::dynamic_quantize_linear, ""),
    op("Einsum", 12, einsum::einsum, "diagonals of known sizes; sums of products of floats"),
    op("Elu", 1, |r| elementwise::with_parameters(r, U::Elu, ("alpha", 1.0), None), FLOAT),
    op("Equal", 1, |r| elementwise::binary(r, B::Equal), ""),
    op("Erf", 9, |r| elementwise::unary(r, U::Erf), FLOAT),
    op("Exp", 1, |r| elementwise::unary(r, U::Exp), FLOAT),
    op("Expand", 8, layout::expand, ""),
    op("EyeLike", 9, index::eye_like, ""),
    op("Flatten", 1, layout::flatten, ""),
    op("Floor", 1, |r| elementwise::unary(r, U::Floor), FLOAT),
    op("GRU", 1, recurrent::gru, GATES),
    op("Gather", 1, parts::gather, ""),
    op("GatherElements", 11, index::gather_elements, ""),
    op("GatherND", 11, index::gather_nd, ""),
    op("Gelu", 20, elementwise::gelu, FLOAT),
    op("Gemm", 1, matrix::gemm, FLOAT),
    op("GlobalAveragePool", 1, |r| reduce::global_pool(r, ReduceKind::Mean), FLOAT),
    op("GlobalLpPool", 2, reduce::global_p_pool, FLOAT),
    op("GlobalMaxPool", 1, |r| reduce::global_pool(r, ReduceKind::Max), FLOAT),
    op("Greater", 1, |r| elementwise::binary(r, B::Greater), ""),
    op("GreaterOrEqual", 12, |r| elementwise::binary(r, B::GreaterOrEqual), ""),
    op("GridSample", 16, resize::grid_sample, "float only; two or three spatial axes"),
    op("GroupNormalization", 18, norm::group, FLOAT),
    op(
        "HammingWindow",
        17,
        |r| audio::window(r, [25.0 / 46.0, 21.0 / 46.0, 0.0]),
        "constant size; float types",
    ),
    op("HannWindow", 17, |r| audio::window(r, [0.5, 0.5, 0.0]), "constant size; float types"),
    op("HardSigmoid", 1, elementwise::hard_sigmoid, FLOAT),
    op("HardSwish", 14, |r| elementwise::unary(r, U::HardSwish), FLOAT),
    op("Hardmax", 1, index::hard_max, FLOAT),
    op("Identity", 1, data::identity, ""),
    op("If", 1, control::branch, "outputs of one type and number of axes"),
    op("InstanceNormalization", 1, norm::instance, FLOAT),
    op("IsInf", 10, elementwise::is_infinite, ""),
    op("IsNaN", 9, elementwise::is_nan, ""),
    op("LRN", 1, norm::local_response, FLOAT),
    op("LSTM", 1, recurrent::lstm, GATES),
    op("LayerNormalization", 17, norm::layer, FLOAT),
    op(
        "LeakyRelu",
        1,
        |r| elementwise::with_parameters(r, U::LeakyRelu, ("alpha", 0.01), None),
        FLOAT,
    ),
    op("Less", 1, |r| elementwise::binary(r, B::Less), ""),
    op("LessOrEqual", 12, |r| elementwise::binary(r, B::LessOrEqual), ""),
    op("LinearAttention", 27, linear_attention::linear_attention, "heads of known sizes"),
    op("Log", 1, |r| elementwise::unary(r, U::Log), FLOAT),
    op("LogSoftmax", 1, |r| reduce::softmax(r, true), FLOAT),
    op("Loop", 1, control::looped, "what is carried keeps its type and number of axes"),
    op("LpNormalization", 1, norm::p_normalization, FLOAT),
    op("LpPool", 2, conv::p_pool, WINDOW),
    op("MatMul", 1, matrix::matmul, FLOAT),
    op("MatMulInteger", 10, quantized::matmul_integer, "sums of at most 65536 products"),
    op("Max", 1, |r| elementwise::variadic(r, B::Max), ""),
    op("MaxPool", 1, conv::max_pool, "one to three spatial axes; storage_order 1 of two"),
    op("MaxUnpool", 9, blocks::max_unpool, "output_shape must follow from the inputs' shapes"),
    op("Mean", 1, elementwise::mean, FLOAT),
    op("MeanVarianceNormalization", 9, norm::mean_variance, FLOAT),
    op("MelWeightMatrix", 17, audio::mel_weights, "constant inputs; float types"),
    op("Min", 1, |r| elementwise::variadic(r, B::Min), ""),
    op("Mish", 18, elementwise::mish, FLOAT),
    op("Mod", 10, elementwise::modulo, ""),
    op("Mul", 1, |r| elementwise::binary(r, B::Mul), ""),
    op("Neg", 1, elementwise::neg, ""),
    op("NegativeLogLikelihoodLoss", 12, loss::negative_log_likelihood, FLOAT),
    op("NonMaxSuppression", 10, found::non_max_suppression, ""),
    op("NonZero", 9, found::non_zero, ""),
    op("Not", 1, |r| elementwise::unary(r, U::Not), ""),
    op("OneHot", 9, index::one_hot, ""),
    op("Optional", 15, sequence::optional, STRUCTURE),
    op("OptionalGetElement", 15, sequence::get_element, STRUCTURE),
    op("OptionalHasElement", 15, sequence::has_element, STRUCTURE),
    op("Or", 1, |r| elementwise::binary(r, B::Or), ""),
    op("PRelu", 1, elementwise::prelu, FLOAT),
    op("Pad", 1, parts::pad, ""),
    op("Pow", 1, elementwise::pow, "integers to whole powers only"),
    op("QLinearConv", 10, quantized::qlinear_conv, KERNEL),
    op("QLinearMatMul", 10, quantized::qlinear_matmul, ""),
    op("QuantizeLinear", 10, quantized::quantize_linear, "to integers"),
    op("RMSNormalization", 23, norm::root_mean_square_layer, FLOAT),
    op("RNN", 1, recurrent::rnn, GATES),
    op("Range", 11, along::range, ""),
    op("Reciprocal", 1, |r| elementwise::unary(r, U::Reciprocal), FLOAT),
    op("ReduceL1", 1, |r| reduce::reduce_norm(r, 1), AXES),
    op("ReduceL2", 1, |r| reduce::reduce_norm(r, 2), "float only; constant axes"),
    op("ReduceLogSum", 1, reduce::reduce_log_sum, "float only; constant axes"),
    op("ReduceLogSumExp", 1, reduce::reduce_log_sum_exp, "float only; constant axes"),
    op("ReduceMax", 1, |r| reduce::reduce(r, ReduceKind::Max, 18), AXES),
    op("ReduceMean", 1, |r| reduce::reduce(r, ReduceKind::Mean, 18), "float only; constant axes"),
    op("ReduceMin", 1, |r| reduce::reduce(r, ReduceKind::Min, 18), AXES),
    op("ReduceProd", 1, |r| reduce::reduce(r, ReduceKind::Product, 18), AXES),
    op("ReduceSum", 1, |r| reduce::reduce(r, ReduceKind::Sum, 13), AXES),
    op("ReduceSumSquare", 1, reduce::reduce_sum_of_squares, AXES),
    op("Relu", 1, elementwise::relu, ""),
    op("Reshape", 1, layout::reshape, ""),
    op("Resize", 10, resize::resize, "constant scales, or sizes"),
    op("ReverseSequence", 10, along::reverse_sequence, ""),
    op("RoiAlign", 10, resize::roi_align, FLOAT),
    op("RotaryEmbedding", 23, attention::rotary, "the size of a head must be known"),
    op("Round", 11, |r| elementwise::unary(r, U::Round), FLOAT),
    op("STFT", 17, audio::short_time, "frame step and length must be constant"),
    op(
        "Scan",
        8,
        control::scan,
        "what is carried keeps its type and number of axes; in opset 8 no lengths of sequences",
    ),
    op("Scatter", 9, index::scatter_elements, ""),
    op("ScatterElements", 11, index::scatter_elements, ""),
    op("ScatterND", 11, index::scatter_nd, ""),
    op("Selu", 1, elementwise::selu, FLOAT),
    op("SequenceAt", 11, sequence::at, STRUCTURE),
    op("SequenceConstruct", 11, sequence::construct, STRUCTURE),
    op("SequenceEmpty", 11, sequence::empty, STRUCTURE),
    op("SequenceErase", 11, sequence::erase, STRUCTURE),
    op("SequenceInsert", 11, sequence::insert, STRUCTURE),
    op("SequenceLength", 11, sequence::length, STRUCTURE),
    op("SequenceMap", 17, sequence::map, STRUCTURE),
    op("Shape", 1, data::shape, ""),
    op("Shrink", 9, elementwise::shrink, FLOAT),
    op("Sigmoid", 1, |r| elementwise::unary(r, U::Sigmoid), FLOAT),
    op("Sign", 9, elementwise::sign, ""),
    op("Sin", 7, |r| elementwise::unary(r, U::Sin), FLOAT),
    op("Sinh", 9, |r| elementwise::unary(r, U::Sinh), FLOAT),
    op("Size", 1, data::size, ""),
    op("Slice", 1, cut::slice, "constant axes"),
    op("Softmax", 1, |r| reduce::softmax(r, false), FLOAT),
    op("SoftmaxCrossEntropyLoss", 12, loss::softmax_cross_entropy, FLOAT),
    op("Softplus", 1, |r| elementwise::unary(r, U::Softplus), FLOAT),
    op("Softsign", 1, |r| elementwise::unary(r, U::Softsign), FLOAT),
    op("SpaceToDepth", 1, blocks::space_to_depth, ""),
    op("Split", 1, cut::split, ""),
    op("SplitToSequence", 11, sequence::split, STRUCTURE),
    op("Sqrt", 1, |r| elementwise::unary(r, U::Sqrt), FLOAT),
    op("Squeeze", 1, layout::squeeze, SQUEEZE),
    op("Sub", 1, |r| elementwise::binary(r, B::Sub), ""),
    op("Sum", 1, |r| elementwise::variadic(r, B::Add), ""),
    op("SwiGLU", 28, elementwise::swish_gate, FLOAT),
    op("Swish", 24, elementwise::swish, FLOAT),
    op("Tan", 7, |r| elementwise::unary(r, U::Tan), FLOAT),
    op("Tanh", 1, |r| elementwise::unary(r, U::Tanh), FLOAT),
    op("TensorScatter", 24, index::cache_update, ""),
    op(
        "ThresholdedRelu",
        10,
        |r| elementwise::with_parameters(r, U::ThresholdedRelu, ("alpha", 1.0), None),
        FLOAT,
    ),
    op("Tile", 1, blocks::tile, ""),
    op("TopK", 1, reduce::top_k, ""),
    op("Transpose", 1, layout::transpose, ""),
    op("Trilu", 14, index::triangular, ""),
    op("Unique", 11, found::unique, ""),
    op("Unsqueeze", 1, layout::unsqueeze, "constant axes"),
    op("Upsample", 1, resize::upsample, "up to opset 9; constant scales"),
    op("Where", 9, elementwise::select, ""),
    op("Xor", 1, |r| elementwise::binary(r, B::Xor), ""),
];

/// The operators of onnxruntime's domain com.microsoft that are read, by name.
const MICROSOFT: &[Operator] = &[
    op("DequantizeLinear", 7, quantized::dequantize_linear, "blocks along an axis of fixed size"),
    op("DynamicQuantizeLSTM", 7, microsoft::dynamic_quantize_lstm, GATES),
    op("DynamicQuantizeMatMul", 7, microsoft::dynamic_quantize_matmul, ""),
    op("MatMulIntegerToFloat", 7, microsoft::matmul_integer_to_float, ""),
    op("MatMulNBits", 7, microsoft::matmul_n_bits, "2, 4 or 8 bits; constant weights, in order"),
    op("QGemm", 7, quantized::qgemm, ""),
    op("QLinearAdd", 7, |r| microsoft::binary(r, B::Add), ""),
    op("QLinearAveragePool", 7, microsoft::average_pool, WINDOW),
    op("QLinearConcat", 7, microsoft::concat, ""),
    op("QLinearGlobalAveragePool", 7, microsoft::global_average_pool, ""),
    op("QLinearLeakyRelu", 7, |r| microsoft::unary(r, U::LeakyRelu), ""),
    op("QLinearMul", 7, |r| microsoft::binary(r, B::Mul), ""),
    op("QLinearSigmoid", 7, |r| microsoft::unary(r, U::Sigmoid), ""),
    op("QLinearSoftmax", 7, microsoft::softmax, "along the last axis before opset 13"),
    op("QuantizeLinear", 7, quantized::quantize_linear, "to integers"),
];

/// Whether the domain is ONNX's own.
pub(super) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// The operator of that name.
pub(super) fn find(domain: &str, name: &str) -> Result<&'static Operator> {
    let operators = match domain {
        "com.microsoft" => MICROSOFT,
        _ if is_standard(domain) => OPERATORS,
        _ => return Err(foreign(domain)),
    };
    if let Some(operator) = operators.iter().find(|operator| operator.name == name) {
        return Ok(operator);
    }
    if !is_standard(domain) {
        return Err(foreign(domain));
    }
    let what = match name {
        _ if is_random(name) => "random numbers are not supported",
        _ => "the operator is not supported",
    };
    let remedy = match name {
        _ if is_random(name) => "export the model without it, or make what it gives an input",
        _ => "amqc operators lists what is supported",
    };
    Err(Error::unsupported(what).remedy(remedy))
}

/// The refusal of an operator of another domain than ONNX's own.
fn foreign(domain: &str) -> Error {
    let remedy = match domain {
        "com.microsoft" => {
            "onnxruntime writes these when it optimizes or quantizes a model: convert the one that it \
             was given"
        }
        "ai.onnx.ml" => {
            "these are trees, encoders and the like, which are no networks: convert the network \
             without them"
        }
        "ai.onnx.preview.training" => "export the model for inference",
        _ => "export with ONNX's own operators alone",
    };
    Error::unsupported(format!("its operator belongs to {domain:?}, not to ONNX's own operators"))
        .remedy(remedy)
}

fn is_random(name: &str) -> bool {
    name.starts_with("Random") || matches!(name, "Bernoulli" | "Multinomial")
}

/// The names of ONNX's own operators that are read.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().map(|operator| operator.name)
}

/// The table of operators as a page of documentation.
pub fn markdown() -> String {
    let mut page = format!(
        "# ONNX operators\n\n\
         Opsets {OLDEST_OPSET} to {NEWEST_OPSET} of ONNX's own operators are read. Whatever is not \
         in this table, and every attribute, input or used output that an operator's reader does \
         not know, is refused with the node's name.\n\n\
         Float tensors of 16 or 64 bits are computed in 32 bits, and the report says so; what \
         operators of 16 bits give is rounded to their type. Inputs of 64 bits are taken as 32 or \
         64 where 32 hold them, and such outputs are given as 32. Integers keep \
         their types; constants of floats of 4 and 8 bits and of integers of 2 and 4 are widened.\n\n\
         Models that are quantized already become float first: weights with their scales are made \
         floats, and what is quantized only to be made floats again keeps its range and loses its \
         steps. The settings of the conversion then say what is coded and how, and the report \
         counts both. Integers that something else reads are computed as specified.\n\n\
         Sizes may depend on data: what is chosen, and the numbers of shapes, bounds of slices, \
         repeats and borders that are computed. They are found when the model runs, and a negative \
         one is an error then.\n\n\
         LSTM, GRU and RNN that an exporter wrote as steps that follow each other, or as a loop, are \
         recognized by what they compute and become the layer, so that they stream and are quantized \
         like one; the report says so. Steps with clips, peepholes or masks stay as they are.\n\n\
         OnnxMLTools 1.16 writes trees and the like, which are refused by name; it hands Keras models to \
         tf2onnx, and its reader of Core ML networks cannot be imported.\n\n\
         | operator | since opset | limits |\n|---|---|---|\n"
    );
    // Writing to a string cannot fail.
    for Operator { name, since, limits, .. } in OPERATORS {
        let _ = writeln!(page, "| {name} | {since} | {limits} |");
    }
    page +=
        "\n## com.microsoft\n\nOf onnxruntime's own domain:\n\n| operator | limits |\n|---|---|\n";
    for Operator { name, limits, .. } in MICROSOFT {
        let _ = writeln!(page, "| {name} | {limits} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(OPERATORS.is_sorted_by(|a, b| a.name < b.name));
        assert!(MICROSOFT.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn the_page_of_operators_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operators.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap();
        assert_eq!(page, markdown(), "run the tests with UPDATE_DOCS=1 to write {path}");
    }

    #[test]
    fn what_is_not_supported_comes_with_advice() {
        for (name, advice) in
            [("RandomNormalLike", "an input"), ("TfIdfVectorizer", "amqc operators")]
        {
            let error = find("", name).err().unwrap();
            assert!(error.help().unwrap().contains(advice), "{name}: {error}");
        }
    }
}
