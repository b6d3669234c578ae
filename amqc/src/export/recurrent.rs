//! LSTM, GRU and RNN.

use amq_format::graph::{ABSENT, Cell, Direction, Node, Recurrent, Unary, UnaryFunction as F};

use super::attribute::{float, floats, int, string, strings};
use super::writer::Writer;

/// A gate's function: its name, and its parameters as far as ONNX has them.
fn function(unary: &Unary) -> Result<(&'static str, Option<f32>, Option<f32>), String> {
    let Unary { alpha, beta, .. } = *unary;
    Ok(match unary.function() {
        F::Sigmoid => ("Sigmoid", None, None),
        F::Tanh => ("Tanh", None, None),
        F::Relu => ("Relu", None, None),
        F::Affine => ("Affine", Some(alpha), Some(beta)),
        F::LeakyRelu => ("LeakyRelu", Some(alpha), None),
        F::ThresholdedRelu => ("ThresholdedRelu", Some(alpha), None),
        F::ScaledTanh => ("ScaledTanh", Some(alpha), Some(beta)),
        F::HardSigmoid => ("HardSigmoid", Some(alpha), Some(beta)),
        F::Elu => ("Elu", Some(alpha), None),
        F::Softsign => ("Softsign", None, None),
        F::Softplus => ("Softplus", None, None),
        other => return Err(format!("no gate of ONNX's has {other:?}")),
    })
}

pub(super) fn layer(writer: &mut Writer<'_>, node: &Node, op: &Recurrent) -> Result<(), String> {
    let name = match op.cell() {
        Cell::Lstm => "LSTM",
        Cell::Gru => "GRU",
        Cell::Rnn => "RNN",
    };
    let direction = match op.direction() {
        Direction::Forward => "forward",
        Direction::Reverse => "reverse",
        Direction::Bidirectional => "bidirectional",
    };
    let functions: Vec<_> = op.functions.iter().map(function).collect::<Result<_, _>>()?;
    let names: Vec<&str> = functions.iter().map(|(name, ..)| *name).collect();
    let mut attributes = vec![
        int("hidden_size", op.hidden_size as i64),
        string("direction", direction),
        strings("activations", &names),
    ];
    // Those of the functions that have one, in their order.
    let alphas: Vec<f32> = functions.iter().filter_map(|(_, alpha, _)| *alpha).collect();
    let betas: Vec<f32> = functions.iter().filter_map(|(.., beta)| *beta).collect();
    for (name, values) in [("activation_alpha", alphas), ("activation_beta", betas)] {
        if !values.is_empty() {
            attributes.push(floats(name, values));
        }
    }
    if let Some(clip) = op.clip {
        attributes.push(float("clip", clip));
    }
    match op.cell() {
        Cell::Lstm if op.input_forget => attributes.push(int("input_forget", 1)),
        Cell::Gru if op.linear_before_reset => attributes.push(int("linear_before_reset", 1)),
        _ => {}
    }
    let inputs = node.inputs.iter().map(|&value| writer.value(value)).collect();
    let outputs = node.outputs.iter();
    let outputs = outputs.map(|&value| match value {
        ABSENT => String::new(),
        _ => writer.module.name(value).to_owned(),
    });
    let outputs = outputs.collect();
    writer.node(name, inputs, outputs, attributes);
    Ok(())
}
