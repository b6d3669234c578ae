//! A quantized matrix, and its encoding in a file.

use amq_format::graph::CoefficientType;
use half::f16;

use super::method::Options;
use super::row::Row;

/// A matrix of which each row is `sum_i a_i b_i + c`, with one coefficient `a_i` a plane, and an offset `c` or
/// none, for each group of columns in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedMatrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Columns of a group, the last of a row maybe fewer; `cols` where a row is one group.
    pub group: usize,
    /// Number of planes.
    pub bits: u8,
    /// Type in which the coefficients are stored; their values are exact in it.
    pub coefficient_type: CoefficientType,
    /// The codes, `[plane][word]`: bit `row * cols + col` of a plane is set for +1. Bits past the
    /// last element are zero.
    pub planes: Vec<u64>,
    /// The coefficients, `[row][group][plane]`: none negative, in descending order within a group.
    pub coefficients: Vec<f32>,
    /// What is added to the sums of codes of each group, `[row][group]`, if to any; of the coefficients' type.
    pub offsets: Option<Vec<f32>>,
}

impl QuantizedMatrix {
    /// Of the groups of all rows, in order.
    pub(super) fn pack(
        fitted: &[Row],
        [rows, cols]: [usize; 2],
        options: &Options,
        coefficient_type: CoefficientType,
    ) -> Self {
        let planes = usize::from(options.bits);
        let words = (rows * cols).div_ceil(64);
        let mut matrix = Self {
            rows,
            cols,
            group: options.group(cols),
            bits: options.bits,
            coefficient_type,
            planes: vec![0; planes * words],
            coefficients: Vec::with_capacity(fitted.len() * planes),
            offsets: fitted
                .iter()
                .any(|row| row.offset() != 0.0)
                .then(|| fitted.iter().map(|row| row.offset() as f32).collect()),
        };
        for (at, &code) in fitted.iter().flat_map(|row| row.codes()).enumerate() {
            for plane in 0..planes {
                let bit = u64::from(code >> plane & 1);
                matrix.planes[plane * words + at / 64] |= bit << (at % 64);
            }
        }
        for row in fitted {
            matrix.coefficients.extend(row.coefficients().iter().map(|&a| a as f32));
        }
        matrix
    }

    /// Groups of a row.
    pub fn groups(&self) -> usize {
        self.cols.div_ceil(self.group.max(1)).max(1)
    }

    /// Writes the weights of `row` to `out`: `((a_0 b_0 + a_1 b_1) + ..) + c` in f32, in that order.
    ///
    /// # Panics
    ///
    /// If there is no such row, or `out` does not have one element a column.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.cols, "columns of a row");
        let (words, planes) = ((self.rows * self.cols).div_ceil(64), usize::from(self.bits));
        for (index, out) in out.chunks_mut(self.group.max(1)).enumerate() {
            let group = row * self.groups() + index;
            let first = row * self.cols + index * self.group;
            for (plane, &a) in self.coefficients[group * planes..][..planes].iter().enumerate() {
                let codes = &self.planes[plane * words..][..words];
                for (at, out) in (first..).zip(out.iter_mut()) {
                    let term = if codes[at / 64] >> (at % 64) & 1 == 1 { a } else { -a };
                    *out = if plane == 0 { term } else { *out + term };
                }
            }
            if let Some(offsets) = &self.offsets {
                out.iter_mut().for_each(|out| *out += offsets[group]);
            }
        }
    }

    /// Sum of squared errors over sum of squared weights, both over the matrix; 0 if all `weights`
    /// are zero.
    ///
    /// # Panics
    ///
    /// If `weights` is not as large as the matrix.
    pub fn relative_mse(&self, weights: &[f32]) -> f64 {
        assert_eq!(weights.len(), self.rows * self.cols, "elements of the matrix");
        let mut decoded = vec![0.0; self.cols];
        let (mut error, mut energy) = (0.0, 0.0);
        for row in 0..self.rows {
            self.decode_row(row, &mut decoded);
            for (&w, &d) in weights[row * self.cols..].iter().zip(&decoded) {
                error += (f64::from(w) - f64::from(d)).powi(2);
                energy += f64::from(w).powi(2);
            }
        }
        if energy == 0.0 { 0.0 } else { error / energy }
    }

    /// The tensor's section in a file, laid out as [`amq_format::graph::MultiBit`] says.
    pub fn section_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.planes.iter().flat_map(|word| word.to_le_bytes()).collect();
        let numbers = self.coefficients.iter().chain(self.offsets.iter().flatten());
        match self.coefficient_type {
            CoefficientType::F16 => {
                bytes.extend(numbers.flat_map(|&a| f16::from_f32(a).to_le_bytes()));
            }
            CoefficientType::F32 => bytes.extend(numbers.flat_map(|a| a.to_le_bytes())),
        }
        bytes
    }
}
