//! A loaded model: checked, its weights packed for one instruction set, and never changed again.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::ops::Range;

use amq_format::graph::{self, ABSENT, Activations, DataType, Dim, Graph, ValueId};
use amq_format::{MultiBitView, PlainView, TensorView, Validated};

use crate::error::{Error, Fault, fault};
use crate::infer::{self, Fact};
use crate::kernels::{Isa, Target};
use crate::ops::{self, Prepared, Shape};
use crate::product::{ConvMatrix, Matrix, MatrixSource};
use crate::view::Buffer;

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The instruction set to use. Results do not depend on it.
    pub isa: Isa,
    /// Bytes that a session may take for the values of its calls and for working memory. The memory
    /// of weights, which the size of the file bounds, is not counted.
    pub max_arena_bytes: u64,
}

impl Default for LoadOptions {
    /// The fastest instruction set of this CPU, and 1 GiB.
    fn default() -> LoadOptions {
        LoadOptions { isa: Isa::detect(), max_arena_bytes: 1 << 30 }
    }
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub data_type: DataType,
    /// Its shape. Names stand for sizes of at least 1 that calls choose.
    pub dims: Vec<Dim>,
}

/// What a stream carries from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatePort {
    /// Number of the input that takes it.
    pub input: usize,
    /// Number of the output that gives its next value.
    pub output: usize,
}

/// A network that is ready to run. Sessions share it.
pub struct Model {
    graph: Graph,
    digest: [u8; 32],
    target: Target,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    states: Vec<StatePort>,
    pub(crate) max_arena_bytes: u64,
    /// Of each value that is a constant, its shape.
    pub(crate) constant_shapes: Vec<Option<Shape>>,
    /// Of each value that is a constant read by kernels, its elements.
    pub(crate) constants: Vec<Option<Constant>>,
    /// Of each node.
    pub(crate) prepared: Vec<Prepared>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("states", &self.states)
            .field("nodes", &self.graph.nodes.len())
            .field("isa", &self.isa())
            .finish_non_exhaustive()
    }
}

/// A constant that kernels read as it is.
pub(crate) struct Constant {
    pub(crate) elements: Buffer,
}

impl Model {
    /// Validates a file and packs its weights for the fastest instruction set of this CPU.
    ///
    /// # Errors
    /// [`Error::Format`] where the file is not valid, [`Error::Node`] where the types or shapes of a
    /// node's inputs do not fit its operator.
    pub fn load(bytes: &[u8]) -> Result<Model, Error> {
        Model::with_options(&Validated::new(bytes)?, &LoadOptions::default())
    }

    /// Packs the weights of a validated file.
    ///
    /// # Errors
    /// As [`load`](Model::load), and [`Error::IsaUnavailable`].
    pub fn with_options(file: &Validated<'_>, options: &LoadOptions) -> Result<Model, Error> {
        let target = Target::new(options.isa).ok_or(Error::IsaUnavailable(options.isa))?;
        let graph = file.graph().clone();
        let mut constants = Constants::new(file, target);
        let constant_shapes = constants.shapes()?;
        check_types(&graph, &constant_shapes)?;
        let mut prepared = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            prepared.push(ops::prepare(node, &mut constants).map_err(|f| infer::at(node, f))?);
        }
        let plain = constants.plain(&graph);
        let ports = |ports: &[graph::Port]| -> Vec<Port> {
            let port = |port: &graph::Port| Port {
                name: graph.values[port.value as usize].clone(),
                data_type: port.data_type(),
                dims: port.dims.clone(),
            };
            ports.iter().map(port).collect()
        };
        let (inputs, outputs) = (ports(&graph.inputs), ports(&graph.outputs));
        let number = |ports: &[graph::Port], value: ValueId| {
            let at = ports.iter().position(|port| port.value == value);
            at.ok_or_else(|| Error::State(format!("value {value} is no input or output")))
        };
        let mut states = Vec::with_capacity(graph.states.len());
        for state in &graph.states {
            states.push(StatePort {
                input: number(&graph.inputs, state.input)?,
                output: number(&graph.outputs, state.output)?,
            });
        }
        Ok(Model {
            digest: file.root_digest(),
            target,
            inputs,
            outputs,
            states,
            max_arena_bytes: options.max_arena_bytes,
            constant_shapes,
            constants: plain,
            prepared,
            graph,
        })
    }

    /// The inputs, in the file's order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs, in the file's order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// What a stream carries from one step to the next.
    pub fn states(&self) -> &[StatePort] {
        &self.states
    }

    /// The graph, as the file holds it.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The file's root digest, which saved state is bound to.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The instruction set that its weights are packed for.
    pub fn isa(&self) -> Isa {
        self.target.isa()
    }

    pub(crate) fn target(&self) -> Target {
        self.target
    }
}

/// Bytes that the shapes of all values may take, with names: each node of a few bytes could repeat a
/// long expression.
const MAX_SHAPES: usize = 128 << 20;

