//! The constants of a file, as nodes keep them and as kernels read them.

use alloc::borrow::Cow;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::mem;
use core::ops::Range;

use amq_format::graph::{self, ABSENT, Activations, DataType, Dim, ValueId};
use amq_format::{Network, TensorView};

use crate::constant::Constant;
use crate::error::{Error, Fault, MisfitKind, fault};
use crate::infer::Fact;
use crate::kernels::memory::elements;
use crate::product::{ConvMatrix, Matrix, MatrixSource, PackError, Packer};
use crate::shape::Shape;

/// Copies of all constants together that nodes may take, as floats and beside 64 MiB. Any number of
/// nodes of a few bytes can share one constant.
const MAX_COPIES: u64 = 8;

/// Rows of a tensor that are packed: the part that they are of, the first, the one behind the last, and what they
/// are multiplied with.
type Rows = (usize, [usize; 2], Activations);

/// What nodes and graphs may share of a tensor: few things, which are looked for one by one.
#[derive(Default)]
struct Shared {
    matrices: Vec<(Rows, Arc<Matrix>)>,
    /// Those of convolutions, by their groups.
    convolutions: Vec<((usize, Activations), Arc<ConvMatrix>)>,
    elements: Option<Constant>,
}

fn found<K: PartialEq, T>(things: &[(K, Arc<T>)], key: &K) -> Option<Arc<T>> {
    things.iter().find(|(other, _)| other == key).map(|(_, thing)| Arc::clone(thing))
}

/// The constants of a network, while a model is made of them.
pub(crate) struct Constants<'f> {
    network: &'f Network<'f>,
    /// Of each value, its tensor.
    tensors: Vec<Option<usize>>,
    /// Of each tensor.
    shared: Vec<Shared>,
    /// Bytes that nodes may still take copies of.
    left: Cell<u64>,
    packer: Packer<'f>,
    /// The same network, where its constants stay in the file.
    pub(crate) kept: Option<&'f Network<'static>>,
}

impl<'f> Constants<'f> {
    pub(crate) fn new(network: &'f Network<'f>, packer: Packer<'f>) -> Constants<'f> {
        let mut tensors = alloc::vec![None; network.graph().values.len()];
        for (i, tensor) in network.graph().tensors.iter().enumerate() {
            tensors[tensor.value as usize] = Some(i);
        }
        let size = |index: usize| 4 * network.tensor(index).dims().iter().product::<usize>() as u64;
        let all = (0..network.graph().tensors.len()).map(size).fold(0, u64::saturating_add);
        let mut shared = Vec::new();
        shared.resize_with(network.graph().tensors.len(), Shared::default);
        let left = Cell::new(all.saturating_mul(MAX_COPIES).saturating_add(64 << 20));
        Constants { network, tensors, shared, left, packer, kept: None }
    }

    /// Does something in a body, of whose values `outer` tells which are constants here.
    pub(crate) fn within<T>(
        &mut self,
        outer: &[ValueId],
        then: impl FnOnce(&mut Constants<'f>) -> T,
    ) -> T {
        let tensor = |&value: &ValueId| self.tensors.get(value as usize).copied().flatten();
        let inner = outer.iter().map(tensor).collect();
        let around = mem::replace(&mut self.tensors, inner);
        let done = then(self);
        self.tensors = around;
        done
    }

    /// What weights are packed with.
    pub(crate) fn packer(&self) -> Packer<'f> {
        self.packer
    }

    /// The tensor of a value, if it is a constant.
    pub(crate) fn view(&self, value: ValueId) -> Option<TensorView<'f>> {
        let index = (*self.tensors.get(value as usize)?)?;
        Some(self.network.tensor(index))
    }

