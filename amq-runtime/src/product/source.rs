//! Constant matrices as a file holds them.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use amq_format::graph::{Activations, DataType};
use amq_format::spec::MAX_COLUMNS;
use amq_format::{MultiBitView, PlainView, TensorView};

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
    /// Some rows of a tensor that stays where it is.
    InFile { tensor: TensorView<'static>, rows: Range<usize>, cols: usize },
}

/// Rows of codes, brought together.
#[derive(Debug, Default)]
pub(crate) struct Coded {
    /// `[plane][row][word]`
    pub(crate) planes: Vec<[u8; 8]>,
    /// `[row][group][plane]`
    pub(crate) coefficients: Vec<f32>,
    /// `[row][group]`; empty where there are none.
    pub(crate) offsets: Vec<f32>,
}

impl Coded {
    /// Brings rows of a tensor together, in place of others.
    pub(crate) fn bring(&mut self, view: &MultiBitView<'_>, rows: Range<usize>) {
        let (bits, words) = (view.bits, view.words_per_row());
        self.planes.clear();
        self.planes.reserve_exact(bits * rows.len() * words);
        for plane in 0..bits {
            for row in rows.clone() {
                let words = (0..words).map(|word| view.word(plane, row, word).to_le_bytes());
                self.planes.extend(words);
            }
        }
        self.bring_scales(view, rows);
    }

    /// Brings coefficients and offsets alone.
    pub(crate) fn bring_scales(&mut self, view: &MultiBitView<'_>, rows: Range<usize>) {
        let (bits, groups) = (view.bits, view.groups());
        self.coefficients.clear();
        self.offsets.clear();
        self.coefficients.reserve_exact(rows.len() * groups * bits);
        self.offsets.reserve_exact(if view.has_offset { rows.len() * groups } else { 0 });
        for (row, group) in rows.flat_map(|row| (0..groups).map(move |group| (row, group))) {
            self.coefficients.extend((0..bits).map(|plane| view.coefficient(row, group, plane)));
            if view.has_offset {
                self.offsets.push(view.offset(row, group));
            }
        }
    }
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
    /// Nodes would take more copies of constants than [allowed](crate::weights).
    Copies,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackError::Copies => f.write_str("too many nodes take copies of large constants"),
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

    pub(crate) fn float_in_file(rows: usize, cols: usize, data: &[f32]) -> MatrixSource<'static> {
        let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        let (data_type, dims) = (DataType::F32, alloc::vec![rows, cols]);
        let tensor = TensorView::Plain(PlainView { data_type, dims, bytes: Vec::leak(bytes) });
        MatrixSource::InFile { tensor, rows: 0..rows, cols }
    }
}

impl<'f> MatrixSource<'f> {
    /// Some rows of a tensor that is a matrix of `cols` columns.
    pub(crate) fn rows(tensor: &TensorView<'f>, rows: Range<usize>, cols: usize) -> Self {
        match tensor {
            TensorView::Plain(view) => {
                // Too few elements are found when they are packed.
                let data = elements(view).get(rows.start * cols..).unwrap_or_default();
                let data = Cow::Borrowed(&data[..data.len().min(rows.len() * cols)]);
                MatrixSource::Float { rows: rows.len(), cols, data }
            }
            TensorView::MultiBit(view) => {
                let mut coded = Coded::default();
                let planes = match view.aligned().filter(|_| rows.len() == view.rows) {
                    Some(planes) => {
                        coded.bring_scales(view, rows.clone());
                        Cow::Borrowed(planes)
                    }
                    None => {
                        coded.bring(view, rows.clone());
                        Cow::Owned(coded.planes)
                    }
                };
                MatrixSource::Codes {
                    rows: rows.len(),
                    cols: view.cols,
                    group: view.group,
                    bits: view.bits,
                    planes,
                    coefficients: coded.coefficients,
                    offsets: view.has_offset.then_some(coded.offsets),
                }
            }
        }
    }

    /// The same, to be packed when it is loaded.
    pub(super) fn loaded(&self) -> Cow<'_, MatrixSource<'f>> {
        match self {
            MatrixSource::InFile { tensor, rows, cols } => {
                Cow::Owned(MatrixSource::rows(tensor, rows.clone(), *cols))
            }
            other => Cow::Borrowed(other),
        }
    }

    /// Rows and columns.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            MatrixSource::Float { rows, cols, .. } | MatrixSource::Codes { rows, cols, .. } => {
                (*rows, *cols)
            }
            MatrixSource::InFile { rows, cols, .. } => (rows.len(), *cols),
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
            MatrixSource::InFile { tensor: TensorView::Plain(view), rows, cols } => {
                length("elements", &[rows.end, *cols], elements(view).len().min(rows.end * cols))
            }
            // Files that are valid hold them whole.
            MatrixSource::InFile { .. } => Ok(()),
        }
    }
}

/// The elements of a tensor of floats; of another type, none.
fn elements<'f>(view: &PlainView<'f>) -> &'f [[u8; 4]] {
    match view.data_type {
        DataType::F32 => view.bytes.as_chunks().0,
        _ => Default::default(),
    }
}
