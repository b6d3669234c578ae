//! A network in training: forward, and the gradients back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use amq_format::Fact;
use amq_format::graph::{ABSENT, DataType, Node, Op, ValueId};

use super::dropout::Dropout;
use super::layers::{Layer, Maker, has_gradient};
use super::params::Params;
use crate::error::{Error, Result};
use crate::ir::{Module, fact, settle};
use crate::tensor::{Data, Tensor};

/// Gradients of a loss by values of a network.
pub(super) type ByValues = Vec<(ValueId, Vec<f32>)>;

/// Which nodes gradients go through.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// The nodes whose weights are trained.
    nodes: Range<usize>,
    /// Types and shapes of the network's values.
    facts: Vec<Option<Fact>>,
    /// Values that depend on what is trained.
    active: BTreeSet<ValueId>,
    /// By node.
    through: Vec<bool>,
}

impl Route {
    /// From what is trained, in these nodes, to the values that a loss is of.
    ///
    /// # Errors
    /// Nodes on the way that have no gradient, and a loss that does not depend on anything that is trained.
    pub(super) fn new(
        module: &Module,
        range: Range<usize>,
        params: &Params,
        outputs: &[ValueId],
    ) -> Result<Route> {
        let facts = module.facts()?;
        let nodes = &module.graph.nodes;
        let is_float =
            |value: ValueId| fact(&facts, value).is_some_and(|f| f.data_type == DataType::F32);
        let trained = |index: usize, node: &Node| {
            (0..node.inputs.len()).any(|input| params.is_own(index, input))
        };
        let mut active = BTreeSet::new();
        for (index, node) in nodes.iter().enumerate() {
            if trained(index, node) || node.inputs.iter().any(|value| active.contains(value)) {
                active.extend(node.outputs.iter().copied().filter(|&v| v != ABSENT && is_float(v)));
            }
        }
        let mut wanted: BTreeSet<ValueId> = outputs.iter().copied().collect();
        let mut through = vec![false; nodes.len()];
        let mut missing = BTreeSet::new();
        for (index, node) in nodes.iter().enumerate().rev() {
            let asked = node.outputs.iter().any(|v| wanted.contains(v) && active.contains(v));
            if !asked {
                continue;
            }
            through[index] = true;
            let table = params.place(index, 0).is_some();
            match &node.op {
                Some(op) if has_gradient(op, table) => wanted.extend(&node.inputs),
                op => {
                    let op = op.as_ref().map_or("", Op::name);
                    missing.insert(format!("{:?} ({op})", node.name));
                }
            }
        }
        if !missing.is_empty() {
            let list: Vec<String> = missing.into_iter().collect();
            return Err(Error::unsupported(format!(
                "tune cannot train through {}",
                list.join(", ")
            ))
            .remedy("convert with --calib fits the codes without training"));
        }
        if !through.contains(&true) {
            return Err(Error::unsupported("no weight that can be trained lies before the loss"));
        }
        Ok(Route { nodes: range, facts, active, through })
    }
}

/// Shapes of inputs that layers are kept for.
const MOST_SHAPES: usize = 8;

/// The shapes of inputs.
type Shapes = Vec<(ValueId, Vec<usize>)>;

/// The layers of a network for inputs of one shape.
type Layers = Vec<Option<Box<dyn Layer>>>;

/// What the nodes that are trained need of a call.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    shapes: Shapes,
    values: Vec<(ValueId, Tensor)>,
    sizes: BTreeMap<String, i64>,
}

impl Entry {
    /// Elements of its values.
    pub(super) fn elements(&self) -> usize {
        self.values.iter().map(|(_, tensor)| tensor.data.len()).sum()
    }
}

/// A network whose gradients can be found.
pub(super) struct Tape<'a> {
    module: &'a Module,
    route: &'a Route,
    maker: Maker<'a>,
    layers: Layers,
    /// Those for inputs of other shapes than `shapes`.
    others: BTreeMap<Shapes, Layers>,
    shapes: Shapes,
    values: Vec<Option<Tensor>>,
    sizes: BTreeMap<String, i64>,
    dropout: Option<Dropout>,
    /// See [`Tape::room`].
    room: Vec<f32>,
}