    /// The same, if it stays in the file.
    pub(crate) fn in_file(&self, value: ValueId) -> Option<TensorView<'static>> {
        let index = (*self.tensors.get(value as usize)?)?;
        Some(self.kept?.tensor(index))
    }

    pub(crate) fn shapes(&self) -> Result<Vec<Option<Shape>>, Error> {
        let shape = |(value, index): (usize, &Option<usize>)| {
            let Some(index) = *index else { return Ok(None) };
            let fact = Fact::new(
                self.network.graph().tensors[index].data_type(),
                self.network.tensor(index).dims().iter().map(|&d| Dim::from(d as i64)).collect(),
            );
            let named = |Fault(what)| {
                Error::input(MisfitKind::Model, "", format!("constant {value}: {what}"))
            };
            Shape::new(&fact).map(Some).map_err(named)
        };
        self.tensors.iter().enumerate().map(shape).collect()
    }

    /// Counts a copy of so many elements.
    fn copy(&self, elements: usize) -> Result<(), PackError> {
        let left = self.left.get().checked_sub((elements as u64).saturating_mul(4));
        self.left.set(left.ok_or(PackError::Copies)?);
        Ok(())
    }

    /// Counts a copy of a matrix, unless it stays where it is.
    fn copy_rows(&self, source: &MatrixSource<'_>, rows: usize) -> Result<(), PackError> {
        match source {
            MatrixSource::InFile { .. } => Ok(()),
            _ => self.copy(rows.saturating_mul(source.shape().1)),
        }
    }

    /// The tensor of a value that must be a constant.
    pub(crate) fn tensor(&self, value: ValueId) -> Result<usize, Fault> {
        let tensor = self.tensors.get(value as usize).copied().flatten();
        tensor.ok_or_else(|| fault!("its weights are no constant"))
    }

    /// The elements of a plain tensor of floats, a copy unless they stay where they are; none where the value is absent.
    pub(crate) fn floats(&self, value: ValueId) -> Result<Option<Cow<'static, [f32]>>, Fault> {
        if value == ABSENT {
            return Ok(None);
        }
        if let Some(TensorView::Plain(view)) = self.in_file(value)
            && view.data_type == DataType::F32
            && let Some(elements) = elements(view.bytes)
        {
            return Ok(Some(Cow::Borrowed(elements)));
        }
        match self.view(value) {
            Some(TensorView::Plain(view)) => {
                self.copy(view.f32s().len()).map_err(|why| fault!("{why}"))?;
                Ok(Some(Cow::Owned(view.f32s().collect())))
            }
            _ => Err(fault!("an input that must be a plain constant is none")),
        }
    }

    /// A constant as matrices: its first `lead` axes are rows, which are divided into `parts`.
    pub(crate) fn sources(
        &self,
        value: ValueId,
        lead: usize,
        parts: usize,
    ) -> Result<Vec<MatrixSource<'f>>, Fault> {
        let view = self.network.tensor(self.tensor(value)?);
        let dims = view.dims();
        let lead = lead.min(dims.len());
        let (rows, cols): (usize, usize) =
            (dims[..lead].iter().product(), dims[lead..].iter().product());
        let each = rows / parts.max(1);
        let in_file = self.in_file(value);
        let part = |part: usize| {
            let rows = part * each..(part + 1) * each;
            match in_file.clone() {
                Some(tensor) => MatrixSource::InFile { tensor, rows, cols },
                None => MatrixSource::rows(&view, rows, cols),
            }
        };
        Ok((0..parts).map(part).collect())
    }

    fn source(&self, value: ValueId) -> Result<MatrixSource<'f>, Fault> {
        self.sources(value, 1, 1)?.pop().ok_or_else(|| fault!("its weights are no constant"))
    }

    /// A packed matrix, the same for all nodes that multiply with it.
    pub(crate) fn matrix(
        &mut self,
        value: ValueId,
        activations: Activations,
    ) -> Result<Arc<Matrix>, Fault> {
        let tensor = self.tensor(value)?;
        let rows = self.network.tensor(tensor).dims().iter().take(1).product();
        if let Some(matrix) = found(&self.shared[tensor].matrices, &(0, [0, rows], activations)) {
            return Ok(matrix);
        }
        let source = self.source(value)?;
        self.rows(tensor, &source, 0, 0..rows, activations).map_err(|why| fault!("{why}"))
    }

    /// Some packed rows of `source`, which is that part of a tensor: the same for all nodes that multiply with them.
    pub(crate) fn rows(
        &mut self,
        tensor: usize,
        source: &MatrixSource<'_>,
        part: usize,
        rows: Range<usize>,
        activations: Activations,
    ) -> Result<Arc<Matrix>, PackError> {
        let key = (part, [rows.start, rows.end], activations);
        if let Some(matrix) = found(&self.shared[tensor].matrices, &key) {
            return Ok(matrix);
        }
        self.copy_rows(source, rows.len())?;
        let matrix = Arc::new(Matrix::pack_rows(source, rows, activations, self.packer)?);
        self.shared[tensor].matrices.push((key, Arc::clone(&matrix)));
        Ok(matrix)
    }

    /// The packed matrices of a convolution, the same for all that have its kernels in as many groups.
    pub(crate) fn conv_matrix(
        &mut self,
        value: ValueId,
        op: &graph::Conv,
    ) -> Result<Arc<ConvMatrix>, Fault> {
        let groups = usize::try_from(op.groups).map_err(|_| fault!("{} groups", op.groups))?;
        let (tensor, key) = (self.tensor(value)?, (groups, op.activations()));
        if let Some(matrix) = found(&self.shared[tensor].convolutions, &key) {
            return Ok(matrix);
        }
        let source = self.source(value)?;
        self.copy_rows(&source, source.shape().0).map_err(|why| fault!("{why}"))?;
        let taps = match self.view(value).as_ref().map(TensorView::dims) {
            Some([_, kernel @ .., _]) => kernel.iter().product(),
            _ => 0,
        };
        let matrix = ConvMatrix::pack(&source, groups, taps, op.activations(), self.packer);
        let matrix = Arc::new(matrix.map_err(|why| fault!("{why}"))?);
        self.shared[tensor].convolutions.push((key, Arc::clone(&matrix)));
        Ok(matrix)
    }

    /// The plain constants among the values that are `read` as they are.
    pub(crate) fn plain(&mut self, read: &[bool]) -> Vec<Option<Constant>> {
        let mut constant = |(value, &read): (usize, &bool)| {
            let tensor = (*self.tensors.get(value)?)?;
            let TensorView::Plain(view) = self.network.tensor(tensor) else { return None };
            if !read {
                return None;
            }
            let in_file = match self.kept.map(|network| network.tensor(tensor)) {
                Some(TensorView::Plain(view)) => Constant::in_file(&view),
                _ => None,
            };
            let elements = &mut self.shared[tensor].elements;
            let copy = || in_file.unwrap_or_else(|| Constant::copy(&view));
            Some(elements.get_or_insert_with(copy).clone())
        };
        read.iter().enumerate().map(&mut constant).collect()
    }
}
