//! Running one operator in tests.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use amq_format::Draft;
use amq_format::graph::{Dim, Graph, Node, Op, ValueId};

use super::{Chain, Part};
use crate::call::{Call, Memory, Operands, Results};
use crate::compute::{Computation, Shapes};
use crate::infer::{Fact, infer};
use crate::kernels::{Isa, Target};
use crate::probe::Tap;
use crate::product::Packer;
use crate::schedule::Work;
use crate::shape::{Shape, Sizes};
use crate::values::{Nothing, Place, Room, Source, Values};
use crate::view::Buffer;
use crate::weights::Constants;
use crate::workers::Alone;

pub(crate) type Tensor = (Vec<usize>, Buffer);

/// A tensor of floats.
pub(crate) fn floats(dims: &[usize], elements: impl IntoIterator<Item = f32>) -> Tensor {
    (dims.to_vec(), Buffer::F32(elements.into_iter().collect()))
}

/// A tensor of 64-bit integers.
pub(crate) fn integers(dims: &[usize], elements: impl IntoIterator<Item = i64>) -> Tensor {
    (dims.to_vec(), Buffer::I64(elements.into_iter().collect()))
}

/// The elements of a tensor of floats.
pub(crate) fn as_f32(tensor: &Tensor) -> &[f32] {
    match &tensor.1 {
        Buffer::F32(elements) => elements,
        other => panic!("{other:?}"),
    }
}

const MOST_ELEMENTS: usize = 1_000_000;

/// Plans and runs an operator that needs no weights on every instruction set; its first output.
pub(crate) fn run(op: impl Into<Op>, inputs: &[Tensor]) -> Result<Tensor, String> {
    run_all(op.into(), inputs).map(|mut outputs| outputs.swap_remove(0))
}

/// Plans and runs an operator that needs no weights on every instruction set; its outputs, the same
/// on all.
pub(crate) fn run_all(op: Op, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let results =
        Isa::ALL.into_iter().filter_map(Target::new).map(|target| run_on(target, &op, inputs));
    let mut results: Vec<_> = results.collect();
    let first = results.swap_remove(0);
    for other in results {
        match (&first, &other) {
            (Ok(a), Ok(b)) => assert!(a.iter().map(bits).eq(b.iter().map(bits))),
            (a, b) => assert_eq!(a.is_err(), b.is_err()),
        }
    }
    first
}

fn bits(tensor: &Tensor) -> Vec<u64> {
    match &tensor.1 {
        Buffer::F32(x) => x.iter().map(|x| if x.is_nan() { 1 << 40 } else { x.to_bits().into() }),
        _ => return Vec::new(),
    }
    .collect()
}

