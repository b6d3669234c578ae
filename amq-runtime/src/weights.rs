//! The constants of a file, as nodes keep them and as kernels read them.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::mem;
use core::ops::Range;

use amq_format::graph::{self, ABSENT, Activations, DataType, Dim, ValueId};
use amq_format::{MultiBitView, Network, PlainView, TensorView};

use crate::error::{Error, Fault, fault};
use crate::infer::Fact;
use crate::kernels::Target;
use crate::product::{ConvMatrix, Matrix, MatrixSource};
use crate::shape::Shape;
use crate::view::Buffer;

/// Copies of all constants together that nodes may take, as floats and beside 64 MiB. Any number of
/// nodes of a few bytes can share one constant.
const MAX_COPIES: u64 = 8;

/// The constants of a network, while a model is made of them.
pub(crate) struct Constants<'f> {
    network: &'f Network<'f>,
    /// Of each value, its tensor.
    tensors: Vec<Option<usize>>,
    /// Matrices that several nodes may share, by their tensors.
    matrices: BTreeMap<(usize, Activations), Arc<Matrix>>,
    /// Elements that several graphs may share, by their tensors.
    elements: BTreeMap<usize, Arc<Buffer>>,
    /// Bytes that nodes may still take copies of.
    left: Cell<u64>,
    target: Target,
}

impl<'f> Constants<'f> {
    pub(crate) fn new(network: &'f Network<'f>, target: Target) -> Constants<'f> {
        let mut tensors = alloc::vec![None; network.graph().values.len()];
        for (i, tensor) in network.graph().tensors.iter().enumerate() {
            tensors[tensor.value as usize] = Some(i);
        }
        let size = |index: usize| 4 * network.tensor(index).dims().iter().product::<usize>() as u64;
        let all = (0..network.graph().tensors.len()).map(size).fold(0, u64::saturating_add);
        let left = Cell::new(all.saturating_mul(MAX_COPIES).saturating_add(64 << 20));
        let (matrices, elements) = (BTreeMap::new(), BTreeMap::new());
        Constants { network, tensors, matrices, elements, left, target }
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

    /// The target that weights are packed for.
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// The tensor of a value, if it is a constant.
    pub(crate) fn view(&self, value: ValueId) -> Option<TensorView<'f>> {
        let index = (*self.tensors.get(value as usize)?)?;
        Some(self.network.tensor(index))
    }

    pub(crate) fn shapes(&self) -> Result<Vec<Option<Shape>>, Error> {
        let shape = |(value, index): (usize, &Option<usize>)| {
            let Some(index) = *index else { return Ok(None) };
            let fact = Fact::new(
                self.network.graph().tensors[index].data_type(),
                self.network.tensor(index).dims().iter().map(|&d| Dim::from(d as i64)).collect(),
            );
            let named = |Fault(what)| Error::Input(format!("constant {value}: {what}"));
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
    ) -> Result<Vec<MatrixSource<'f>>, Fault> {
        let view = self.view(value).ok_or_else(|| fault!("its weights are no constant"))?;
        self.copy(value)?;
        let dims = view.dims();
        let lead = lead.min(dims.len());
        let (rows, cols): (usize, usize) =
            (dims[..lead].iter().product(), dims[lead..].iter().product());
        let each = rows / parts.max(1);
        let part = |part: usize| match &view {
            TensorView::Plain(view) => {
                let (data, _) = match view.data_type {
                    DataType::F32 => view.bytes.as_chunks(),
                    _ => Default::default(),
                };
                // Too few elements are found when they are packed.
                let data = data.get(part * each * cols..).unwrap_or_default();
                let data = Cow::Borrowed(&data[..data.len().min(each * cols)]);
                MatrixSource::Float { rows: each, cols, data }
            }
            TensorView::MultiBit(view) => codes(view, part * each..(part + 1) * each),
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
        let tensor = self.tensors.get(value as usize).copied().flatten();
        let tensor = tensor.ok_or_else(|| fault!("its weights are no constant"))?;
        if let Some(matrix) = self.matrices.get(&(tensor, activations)) {
            return Ok(Arc::clone(matrix));
        }
        let matrix = Matrix::pack(&self.source(value)?, activations, self.target);
        let matrix = Arc::new(matrix.map_err(|why| fault!("{why}"))?);
        self.matrices.insert((tensor, activations), Arc::clone(&matrix));
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
        let taps = match self.view(value).as_ref().map(TensorView::dims) {
            Some([_, kernel @ .., _]) => kernel.iter().product(),
            _ => 0,
        };
        ConvMatrix::pack(&source, groups, taps, op.activations(), self.target)
            .map_err(|why| fault!("{why}"))
    }

    /// The plain constants among the values that are `read` as they are.
    pub(crate) fn plain(&mut self, read: &[bool]) -> Vec<Option<Arc<Buffer>>> {
        let mut constant = |(value, &read): (usize, &bool)| {
            let tensor = (*self.tensors.get(value)?)?;
            match self.network.tensor(tensor) {
                TensorView::Plain(view) if read => {
                    let shared = self.elements.entry(tensor);
                    Some(Arc::clone(shared.or_insert_with(|| Arc::new(elements(&view)))))
                }
                _ => None,
            }
        };
        read.iter().enumerate().map(&mut constant).collect()
    }
}

fn elements(view: &PlainView<'_>) -> Buffer {
    match view.data_type {
        DataType::F32 => Buffer::F32(view.f32s().collect()),
        DataType::I64 => Buffer::I64(view.i64s().collect()),
        DataType::I32 => Buffer::I32(view.i32s().collect()),
        DataType::U8 => Buffer::U8(view.bytes.to_vec()),
        DataType::I8 => Buffer::I8(view.bytes.iter().map(|&byte| byte as i8).collect()),
        DataType::I16 => Buffer::I16(view.i16s().collect()),
        DataType::U16 => Buffer::U16(view.u16s().collect()),
        DataType::U32 => Buffer::U32(view.u32s().collect()),
        DataType::U64 => Buffer::U64(view.u64s().collect()),
        DataType::Bool => Buffer::Bool(view.bytes.to_vec()),
    }
}

fn codes<'f>(view: &MultiBitView<'f>, rows: Range<usize>) -> MatrixSource<'f> {
    let MultiBitView { cols, bits, group, .. } = *view;
    let words = view.words_per_row();
    let planes = match view.aligned().filter(|_| rows.len() == view.rows) {
        Some(planes) => Cow::Borrowed(planes),
        None => {
            let mut planes = Vec::with_capacity(bits * rows.len() * words);
            for plane in 0..bits {
                for row in rows.clone() {
                    let words = (0..words).map(|word| view.word(plane, row, word).to_le_bytes());
                    planes.extend(words);
                }
            }
            Cow::Owned(planes)
        }
    };
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