impl<'a> Tape<'a> {
    /// Of a network with its activations, before its first call.
    pub(super) fn new(module: &'a Module, route: &'a Route, maker: Maker<'a>) -> Tape<'a> {
        let values = vec![None; module.graph.values.len()];
        let (layers, others, shapes) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (sizes, room) = (BTreeMap::new(), Vec::new());
        Tape { module, route, maker, layers, others, shapes, values, sizes, dropout: None, room }
    }

    /// The memory of a gradient by the network's end, which the next one may have.
    pub(super) fn room(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.room)
    }

    /// What is left out of calls from now on.
    pub(super) fn drop_out(&mut self, dropout: Option<Dropout>) {
        self.dropout = dropout;
    }

    /// A value of the last call.
    pub(super) fn value(&self, value: ValueId) -> Option<&Tensor> {
        self.values.get(value as usize).and_then(Option::as_ref)
    }

    /// Runs the network, as far as it is trained.
    ///
    /// # Errors
    /// What a node cannot take.
    pub(super) fn forward(
        &mut self,
        params: &Params,
        inputs: Vec<(ValueId, Tensor)>,
    ) -> Result<()> {
        self.turn_to(inputs.iter().map(|(value, tensor)| (*value, tensor.dims.clone())).collect());
        for (value, tensor) in inputs {
            self.set(value, tensor);
        }
        self.run(params, 0)
    }

    /// What [`Tape::enter`] takes to repeat the last call.
    pub(super) fn entry(&self) -> Entry {
        let nodes = &self.module.graph.nodes[self.route.nodes.clone()];
        let own: BTreeSet<ValueId> = nodes.iter().flat_map(|node| &node.outputs).copied().collect();
        let read: BTreeSet<ValueId> = nodes.iter().flat_map(|node| &node.inputs).copied().collect();
        let values = read.difference(&own);
        let values = values.filter_map(|&value| Some((value, self.value(value)?.clone())));
        let (shapes, sizes) = (self.shapes.clone(), self.sizes.clone());
        Entry { shapes, values: values.collect(), sizes }
    }

    /// Repeats a call, from the first node that is trained.
    ///
    /// # Errors
    /// What a node cannot take.
    pub(super) fn enter(&mut self, params: &Params, entry: &Entry) -> Result<()> {
        self.turn_to(entry.shapes.clone());
        self.sizes.extend(entry.sizes.clone());
        for (value, tensor) in &entry.values {
            self.set(*value, tensor.clone());
        }
        self.run(params, self.route.nodes.start)
    }

    /// Runs nodes from `first` on.
    fn run(&mut self, params: &Params, first: usize) -> Result<()> {
        let nodes = self.module.graph.nodes.iter().enumerate();
        for (index, node) in nodes.take(self.route.nodes.end).skip(first) {
            let mut layer = match self.layers[index].take() {
                Some(layer) => layer,
                None => {
                    let mut node = node.clone();
                    settle(&mut node, &self.sizes);
                    self.maker.layer(&node, params.place(index, 0).is_some())
                }
            };
            layer.drop_out(self.dropout.filter(|dropout| dropout.node == index));
            for &input in layer.coded_inputs() {
                let codes = params.place(index, input).and_then(|place| params.codes(place));
                layer.take_codes(input, codes);
            }
            let first = node.outputs.first().and_then(|&value| self.values.get_mut(value as usize));
            if let Some(Tensor { data: Data::F32(data), .. }) = first.and_then(Option::take) {
                layer.reuse(data);
            }
            let outputs = layer
                .forward(&self.inputs(params, index, node))
                .map_err(|error| Error::unsupported(format!("node {:?}: {error}", node.name)))?;
            for (&value, output) in node.outputs.iter().zip(outputs) {
                if let Some(tensor) = output.filter(|_| value != ABSENT) {
                    self.set(value, tensor);
                }
            }
            self.layers[index] = Some(layer);
            if let Some(Op::Sizes(_)) = &node.op {
                let sizes = node.outputs.first().and_then(|&value| self.value(value));
                let sizes = sizes.and_then(|tensor| tensor.data.integers()).unwrap_or_default();
                // A name is the size and one.
                let sizes = sizes.into_iter().map(|size| size + 1);
                self.sizes.extend(node.binds.iter().cloned().zip(sizes));
            }
        }
        Ok(())
    }

