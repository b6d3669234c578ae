//! Plans: for one set of input shapes, where each value lies, and the steps that compute them.
//!
//! Values lie in slots, which later values of the same type use again. A value whose elements are
//! those of another in another shape lies where that one lies. Elementwise operators on one shape,
//! of whose results but the last nothing else is needed, are one step; its result takes the place
//! of an operand that is not needed any more, where there is one.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use amq_format::graph::{self, ABSENT, DataType, Dim, Op, ValueId};

use crate::arena::{self, Arena, Slot};
use crate::compute::{Computation, Shapes};
use crate::error::{Error, Fault, MisfitKind};
use crate::fuse::fuse;
use crate::infer::{self, Fact, list};
use crate::ops::{self, Chain, Part};
use crate::program::Program;
use crate::schedule::{Known, Need, Output, Plan, Segment, Signature, State, Step, Then, Work};
use crate::shape::{Shape, Sizes};
use crate::sizes;
use crate::values::{Place, Room, Source};

/// Plans a call in slots of which some may exist, within a limit of bytes. A body knows the sizes
/// of names in the graph around it.
pub(crate) fn plan(
    program: &Program,
    signature: Signature,
    outer: Option<&Sizes>,
    slots: &mut Vec<Slot>,
    limit: u64,
) -> Result<Plan, Error> {
    let sizes = sizes::bind(&program.inputs, &signature.inputs, outer)?;
    let inputs = sizes::input_shapes(program, &signature.inputs, &sizes)?;
    let mut planner = Planner::new(program, sizes, &inputs, slots, limit)?;
    let states = planner.begin(&signature);
    let first = planner.plan(signature.apart, Vec::new())?;
    Ok(Plan { signature, states, first })
}

/// Plans what follows where the last node of a segment has given sizes.
pub(crate) fn after(
    program: &Program,
    known: Known,
    given: &[i64],
    apart: bool,
    slots: &mut Vec<Slot>,
    limit: u64,
) -> Result<Segment, Error> {
    let mut planner = Planner {
        program,
        segment: known.segment + 1,
        sizes: known.sizes,
        limit,
        arena: Arena { free: known.free, slots },
        shapes: known.shapes,
        roots: known.roots,
        needed: known.needed,
        places: known.places,
        open: Vec::new(),
    };
    planner.close(known.open, given)?;
    planner.plan(apart, given.to_vec())
}

/// What is known so far.
struct Planner<'a> {
    program: &'a Program,
    /// Number of the segment that is planned.
    segment: usize,
    sizes: Sizes,
    limit: u64,
    arena: Arena<'a>,
    /// Of each value.
    shapes: Vec<Option<Shape>>,
    /// Of each value, the one that lies in the same place.
    roots: Vec<ValueId>,
    /// Of each root, up to which node the place is needed, and whether it was given back.
    needed: Vec<Need>,
    /// Of each value.
    places: Vec<Place>,
    /// Outputs whose shapes have sizes that their node gives.
    open: Vec<(ValueId, Fact)>,
}

