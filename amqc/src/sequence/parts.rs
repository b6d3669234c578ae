//! A network that is run part by part on samples in arrays: what its values are before a node is kept, so that
//! nothing is computed twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use amq_format::Fact;
use amq_format::graph::{ABSENT, DataType, Graph, Node, Port, ValueId};
use amq_runtime::{Isa, Probe, Product, View};

use crate::emit::emit;
use crate::error::Result;
use crate::fit::Fitted;
use crate::ir::{Module, fact, settle};
use crate::loaded::Loaded;
use crate::plan::Plan;
use crate::tensor::{Tensor, views};
use crate::threads::Threads;

/// Bytes of values that are kept: of samples that would take more, some are left out.
const MOST_BYTES: usize = 256 << 20;
/// Elements of integers that may be sizes, which a part must know before it runs.
const MOST_SIZES: usize = 64;

/// Values of a network before one of its nodes.
#[derive(Clone)]
pub(super) struct Run<'a> {
    path: &'a Path,
    module: &'a Module,
    isa: Isa,
    threads: &'a Threads,
    /// The first node that has not run.
    next: usize,
    /// Types and shapes of the network's values.
    facts: Vec<Option<Fact>>,
    calls: Vec<Call>,
}

/// What is known of a call.
#[derive(Clone, Default)]
struct Call {
    /// What nodes that have not run read.
    values: BTreeMap<ValueId, Tensor>,
    /// Sizes of dimensions.
    sizes: BTreeMap<String, i64>,
}

impl Call {
    fn add(&mut self, value: ValueId, tensor: Tensor, facts: &[Option<Fact>]) {
        let dims = fact(facts, value).map(|fact| fact.dims.as_slice()).unwrap_or_default();
        for (dim, &size) in dims.iter().zip(&tensor.dims) {
            if let Some(name) = dim.as_name() {
                self.sizes.insert(name.to_owned(), size as i64);
            }
        }
        self.values.insert(value, tensor);
    }
}

impl<'a> Run<'a> {
    /// Before the first node, with the inputs of each call.
    ///
    /// # Errors
    /// An operator cannot take the inputs that it has.
    pub(super) fn new(
        (path, module): (&'a Path, &'a Module),
        (isa, threads): (Isa, &'a Threads),
        calls: Vec<Vec<(String, Tensor)>>,
    ) -> Result<Run<'a>> {
        let value = |name: &str| {
            let port = module.graph.inputs.iter().find(|port| module.name(port.value) == name);
            port.map(|port| port.value)
        };
        let facts = module.facts().map_err(|error| error.within(path.display()))?;
        let begun = |inputs: Vec<(String, Tensor)>| {
            let mut call = Call::default();
            for (name, tensor) in inputs {
                if let Some(value) = value(&name) {
                    call.add(value, tensor, &facts);
                }
            }
            call
        };
        let calls = calls.into_iter().map(begun).collect();
        Ok(Run { path, module, isa, threads, next: 0, facts, calls })
    }

    /// Calls whose values are kept.
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The nodes that have not run, up to and with `last`, with these codes.
    pub(super) fn part<'r>(
        &'r self,
        last: usize,
        plan: &'r Plan,
        fitted: &'r Fitted,
    ) -> Part<'r, 'a> {
        Part { run: self, end: last + 1, plan, fitted, loaded: None }
    }

    /// Runs the nodes before `node`, with these codes.
    ///
    /// # Errors
    /// What the runtime refuses.
    pub(super) fn advance(&mut self, node: usize, plan: &Plan, fitted: &Fitted) -> Result<()> {
        let Some(last) = node.checked_sub(1).filter(|last| *last >= self.next) else {
            return Ok(());
        };
        let mut part = self.part(last, plan, fitted);
        let (mut given, mut bytes) = (Vec::new(), 0);
        for call in 0..self.calls.len() {
            let outputs = part.run(call, &mut Nothing)?;
            let kept =
                self.calls[call].values.values().chain(outputs.iter().map(|(_, tensor)| tensor));
            bytes += 4 * kept.map(|tensor| tensor.data.len()).sum::<usize>();
            if bytes > MOST_BYTES && call > 0 {
                break;
            }
            given.push(outputs);
        }
        let later: BTreeSet<ValueId> = read(&self.module.graph.nodes[node..]);
        self.calls.truncate(given.len());
        for (call, given) in self.calls.iter_mut().zip(given) {
            for (value, tensor) in given {
                call.add(value, tensor, &self.facts);
            }
            call.values.retain(|value, _| later.contains(value));
        }
        self.next = node;
        Ok(())
    }
}