fn run_on(target: Target, op: &Op, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let ids: Vec<ValueId> = (0..inputs.len() as ValueId).collect();
    let node = Node {
        name: "n".into(),
        inputs: ids.clone(),
        outputs: (0..op.operator().arity().outputs as ValueId).collect(),
        op: Some(op.clone()),
        binds: names(op, inputs),
        ..Node::default()
    };
    let fact = |(dims, data): &Tensor| {
        let dims = dims.iter().map(|&size| Dim::from(size as i64)).collect();
        Some(Fact::new(data.data_type(), dims))
    };
    let facts: Vec<Option<Fact>> = inputs.iter().map(fact).collect();
    let outputs = infer(&node, &facts).map_err(|error| alloc::format!("{error}"))?;
    let shape = |fact: &Fact| Shape::new(fact).map_err(|fault| fault.0);
    let shapes: Vec<Option<Shape>> =
        facts.iter().map(|fact| fact.as_ref().map(shape).transpose()).collect::<Result<_, _>>()?;
    let known = |fact: &Fact| {
        let size = |dim: &Dim| Dim::from(dim.as_size().unwrap_or(0));
        shape(&Fact::new(fact.data_type, fact.dims.iter().map(size).collect()))
    };
    let mut results = outputs.iter().map(known).collect::<Result<Vec<Shape>, _>>()?;
    if results.iter().any(|result| result.len() > MOST_ELEMENTS) {
        return Err("too large for a test".into());
    }
    let nothing = Graph { values: Vec::from([String::new()]), ..Graph::default() };
    let nothing = Draft { graph: nothing, ..Draft::default() };
    let nothing = nothing.network().unwrap();
    let kept = super::keep(&node, &mut Constants::new(&nothing, Packer::alone(target)))
        .map_err(|fault| fault.0)?;
    let shapes = Shapes { inputs: &shapes, outputs: &results, sizes: &Sizes::new() };
    let computation = super::computation(op, &kept, &shapes).map_err(|fault| fault.0)?;
    let mut work = match computation {
        Computation::View => {
            return Ok(Vec::from([(results[0].dims.clone(), inputs[0].1.clone())]));
        }
        Computation::Kernel(kernel) => Work::Kernel(kernel),
        Computation::Dynamic(dynamic) => Work::Dynamic(dynamic),
        Computation::Elementwise(function) => {
            let (output, data_type) = (ids.len() as ValueId, results[0].data_type);
            let part = Part { function, inputs: ids.clone(), output, data_type };
            let shape = |value: ValueId| shapes.inputs.get(value as usize)?.as_ref();
            let chain = Chain::new(Vec::from([part]), &results[0], shape);
            Work::Kernel(Box::new(chain.map_err(|fault| fault.0)?.0))
        }
    };
    let mut memory = Memory::default();
    match &mut work {
        Work::Kernel(kernel) => kernel.reserve(&mut memory),
        Work::Dynamic(dynamic) => dynamic.reserve(&mut memory),
    }
    let slots: Vec<Buffer> = inputs.iter().map(|input| input.1.clone()).collect();
    let place = |(i, slot): (usize, &Buffer)| Place { source: Source::Slot(i), len: slot.len() };
    let places: Vec<Place> = slots.iter().enumerate().map(place).collect();
    let values = Values { places: &places, slots: &slots, constants: &[], given: &Nothing };
    let buffer = |result: &Shape| {
        let mut y = Buffer::new(result.data_type);
        assert!(y.grow(result.len()));
        y
    };
    let mut slots: Vec<Buffer> = results.iter().map(buffer).collect();
    let room = |(slot, result): (usize, &Shape)| Some(Room { slot, len: result.len() });
    let rooms: Vec<Option<Room>> = results.iter().enumerate().map(room).collect();
    let mut call = Call {
        inputs: Operands { ids: &ids, values },
        outputs: Results { slots: &mut slots, rooms: &rooms },
        target,
        memory: &mut memory,
        workers: &Alone,
        tap: Tap { node: 0, probe: None },
    };
    let mut sizes = Vec::new();
    let done = match &mut work {
        Work::Kernel(kernel) => kernel.run(&mut call),
        Work::Dynamic(dynamic) => dynamic.run(&mut call, &mut sizes),
    };
    done.map_err(|fault| fault.0)?;
    let size_of = |name: &str| {
        let place = node.binds.iter().position(|own| own == name)?;
        sizes.get(place).map(|size| size + 1)
    };
    for (result, fact) in results.iter_mut().zip(&outputs) {
        let size = |dim: &Dim| dim.eval(&size_of).map(|size| size as usize);
        result.dims = fact.dims.iter().map(size).collect::<Result<_, _>>().unwrap();
    }
    let tensors = results.into_iter().zip(&mut slots);
    Ok(tensors.map(|(result, slot)| (result.dims.clone(), slot.first(result.len()))).collect())
}

/// Names for the sizes that an operator gives.
fn names(op: &Op, inputs: &[Tensor]) -> Vec<String> {
    let declared = op.operator().arity();
    let count = match declared.binds {
        usize::MAX if declared.bodies == 0 => inputs[0].1.len(),
        usize::MAX => 0,
        count => count,
    };
    (0..count).map(|i| alloc::format!("size{i}")).collect()
}

impl Buffer {
    /// The elements, of which the slot may have more.
    fn first(&mut self, len: usize) -> Buffer {
        macro_rules! first {
            ($($kind:ident)*) => {
                match self {
                    $(Buffer::$kind(x) => Buffer::$kind(x[..len].to_vec()),)*
                }
            };
        }
        first!(F32 I64 I32 U8 I8 Bool I16 U16 U32 U64)
    }
}
