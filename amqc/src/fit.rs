//! The codes of each matrix that the plan has coded.

use crate::error::{Error, Result};
use crate::ir::Module;
use crate::plan::{Choice, Plan, Planned};
use crate::quant::{self, QuantizedMatrix};
use crate::tensor::Data;
use crate::weights::Weight;
use amq_format::graph::{BinaryFunction as B, Op, ValueId};
use amq_format::operator::Role;

/// The codes of a network's matrices.
#[derive(Debug)]
pub struct Fitted {
    /// Each constant that was coded: tied weights with the same settings are one.
    pub matrices: Vec<Matrix>,
    /// Of each entry of the plan, its place in `matrices`; none where it stays float.
    pub places: Vec<Option<usize>>,
}

/// A constant that was coded.
#[derive(Debug)]
pub struct Matrix {
    /// The constant.
    pub source: ValueId,
    /// How it was fitted.
    pub options: quant::Options,
    /// Its codes.
    pub codes: QuantizedMatrix,
}

impl Fitted {
    /// Fits the codes of every matrix; `progress` is told of each by name how many of its rows are
    /// done, of how many.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub fn new(
        module: &Module,
        plan: &Plan,
        progress: &(dyn Fn(&str, usize, usize) + Sync),
    ) -> Result<Fitted> {
        check_biases(module)?;
        let mut fitted = Fitted { matrices: Vec::new(), places: Vec::new() };
        for Planned { weight, choice } in &plan.matrices {
            let Data::F32(data) = &module.constants[&weight.value].data else {
                fitted.places.push(None);
                continue;
            };
            if matches!(choice, Choice::Codes { .. }) || !weight.is_table() {
                check_finite(weight, data)?;
            }
            let place = match choice {
                Choice::Float { .. } => None,
                Choice::Codes { fit, .. } => {
                    let same = |m: &Matrix| m.source == weight.value && m.options == *fit;
                    Some(fitted.matrices.iter().position(same).unwrap_or_else(|| {
                        let tell = |rows| progress(&weight.name, rows, weight.rows);
                        let codes = quant::quantize(data, weight.rows, weight.cols, fit, &tell);
                        let source = weight.value;
                        fitted.matrices.push(Matrix { source, options: *fit, codes });
                        fitted.matrices.len() - 1
                    }))
                }
            };
            fitted.places.push(place);
        }
        Ok(fitted)
    }
}

/// Biases are finite, and what is added to values or scales them is no NaN, be it a bias that stayed
/// a sum or not.
fn check_biases(module: &Module) -> Result<()> {
    for node in &module.graph.nodes {
        let slots = node.op.as_ref().map(|op| op.operator().slots()).unwrap_or_default();
        let biases = slots.iter().filter(|slot| matches!(slot.role, Role::Bias));
        let biases: Vec<usize> = biases.map(|slot| slot.input).collect();
        for (input, value) in node.inputs.iter().enumerate() {
            let Some(Data::F32(data)) = module.constants.get(value).map(|c| &c.data) else {
                continue;
            };
            let is_bad = |x: &f32| match &node.op {
                _ if biases.contains(&input) => !x.is_finite(),
                Some(Op::Binary(binary)) => {
                    let function = binary.function();
                    x.is_nan() && matches!(function, B::Add | B::Sub | B::Mul | B::Div)
                }
                _ => false,
            };
            if let Some(bad) = data.iter().position(is_bad) {
                let (node, value) = (&node.name, module.name(*value));
                return Err(Error::bad_file(format!(
                    "node {node:?}: element {bad} of {value:?} is {}",
                    data[bad]
                ))
                .remedy("the model is damaged, or its training diverged"));
            }
        }
    }
    Ok(())
}

/// Weights of products are finite; so are tables that are coded.
fn check_finite(weight: &Weight, data: &[f32]) -> Result<()> {
    let Some(bad) = data.iter().position(|w| !w.is_finite()) else { return Ok(()) };
    let remedy = match weight.is_table() {
        true => "if that is meant, keep the table in float with a recipe (bits: f32)",
        false => "the model is damaged, or its training diverged",
    };
    Err(Error::bad_file(format!("{}: weight {bad} is {}", weight.name, data[bad])).remedy(remedy))
}