/// Nodes that run by themselves.
pub(super) struct Part<'r, 'a> {
    run: &'r Run<'a>,
    end: usize,
    plan: &'r Plan,
    fitted: &'r Fitted,
    loaded: Option<Ready>,
}

/// A part that is ready for values of some shapes.
struct Ready {
    shapes: Vec<Shape>,
    model: Loaded,
    outputs: Vec<ValueId>,
}

/// A value's type and sizes, and its elements where they may be sizes.
#[derive(PartialEq)]
struct Shape {
    value: ValueId,
    data_type: DataType,
    dims: Vec<usize>,
    sizes: Option<Tensor>,
}

impl Part<'_, '_> {
    /// Runs a call; gives what later nodes read.
    ///
    /// # Errors
    /// What the runtime refuses.
    pub(super) fn run(
        &mut self,
        call: usize,
        probe: &mut dyn Probe,
    ) -> Result<Vec<(ValueId, Tensor)>> {
        let run = self.run;
        let nodes = &run.module.graph.nodes[run.next..self.end];
        let wanted = read(nodes);
        let values = run.calls[call].values.iter().filter(|(value, _)| wanted.contains(value));
        let values: Vec<(ValueId, &Tensor)> = values.map(|(&value, t)| (value, t)).collect();
        let shapes: Vec<Shape> = values.iter().map(|&(value, t)| self.shape(value, t)).collect();
        let ready = match self.loaded.take() {
            Some(ready) if ready.shapes == shapes => ready,
            _ => self.load(nodes, &wanted, &run.calls[call].sizes, shapes)?,
        };
        let name = |value: ValueId| run.module.name(value).to_owned();
        let inputs = values.iter().zip(&ready.shapes).filter(|(_, shape)| shape.sizes.is_none());
        let inputs: Vec<(String, Tensor)> =
            inputs.map(|(&(value, tensor), _)| (name(value), tensor.clone())).collect();
        let mut probe = Shifted { probe, by: run.next };
        let mut session = ready.model.session();
        let outputs = session
            .run_with(&views(&inputs), &mut probe)
            .map_err(|error| ready.model.error(error))?;
        let given = ready.outputs.iter().zip(outputs.iter());
        let given = given.map(|(&value, (_, view))| (value, Tensor::from(view))).collect();
        self.loaded = Some(ready);
        Ok(given)
    }

    fn shape(&self, value: ValueId, tensor: &Tensor) -> Shape {
        let inputs = &self.run.module.graph.inputs;
        let sizes = tensor.data.data_type() != DataType::F32
            && tensor.data.len() <= MOST_SIZES
            && inputs.iter().all(|port| port.value != value);
        Shape {
            value,
            data_type: tensor.data.data_type(),
            dims: tensor.dims.clone(),
            sizes: sizes.then(|| tensor.clone()),
        }
    }

