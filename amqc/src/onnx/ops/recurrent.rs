//! LSTM, GRU and RNN.

use amq_format::graph::{Cell, Direction, Op, Recurrent, Unary, UnaryFunction};

use crate::error::{Error, Result};
use crate::onnx::attrs::{FLOAT, Reader};
use crate::onnx::builder::Value;

/// Default functions of one direction.
fn defaults(cell: Cell) -> &'static [&'static str] {
    match cell {
        Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        Cell::Gru => &["Sigmoid", "Tanh"],
        Cell::Rnn => &["Tanh"],
    }
}

/// A function that a gate may use, and the defaults of its alpha and beta: `None` where it takes
/// none, `Some(None)` where it has to be given.
type Function = (&'static str, UnaryFunction, Option<Option<f32>>, Option<Option<f32>>);

/// ONNX defines no operators Affine and ScaledTanh any more, hence no defaults for their parameters.
const FUNCTIONS: [Function; 11] = [
    ("Relu", UnaryFunction::Relu, None, None),
    ("Tanh", UnaryFunction::Tanh, None, None),
    ("Sigmoid", UnaryFunction::Sigmoid, None, None),
    ("Affine", UnaryFunction::Affine, Some(None), Some(None)),
    ("LeakyRelu", UnaryFunction::LeakyRelu, Some(Some(0.01)), None),
    ("ThresholdedRelu", UnaryFunction::ThresholdedRelu, Some(Some(1.0)), None),
    ("ScaledTanh", UnaryFunction::ScaledTanh, Some(None), Some(None)),
    ("HardSigmoid", UnaryFunction::HardSigmoid, Some(Some(0.2)), Some(Some(0.5))),
    ("Elu", UnaryFunction::Elu, Some(Some(1.0)), None),
    ("Softsign", UnaryFunction::Softsign, None, None),
    ("Softplus", UnaryFunction::Softplus, None, None),
];

pub(in crate::onnx) fn lstm(r: &mut Reader<'_, '_>) -> Result<()> {
    let input_forget = r.flag("input_forget", false)?;
    layer(r, Recurrent { cell: Cell::Lstm.into(), input_forget, ..Recurrent::default() }, None)
}

pub(in crate::onnx) fn gru(r: &mut Reader<'_, '_>) -> Result<()> {
    let linear_before_reset = r.flag("linear_before_reset", false)?;
    layer(
        r,
        Recurrent { cell: Cell::Gru.into(), linear_before_reset, ..Recurrent::default() },
        None,
    )
}

pub(in crate::onnx) fn rnn(r: &mut Reader<'_, '_>) -> Result<()> {
    layer(r, Recurrent { cell: Cell::Rnn.into(), ..Recurrent::default() }, None)
}

/// A layer whose weights W and R are inputs 1 and 2, unless they are given.
pub(super) fn layer(
    r: &mut Reader<'_, '_>,
    mut op: Recurrent,
    weights: Option<[Value; 2]>,
) -> Result<()> {
    let cell = op.cell();
    if r.opset < 7 {
        // Y is there where somebody reads it.
        r.flag("output_sequence", false)?;
    }
    op.activations = FLOAT;
    op.recurrent_activations = FLOAT;
    let direction = match r.string("direction")?.unwrap_or("forward") {
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        "bidirectional" => Direction::Bidirectional,
        other => return Err(Error::bad_file(format!("direction {other:?}"))),
    };
    op.direction = direction.into();
    op.clip = r.float("clip")?;
    if let Some(clip) = op.clip.filter(|clip| clip.is_nan() || *clip <= 0.0) {
        return Err(Error::unsupported(format!("clip is {clip}; it has to be above 0")));
    }
    op.functions = functions(r, cell, direction)?;

    let batch_first = r.opset >= 14 && r.flag("layout", false)?;
    // X, W, R, B, sequence_lens, initial_h; for LSTM initial_c and P too.
    let count = if cell == Cell::Lstm { 8 } else { 6 };
    let mut inputs: Vec<_> = (0..count).map(|i| r.optional_input(i)).collect();
    for required in 0..3 {
        r.input(required)?;
    }
    if let Some([w, recurrence]) = weights {
        (inputs[1], inputs[2]) = (Some(w), Some(recurrence));
    }
    let recurrence = weights.map_or_else(|| r.input(2), |[_, recurrence]| Ok(recurrence))?;
    op.hidden_size = hidden_size(r, r.dims(recurrence).last().and_then(|d| d.as_size()))?;
    if batch_first {
        for (i, part) in [(0, "x"), (5, "initial_h"), (6, "initial_c")] {
            if let Some(Some(value)) = inputs.get(i).copied() {
                let perm: &[u32] = if r.rank(value) == 3 { &[1, 0, 2] } else { &[] };
                inputs[i] = Some(r.transpose(part, value, perm)?);
            }
        }
    }

    let count = if cell == Cell::Lstm { 3 } else { 2 };
    let wanted: Vec<bool> = (0..count).map(|i| r.wants(i)).collect();
    if !wanted.contains(&true) {
        return Ok(());
    }
    let outputs = r.emit_many("", Op::Recurrent(Box::new(op)), &inputs, &wanted)?;
    for (i, output) in outputs.into_iter().enumerate() {
        let Some(mut value) = output else { continue };
        if batch_first {
            let (part, perm): (_, &[u32]) =
                if i == 0 { ("y", &[2, 0, 1, 3]) } else { (["y_h", "y_c"][i - 1], &[1, 0, 2]) };
            value = r.transpose(part, value, perm)?;
        }
        r.give(i, value)?;
    }
    Ok(())
}

/// The hidden size: the attribute, which must agree with R's last axis where that is known.
fn hidden_size(r: &mut Reader<'_, '_>, from_weights: Option<i64>) -> Result<u64> {
    let size = match (r.int("hidden_size")?, from_weights) {
        (Some(size), Some(other)) if size != other => {
            return Err(Error::bad_file(format!("hidden_size is {size}, and R's is {other}")));
        }
        (Some(size), _) | (None, Some(size)) => size,
        (None, None) => return Err(Error::bad_file("hidden_size is missing")),
    };
    u64::try_from(size)
        .ok()
        .filter(|&size| size > 0)
        .ok_or_else(|| Error::bad_file(format!("hidden_size is {size}")))
}

fn functions(r: &mut Reader<'_, '_>, cell: Cell, direction: Direction) -> Result<Vec<Unary>> {
    let count = defaults(cell).len() * direction.count();
    let names = match r.strings("activations")? {
        Some(names) if names.len() == count => names,
        Some(names) => {
            return Err(Error::bad_file(format!(
                "{} activations are given, {count} are needed",
                names.len()
            )));
        }
        None => defaults(cell).repeat(direction.count()),
    };
    let alphas = r.floats("activation_alpha")?.unwrap_or_default();
    let betas = r.floats("activation_beta")?.unwrap_or_default();
    let (mut alpha, mut beta) = (alphas.iter(), betas.iter());
    let mut functions = Vec::with_capacity(count);
    for name in names {
        let (name, function, takes_alpha, takes_beta) = FUNCTIONS
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                let known = FUNCTIONS.map(|(known, ..)| known).join(", ");
                Error::unsupported(format!("activation {name:?} is not one of {known}"))
            })?;
        let parameter = |values: &mut std::slice::Iter<'_, f32>, takes, which| match takes {
            None => Ok(0.0),
            Some(default) => values.next().copied().or(default).ok_or_else(|| {
                Error::unsupported(format!("activation {name} has no {which}, and ONNX no default"))
                    .remedy(format!("give it in the attribute activation_{which}"))
            }),
        };
        let mut first = parameter(&mut alpha, *takes_alpha, "alpha")?;
        if *function == UnaryFunction::ThresholdedRelu {
            // In layers it passes x >= alpha, the operator of that name passes x > alpha.
            first = first.next_down();
        }
        functions.push(Unary {
            function: (*function).into(),
            // A file holds no negative zero here; the sum makes it positive.
            alpha: first + 0.0,
            beta: parameter(&mut beta, *takes_beta, "beta")? + 0.0,
        });
    }
    for (which, left, given) in [("alpha", alpha, alphas), ("beta", beta, betas)] {
        if left.len() > 0 {
            return Err(Error::unsupported(format!(
                "activation_{which} has {} values, and the activations take {}",
                given.len(),
                given.len() - left.len()
            ))
            .remedy("give values to those activations alone that take them, in order"));
        }
    }
    Ok(functions)
}
