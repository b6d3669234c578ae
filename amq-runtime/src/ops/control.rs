//! Branches and loops: bodies run in frames of their own.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::slice;

use amq_format::graph::{ABSENT, Dim, Graph, If, Loop, Node, Op};
use amq_format::operator::Captures;

use crate::call::{Call, Dynamic, Memory, Operands, mismatch};
use crate::compute::{Computation, Compute, Shapes};
use crate::error::{Fault, ensure, fault};
use crate::frame::{Frame, Means, copy};
use crate::infer::list;
use crate::program::Program;
use crate::shape::{Shape, Sizes};
use crate::values::Given;
use crate::view::{Buffer, Data, View};
use crate::weights::Constants;

/// The bodies of a node as programs.
fn programs(node: &Node, constants: &mut Constants<'_>) -> Result<Vec<Arc<Program>>, Fault> {
    let Captures { first, at } =
        node.op.as_ref().map(Op::operator).map(|op| op.arity().captures).unwrap_or_default();
    let program = |body: &Graph| {
        let mut outer = alloc::vec![ABSENT; body.values.len()];
        let captured = node.inputs.get(first..).unwrap_or_default();
        for (port, &value) in body.inputs.iter().skip(at).zip(captured) {
            outer[port.value as usize] = value;
        }
        let program = constants.within(&outer, |inner| Program::new(body.clone(), inner));
        program.map(Arc::new).map_err(|error| fault!("{error}"))
    };
    node.bodies.iter().map(program).collect()
}

/// A body, and the memory in which it runs.
struct Body {
    program: Arc<Program>,
    frame: Frame,
}

impl Body {
    fn new(program: &Arc<Program>, sizes: &Sizes) -> Body {
        Body { program: Arc::clone(program), frame: Frame::within(sizes) }
    }

    /// Takes the memory that it needs for inputs of these shapes, if it can run with them.
    fn reserve<'d>(&mut self, dims: impl Fn(usize) -> Option<&'d [usize]>, memory: &mut Memory) {
        let limit = memory.scratch.budget.limit;
        // What is wrong is told when it runs.
        let _ = self.frame.plan(&self.program, dims, false, memory, limit);
    }

    fn run<'d>(
        &mut self,
        dims: impl Fn(usize) -> Option<&'d [usize]>,
        given: &dyn Given,
        call: &mut Call<'_>,
    ) -> Result<(), Fault> {
        let Body { program, frame } = self;
        let limit = call.memory.scratch.budget.limit;
        let failed = |error| fault!("in its body: {error}");
        frame.plan(program, dims, false, call.memory, limit).map_err(failed)?;
        let (target, memory, workers) = (call.target, &mut *call.memory, call.workers);
        let mut means = Means { target, memory, workers, probe: None };
        frame.run(program, given, &mut means).map_err(failed)
    }
}

/// The shapes of a node's outputs, and where in them the sizes stand that it gives.
struct Named {
    /// Of each size, the output and the axis.
    places: Vec<(usize, usize)>,
    /// Of each output, the sizes that are known before.
    known: Vec<Vec<Option<usize>>>,
}

impl Named {
    /// `dims` has the shapes one after the other. A size stands there as a name less 1: other names
    /// have become numbers.
    fn new(dims: &[Dim], outputs: &[Shape]) -> Named {
        let axes = outputs.iter().enumerate();
        let axes = axes.flat_map(|(output, shape)| (0..shape.dims.len()).map(move |i| (output, i)));
        let (mut names, mut places) = (Vec::new(), Vec::new());
        let mut known: Vec<Vec<_>> =
            outputs.iter().map(|shape| shape.dims.iter().copied().map(Some).collect()).collect();
        for (dim, place) in dims.iter().zip(axes) {
            if dim.as_size().is_none() {
                known[place.0][place.1] = None;
            }
            if let Some(name) = dim.as_given().filter(|name| !names.contains(name)) {
                names.push(name);
                places.push(place);
            }
        }
        Named { places, known }
    }

    /// Adds the sizes, where outputs have these shapes.
    fn give<'d>(
        &self,
        sizes: &mut Vec<i64>,
        dims: impl Fn(usize) -> &'d [usize],
    ) -> Result<(), Fault> {
        for (output, known) in self.known.iter().enumerate() {
            let found = dims(output);
            let fits = known.len() == found.len()
                && known.iter().zip(found).all(|(known, size)| known.is_none_or(|k| k == *size));
            ensure!(fits, "output {output} has shape {}, which is not what it states", list(found));
        }
        let size = |&(output, axis): &(usize, usize)| dims(output).get(axis).copied();
        sizes.extend(self.places.iter().map(|place| size(place).unwrap_or(0) as i64));
        Ok(())
    }
}

impl Compute for If {
    type Kept = Vec<Arc<Program>>;

