//! Weights that stay in the file: rows are packed when a product meets them, as many as lie together,
//! into memory that all products of a session share.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use amq_format::TensorView;
use amq_format::graph::Activations;

use super::budget::Budget;
use super::pack::{CodedRows, Kind, Weights, layout, pack_float};
use super::source::PackError;
use super::unpacked::Unpacked;
use crate::kernels::layout::Layout;
use crate::kernels::{BLOCK, Target};
use crate::workers::Alone;

/// Where some rows of a matrix lie in the file.
#[derive(Debug)]
pub(super) struct InFile {
    tensor: TensorView<'static>,
    /// Of the tensor as a matrix.
    rows: Range<usize>,
    kind: Kind,
    layout: Layout,
    /// Columns that are read together, where they are codes.
    pieces: Vec<Range<usize>>,
}

impl InFile {
    /// Some rows of a tensor that is a matrix of `cols` columns, those of `taps` taps, for a kind of
    /// activations; and weights like those that they are packed to, of no rows.
    pub(super) fn new(
        tensor: &TensorView<'static>,
        rows: Range<usize>,
        [taps, cols]: [usize; 2],
        activations: Activations,
        target: Target,
    ) -> Result<(InFile, Weights), PackError> {
        let (bits, group) = match tensor {
            TensorView::Plain(_) => (0, cols),
            TensorView::MultiBit(view) => (view.bits, view.group),
        };
        let kind = match tensor {
            TensorView::Plain(_) => Kind::Float,
            TensorView::MultiBit(_) => Kind::new(activations, bits)?,
        };
        let layout = layout(taps, cols, group)?;
        let pieces = kind.pieces(&layout);
        let in_file = InFile { tensor: tensor.clone(), rows, kind, layout, pieces };
        let like = in_file.pack(0..0, target, &mut Unpacked::default());
        Ok((in_file, like))
    }

    /// Packs some of the rows.
    fn pack(&self, rows: Range<usize>, target: Target, unpacked: &mut Unpacked) -> Weights {
        let Unpacked { coded, packed } = unpacked;
        let rows = self.rows.start + rows.start..self.rows.start + rows.end;
        let layout = self.layout;
        match &self.tensor {
            TensorView::Plain(view) => {
                let (elements, _) = view.bytes.as_chunks();
                let Layout { taps, columns, .. } = layout;
                let first = rows.start * taps * columns;
                let weight = |row: usize, col: usize| {
                    f32::from_le_bytes(elements[first + row * taps * columns + col])
                };
                pack_float(rows.len(), taps, columns, weight, packed, &Alone)
            }
            TensorView::MultiBit(view) => {
                coded.bring(view, rows.clone());
                let rows = CodedRows {
                    range: 0..rows.len(),
                    all: rows.len(),
                    group: view.group,
                    bits: view.bits,
                    layout,
                    pieces: &self.pieces,
                    words: view.words_per_row(),
                    planes: &coded.planes,
                    coefficients: &coded.coefficients,
                    offsets: view.has_offset.then_some(&coded.offsets),
                };
                rows.pack(self.kind, packed, target, &Alone)
            }
        }
    }

    /// Takes memory for `blocks` blocks of rows, to be packed to weights like some.
    pub(super) fn reserve(
        &self,
        like: &Weights,
        blocks: usize,
        unpacked: &mut Option<Box<Unpacked>>,
        budget: &mut Budget,
    ) {
        let Unpacked { coded, packed } = &mut **unpacked.get_or_insert_default();
        packed.reserve(like, blocks, budget);
        if let TensorView::MultiBit(view) = &self.tensor {
            let (rows, groups) = (blocks * BLOCK, view.groups());
            budget.reserve(&mut coded.planes, view.bits * rows * view.words_per_row());
            budget.reserve(&mut coded.coefficients, rows * groups * view.bits);
            budget.reserve(&mut coded.offsets, if view.has_offset { rows * groups } else { 0 });
        }
    }

    /// Packs blocks of rows, `together` of them at a time: what is done with the weights is told which
    /// blocks they are.
    pub(super) fn unpack(
        &self,
        blocks: Range<usize>,
        together: usize,
        target: Target,
        unpacked: &mut Unpacked,
        mut then: impl FnMut(&Weights, Range<usize>),
    ) {
        for first in blocks.clone().step_by(together) {
            let blocks = first..blocks.end.min(first + together);
            let rows = first * BLOCK..self.rows.len().min(blocks.end * BLOCK);
            let weights = self.pack(rows, target, unpacked);
            then(&weights, blocks);
            unpacked.packed.take_back(weights);
        }
    }
}
