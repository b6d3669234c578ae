//! Plans: for one set of input shapes, the shapes of all values, where each lies, and the kernels.
//!
//! Values lie in slots, which later values of the same type use again. A value whose elements are
//! those of another in another shape lies where that one lies.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use amq_format::graph::{ABSENT, DataType, Dim, ValueId};

use crate::call::Kernel;
use crate::compute::Shapes;
use crate::error::{Error, Fault};
use crate::infer::{self, Fact, list};
use crate::model::{Model, Port};
use crate::ops;
use crate::shape::Shape;
use crate::values::{Place, Room, Source};

/// Type and number of elements of a slot.
pub(crate) type Slot = (DataType, usize);

/// Bytes that slots take.
pub(crate) fn bytes(slots: &[Slot]) -> u64 {
    slots.iter().fold(0, |sum, &(data_type, len)| {
        sum.saturating_add((len as u64).saturating_mul(data_type.size() as u64))
    })
}

/// A schedule for one set of input shapes.
pub(crate) struct Plan {
    /// Shape of each graph input; none where it is a state that is not given.
    pub(crate) signature: Vec<Option<Vec<usize>>>,
    /// Of each value.
    pub(crate) places: Vec<Place>,
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: Vec<Output>,
    /// Of each state of the model that is not given.
    pub(crate) states: Vec<Option<State>>,
}

/// A kernel to run.
pub(crate) struct Step {
    pub(crate) node: usize,
    pub(crate) kernel: Box<dyn Kernel>,
    /// Of each output, none where it is absent.
    pub(crate) outputs: Vec<Option<Room>>,
}

/// A graph output.
pub(crate) struct Output {
    pub(crate) dims: Vec<usize>,
    pub(crate) slot: usize,
    pub(crate) len: usize,
    /// The value to copy to the slot at the end, where it lies elsewhere.
    pub(crate) copied: Option<ValueId>,
}

/// A state that a call starts with.
pub(crate) struct State {
    pub(crate) dims: Vec<usize>,
    pub(crate) slot: usize,
    pub(crate) len: usize,
    /// Broadcasts the initial value, if that is not zero.
    pub(crate) initial: Option<Box<dyn Kernel>>,
}

impl Plan {
    /// Plans a call with inputs of these shapes, in slots of which some may exist.
    pub(crate) fn new(
        model: &Model,
        signature: Vec<Option<Vec<usize>>>,
        slots: &mut Vec<Slot>,
    ) -> Result<Plan, Error> {
        let sizes = bind(model.inputs(), &signature)?;
        let shapes = input_shapes(model, &signature, &sizes)?;
        Planner { model, sizes, shapes: Vec::new(), roots: Vec::new() }
            .plan(shapes, signature, slots)
    }
}

/// The sizes that names of dimensions stand for, each with the input that says so.
type Sizes = BTreeMap<String, (i64, String)>;

/// Takes the sizes of named dimensions from the shapes that are given, and checks the others.
fn bind(ports: &[Port], signature: &[Option<Vec<usize>>]) -> Result<Sizes, Error> {
    let mut sizes = Sizes::new();
    let given = || ports.iter().zip(signature).filter_map(|(p, s)| Some((p, s.as_ref()?)));
    for (Port { name: input, dims: expected, .. }, dims) in given() {
        if dims.len() != expected.len() {
            return Err(Error::Input(format!(
                "{input} has shape {}, the model takes {}",
                list(dims),
                list(expected)
            )));
        }
        for (&size, dim) in dims.iter().zip(expected) {
            let Some(name) = dim.as_name() else { continue };
            if size == 0 {
                return Err(Error::Input(format!(
                    "dimension {name} is 0 in {input}, not positive"
                )));
            }
            let size = i64::try_from(size)
                .map_err(|_| Error::Input(format!("dimension {name} of {input} is too large")))?;
            match sizes.get(name) {
                Some((other, first)) if *other != size => {
                    return Err(Error::Input(format!(
                        "dimension {name} is {other} in {first} and {size} in {input}"
                    )));
                }
                Some(_) => {}
                None => {
                    sizes.insert(String::from(name), (size, input.clone()));
                }
            }
        }
    }
    for (Port { name: input, dims: expected, .. }, dims) in given() {
        for (axis, (&size, dim)) in dims.iter().zip(expected).enumerate() {
            let fits = dim.eval(&|name| Some(sizes.get(name)?.0));
            let fits =
                fits.map_err(|why| Error::Input(format!("axis {axis} of {input}: {why}")))?;
            if i64::try_from(size) != Ok(fits) {
                let named = if dim.as_size().is_some() {
                    format!("{fits}")
                } else {
                    format!("{dim} = {fits}")
                };
                return Err(Error::Input(format!(
                    "axis {axis} of {input} is {size}, it must be {named}"
                )));
            }
        }
    }
    Ok(sizes)
}

