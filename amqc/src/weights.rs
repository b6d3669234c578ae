//! The weights of a network: which constants are matrices that can be coded, by node, gate and use,
//! and which stay floats whatever is asked for.

use std::collections::BTreeSet;
use std::fmt;

use amq_format::graph::{Cell, Node, Op, ValueId};
use amq_format::operator::{Role, Slot};
use amq_runtime::Part;

use crate::error::Result;
use crate::ir::{Module, Outermost, Place, visit};
use crate::table::Table;
use crate::tensor::Data;

/// A constant that a node multiplies by, or a table whose rows it looks up.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Name of the node, with `.W` or `.R` for one matrix of a recurrent layer.
    pub name: String,
    /// The node's operator or cell, as people read it.
    pub op: &'static str,
    /// Where the node stands.
    pub place: Place,
    /// Its input.
    pub slot: Slot,
    /// The constant.
    pub value: ValueId,
    /// Rows of the matrix, each of which is coded by itself.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Of a recurrent layer, its directions, each of which has as many of the rows; else 1.
    pub directions: usize,
}

impl Weight {
    /// Whether rows are looked up, not multiplied with.
    pub fn is_table(&self) -> bool {
        matches!(self.slot.role, Role::Table { .. })
    }

    /// The direction of which a part of its node's products is this matrix's; none where it is another's.
    pub(crate) fn direction(&self, part: Part) -> Option<usize> {
        match (part, self.slot.suffix) {
            (Part::W, None) => Some(0),
            (Part::Input { direction }, Some("W")) => Some(direction),
            (Part::Recurrent { direction }, Some("R")) => Some(direction),
            _ => None,
        }
    }
}

/// A constant of floats with more than one axis that cannot be coded.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// Name of the node that reads it, and its own.
    pub name: String,
    /// The node's operator.
    pub op: &'static str,
    /// Its elements by the last axis.
    pub rows: usize,
    /// Its last axis.
    pub cols: usize,
    /// Why it stays float.
    pub why: &'static str,
}

/// The weights of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// What can be coded, in the order of the nodes that read it.
    pub matrices: Vec<Weight>,
    /// What cannot.
    pub others: Vec<Other>,
}

impl Weights {
    /// Finds the weights of a network that has been simplified.
    ///
    /// # Errors
    /// A weight is computed from the graph's inputs.
    pub fn find(module: &Module) -> Result<Weights> {
        module.check_weights()?;
        let mut weights = Weights::default();
        visit(&module.graph, &mut |place, node, outermost| {
            weights.matrices.extend(matrices(module, place, node, outermost));
        });
        weights.others = others(module, &weights.matrices);
        Ok(weights)
    }
}

fn matrices(module: &Module, place: &Place, node: &Node, outermost: &Outermost<'_>) -> Vec<Weight> {
    let slots = node.op.as_ref().map(|op| op.operator().slots()).unwrap_or_default();
    let weight = |slot: Slot| {
        let lead = slot.rows()?;
        let value = outermost(*node.inputs.get(slot.input)?);
        let constant = module.constants.get(&value)?;
        let is_table = matches!(slot.role, Role::Table { .. });
        if !matches!(&constant.data, Data::F32(_)) || is_table && constant.dims.len() != lead + 1 {
            return None;
        }
        let rows: usize = constant.dims.iter().take(lead).product();
        let cols = constant.data.len().checked_div(rows).filter(|&cols| cols > 0)?;
        let suffix = slot.suffix.map(|suffix| format!(".{suffix}")).unwrap_or_default();
        let name = format!("{}{suffix}", node.name);
        let directions = match &node.op {
            Some(Op::Recurrent(layer)) => layer.direction().count(),
            _ => 1,
        };
        let place = place.clone();
        Some(Weight { name, op: op_name(node), place, slot, value, rows, cols, directions })
    };
    slots.into_iter().filter_map(weight).collect()
}

fn others(module: &Module, matrices: &[Weight]) -> Vec<Other> {
    let mut seen: BTreeSet<ValueId> = matrices.iter().map(|weight| weight.value).collect();
    let mut others = Vec::new();
    visit(&module.graph, &mut |_, node, outermost| {
        let slots = node.op.as_ref().map(|op| op.operator().slots()).unwrap_or_default();
        // What a body gets is seen where the body uses it.
        let own = match (&node.op, node.bodies.is_empty()) {
            (Some(op), false) => op.operator().arity().captures.first,
            _ => node.inputs.len(),
        };
        for (input, &value) in node.inputs.iter().enumerate().take(own) {
            let value = outermost(value);
            let Some(constant) = module.constants.get(&value) else { continue };
            let wide = constant.dims.iter().filter(|&&dim| dim > 1).count() > 1;
            let bias = slots.iter().any(|slot| slot.input == input && slot.role == Role::Bias);
            let (Data::F32(data), Some(&cols)) = (&constant.data, constant.dims.last()) else {
                continue;
            };
            if !wide || bias || !seen.insert(value) {
                continue;
            }
            others.push(Other {
                name: format!("{}: {}", node.name, module.name(value)),
                op: op_name(node),
                rows: data.len() / cols.max(1),
                cols,
                why: match &node.op {
                    Some(Op::MatMul(_)) => "a stack of matrices, not one",
                    Some(Op::Gather(_)) => "not a table of rows",
                    _ => "not a matrix that is multiplied by",
                },
            });
        }
    });
    others
}

/// Name of a node's operator or cell, as people read it.
pub(crate) fn op_name(node: &Node) -> &'static str {
    match &node.op {
        Some(Op::Recurrent(layer)) => match layer.cell() {
            Cell::Lstm => "LSTM",
            Cell::Gru => "GRU",
            Cell::Rnn => "RNN",
        },
        Some(op) => op.name(),
        None => "",
    }
}

impl fmt::Display for Weights {
    /// A line a matrix, then what stays float.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["layer", "op", "shape", "use"], "llrl");
        for weight in &self.matrices {
            let shape = format!("{}x{}", weight.rows, weight.cols);
            let what = if weight.is_table() { "table" } else { "product" };
            table.row(vec![weight.name.clone(), weight.op.into(), shape, what.into()]);
        }
        for other in &self.others {
            let shape = format!("{}x{}", other.rows, other.cols);
            table.row(vec![other.name.clone(), other.op.into(), shape, other.why.into()]);
        }
        f.write_str(&table.render())
    }
}
