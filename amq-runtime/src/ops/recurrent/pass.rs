//! The weights of one direction of a recurrent layer.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use core::fmt;
use core::ops::Range;

use amq_format::graph::{Cell, Recurrent, Unary};

use crate::kernels::gates::Terms;
use crate::product::{Matrix, MatrixSource, PackError};

/// Weights of one direction, as a file holds them.
#[derive(Clone, Debug)]
pub(crate) struct Weights<'f> {
    /// `[gates * hidden][input]`
    pub(crate) w: MatrixSource<'f>,
    /// `[gates * hidden][hidden]`
    pub(crate) r: MatrixSource<'f>,
    /// Those of W, then those of R: `[2 * gates * hidden]`.
    pub(crate) biases: Option<Cow<'static, [f32]>>,
    /// LSTM: of i, o, f: `[3 * hidden]`.
    pub(crate) peepholes: Option<Cow<'static, [f32]>>,
}

/// Which of the two matrices of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    W,
    R,
}

/// Why a layer cannot be built or run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LayerError {
    /// A matrix cannot be packed.
    Pack(PackError),
    /// A part has not the size that the layer's shape asks for.
    Size { part: &'static str, expected: usize, found: usize },
    /// A part that this kind of cell does not have.
    Extra(&'static str),
    /// A sequence's length is negative or above the number of steps.
    SequenceLength { sequence: usize, length: i32, steps: usize },
    /// Sizes whose product is no number of elements.
    TooLarge,
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerError::Pack(error) => error.fmt(f),
            LayerError::Size { part, expected, found } => {
                write!(f, "{part}: {found} where the layer's shape asks for {expected}")
            }
            LayerError::Extra(part) => write!(f, "{part}: this kind of cell has none"),
            LayerError::SequenceLength { sequence, length, steps } => write!(
                f,
                "sequence_lens[{sequence}] is {length}, and must lie within 0 to {steps}, \
                 the number of steps"
            ),
            LayerError::TooLarge => f.write_str("sizes overflow"),
        }
    }
}

impl From<PackError> for LayerError {
    fn from(error: PackError) -> LayerError {
        LayerError::Pack(error)
    }
}

pub(super) fn expect(part: &'static str, expected: usize, found: usize) -> Result<(), LayerError> {
    if expected == found { Ok(()) } else { Err(LayerError::Size { part, expected, found }) }
}

pub(super) fn product(sizes: &[usize]) -> Result<usize, LayerError> {
    sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size)).ok_or(LayerError::TooLarge)
}

/// A part of some numbers, which stays where it is if they do.
#[expect(clippy::ptr_arg, reason = "whether they are borrowed tells")]
pub(crate) fn part(all: &Cow<'static, [f32]>, range: Range<usize>) -> Cow<'static, [f32]> {
    match *all {
        Cow::Borrowed(all) => Cow::Borrowed(&all[range]),
        Cow::Owned(ref all) => Cow::Owned(all[range].to_vec()),
    }
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) w: Arc<Matrix>,
    /// Of all gates that read h as it is.
    pub(super) r: Arc<Matrix>,
    /// GRU with linear_before_reset = 0: of the gate that reads `r . h`.
    pub(super) r_reset: Option<Arc<Matrix>>,
    pub(super) w_bias: Cow<'static, [f32]>,
    pub(super) r_bias: Cow<'static, [f32]>,
    pub(super) peepholes: Option<Cow<'static, [f32]>>,
    /// As many as the cell has.
    pub(super) functions: [Unary; 3],
}

impl Pass {
    pub(super) fn new(
        recurrent: &Recurrent,
        weights: &Weights<'_>,
        functions: [Unary; 3],
        rows: usize,
        input: usize,
        pack: &mut dyn FnMut(Which, Range<usize>) -> Result<Arc<Matrix>, PackError>,
    ) -> Result<Pass, LayerError> {
        let cell = recurrent.cell();
        let hidden = rows / cell.gates();
        for (parts, matrix, cols) in [
            (["rows of W", "columns of W"], &weights.w, input),
            (["rows of R", "columns of R"], &weights.r, hidden),
        ] {
            expect(parts[0], rows, matrix.shape().0)?;
            expect(parts[1], cols, matrix.shape().1)?;
        }
        let resets_before = cell == Cell::Gru && !recurrent.linear_before_reset;
        let at = if resets_before { 2 * hidden } else { rows };
        let [w_bias, r_bias] = match &weights.biases {
            Some(biases) => {
                expect("B", 2 * rows, biases.len())?;
                [part(biases, 0..rows), part(biases, rows..2 * rows)]
            }
            None => [Cow::Owned(alloc::vec![0.0; rows]), Cow::Owned(alloc::vec![0.0; rows])],
        };
        if let Some(peepholes) = &weights.peepholes {
            if cell != Cell::Lstm {
                return Err(LayerError::Extra("P"));
            }
            expect("P", 3 * hidden, peepholes.len())?;
        }
        Ok(Pass {
            w: pack(Which::W, 0..rows)?,
            r: pack(Which::R, 0..at)?,
            r_reset: if resets_before { Some(pack(Which::R, at..rows)?) } else { None },
            w_bias,
            r_bias,
            peepholes: weights.peepholes.clone(),
            functions,
        })
    }

    /// What is added to products with W: the biases and the products with R of the gates that begin
    /// at row `first`.
    pub(super) fn terms<'a>(&'a self, products: &'a [f32], first: usize) -> Terms<'a> {
        Terms { x_bias: &self.w_bias[first..], h: products, h_bias: &self.r_bias[first..] }
    }
}
