//! Quantizes the weights of a finished graph and puts the file together.

use std::collections::{BTreeMap, BTreeSet};

use amq_format::graph::{self, ABSENT, Activations, MultiBit, Node, Op, Recurrent, ValueId};
use amq_format::{Draft, multi_bit_bytes};

use crate::error::{Error, Result};
use crate::ir::{Module, Names};
use crate::options::Resolver;
use crate::passes;
use crate::quant::{self, QuantizedMatrix};
use crate::report::{Coding, Layer};
use crate::settings::{Bits, Settings};
use crate::tensor::{Data, Tensor};

/// A constant that a node multiplies by.
struct Weight {
    node: usize,
    slot: usize,
    /// Which matrix of a recurrent layer it is: `W` or `R`.
    suffix: Option<&'static str>,
    rows: usize,
    cols: usize,
}

/// A constant that was quantized: tied weights with the same settings are one.
struct Quantized {
    source: ValueId,
    options: quant::Options,
    value: ValueId,
    matrix: QuantizedMatrix,
}

/// Quantizes what the resolver says and gives the file's draft, without provenance, and a line of
/// the report for each weight. `progress` is told of each weight how many of its rows are done.
///
/// # Errors
/// Weights that are not constants or not finite, settings that have no kernel, and patterns that
/// match nothing.
pub(crate) fn emit(
    mut module: Module,
    mut resolver: Resolver<'_>,
    progress: &(dyn Fn(&str, usize, usize) + Sync),
) -> Result<(Draft, Vec<Layer>)> {
    module.check_weights()?;
    let mut chosen = Vec::new();
    for weight in find_weights(&module) {
        let settings = resolver.settings(&module.graph.nodes[weight.node].name, weight.suffix)?;
        chosen.push((weight, settings));
    }
    // Before any matrix is fitted: that can take long.
    resolver.finish()?;
    settle_activations(&mut module, &chosen)?;

    let mut layers = Vec::new();
    let mut quantized: Vec<Quantized> = Vec::new();
    let mut replaced = Vec::new();
    for (weight, settings) in &chosen {
        let source = source(&module, weight);
        let Data::F32(data) = &module.constants[&source].data else { continue };
        let name = name_of(&module, weight);
        let bytes_before = 4 * data.len() as u64;
        let how = quantizable(weight, settings);
        let is_table = matches!(&module.graph.nodes[weight.node].op, Some(Op::Gather(_)));
        if how.is_ok() || !is_table {
            check_finite(&name, data, is_table)?;
        }
        let (coding, bytes_after) = match how {
            Err(kept_float) => (Coding::Float { kept_float }, bytes_before),
            Ok(options) => {
                let same = |q: &Quantized| q.source == source && q.options == options;
                let index = quantized.iter().position(same).unwrap_or_else(|| {
                    let tell = |rows| progress(&name, rows, weight.rows);
                    let matrix = quant::quantize(data, weight.rows, weight.cols, &options, &tell);
                    quantized.push(Quantized { source, options, value: ABSENT, matrix });
                    quantized.len() - 1
                });
                replaced.push((weight, index));
                let matrix = &quantized[index].matrix;
                let coding = Coding::MultiBit {
                    bits: options.bits,
                    activations: activations(&module.graph.nodes[weight.node], settings).into(),
                    method: options.method.name().into(),
                    relative_mse: matrix.relative_mse(data),
                };
                (coding, matrix.section_bytes().len() as u64)
            }
        };
        layers.push(Layer {
            name,
            op: op_name(&module.graph.nodes[weight.node]).into(),
            rows: weight.rows as u64,
            cols: weight.cols as u64,
            coding,
            bytes_before,
            bytes_after,
        });
    }
    layers.extend(other_floats(&module, &chosen));

    let mut names = Names::of(&module);
    for q in &mut quantized {
        let name = format!("{}/{}bit", module.graph.values[q.source as usize], q.options.bits);
        let name = names.unique(&name, '.');
        q.value = module.add_value(name);
    }
    for (weight, index) in replaced {
        module.graph.nodes[weight.node].inputs[weight.slot] = quantized[index].value;
    }
    Ok((draft(module, &quantized), layers))
}