    /// Takes the layers for inputs of these shapes.
    fn turn_to(&mut self, shapes: Shapes) {
        let count = self.module.graph.nodes.len();
        if shapes == self.shapes && self.layers.len() == count {
            return;
        }
        if self.others.len() >= MOST_SHAPES {
            self.others.clear();
        }
        let found = self.others.remove(&shapes);
        let layers = found.unwrap_or_else(|| (0..count).map(|_| None).collect());
        let before = std::mem::replace(&mut self.shapes, shapes);
        self.others.insert(before, std::mem::replace(&mut self.layers, layers));
        self.sizes.clear();
    }

    fn set(&mut self, value: ValueId, tensor: Tensor) {
        let dims = fact(&self.route.facts, value).map(|fact| fact.dims.as_slice());
        for (dim, &size) in dims.unwrap_or_default().iter().zip(&tensor.dims) {
            if let Some(name) = dim.as_name() {
                self.sizes.insert(name.to_owned(), size as i64);
            }
        }
        self.values[value as usize] = Some(tensor);
    }

    fn inputs<'t>(
        &'t self,
        params: &'t Params,
        index: usize,
        node: &Node,
    ) -> Vec<Option<&'t Tensor>> {
        let input = |(input, &value): (usize, &ValueId)| match params.place(index, input) {
            Some(place) => Some(params.tensor(place)),
            None => self.module.constant(value).or_else(|| self.value(value)),
        };
        node.inputs.iter().enumerate().map(input).collect()
    }

    /// Adds to the gradients of what is trained, from those of a loss by values of the last call.
    ///
    /// # Errors
    /// What a node cannot take.
    pub(super) fn backward(&mut self, params: &mut Params, by_values: ByValues) -> Result<()> {
        let mut gradients: Vec<Option<Vec<f32>>> = vec![None; self.values.len()];
        for (value, gradient) in by_values {
            add(&mut gradients[value as usize], gradient);
        }
        for (index, node) in self.module.graph.nodes.iter().enumerate().rev() {
            if !self.route.through[index] {
                continue;
            }
            let by_outputs: Vec<Option<Vec<f32>>> =
                node.outputs.iter().map(|&value| gradients[value as usize].take()).collect();
            if by_outputs.iter().all(Option::is_none) {
                continue;
            }
            let wanted: Vec<bool> = (node.inputs.iter().enumerate())
                .map(|(input, value)| {
                    params.is_own(index, input) || self.route.active.contains(value)
                })
                .collect();
            let Some(mut layer) = self.layers[index].take() else { continue };
            let found = {
                let outputs: Vec<_> = node.outputs.iter().map(|&value| self.value(value)).collect();
                let inputs = self.inputs(params, index, node);
                layer.backward(&inputs, &outputs, &by_outputs, &wanted)?
            };
            self.layers[index] = Some(layer);
            if self.room.is_empty() {
                self.room = by_outputs.into_iter().flatten().next().unwrap_or_default();
            }
            for (input, gradient) in found.into_iter().enumerate() {
                let (Some(gradient), true) = (gradient, wanted[input]) else { continue };
                match params.place(index, input) {
                    Some(place) => params.add(place, gradient),
                    None => add(&mut gradients[node.inputs[input] as usize], gradient),
                }
            }
        }
        params.settle();
        Ok(())
    }
}

/// Adds to a gradient that may not be there yet.
fn add(sum: &mut Option<Vec<f32>>, gradient: Vec<f32>) {
    match sum {
        Some(sum) => sum.iter_mut().zip(&gradient).for_each(|(sum, x)| *sum += x),
        None => *sum = Some(gradient),
    }
}

/// The floats of a value.
pub(super) fn floats(tensor: Option<&Tensor>) -> Result<&[f32]> {
    match tensor.map(|tensor| &tensor.data) {
        Some(Data::F32(data)) => Ok(data),
        _ => Err(Error::unsupported("a value that the loss is of is no float")),
    }
}