/// Copies of all constants together that nodes may take, as floats and beside 64 MiB. Any number of
/// nodes of a few bytes can share one constant.
const MAX_COPIES: u64 = 8;

/// Infers through the graph with names, so that what can never run is refused when it is loaded.
fn check_types(graph: &Graph, constants: &[Option<Shape>]) -> Result<(), Error> {
    let mut facts: Vec<Option<Fact>> =
        constants.iter().map(|shape| shape.as_ref().map(Shape::fact)).collect();
    let mut left = MAX_SHAPES;
    for port in &graph.inputs {
        let fact = Fact { data_type: port.data_type(), dims: port.dims.clone() };
        facts[port.value as usize] = Some(fact);
    }
    for node in &graph.nodes {
        let inputs: Vec<Option<Fact>> =
            node.inputs.iter().map(|&value| facts[value as usize].clone()).collect();
        for (&value, fact) in node.outputs.iter().zip(infer::infer(node, &inputs)?) {
            if value != ABSENT {
                let bytes = fact.dims.iter().map(Dim::memory).sum();
                left = left.checked_sub(bytes).ok_or_else(|| {
                    infer::at(
                        node,
                        fault!("the shapes up to here take more than {MAX_SHAPES} bytes"),
                    )
                })?;
                facts[value as usize] = Some(fact);
            }
        }
    }
    for port in &graph.outputs {
        let name = &graph.values[port.value as usize];
        let found = facts[port.value as usize].as_ref().map(|fact| fact.data_type);
        if found != Some(port.data_type()) {
            let (found, declared) = (found.map_or("absent", DataType::name), port.data_type());
            return Err(Error::Input(format!(
                "output {name} is {found}, the file declares {}",
                declared.name()
            )));
        }
    }
    Ok(())
}

/// The constants of a file, while a model is made of them.
pub(crate) struct Constants<'f> {
    file: &'f Validated<'f>,
    /// Of each value, its tensor.
    tensors: Vec<Option<usize>>,
    /// Matrices that several nodes may share.
    matrices: BTreeMap<(ValueId, Activations), Arc<Matrix>>,
    /// Bytes that nodes may still take copies of.
    left: Cell<u64>,
    target: Target,
}