    fn keep(&self, node: &Node, constants: &mut Constants<'_>) -> Result<Self::Kept, Fault> {
        programs(node, constants)
    }

    fn computation(&self, kept: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let bodies = kept.iter().map(|program| Body::new(program, shapes.sizes)).collect();
        let captured = (1..shapes.inputs.len()).map(|i| Ok(shapes.input(i)?.dims.clone()));
        Ok(Computation::Dynamic(Box::new(Branch {
            bodies,
            captured: captured.collect::<Result<_, Fault>>()?,
            named: Named::new(&self.dims, shapes.outputs),
        })))
    }
}

struct Branch {
    /// What runs if the condition is true, and if it is false.
    bodies: Vec<Body>,
    /// Shapes of the captures.
    captured: Vec<Vec<usize>>,
    named: Named,
}

/// Inputs of a body that are those of the node from one on.
struct Captured<'a> {
    first: usize,
    inputs: Operands<'a>,
}

impl Given for Captured<'_> {
    fn input(&self, i: usize) -> Option<Data<'_>> {
        self.inputs.optional(self.first + i)
    }
}

impl Dynamic for Branch {
    fn reserve(&mut self, memory: &mut Memory) {
        for body in &mut self.bodies {
            body.reserve(|i| self.captured.get(i).map(Vec::as_slice), memory);
        }
    }

    fn run(&mut self, call: &mut Call<'_>, sizes: &mut Vec<i64>) -> Result<(), Fault> {
        let taken = truth(call.inputs.data(0)?)?;
        let body = self.bodies.get_mut(usize::from(!taken));
        let body = body.ok_or_else(|| fault!("it has not two bodies"))?;
        let given = Captured { first: 1, inputs: call.inputs };
        body.run(|i| self.captured.get(i).map(Vec::as_slice), &given, call)?;
        for i in 0..body.program.outputs.len() {
            let View { data, .. } = body.frame.output(i);
            let budget = &mut call.memory.scratch.budget;
            if let Some(output) = call.outputs.grown(i, data.len(), budget)? {
                copy(data, output);
            }
        }
        self.named.give(sizes, |output| body.frame.output(output).dims)
    }
}

fn truth(data: Data<'_>) -> Result<bool, Fault> {
    match data {
        Data::Bool([truth]) => Ok(*truth != 0),
        Data::Bool(other) => Err(fault!("its condition has {} elements", other.len())),
        _ => Err(mismatch()),
    }
}

impl Compute for Loop {
    type Kept = Vec<Arc<Program>>;

    fn keep(&self, node: &Node, constants: &mut Constants<'_>) -> Result<Self::Kept, Fault> {
        programs(node, constants)
    }

    fn computation(&self, kept: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let program = kept.first().ok_or_else(|| fault!("it has no body"))?;
        let (leading, count) = (self.leading(), self.carried as usize);
        let mut carried = Vec::with_capacity(count);
        for i in 0..count {
            let shape = shapes.input(leading + i)?;
            let (data_type, dims) = (shape.data_type, shape.dims.clone());
            carried.push(Carried { dims, elements: Buffer::new(data_type) });
        }
        let captured =
            (leading + count..shapes.inputs.len()).map(|i| Ok(shapes.input(i)?.dims.clone()));
        let trips = self.trips.first().map(|trips| {
            trips.as_size().ok_or_else(|| fault!("its number of iterations {trips} is no number"))
        });
        let scans = program.outputs.len().saturating_sub(usize::from(self.conditional) + count);
        Ok(Computation::Dynamic(Box::new(Rounds {
            body: Body::new(program, shapes.sizes),
            first: carried.iter().map(|value| value.dims.clone()).collect(),
            carried,
            captured: captured.collect::<Result<_, Fault>>()?,
            scans: alloc::vec![Vec::new(); scans],
            shapes: shapes.outputs.iter().skip(count).map(|shape| shape.dims.clone()).collect(),
            trips: trips.transpose()?,
            counted: self.counted,
            conditional: self.conditional,
            named: Named::new(&self.dims, shapes.outputs),
        })))
    }
}

/// A value on its way from one iteration to the next.
struct Carried {
    dims: Vec<usize>,
    elements: Buffer,
}

struct Rounds {
    body: Body,
    /// Shapes of the first values of what is carried.
    first: Vec<Vec<usize>>,
    carried: Vec<Carried>,
    /// Shapes of the captures.
    captured: Vec<Vec<usize>>,
    /// Shapes of the scans of a call.
    scans: Vec<Vec<usize>>,
    /// Shapes of the scans as far as they are known.
    shapes: Vec<Vec<usize>>,
    trips: Option<i64>,
    counted: bool,
    conditional: bool,
    named: Named,
}

/// Inputs of a loop's body.
struct Round<'a> {
    number: i64,
    carried: &'a [Carried],
    captured: Captured<'a>,
}

