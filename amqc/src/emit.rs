//! Puts the file together: the graph with its codes in place of the weights that they stand for.

use std::mem;

use amq_format::Draft;
use amq_format::graph::{self, ABSENT, MultiBit, Port, ValueId};
use amq_format::operator::Role;

use crate::fit::{Fitted, Matrix};
use crate::ir::{self, Module, Names, plain_tensor};
use crate::plan::{Choice, Plan};
use crate::table::Table;
use crate::tensor::{Data, Tensor};
use crate::weights::Weight;

/// The file's draft, without provenance.
pub(crate) fn emit(mut module: Module, plan: &Plan, fitted: &Fitted) -> Draft {
    let mut names = Names::of(&module);
    let mut values = Vec::with_capacity(fitted.matrices.len());
    for Matrix { source, options, .. } in &fitted.matrices {
        let name = format!("{}/{}bit", module.name(*source), options.bits);
        let name = names.unique(&name, '.');
        values.push(module.add_value(name));
    }
    for (planned, place) in plan.matrices.iter().zip(&fitted.places) {
        let (Choice::Codes { activations, .. }, Some(place)) = (&planned.choice, place) else {
            continue;
        };
        let weight = &planned.weight;
        let constant = &module.constants[&weight.value];
        let data_type = constant.data.data_type() as i32;
        let port = Port {
            value: values[*place],
            data_type,
            dims: constant.fact().dims,
            ..Port::default()
        };
        let node = ir::set_input(&mut module.graph, &weight.place, weight.slot.input, &port);
        let op = node.op.as_mut();
        if let Some(kind) = op.and_then(|op| op.activations_mut(weight.slot.input)) {
            *kind = *activations as i32;
        }
    }
    add_shifts(&mut module, &mut names, plan, fitted);
    ir::drop_unread(&mut module.graph);
    draft(module, &fitted.matrices, &values)
}

/// Adds what is to be added to the products' biases.
fn add_shifts(module: &mut Module, names: &mut Names, plan: &Plan, fitted: &Fitted) {
    for (planned, shift) in plan.matrices.iter().zip(&fitted.shifts) {
        if let Some(shift) = shift {
            correct_bias(module, names, &planned.weight, shift);
        }
    }
}

/// The network with corrected biases and with the activations of coded products, and the codes without what was added.
pub(crate) fn corrected(mut module: Module, plan: &Plan, fitted: &Fitted) -> (Module, Fitted) {
    let mut names = Names::of(&module);
    add_shifts(&mut module, &mut names, plan, fitted);
    for (planned, place) in plan.matrices.iter().zip(&fitted.places) {
        let (Choice::Codes { activations, .. }, Some(_)) = (&planned.choice, place) else {
            continue;
        };
        let (place, input) = (&planned.weight.place, planned.weight.slot.input);
        let node = module.graph.nodes.get_mut(place.node).filter(|_| place.is_outermost());
        let op = node.and_then(|node| node.op.as_mut());
        if let Some(kind) = op.and_then(|op| op.activations_mut(input)) {
            *kind = *activations as i32;
        }
    }
    let shifts = vec![None; fitted.shifts.len()];
    (module, Fitted { shifts, ..fitted.clone() })
}

/// Adds to the bias of a product, one for each row of its matrix; makes one where there is none.
fn correct_bias(module: &mut Module, names: &mut Names, weight: &Weight, shift: &[f64]) {
    let node = module.node(&weight.place);
    let slots = node.op.as_ref().map(|op| op.operator().slots()).unwrap_or_default();
    let Some(slot) = slots.iter().find(|slot| slot.role == Role::Bias) else { return };
    let input = slot.input;
    // A recurrent layer's holds for each direction that of W, then that of R.
    let (parts, part) = match weight.slot.suffix {
        Some("R") => (2, 1),
        Some(_) => (2, 0),
        None => (1, 0),
    };
    let length = weight.rows / weight.directions;
    // What bodies meet is not seen, so none is corrected.
    if !weight.place.is_outermost() {
        return;
    }
    let old = node.inputs.get(input).and_then(|value| module.constants.get(value));
    let mut bias = match old.map(|constant| &constant.data) {
        Some(Data::F32(bias)) => bias.clone(),
        _ => vec![0.0; parts * weight.rows],
    };
    let places = bias.chunks_exact_mut(length).skip(part).step_by(parts);
    for (bias, shift) in places.zip(shift.chunks_exact(length)) {
        for (bias, shift) in bias.iter_mut().zip(shift) {
            *bias = (f64::from(*bias) + shift) as f32;
        }
    }
    let dims = match parts {
        1 => vec![weight.rows],
        _ => vec![weight.directions, parts * length],
    };
    let name = names.unique(&format!("{}/bias", weight.name), '.');
    let value = module.add_constant(name, Tensor { dims, data: Data::F32(bias) });
    let inputs = &mut module.graph.nodes[weight.place.node].inputs;
    if inputs.len() <= input {
        inputs.resize(input + 1, ABSENT);
    }
    inputs[input] = value;
}

/// The graph and its data: plain constants that are still read, then those that are coded.
fn draft(mut module: Module, matrices: &[Matrix], values: &[ValueId]) -> Draft {
    let read = module.read();
    let coded = |(Matrix { source, codes, .. }, &value): (&Matrix, &ValueId)| graph::Tensor {
        multi_bit: Some(MultiBit {
            bits: u32::from(codes.bits),
            rows: codes.rows as u64,
            group: if codes.groups() > 1 { codes.group as u64 } else { 0 },
            coefficients: codes.coefficient_type as i32,
            offset: codes.offsets.is_some(),
        }),
        ..plain_tensor(value, &module.constants[source])
    };
    let coded: Vec<_> = matrices.iter().zip(values).map(coded).collect();
    let mut data = Vec::new();
    // Each goes when its bytes are there.
    for (value, constant) in mem::take(&mut module.constants) {
        if read.contains(&value) {
            module.graph.tensors.push(plain_tensor(value, &constant));
            data.push(constant.data.to_bytes());
        }
    }
    module.graph.tensors.extend(coded);
    data.extend(matrices.iter().map(|matrix| matrix.codes.section_bytes()));
    let (graph, _) = ir::compact(module.graph);
    Draft { graph, data, provenance: None }
}

/// A line for each tensor of a draft.
pub(crate) fn listing(draft: &Draft) -> String {
    let mut table = Table::new(&["tensor", "type", "shape", "bytes"], "lllr");
    for (tensor, data) in draft.graph.tensors.iter().zip(&draft.data) {
        let coded = tensor.multi_bit.as_ref().map(|coded| format!("{} bits", coded.bits));
        table.row(vec![
            draft.graph.values[tensor.value as usize].clone(),
            coded.unwrap_or_else(|| tensor.data_type().name().to_owned()),
            format!("{:?}", tensor.dims),
            data.len().to_string(),
        ]);
    }
    table.render()
}