impl<'a> Planner<'a> {
    fn new(
        program: &'a Program,
        sizes: Sizes,
        inputs: &[Fact],
        slots: &'a mut Vec<Slot>,
        limit: u64,
    ) -> Result<Planner<'a>, Error> {
        let values = program.graph.values.len();
        let mut planner = Planner {
            program,
            segment: 0,
            sizes,
            limit,
            arena: Arena { free: (0..slots.len()).collect(), slots },
            open: Vec::new(),
            shapes: program.constant_shapes.clone(),
            roots: (0..values as ValueId).collect(),
            needed: program.last_read.iter().map(|&read| Need::Until(read)).collect(),
            places: alloc::vec![Place { source: Source::Nowhere, len: 0 }; values],
        };
        for (port, fact) in program.graph.inputs.iter().zip(inputs) {
            let name = program.graph.values.get(port.value as usize).map_or("", |name| name);
            let shape = Shape::new(fact)
                .map_err(|Fault(what)| Error::input(MisfitKind::Shape, name, what))?;
            planner.limit(&shape)?;
            planner.shapes[port.value as usize] = Some(shape);
        }
        Ok(planner)
    }

    /// Places what a call starts with.
    fn begin(&mut self, signature: &Signature) -> Vec<Option<State>> {
        for (value, constant) in self.program.constants.iter().enumerate() {
            if constant.is_some() {
                self.place(value as ValueId, Source::Constant(value as ValueId));
            }
        }
        let graph = &self.program.graph;
        for (i, (port, given)) in graph.inputs.iter().zip(&signature.inputs).enumerate() {
            // Constants that a body gets are its own.
            if self.program.constant_shapes[port.value as usize].is_some() {
                continue;
            }
            let source = match given {
                Some(_) => Source::Given(i),
                None => Source::State { port: i, slot: self.allocate(port.value) },
            };
            self.place(port.value, source);
        }
        graph.states.iter().map(|state| self.state(state)).collect()
    }

    fn state(&self, state: &graph::State) -> Option<State> {
        let Place { source: Source::State { slot, .. }, len } = self.places[state.input as usize]
        else {
            return None;
        };
        let shape = self.shapes[state.input as usize].as_ref()?;
        let initial = self.shapes[state.initial as usize].as_ref();
        Some(State {
            dims: shape.dims.clone(),
            room: Room { slot, len },
            initial: initial.map(|initial| ops::expand_kernel(initial, shape)),
        })
    }

    /// Plans the segment that is next, to which the node before gave sizes.
    fn plan(mut self, apart: bool, given: Vec<i64>) -> Result<Segment, Error> {
        let segments = &self.program.segments;
        let steps = match segments.get(self.segment) {
            Some(nodes) => self.steps(nodes.clone(), apart)?,
            None => Vec::new(),
        };
        let then = if self.segment + 1 < segments.len() || !self.open.is_empty() {
            Then::More { known: Box::new(self.known()), next: Vec::new() }
        } else {
            Then::End(self.end()?)
        };
        self.within(arena::bytes(self.arena.slots))?;
        let shapes = if apart { self.shapes } else { Vec::new() };
        Ok(Segment { given, places: self.places, steps, then, shapes })
    }

    fn known(&mut self) -> Known {
        Known {
            segment: self.segment,
            sizes: self.sizes.clone(),
            shapes: self.shapes.clone(),
            roots: self.roots.clone(),
            needed: self.needed.clone(),
            places: self.places.clone(),
            free: self.arena.free.clone(),
            open: mem::take(&mut self.open),
        }
    }

    /// Takes the sizes that the last node of the segment before gave.
    fn close(&mut self, open: Vec<(ValueId, Fact)>, given: &[i64]) -> Result<(), Error> {
        let before = self.program.segments.get(self.segment - 1).map(|nodes| nodes.end - 1);
        let Some(node) = before.and_then(|node| self.program.graph.nodes.get(node)) else {
            return Ok(());
        };
        for (name, &size) in node.binds.iter().zip(given) {
            // Names stand for at least 1.
            self.sizes.insert(name.clone(), (size.saturating_add(1), node.name.clone()));
        }
        for (value, mut fact) in open {
            for dim in &mut fact.dims {
                let size = dim.eval(&|name| Some(self.sizes.get(name)?.0));
                *dim = Dim::from(size.map_err(|why| infer::at(node, why.into()))?);
            }
            let shape = Shape::new(&fact).map_err(|fault| infer::at(node, fault))?;
            self.limit(&shape)?;
            self.places[value as usize].len = shape.len();
            self.shapes[value as usize] = Some(shape);
        }
        Ok(())
    }

    /// Plans nodes all whose sizes are known.
    fn steps(&mut self, nodes: Range<usize>, apart: bool) -> Result<Vec<Step>, Error> {
        let graph = &self.program.graph;
        let computations = self.computations(nodes.clone())?;
        let fusion = fuse(self.program, nodes.clone(), &computations, &self.shapes, apart);
        for i in nodes.clone() {
            for &value in &graph.nodes[i].inputs {
                if let Need::Until(until) = &mut self.needed[self.roots[value as usize] as usize] {
                    *until = (*until).max(Some(fusion.step(i)));
                }
            }
        }
        let mut steps = Vec::with_capacity(nodes.len());
        let mut waiting: Vec<Option<Part>> = nodes.clone().map(|_| None).collect();
        for (i, computation) in nodes.clone().zip(computations) {
            let node = &graph.nodes[i];
            match computation {
                Computation::View => {
                    let Some(&value) = node.outputs.first() else { continue };
                    let root = self.roots[value as usize];
                    self.place(value, self.places[root as usize].source);
                }
                Computation::Kernel(kernel) => {
                    steps.push(self.step(i, Work::Kernel(kernel)));
                }
                Computation::Dynamic(dynamic) => {
                    steps.push(self.step(i, Work::Dynamic(dynamic)));
                }
                Computation::Elementwise(function) => {
                    let output = node.outputs.first().copied().unwrap_or(ABSENT);
                    let inputs = node.inputs.clone();
                    let data_type = self.shape(output)?.data_type;
                    waiting[i - nodes.start] = Some(Part { function, inputs, output, data_type });
                    if fusion.step(i) != i {
                        continue;
                    }
                    let parts = fusion.members(i).iter().rev();
                    let parts = parts.filter_map(|member| waiting[member - nodes.start].take());
                    let step = self.chain(i, parts.collect())?;
                    steps.push(step);
                }
            }
            for member in fusion.members(i) {
                self.free(*member, i);
            }
        }
        Ok(steps)
    }

    /// The step of a node alone.
    fn step(&mut self, i: usize, work: Work) -> Step {
        let node = &self.program.graph.nodes[i];
        let outputs = node.outputs.iter().map(|&value| self.room(value)).collect();
        Step { node: i, work, inputs: node.inputs.clone(), outputs }
    }

    /// Finds the shapes and computations of nodes.
    fn computations(&mut self, nodes: Range<usize>) -> Result<Vec<Computation>, Error> {
        let graph = &self.program.graph;
        let mut computations = Vec::with_capacity(nodes.len());
        for (node, kept) in graph.nodes[nodes.clone()].iter().zip(&self.program.kept[nodes]) {
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
                let shape = match fact.dims.iter().all(|dim| dim.as_size().is_some()) {
                    true => Shape::new(fact),
                    false => {
                        self.open.extend((value != ABSENT).then(|| (value, fact.clone())));
                        Shape::new(&without_open(fact))
                    }
                };
                let shape = shape.map_err(at)?;
                if value != ABSENT {
                    self.limit(&shape)?;
                    self.shapes[value as usize] = Some(shape.clone());
                }
                outputs.push(shape);
            }
            let op = bound.op.as_ref().ok_or_else(|| at(Fault("it has no operator".into())))?;
            let shapes = Shapes { inputs: &inputs, outputs: &outputs, sizes: &self.sizes };
            let computation = ops::computation(op, kept, &shapes).map_err(at)?;
            if let (Computation::View, Some(&from), Some(&to)) =
                (&computation, node.inputs.first(), node.outputs.first())
            {
                self.share(from, to);
            }
            computations.push(computation);
        }
        Ok(computations)
    }

    /// A value lies where another does.
    fn share(&mut self, from: ValueId, to: ValueId) {
        let root = self.roots[from as usize];
        self.roots[to as usize] = root;
        if let Need::Until(until) = &mut self.needed[root as usize] {
            *until = (*until).max(self.program.last_read[to as usize]);
        }
    }

    /// The step of a chain that ends at a node.
    fn chain(&mut self, node: usize, parts: Vec<Part>) -> Result<Step, Error> {
        let output = parts.last().map_or(ABSENT, |part| part.output);
        let y = self.shape(output)?;
        let shape = |value: ValueId| self.shapes.get(value as usize)?.as_ref();
        let chain = Chain::new(parts, y, shape);
        let (mut chain, inputs) =
            chain.map_err(|fault| infer::at(&self.program.graph.nodes[node], fault))?;
        let root = |value: ValueId| self.roots[value as usize];
        let replaced = inputs.iter().enumerate().find_map(|(i, &value)| {
            let Source::Slot(slot) = self.places[value as usize].source else { return None };
            let last =
                matches!(self.needed[root(value) as usize], Need::Until(Some(at)) if at == node);
            let alone = inputs.iter().filter(|other| root(**other) == root(value)).count() == 1;
            (last && alone && chain.can_replace(i, y.data_type)).then_some((i, value, slot))
        });
        let room = match replaced {
            Some((i, value, slot)) => {
                chain.replace(i);
                self.needed[self.roots[value as usize] as usize] = Need::Over;
                self.place(output, Source::Slot(slot));
                Some(Room { slot, len: self.len(output) })
            }
            None => self.room(output),
        };
        Ok(Step { node, work: Work::Kernel(Box::new(chain)), inputs, outputs: Vec::from([room]) })
    }

    /// Gives back what a node of a step that is now planned needed last.
    fn free(&mut self, node: usize, step: usize) {
        let node = &self.program.graph.nodes[node];
        for &value in node.inputs.iter().chain(&node.outputs) {
            let root = self.roots[value as usize] as usize;
            if matches!(self.needed[root], Need::Until(last) if last <= Some(step)) {
                self.needed[root] = Need::Over;
                if let Source::Slot(slot) | Source::State { slot, .. } = self.places[root].source {
                    self.arena.free.push(slot);
                }
            }
        }
    }

    /// Places the graph's outputs, whose shapes must be those that it declares.
    fn end(&mut self) -> Result<Vec<Output>, Error> {
        let program = self.program;
        let mut outputs = Vec::with_capacity(program.outputs.len());
        for (port, graph_port) in program.outputs.iter().zip(&program.graph.outputs) {
            let found = self.shape(graph_port.value)?;
            let fits = port.dims.len() == found.dims.len()
                && port.dims.iter().zip(&found.dims).all(|(dim, &size)| {
                    let declared = dim.eval(&|name| Some(self.sizes.get(name)?.0));
                    declared.is_ok_and(|declared| usize::try_from(declared) == Ok(size))
                });
            if !fits {
                let (found, declared) = (list(&found.dims), list(&port.dims));
                let name = &port.name;
                let what =
                    format!("output {name} has shape {found}, the model declares {declared}");
                return Err(Error::input(MisfitKind::Model, name, what));
            }
        }
        for port in &program.graph.outputs {
            let dims = self.shape(port.value)?.dims.clone();
            let Place { source, len } = self.places[port.value as usize];
            let (slot, copied) = match source {
                Source::Slot(slot) => (slot, None),
                _ => (self.allocate(port.value), Some(port.value)),
            };
            // Recurrent layers see to it themselves, where numbers are at hand.
            let root = self.roots[port.value as usize];
            let is_canonical = program.graph.nodes.iter().any(|node| {
                matches!(node.op, Some(Op::Recurrent(_))) && node.outputs.contains(&root)
            });
            outputs.push(Output { dims, room: Room { slot, len }, copied, is_canonical });
        }
        Ok(outputs)
    }

    fn shape(&self, value: ValueId) -> Result<&Shape, Error> {
        self.shapes.get(value as usize).and_then(Option::as_ref).ok_or_else(|| {
            let what = format!("value number {value} is given by nothing");
            Error::input(MisfitKind::Model, "", what)
        })
    }

    fn len(&self, value: ValueId) -> usize {
        self.shapes[value as usize].as_ref().map_or(0, Shape::len)
    }

    fn place(&mut self, value: ValueId, source: Source) {
        self.places[value as usize] = Place { source, len: self.len(value) };
    }

    /// A slot for an output.
    fn room(&mut self, value: ValueId) -> Option<Room> {
        (value != ABSENT).then(|| {
            let slot = self.allocate(value);
            self.place(value, Source::Slot(slot));
            Room { slot, len: self.len(value) }
        })
    }

    fn allocate(&mut self, value: ValueId) -> usize {
        let data_type = self.shapes[value as usize].as_ref().map(|shape| shape.data_type);
        self.arena.allocate(data_type.unwrap_or(DataType::F32), self.len(value))
    }

    fn limit(&self, shape: &Shape) -> Result<(), Error> {
        self.within((shape.len() as u64).saturating_mul(shape.data_type.size() as u64))
    }

    fn within(&self, needed: u64) -> Result<(), Error> {
        let limit = self.limit;
        if needed > limit { Err(Error::Memory { needed, limit }) } else { Ok(()) }
    }
}

/// A fact with 0 in place of sizes that are not known yet.
fn without_open(fact: &Fact) -> Fact {
    let size = |dim: &Dim| Dim::from(dim.as_size().unwrap_or(0));
    Fact::new(fact.data_type, fact.dims.iter().map(size).collect())
}