/// Weights of products are finite; so are tables that are coded.
fn check_finite(name: &str, weights: &[f32], is_table: bool) -> Result<()> {
    let Some(bad) = weights.iter().position(|w| !w.is_finite()) else { return Ok(()) };
    let remedy = match is_table {
        true => "if that is meant, keep the table in float with a recipe (bits: f32)",
        false => "the model is damaged, or its training diverged",
    };
    Err(Error::bad_file(format!("{name}: weight {bad} is {}", weights[bad])).remedy(remedy))
}

/// How activations enter the product with a quantized weight of `node`; tables are decoded.
fn activations(node: &Node, settings: &Settings) -> &'static str {
    match node.op {
        Some(Op::Gather(_)) => Activations::F32.name(),
        _ => settings.activations.name(),
    }
}

/// The constant that `weight` is.
fn source(module: &Module, weight: &Weight) -> ValueId {
    module.graph.nodes[weight.node].inputs[weight.slot]
}

fn name_of(module: &Module, weight: &Weight) -> String {
    let node = &module.graph.nodes[weight.node].name;
    weight.suffix.map_or_else(|| node.clone(), |suffix| format!("{node}.{suffix}"))
}

/// Name of a node's operator or cell, as people read it.
pub(crate) fn op_name(node: &Node) -> &'static str {
    match &node.op {
        Some(Op::Recurrent(layer)) => match layer.cell() {
            graph::Cell::Lstm => "LSTM",
            graph::Cell::Gru => "GRU",
            graph::Cell::Rnn => "RNN",
        },
        Some(op) => op.name(),
        None => "",
    }
}