impl Given for Round<'_> {
    fn input(&self, i: usize) -> Option<Data<'_>> {
        let Some(i) = i.checked_sub(1) else {
            return Some(Data::I64(slice::from_ref(&self.number)));
        };
        match self.carried.get(i) {
            Some(Carried { dims, elements }) => Some(elements.data(dims.iter().product())),
            None => self.captured.input(i - self.carried.len()),
        }
    }
}

/// The shape of a body's input.
fn input_dims<'a>(
    carried: &'a [Carried],
    captured: &'a [Vec<usize>],
    i: usize,
) -> Option<&'a [usize]> {
    let Some(i) = i.checked_sub(1) else { return Some(&[]) };
    match carried.get(i) {
        Some(carried) => Some(&carried.dims),
        None => captured.get(i - carried.len()).map(Vec::as_slice),
    }
}

impl Dynamic for Rounds {
    fn reserve(&mut self, memory: &mut Memory) {
        let Rounds { body, carried, captured, .. } = self;
        body.reserve(|i| input_dims(carried, captured, i), memory);
    }

    fn run(&mut self, call: &mut Call<'_>, sizes: &mut Vec<i64>) -> Result<(), Fault> {
        let leading = usize::from(self.counted) + usize::from(self.conditional);
        let most = match (self.trips, self.counted) {
            (Some(trips), _) => trips,
            (None, true) => match call.inputs.data(0)? {
                Data::I64([trips]) => *trips,
                _ => return Err(fault!("its number of iterations is not one element")),
            },
            (None, false) => i64::MAX,
        };
        let mut goes_on = match self.conditional {
            true => truth(call.inputs.data(usize::from(self.counted))?)?,
            false => true,
        };
        for (i, (Carried { dims, elements }, first)) in
            self.carried.iter_mut().zip(&self.first).enumerate()
        {
            let data = call.inputs.data(leading + i)?;
            dims.clone_from(first);
            call.memory.scratch.budget.slot(elements, data.len())?;
            copy(data, elements.data_mut(data.len()));
        }
        // Without iterations, sizes that are not known stay 0.
        for (scan, shape) in self.scans.iter_mut().zip(&self.shapes) {
            scan.clone_from(shape);
            scan[0] = 0;
        }
        let mut number = 0;
        while number < most && goes_on {
            self.round(number, most, &mut goes_on, leading, call)?;
            number += 1;
        }
        let carried = self.carried.len();
        for (i, Carried { dims, elements }) in self.carried.iter().enumerate() {
            let len = dims.iter().product();
            if let Some(output) = call.outputs.grown(i, len, &mut call.memory.scratch.budget)? {
                copy(elements.data(len), output);
            }
        }
        self.named.give(sizes, |output| match self.carried.get(output) {
            Some(value) => &value.dims,
            None => &self.scans[output - carried],
        })
    }
}

impl Rounds {
    /// Runs the body once.
    fn round(
        &mut self,
        number: i64,
        most: i64,
        goes_on: &mut bool,
        leading: usize,
        call: &mut Call<'_>,
    ) -> Result<(), Fault> {
        let Rounds { body, carried, captured, scans, conditional, .. } = self;
        call.memory.scratch.budget.iterate()?;
        let first = leading + carried.len();
        let inputs = call.inputs;
        let given = Round { number, carried, captured: Captured { first, inputs } };
        body.run(|i| input_dims(carried, captured, i), &given, call)?;
        let frame = &body.frame;
        let skipped = usize::from(*conditional);
        if *conditional {
            *goes_on = truth(frame.output(0).data)?;
        }
        let budget = &mut call.memory.scratch.budget;
        for (i, value) in carried.iter_mut().enumerate() {
            let View { dims, data } = frame.output(skipped + i);
            value.dims.clear();
            value.dims.extend(dims);
            budget.slot(&mut value.elements, data.len())?;
            copy(data, value.elements.data_mut(data.len()));
        }
        for (i, scan) in scans.iter_mut().enumerate() {
            let View { dims, data } = frame.output(skipped + carried.len() + i);
            let at = scan[0];
            if at == 0 {
                scan.truncate(1);
                scan.extend(dims);
            }
            ensure!(scan[1..] == *dims, "parts of scan {i} differ in their shapes");
            let end = (at + 1).saturating_mul(data.len());
            // Twice as much as there is, so that few parts are copied again.
            let room = usize::try_from(most).unwrap_or(usize::MAX).min(2 * (at + 1));
            let room = room.saturating_mul(data.len()).max(end);
            scan[0] = at + 1;
            if let Some(output) = call.outputs.grown(carried.len() + i, room, budget)? {
                copy(data, output.into_part(at * data.len(), data.len()));
            }
        }
        Ok(())
    }
}