/// Shapes of all graph inputs; those that are not given must be states.
fn input_shapes(
    model: &Model,
    signature: &[Option<Vec<usize>>],
    sizes: &Sizes,
) -> Result<Vec<Fact>, Error> {
    let mut facts = Vec::with_capacity(signature.len());
    for (i, (port, dims)) in model.inputs().iter().zip(signature).enumerate() {
        let dims = match dims {
            Some(dims) => dims.iter().map(|&size| Dim::from(size as i64)).collect(),
            None if model.states().iter().any(|state| state.input == i) => {
                let size = |dim: &Dim| dim.eval(&|name| Some(sizes.get(name)?.0)).map(Dim::from);
                port.dims.iter().map(size).collect::<Result<_, _>>().map_err(|why| {
                    Error::Input(format!(
                        "state {} is not given and has no shape: {why}",
                        port.name
                    ))
                })?
            }
            None => return Err(Error::Input(format!("input {} is missing", port.name))),
        };
        facts.push(Fact::new(port.data_type, dims));
    }
    Ok(facts)
}

struct Planner<'a> {
    model: &'a Model,
    sizes: Sizes,
    /// Of each value.
    shapes: Vec<Option<Shape>>,
    /// Of each value, the one that lies in the same place.
    roots: Vec<ValueId>,
}