    /// The nodes as a network of their own, for values of these shapes.
    fn load(
        &self,
        nodes: &[Node],
        wanted: &BTreeSet<ValueId>,
        sizes: &BTreeMap<String, i64>,
        shapes: Vec<Shape>,
    ) -> Result<Ready> {
        let Run { path, module, isa, threads, next, .. } = self.run;
        let mut nodes = nodes.to_vec();
        nodes.iter_mut().for_each(|node| settle(node, sizes));
        let values = module.graph.values.clone();
        let graph = Graph { values, nodes, ..Graph::default() };
        let constants = module.constants.iter().filter(|(value, _)| wanted.contains(value));
        let constants = constants.map(|(&value, constant)| (value, Arc::clone(constant))).collect();
        let mut part = Module { graph, constants, ..Module::default() };
        for Shape { value, data_type, dims, sizes } in &shapes {
            match sizes {
                Some(sizes) => {
                    part.constants.insert(*value, Arc::new(sizes.clone()));
                }
                None => part.graph.inputs.push(Port {
                    value: *value,
                    data_type: *data_type as i32,
                    dims: dims.iter().map(|&size| (size as i64).into()).collect(),
                    ..Port::default()
                }),
            }
        }
        let facts = part.facts().map_err(|error| error.within(path.display()))?;
        let later = read(&module.graph.nodes[self.end..]);
        let given = part.graph.nodes.iter().flat_map(|node| &node.outputs).copied();
        let given: Vec<ValueId> = given.filter(|&value| value != ABSENT).collect();
        let mut outputs: Vec<ValueId> =
            given.iter().copied().filter(|value| later.contains(value)).collect();
        if outputs.is_empty() {
            outputs.extend(given.last());
        }
        let port = |&value: &ValueId| {
            let fact = fact(&facts, value)?;
            let data_type = fact.data_type as i32;
            Some(Port { value, data_type, dims: fact.dims.clone(), ..Port::default() })
        };
        part.graph.outputs = outputs.iter().filter_map(port).collect();
        let (plan, fitted) = within(*next..self.end, self.plan, self.fitted);
        let draft = emit(part, &plan, &fitted);
        let model = Loaded::of_draft(path, &draft, *isa)?.with_threads((*threads).clone());
        Ok(Ready { shapes, model, outputs })
    }
}

/// What nodes read.
fn read(nodes: &[Node]) -> BTreeSet<ValueId> {
    nodes.iter().flat_map(|node| &node.inputs).copied().collect()
}

/// What is done to the matrices of some nodes, which stand at the beginning.
fn within(nodes: std::ops::Range<usize>, plan: &Plan, fitted: &Fitted) -> (Plan, Fitted) {
    let mut part = Plan { matrices: Vec::new(), raised: Vec::new() };
    let mut codes = Fitted::default();
    for (entry, planned) in plan.matrices.iter().enumerate() {
        if !nodes.contains(&planned.weight.place.outermost()) {
            continue;
        }
        let mut planned = planned.clone();
        let place = &mut planned.weight.place;
        match place.within.first_mut() {
            Some((node, _)) => *node -= nodes.start,
            None => place.node -= nodes.start,
        }
        part.matrices.push(planned);
        codes.places.push(fitted.places[entry].map(|place| {
            let matrix = &fitted.matrices[place];
            let same =
                |m: &crate::fit::Matrix| m.source == matrix.source && m.options == matrix.options;
            codes.matrices.iter().position(same).unwrap_or_else(|| {
                codes.matrices.push(matrix.clone());
                codes.matrices.len() - 1
            })
        }));
        codes.shifts.push(fitted.shifts[entry].clone());
    }
    (part, codes)
}

/// Looks at nothing.
struct Nothing;

impl Probe for Nothing {
    fn wants_products(&self, _: usize) -> bool {
        false
    }
}

/// A probe that is told the numbers that nodes have in the whole network.
struct Shifted<'p> {
    probe: &'p mut dyn Probe,
    by: usize,
}

impl Probe for Shifted<'_> {
    fn wants_products(&self, node: usize) -> bool {
        self.probe.wants_products(node + self.by)
    }

    fn product(&mut self, product: &Product<'_>) {
        self.probe.product(&Product { node: product.node + self.by, ..*product });
    }

    fn output(&mut self, node: usize, output: usize, value: View<'_>) {
        self.probe.output(node + self.by, output, value);
    }
}
