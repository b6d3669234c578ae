//! Writing ONNX: from an `.amq` file to a float model that other tools open.
//!
//! Weights are what their codes stand for, exactly. Activations are not coded there, for ONNX has no such
//! operator; so answers differ from those of the file by what coded activations lose.

mod attribute;
mod dims;
mod message;
mod node;
mod recurrent;
#[cfg(test)]
mod tests;
mod window;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amq_format::graph::{ABSENT, Activations, Op};
use amq_format::{TensorView, Validated};
use prost::Message;

use crate::error::{Error, Result};
use crate::ir::Module;
use crate::tensor::{Data, Tensor};
use message::{Graph, Model, OperatorSet};
use writer::Writer;

/// The version of ONNX's operators that is written, and the oldest version of its files that has it.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 9;

/// A model that was written as ONNX.
#[derive(Debug)]
pub struct Exported {
    /// The file.
    pub bytes: Vec<u8>,
    /// What it does not say, or says otherwise.
    pub notes: Vec<String>,
}

/// The network of a file as an ONNX model in float.
///
/// # Errors
/// Operators that ONNX has no counterpart for, by name, and more bytes than protobuf takes.
pub fn export(file: &Validated<'_>) -> Result<Exported> {
    let module = module(file);
    let mut writer = Writer::new(&module)?;
    let mut missing = BTreeSet::new();
    for node in &module.graph.nodes {
        if let Err(why) = node::write(&mut writer, node) {
            let op = node.op.as_ref().map_or("", Op::name);
            missing.insert(format!("{:?} ({op}: {why})", node.name));
        }
    }
    if !missing.is_empty() {
        let list: Vec<String> = missing.into_iter().collect();
        return Err(Error::unsupported(format!("no ONNX is written for {}", list.join(", "))));
    }
    let (inputs, outputs) = (writer.inputs(), writer.outputs());
    let (nodes, initializers) = writer.finish();
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "amqc".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(Graph { nodes, name: "amq".to_owned(), initializers, inputs, outputs }),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
    };
    if model.encoded_len() > i32::MAX as usize {
        return Err(Error::unsupported(format!(
            "the ONNX model would have {} bytes, more than a protobuf message may",
            model.encoded_len()
        )));
    }
    Ok(Exported { bytes: model.encode_to_vec(), notes: notes(&module) })
}

/// The graph with its constants, those that are coded as what their codes stand for.
fn module(file: &Validated<'_>) -> Module {
    let graph = file.graph().clone();
    let mut constants = BTreeMap::new();
    for (index, tensor) in graph.tensors.iter().enumerate() {
        let view = file.tensor(index);
        let dims = view.dims().to_vec();
        let data = match &view {
            TensorView::MultiBit(codes) => {
                let mut weights = vec![0.0; codes.rows * codes.cols];
                for (row, to) in weights.chunks_exact_mut(codes.cols.max(1)).enumerate() {
                    codes.decode_row(row, to);
                }
                Data::F32(weights)
            }
            TensorView::Plain(plain) => Data::of_bytes(plain.data_type, plain.bytes),
        };
        constants.insert(tensor.value, Arc::new(Tensor { dims, data }));
    }
    Module { graph, constants, ..Module::default() }
}

fn notes(module: &Module) -> Vec<String> {
    let mut notes = Vec::new();
    let coded = |activations: Activations| activations != Activations::F32;
    let is_coded = module.graph.nodes.iter().any(|node| match &node.op {
        Some(Op::Linear(op)) => coded(op.activations()),
        Some(Op::Conv(op)) => coded(op.activations()),
        Some(Op::Recurrent(op)) => coded(op.activations()) || coded(op.recurrent_activations()),
        _ => false,
    });
    if is_coded {
        notes.push(
            "activations are float in the ONNX model: its answers are those of the weights alone"
                .to_owned(),
        );
    }
    for state in module.graph.states.iter().filter(|state| state.initial != ABSENT) {
        let name = module.name(state.initial);
        notes.push(format!(
            "the state {:?} begins with {name:?} in the file; ONNX has no states, so the caller gives it",
            state.name
        ));
    }
    notes
}