impl<'f> Constants<'f> {
    fn new(file: &'f Validated<'f>, target: Target) -> Constants<'f> {
        let mut tensors = alloc::vec![None; file.graph().values.len()];
        for (i, tensor) in file.graph().tensors.iter().enumerate() {
            tensors[tensor.value as usize] = Some(i);
        }
        let size = |index: usize| 4 * file.tensor(index).dims().iter().product::<usize>() as u64;
        let all = (0..file.graph().tensors.len()).map(size).fold(0, u64::saturating_add);
        let left = Cell::new(all.saturating_mul(MAX_COPIES).saturating_add(64 << 20));
        Constants { file, tensors, matrices: BTreeMap::new(), left, target }
    }

    /// The target that weights are packed for.
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// The tensor of a value, if it is a constant.
    pub(crate) fn view(&self, value: ValueId) -> Option<TensorView<'f>> {
        let index = (*self.tensors.get(value as usize)?)?;
        Some(self.file.tensor(index))
    }

    fn shapes(&self) -> Result<Vec<Option<Shape>>, Error> {
        let shape = |(value, index): (usize, &Option<usize>)| {
            let Some(index) = *index else { return Ok(None) };
            let fact = Fact {
                data_type: self.file.graph().tensors[index].data_type(),
                dims: self.file.tensor(index).dims().iter().map(|&d| Dim::from(d as i64)).collect(),
            };
            let name = &self.file.graph().values[value];
            let named = |Fault(what)| Error::Input(format!("constant {name}: {what}"));
            Shape::new(&fact).map(Some).map_err(named)
        };
        self.tensors.iter().enumerate().map(shape).collect()
    }

    /// Counts a copy of a constant.
    fn copy(&self, value: ValueId) -> Result<(), Fault> {
        let elements = self.view(value).map_or(0, |view| view.dims().iter().product::<usize>());
        let left = self.left.get().checked_sub((elements as u64).saturating_mul(4));
        self.left.set(left.ok_or_else(|| fault!("too many nodes share large weights"))?);
        Ok(())
    }

    /// The elements of a plain tensor of floats; none where the value is absent.
    pub(crate) fn floats(&self, value: ValueId) -> Result<Option<Vec<f32>>, Fault> {
        if value == ABSENT {
            return Ok(None);
        }
        self.copy(value)?;
        match self.view(value) {
            Some(TensorView::Plain(view)) => Ok(Some(view.f32s().collect())),
            _ => Err(fault!("an input that must be a plain constant is none")),
        }
    }

    /// A constant as matrices: its first `lead` axes are rows, which are divided into `parts`.
    pub(crate) fn sources(
        &self,
        value: ValueId,
        lead: usize,
        parts: usize,
    ) -> Result<Vec<MatrixSource>, Fault> {
        let view = self.view(value).ok_or_else(|| fault!("its weights are no constant"))?;
        self.copy(value)?;
        let dims = view.dims();
        let lead = lead.min(dims.len());
        let (rows, cols): (usize, usize) =
            (dims[..lead].iter().product(), dims[lead..].iter().product());
        let each = rows / parts.max(1);
        let part = |part: usize| match &view {
            TensorView::Plain(view) => {
                let elements = view.f32s().skip(part * each * cols).take(each * cols);
                MatrixSource::Float { rows: each, cols, data: elements.collect() }
            }
            TensorView::MultiBit(view) => codes(view, part * each..(part + 1) * each),
        };
        Ok((0..parts).map(part).collect())
    }

    fn source(&self, value: ValueId) -> Result<MatrixSource, Fault> {
        self.sources(value, 1, 1)?.pop().ok_or_else(|| fault!("its weights are no constant"))
    }

    /// A packed matrix, the same for all nodes that multiply with it.
    pub(crate) fn matrix(
        &mut self,
        value: ValueId,
        activations: Activations,
    ) -> Result<Arc<Matrix>, Fault> {
        if let Some(matrix) = self.matrices.get(&(value, activations)) {
            return Ok(Arc::clone(matrix));
        }
        let matrix = Matrix::pack(&self.source(value)?, activations, self.target);
        let matrix = Arc::new(matrix.map_err(|why| fault!("{why}"))?);
        self.matrices.insert((value, activations), Arc::clone(&matrix));
        Ok(matrix)
    }

    /// The packed matrices of a convolution.
    pub(crate) fn conv_matrix(
        &self,
        value: ValueId,
        op: &graph::Conv,
    ) -> Result<ConvMatrix, Fault> {
        let groups = usize::try_from(op.groups).map_err(|_| fault!("{} groups", op.groups))?;
        let source = self.source(value)?;
        ConvMatrix::pack(&source, groups, op.activations(), self.target)
            .map_err(|why| fault!("{why}"))
    }

    /// The constants that are read as they are: by kernels, as outputs, or as initial states.
    fn plain(&self, graph: &Graph) -> Vec<Option<Constant>> {
        let mut read = alloc::vec![false; graph.values.len()];
        for node in &graph.nodes {
            let Some(op) = &node.op else { continue };
            for (i, &value) in node.inputs.iter().enumerate() {
                let view = self.view(value);
                let multi_bit = matches!(view, Some(TensorView::MultiBit(_)));
                read[value as usize] |= !ops::is_prepared(op, i, multi_bit);
            }
        }
        graph.outputs.iter().for_each(|port| read[port.value as usize] = true);
        graph.states.iter().for_each(|state| read[state.initial as usize] = true);
        let constant = |(value, read): (usize, bool)| match self.view(value as ValueId) {
            Some(TensorView::Plain(view)) if read => Some(Constant { elements: elements(&view) }),
            _ => None,
        };
        read.into_iter().enumerate().map(constant).collect()
    }
}

fn elements(view: &PlainView<'_>) -> Buffer {
    match view.data_type {
        DataType::F32 => Buffer::F32(view.f32s().collect()),
        DataType::I64 => Buffer::I64(view.i64s().collect()),
        DataType::I32 => Buffer::I32(view.i32s().collect()),
        DataType::U8 => Buffer::U8(view.bytes.to_vec()),
        DataType::I8 => Buffer::I8(view.bytes.iter().map(|&byte| byte as i8).collect()),
        DataType::Bool => Buffer::Bool(view.bytes.to_vec()),
    }
}

fn codes(view: &MultiBitView<'_>, rows: Range<usize>) -> MatrixSource {
    let MultiBitView { cols, bits, group, .. } = *view;
    let words = view.words_per_row();
    let mut planes = Vec::with_capacity(bits * rows.len() * words);
    for plane in 0..bits {
        for row in rows.clone() {
            planes.extend((0..words).map(|word| view.word(plane, row, word)));
        }
    }
    let (coefficients, offsets) = scales(view, rows.clone());
    let rows = rows.len();
    MatrixSource::Codes { rows, cols, group, bits, planes, coefficients, offsets }
}

/// Coefficients `[row][group][plane]` and offsets `[row][group]` of some rows.
pub(crate) fn scales(view: &MultiBitView<'_>, rows: Range<usize>) -> (Vec<f32>, Option<Vec<f32>>) {
    let (bits, groups) = (view.bits, view.groups());
    let mut coefficients = Vec::with_capacity(rows.len() * groups * bits);
    let mut offsets = view.has_offset.then(|| Vec::with_capacity(rows.len() * groups));
    for (row, group) in rows.flat_map(|row| (0..groups).map(move |group| (row, group))) {
        coefficients.extend((0..bits).map(|plane| view.coefficient(row, group, plane)));
        if let Some(offsets) = &mut offsets {
            offsets.push(view.offset(row, group));
        }
    }
    (coefficients, offsets)
}
