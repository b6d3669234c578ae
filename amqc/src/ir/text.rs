//! A module as text, a line an operator: what snapshots show.

use std::fmt;

use amq_format::Fact;
use amq_format::graph::{ABSENT, Dim, Op, Unary, UnaryFunction, ValueId};

use super::Module;
use crate::tensor::{Data, Tensor};

/// Elements that are shown of a constant.
const SHOWN: usize = 8;

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.facts().unwrap_or_default();
        let fact = |value: ValueId| facts.get(value as usize).and_then(Option::as_ref);
        for note in &self.notes {
            writeln!(f, "note {note}")?;
        }
        for port in &self.graph.inputs {
            writeln!(f, "input %{}: {}", self.name(port.value), shown_fact(fact(port.value)))?;
        }
        for (&value, constant) in &self.constants {
            writeln!(f, "constant %{}: {}", self.name(value), shown_constant(constant))?;
        }
        for node in &self.graph.nodes {
            let outputs: Vec<String> = node.outputs.iter().map(|&v| self.shown_value(v)).collect();
            write!(
                f,
                "{} = {}",
                outputs.join(", "),
                node.op.as_ref().map_or("?".into(), shown_op)
            )?;
            for (i, &input) in node.inputs.iter().enumerate() {
                write!(f, "{} {}", if i > 0 { "," } else { "" }, self.shown_value(input))?;
            }
            for (i, &output) in node.outputs.iter().filter(|&&v| v != ABSENT).enumerate() {
                write!(f, "{} {}", if i > 0 { "," } else { " :" }, shown_fact(fact(output)))?;
            }
            writeln!(f, "  # {}", node.name)?;
        }
        for port in &self.graph.outputs {
            writeln!(f, "output %{}: {}", self.name(port.value), shown_fact(fact(port.value)))?;
        }
        Ok(())
    }
}

impl Module {
    fn shown_value(&self, value: ValueId) -> String {
        if value == ABSENT { "_".to_owned() } else { format!("%{}", self.name(value)) }
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn shown_fact(fact: Option<&Fact>) -> String {
    match fact {
        Some(fact) => format!("{}[{}]", fact.data_type.name(), list(&fact.dims)),
        None => "?".to_owned(),
    }
}

fn shown_constant(constant: &Tensor) -> String {
    let elements = match &constant.data {
        data if data.len() > SHOWN => None,
        Data::F32(data) => Some(list(data)),
        data => data.integers().map(|integers| list(&integers)),
    };
    let fact = shown_fact(Some(&constant.fact()));
    match elements {
        Some(elements) => format!("{fact} = {elements}"),
        None => fact,
    }
}

/// A function of one element, with the parameters that it has.
fn shown_unary(unary: &Unary) -> String {
    use UnaryFunction as F;
    let function = unary.function();
    match function {
        F::LeakyRelu | F::ThresholdedRelu | F::Elu | F::Celu => {
            format!("{function:?}({})", unary.alpha)
        }
        F::Selu | F::HardSigmoid | F::ScaledTanh | F::Affine | F::Clip => {
            format!("{function:?}({}, {})", unary.alpha, unary.beta)
        }
        _ => format!("{function:?}"),
    }
}

fn shown_op(op: &Op) -> String {
    let dims = |dims: &[Dim]| format!("[{}]", list(dims));
    match op {
        Op::Linear(op) => format!("Linear({})", op.activations().name()),
        Op::MatMul(_) => "MatMul".to_owned(),
        Op::Conv(op) => format!(
            "Conv(strides {:?}, dilations {:?}, pads {:?}, {:?}, groups {}, {})",
            op.strides,
            op.dilations,
            op.pads,
            op.auto_pad(),
            op.groups,
            op.activations().name()
        ),
        Op::Pool(op) => format!(
            "{:?}Pool(kernel {:?}, strides {:?}, dilations {:?}, pads {:?}, {:?}{}{})",
            op.kind(),
            op.kernel,
            op.strides,
            op.dilations,
            op.pads,
            op.auto_pad(),
            if op.ceil_mode { ", ceil_mode" } else { "" },
            if op.count_include_pad { ", count_include_pad" } else { "" }
        ),
        Op::Recurrent(op) => {
            let functions: Vec<String> = op.functions.iter().map(shown_unary).collect();
            format!(
                "{:?}({}, {:?}, {}{}{}{}, {})",
                op.cell(),
                op.hidden_size,
                op.direction(),
                functions.join(" "),
                op.clip.map_or(String::new(), |clip| format!(", clip {clip}")),
                if op.input_forget { ", input_forget" } else { "" },
                if op.linear_before_reset { ", linear_before_reset" } else { "" },
                op.activations().name()
            )
        }
        Op::Gather(op) => format!("Gather({})", op.axis),
        Op::Unary(op) => shown_unary(op),
        Op::Binary(op) => format!("{:?}", op.function()),
        Op::Select(_) => "Select".to_owned(),
        Op::Reduce(op) => format!(
            "Reduce{:?}({:?}{})",
            op.kind(),
            op.axes,
            if op.keep_dims { ", keep_dims" } else { "" }
        ),
        Op::Softmax(op) => format!("{}Softmax({})", if op.log { "Log" } else { "" }, op.axis),
        Op::Concat(op) => format!("Concat({})", op.axis),
        Op::Slice(op) => {
            let bounds = op.axes.iter().zip(&op.starts).zip(&op.ends).zip(&op.steps);
            let bounds: Vec<String> = bounds
                .map(|(((axis, start), end), step)| format!("{axis}: {start}..{end} by {step}"))
                .collect();
            format!("Slice({})", bounds.join(", "))
        }
        Op::Reshape(op) => format!("Reshape({})", dims(&op.dims)),
        Op::Transpose(op) => format!("Transpose({:?})", op.perm),
        Op::Pad(op) => format!("Pad({:?}, {}, {})", op.mode(), dims(&op.begins), dims(&op.ends)),
        Op::Expand(op) => format!("Expand({})", dims(&op.dims)),
        Op::Cast(op) => format!("Cast({})", op.to().name()),
        Op::Dims(op) => format!("Dims({})", dims(&op.dims)),
    }
}