impl Planner<'_> {
    fn plan(
        mut self,
        inputs: Vec<Fact>,
        signature: Vec<Option<Vec<usize>>>,
        slots: &mut Vec<Slot>,
    ) -> Result<Plan, Error> {
        let graph = self.model.graph();
        self.shapes = self.model.constant_shapes.clone();
        self.roots = (0..graph.values.len() as ValueId).collect();
        for (port, fact) in graph.inputs.iter().zip(&inputs) {
            let shape = Shape::new(fact).map_err(|Fault(what)| Error::Input(what))?;
            self.limit(&shape)?;
            self.shapes[port.value as usize] = Some(shape);
        }
        let kernels = self.kernels()?;
        self.check_outputs()?;

        let mut memory = Memory { free: (0..slots.len()).collect(), slots };
        let mut places: Vec<Place> = (0..graph.values.len())
            .map(|value| Place { source: Source::Nowhere, len: self.len(value as ValueId) })
            .collect();
        for (value, constant) in self.model.constants.iter().enumerate() {
            if constant.is_some() {
                places[value].source = Source::Constant(value as ValueId);
            }
        }
        let mut states = Vec::with_capacity(graph.states.len());
        for (port, given) in graph.inputs.iter().zip(&signature) {
            if given.is_none() {
                let slot = self.allocate(&mut memory, port.value);
                places[port.value as usize].source = Source::Slot(slot);
            }
        }
        for (i, port) in graph.inputs.iter().enumerate().filter(|(i, _)| signature[*i].is_some()) {
            places[port.value as usize].source = Source::Given(i);
        }
        for state in &graph.states {
            states.push(self.state(state, &places));
        }

        let mut steps = Vec::with_capacity(kernels.len());
        let nodes = graph.nodes.iter().zip(kernels).zip(self.last_uses());
        for (i, ((node, kernel), last_used)) in nodes.enumerate() {
            match kernel {
                Some(kernel) => {
                    let mut outputs = Vec::with_capacity(node.outputs.len());
                    for &value in &node.outputs {
                        let room = (value != ABSENT).then(|| {
                            let slot = self.allocate(&mut memory, value);
                            places[value as usize].source = Source::Slot(slot);
                            Room { slot, len: self.len(value) }
                        });
                        outputs.push(room);
                    }
                    steps.push(Step { node: i, kernel, outputs });
                }
                None => {
                    if let Some(&value) = node.outputs.first() {
                        let root = self.roots[value as usize];
                        places[value as usize].source = places[root as usize].source;
                    }
                }
            }
            memory.free.extend(last_used.iter().filter_map(|&root| match places[root].source {
                Source::Slot(slot) => Some(slot),
                _ => None,
            }));
        }

        let mut outputs = Vec::with_capacity(graph.outputs.len());
        for port in &graph.outputs {
            let value = port.value;
            let shape = self.shape(value)?;
            let (slot, copied) = match places[value as usize].source {
                Source::Slot(slot) => (slot, None),
                _ => (self.allocate(&mut memory, value), Some(value)),
            };
            outputs.push(Output { dims: shape.dims.clone(), slot, len: shape.len(), copied });
        }
        self.within(bytes(memory.slots))?;
        Ok(Plan { signature, places, steps, outputs, states })
    }

    /// Finds all shapes, and the kernels; none where a value shares its place with another.
    fn kernels(&mut self) -> Result<Vec<Option<Box<dyn Kernel>>>, Error> {
        let graph = self.model.graph();
        let mut kernels = Vec::with_capacity(graph.nodes.len());
        for (node, kept) in graph.nodes.iter().zip(&self.model.kept) {
            let at = |fault| infer::at(node, fault);
            let bound = ops::bind(node, &|name| Some(self.sizes.get(name)?.0));
            let bound = bound.map_err(|why| at(why.into()))?;
            let inputs: Vec<Option<Shape>> = node
                .inputs
                .iter()
                .map(|&value| self.shapes.get(value as usize).cloned().flatten())
                .collect();
            let facts: Vec<Option<Fact>> =
                inputs.iter().map(|shape| shape.as_ref().map(Shape::fact)).collect();
            let facts = infer::infer(&bound, &facts)?;
            let mut outputs = Vec::with_capacity(facts.len());
            for (fact, &value) in facts.iter().zip(&node.outputs) {
                let shape = Shape::new(fact).map_err(at)?;
                if value != ABSENT {
                    self.limit(&shape)?;
                    self.shapes[value as usize] = Some(shape.clone());
                }
                outputs.push(shape);
            }
            let Some(op) = &bound.op else { continue };
            let kernel = ops::kernel(op, kept, &Shapes { inputs: &inputs, outputs: &outputs })
                .map_err(at)?;
            if let (None, Some(&from), Some(&to)) =
                (&kernel, node.inputs.first(), node.outputs.first())
            {
                self.roots[to as usize] = self.roots[from as usize];
            }
            kernels.push(kernel);
        }
        Ok(kernels)
    }

    /// Of each node, the roots of the places that nothing needs after it. Known once it is known
    /// which values share a place.
    fn last_uses(&self) -> Vec<Vec<usize>> {
        let graph = self.model.graph();
        let root = |value: ValueId| self.roots[value as usize] as usize;
        let mut last_use = alloc::vec![None; graph.values.len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            for &value in node.inputs.iter().chain(&node.outputs) {
                last_use[root(value)] = Some(i);
            }
        }
        graph.outputs.iter().for_each(|port| last_use[root(port.value)] = None);
        let mut last_used = alloc::vec![Vec::new(); graph.nodes.len()];
        for (root, last_use) in last_use.into_iter().enumerate() {
            if let Some(i) = last_use {
                last_used[i].push(root);
            }
        }
        last_used
    }

    /// Shapes of the graph's outputs must be those that it declares.
    fn check_outputs(&self) -> Result<(), Error> {
        for (port, value) in self.model.outputs().iter().zip(&self.model.graph().outputs) {
            let found = self.shape(value.value)?;
            let expected: Result<Vec<i64>, _> = port
                .dims
                .iter()
                .map(|dim| dim.eval(&|name| Some(self.sizes.get(name)?.0)))
                .collect();
            let fits = expected.as_ref().is_ok_and(|expected| {
                expected
                    .iter()
                    .map(|&size| usize::try_from(size).ok())
                    .eq(found.dims.iter().map(|&size| Some(size)))
            });
            if !fits {
                let (found, declared) = (list(&found.dims), list(&port.dims));
                return Err(Error::Input(format!(
                    "output {} has shape {found}, the model declares {declared}",
                    port.name
                )));
            }
        }
        Ok(())
    }

    fn state(&self, state: &amq_format::graph::State, places: &[Place]) -> Option<State> {
        let Source::Slot(slot) = places[state.input as usize].source else { return None };
        let shape = self.shapes[state.input as usize].as_ref()?;
        let initial = self.shapes[state.initial as usize].as_ref();
        Some(State {
            dims: shape.dims.clone(),
            slot,
            len: shape.len(),
            initial: initial.map(|initial| ops::expand_kernel(initial, shape)),
        })
    }

    fn shape(&self, value: ValueId) -> Result<&Shape, Error> {
        self.shapes
            .get(value as usize)
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::Input(format!("value number {value} is given by nothing")))
    }

    fn len(&self, value: ValueId) -> usize {
        self.shapes[value as usize].as_ref().map_or(0, Shape::len)
    }

    fn allocate(&self, memory: &mut Memory<'_>, value: ValueId) -> usize {
        let data_type = self.shapes[value as usize].as_ref().map(|shape| shape.data_type);
        memory.allocate(data_type.unwrap_or(DataType::F32), self.len(value))
    }

    fn limit(&self, shape: &Shape) -> Result<(), Error> {
        self.within((shape.len() as u64).saturating_mul(shape.data_type.size() as u64))
    }

    fn within(&self, needed: u64) -> Result<(), Error> {
        let limit = self.model.max_arena_bytes;
        if needed > limit { Err(Error::Memory { needed, limit }) } else { Ok(()) }
    }
}

/// Slots, and which of them hold nothing that is needed.
struct Memory<'a> {
    slots: &'a mut Vec<Slot>,
    free: Vec<usize>,
}

impl Memory<'_> {
    /// The smallest free slot that suffices, else the largest, which grows, else a new one.
    fn allocate(&mut self, data_type: DataType, len: usize) -> usize {
        let fit = |&(_, &slot): &(usize, &usize)| {
            let size = self.slots[slot].1;
            if size >= len { (0, size) } else { (1, usize::MAX - size) }
        };
        let same_type =
            self.free.iter().enumerate().filter(|(_, s)| self.slots[**s].0 == data_type);
        match same_type.min_by_key(fit).map(|(at, _)| at) {
            Some(at) => {
                let slot = self.free.swap_remove(at);
                self.slots[slot].1 = self.slots[slot].1.max(len);
                slot
            }
            None => {
                self.slots.push((data_type, len));
                self.slots.len() - 1
            }
        }
    }
}
