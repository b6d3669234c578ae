//! A module as text, a line an operator: what snapshots show.

use std::fmt;

use amq_format::Fact;
use amq_format::graph::{ABSENT, Graph, Port, Precision, ValueId};

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
            writeln!(
                f,
                "input %{}: {}",
                self.name(port.value),
                shown_port(port, fact(port.value))
            )?;
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
                node.op.as_ref().map_or("?".into(), |op| op.text())
            )?;
            for (i, &input) in node.inputs.iter().enumerate() {
                write!(f, "{} {}", if i > 0 { "," } else { "" }, self.shown_value(input))?;
            }
            for (i, &output) in node.outputs.iter().filter(|&&v| v != ABSENT).enumerate() {
                write!(f, "{} {}", if i > 0 { "," } else { " :" }, shown_fact(fact(output)))?;
            }
            writeln!(f, "  # {}", node.name)?;
            for body in &node.bodies {
                write_body(f, body, 1)?;
            }
        }
        for port in &self.graph.outputs {
            writeln!(
                f,
                "output %{}: {}",
                self.name(port.value),
                shown_port(port, fact(port.value))
            )?;
        }
        for state in &self.graph.states {
            writeln!(f, "state %{} <- %{}", self.name(state.input), self.name(state.output))?;
        }
        Ok(())
    }
}

/// A body, indented: its inputs, a line an operator without types, and its outputs.
fn write_body(f: &mut fmt::Formatter<'_>, body: &Graph, depth: usize) -> fmt::Result {
    let indent = "    ".repeat(depth);
    let names = |values: &mut dyn Iterator<Item = ValueId>| {
        let name = |value: ValueId| match value {
            ABSENT => "_".to_owned(),
            value => format!("%{}", body.values[value as usize]),
        };
        values.map(name).collect::<Vec<_>>().join(", ")
    };
    let inputs = names(&mut body.inputs.iter().map(|port| port.value));
    writeln!(f, "{indent}body {inputs}")?;
    for node in &body.nodes {
        let op = node.op.as_ref().map_or("?".into(), |op| op.text());
        let outputs = names(&mut node.outputs.iter().copied());
        let inputs = names(&mut node.inputs.iter().copied());
        writeln!(f, "{indent}{outputs} = {op} {inputs}  # {}", node.name)?;
        node.bodies.iter().try_for_each(|body| write_body(f, body, depth + 1))?;
    }
    writeln!(f, "{indent}gives {}", names(&mut body.outputs.iter().map(|port| port.value)))
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

fn shown_port(port: &Port, fact: Option<&Fact>) -> String {
    match port.precision() {
        Precision::F32 => shown_fact(fact),
        _ => format!("{} of {}", shown_fact(fact), port.type_name()),
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
