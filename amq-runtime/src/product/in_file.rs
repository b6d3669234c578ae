//! Weights that stay in the file: rows are packed when a product meets them, as many as lie together,
//! into memory that all products of a session share.

use alloc::vec::Vec;
use core::ops::Range;

use amq_format::TensorView;
use amq_format::graph::Activations;

use super::matrix::{Matrix, layout};
use super::pack::{CodedRows, Kind, Packed, Weights, pack_float};
use super::scratch::Scratch;
use super::source::{Coded, PackError};
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

/// Memory that rows are brought to from the file, and packed in.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    coded: Coded,
    packed: Packed,
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
}

impl Matrix {
    /// Takes memory for the rows of a matrix that stays in the file.
    pub(super) fn reserve_rows(&self, scratch: &mut Scratch) {
        let Some(in_file) = &self.in_file else { return };
        let Scratch { budget, unpacked, .. } = scratch;
        let Unpacked { coded, packed } = &mut **unpacked.get_or_insert_default();
        let together = self.blocks_together().min(self.blocks());
        packed.reserve(&self.weights, together, budget);
        if let TensorView::MultiBit(view) = &in_file.tensor {
            let (rows, groups) = (together * BLOCK, view.groups());
            budget.reserve(&mut coded.planes, view.bits * rows * view.words_per_row());
            budget.reserve(&mut coded.coefficients, rows * groups * view.bits);
            budget.reserve(&mut coded.offsets, if view.has_offset { rows * groups } else { 0 });
        }
    }

    /// Packs blocks of rows that stay in the file, as many as lie together at a time: what is done with
    /// the weights is told which blocks they are.
    pub(super) fn unpack(
        &self,
        in_file: &InFile,
        blocks: Range<usize>,
        unpacked: &mut Unpacked,
        mut then: impl FnMut(&Weights, Range<usize>),
    ) {
        let together = self.blocks_together();
        for first in blocks.clone().step_by(together) {
            let blocks = first..blocks.end.min(first + together);
            let rows = first * BLOCK..self.rows.min(blocks.end * BLOCK);
            let weights = in_file.pack(rows, self.target, unpacked);
            then(&weights, blocks);
            unpacked.packed.take_back(weights);
        }
    }
}

#[cfg(test)]
impl Unpacked {
    pub(super) fn capacities(&self) -> Vec<usize> {
        let Coded { planes, coefficients, offsets } = &self.coded;
        let mut all = self.packed.capacities();
        all.extend([planes.capacity(), coefficients.capacity(), offsets.capacity()]);
        all
    }
}