fn find_weights(module: &Module) -> Vec<Weight> {
    let mut weights = Vec::new();
    for (index, node) in module.graph.nodes.iter().enumerate() {
        let slots: &[(usize, Option<&'static str>)] = match &node.op {
            Some(Op::Linear(_) | Op::Conv(_)) => &[(1, None)],
            Some(Op::Recurrent(_)) => &[(1, Some("W")), (2, Some("R"))],
            Some(Op::Gather(gather)) if gather.axis == 0 => &[(0, None)],
            _ => &[],
        };
        for &(slot, suffix) in slots {
            let Some(constant) = module.constants.get(&node.inputs[slot]) else { continue };
            let is_table = matches!(&node.op, Some(Op::Gather(_)));
            if !matches!(&constant.data, Data::F32(_)) || (is_table && constant.dims.len() != 2) {
                continue;
            }
            let rows: usize = match &node.op {
                Some(Op::Recurrent(_)) => constant.dims.iter().take(2).product(),
                _ => constant.dims[0],
            };
            let elements: usize = constant.dims.iter().product();
            if elements > 0 {
                weights.push(Weight { node: index, slot, suffix, rows, cols: elements / rows });
            }
        }
    }
    weights
}

/// How to quantize a weight, or why it stays float.
fn quantizable(weight: &Weight, settings: &Settings) -> Result<quant::Options, String> {
    let Bits::Codes(bits) = settings.bits else { return Err("asked for".into()) };
    // Counted with coefficients of 32 bits: whether 16 suffice is known only afterwards.
    let (rows, cols) = (weight.rows as u64, weight.cols as u64);
    let after = multi_bit_bytes(rows, cols, bits.into(), 1, 4, false);
    let before = 4 * rows * cols;
    let after = after.unwrap_or(u64::MAX);
    if after >= before {
        return Err(format!("{bits} bits would take {after} bytes, not fewer than {before}"));
    }
    Ok(quant::Options { bits, method: settings.method, cycles: settings.cycles })
}

/// Sets how activations enter each product, which is one for all of a layer's matrices.
fn settle_activations(module: &mut Module, chosen: &[(Weight, Settings)]) -> Result<()> {
    let mut settled: BTreeMap<usize, Activations> = BTreeMap::new();
    for (weight, settings) in chosen {
        if quantizable(weight, settings).is_err() {
            continue;
        }
        let activations = settings.activations;
        let node = &mut module.graph.nodes[weight.node];
        if matches!(&node.op, Some(Op::Gather(_))) {
            continue;
        }
        if *settled.entry(weight.node).or_insert(activations) != activations {
            return Err(Error::usage(format!(
                "{}: the recipe gives .W and .R different activations",
                node.name
            ))
            .remedy("a layer has one kind of activations: give both the same"));
        }
        match &mut node.op {
            Some(Op::Linear(linear)) => linear.set_activations(activations),
            Some(Op::Conv(conv)) => conv.set_activations(activations),
            Some(Op::Recurrent(layer)) => Recurrent::set_activations(layer, activations),
            _ => {}
        }
    }
    Ok(())
}

/// Constants with more than one axis that stay float because nothing multiplies by their rows.
fn other_floats<'a>(
    module: &'a Module,
    chosen: &'a [(Weight, Settings)],
) -> impl Iterator<Item = Layer> + 'a {
    let covered: BTreeSet<_> = chosen.iter().map(|(weight, _)| source(module, weight)).collect();
    let mut seen = BTreeSet::new();
    let reads = module.graph.nodes.iter().flat_map(|node| {
        node.inputs.iter().enumerate().map(move |(slot, &value)| (node, slot, value))
    });
    reads.filter_map(move |(node, slot, value)| {
        let constant = module.constants.get(&value)?;
        let wide = constant.dims.iter().filter(|&&dim| dim > 1).count() > 1;
        let bias = matches!((&node.op, slot), (Some(Op::Recurrent(_)), 3 | 7));
        if !wide || bias || covered.contains(&value) || !seen.insert(value) {
            return None;
        }
        let Data::F32(data) = &constant.data else { return None };
        let cols = *constant.dims.last()?;
        let kept_float = match &node.op {
            Some(Op::MatMul(_)) => "a stack of matrices, not one",
            Some(Op::Gather(_)) => "not a table of rows",
            _ => "not a matrix that is multiplied by",
        };
        let bytes = 4 * data.len() as u64;
        Some(Layer {
            name: format!("{}: {}", node.name, module.graph.values[value as usize]),
            op: op_name(node).into(),
            rows: (data.len() / cols.max(1)) as u64,
            cols: cols as u64,
            coding: Coding::Float { kept_float: kept_float.into() },
            bytes_before: bytes,
            bytes_after: bytes,
        })
    })
}

/// The graph and its data: plain constants that are still read, then quantized ones.
fn draft(mut module: Module, quantized: &[Quantized]) -> Draft {
    let read = passes::read(&module);
    let mut data = Vec::new();
    for (&value, constant) in module.constants.iter().filter(|(value, _)| read.contains(value)) {
        module.graph.tensors.push(plain_tensor(value, constant));
        data.push(constant.data.to_bytes());
    }
    for Quantized { source, value, matrix, .. } in quantized {
        module.graph.tensors.push(graph::Tensor {
            multi_bit: Some(MultiBit {
                bits: u32::from(matrix.bits),
                rows: matrix.rows as u64,
                group: 0,
                coefficients: matrix.coefficient_type as i32,
                offset: false,
            }),
            ..plain_tensor(*value, &module.constants[source])
        });
        data.push(matrix.section_bytes());
    }
    let (graph, _) = crate::ir::compact(module.graph);
    Draft { graph, data, provenance: None }
}

/// The description of a constant that is stored as it is.
pub(crate) fn plain_tensor(value: ValueId, constant: &Tensor) -> graph::Tensor {
    graph::Tensor {
        value,
        data_type: constant.data.data_type() as i32,
        dims: constant.dims.iter().map(|&dim| dim as u64).collect(),
        section: 0,
        multi_bit: None,
    }
}
