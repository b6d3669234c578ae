//! Constant matrices as a file holds them.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use amq_format::graph::Activations;
use amq_format::spec::MAX_COLUMNS;

/// A matrix as a file holds it. Numbers are little-endian; they are borrowed from the file where they
/// lie there as they are needed.
#[derive(Clone, Debug)]
pub(crate) enum MatrixSource<'f> {
    /// f32 elements, row-major.
    Float { rows: usize, cols: usize, data: Cow<'f, [[u8; 4]]> },
    /// Sums of scaled codes.
    Codes {
        rows: usize,
        cols: usize,
        /// Columns that share coefficients: all of them, or a multiple of 32.
        group: usize,
        bits: usize,
        /// `[plane][row][word]`; bit i of word j is set where column 64 j + i is +1.
        planes: Cow<'f, [[u8; 8]]>,
        /// `[row][group][plane]`
        coefficients: Vec<f32>,
        /// `[row][group]`
        offsets: Option<Vec<f32>>,
    },
}

/// Why a matrix cannot be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackError {
    /// A part of the matrix has not the length that its shape asks for.
    Length { part: &'static str, expected: usize, found: usize },
    /// More columns than [`MAX_COLUMNS`].
    Columns(usize),
    /// The columns of a group are neither all nor a multiple of 32.
    Group(usize),
    /// No kernel multiplies this many codes with these activations.
    Bits { bits: usize, activations: Activations },
    /// The rows cannot be divided into this many groups of a convolution.
    Groups { rows: usize, groups: usize },
    /// The columns cannot be divided among this many positions of a kernel.
    Taps { cols: usize, taps: usize },
    /// Groups of columns neither divide those of a position of a kernel nor are made of whole ones.
    Tap { group: usize, columns: usize },
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackError::Length { part, expected, found } => {
                write!(f, "{part} of the matrix: {found} elements where its shape has {expected}")
            }
            PackError::Columns(cols) => write!(f, "{cols} columns; at most {MAX_COLUMNS}"),
            PackError::Group(group) => {
                write!(f, "groups of {group} columns; a multiple of 32 is needed")
            }
            PackError::Bits { bits, activations } => {
                let activations = activations.adjective();
                write!(f, "no product of {bits}-bit weights and {activations} activations")
            }
            PackError::Groups { rows, groups } => {
                write!(f, "{rows} rows do not divide into {groups} groups")
            }
            PackError::Taps { cols, taps } => {
                write!(f, "{cols} columns do not divide among {taps} positions of the kernel")
            }
            PackError::Tap { group, columns } => write!(
                f,
                "groups of {group} columns, where each position of the kernel has {columns}: one \
                 must divide the other"
            ),
        }
    }
}

#[cfg(test)]
impl MatrixSource<'static> {
    pub(crate) fn float(rows: usize, cols: usize, data: &[f32]) -> MatrixSource<'static> {
        MatrixSource::Float { rows, cols, data: data.iter().map(|x| x.to_le_bytes()).collect() }
    }
}

impl MatrixSource<'_> {
    /// Rows and columns.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            MatrixSource::Float { rows, cols, .. } | MatrixSource::Codes { rows, cols, .. } => {
                (*rows, *cols)
            }
        }
    }

    /// Checks lengths, so that later indices are in bounds.
    pub(super) fn check(&self) -> Result<(), PackError> {
        let (rows, cols) = self.shape();
        // Sums over more would not be exact in the integers that kernels use.
        if cols as u64 > MAX_COLUMNS {
            return Err(PackError::Columns(cols));
        }
        let length = |part, sizes: &[usize], found| {
            let product = sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
            match product {
                Some(expected) if expected == found => Ok(()),
                _ => {
                    Err(PackError::Length { part, expected: product.unwrap_or(usize::MAX), found })
                }
            }
        };
        match self {
            MatrixSource::Float { data, .. } => length("elements", &[rows, cols], data.len()),
            MatrixSource::Codes { group, bits, planes, coefficients, offsets, .. } => {
                if *group == 0 || (*group < cols && group % 32 != 0) {
                    return Err(PackError::Group(*group));
                }
                let groups = cols.div_ceil(*group);
                length("planes", &[*bits, rows, cols.div_ceil(64)], planes.len())?;
                length("coefficients", &[rows, groups, *bits], coefficients.len())?;
                offsets
                    .as_ref()
                    .map_or(Ok(()), |offsets| length("offsets", &[rows, groups], offsets.len()))
            }
        }
    }
}
