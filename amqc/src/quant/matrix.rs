//! A quantized matrix, and its encoding in a file.

use amq_format::graph::CoefficientType;
use half::f16;

use super::row::Row;

/// A matrix of which each row is `sum_i a_i b_i + c`, with one coefficient `a_i` a row and plane, and an
/// offset `c` a row or none.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedMatrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Number of planes.
    pub bits: u8,
    /// Type in which the coefficients are stored; their values are exact in it.
    pub coefficient_type: CoefficientType,
    /// The codes, `[plane][word]`: bit `row * cols + col` of a plane is set for +1. Bits past the
    /// last element are zero.
    pub planes: Vec<u64>,
    /// The coefficients, `[row][plane]`: none negative, in descending order within a row.
    pub coefficients: Vec<f32>,
    /// What is added to each row's sum of codes, if to any; of the coefficients' type.
    pub offsets: Option<Vec<f32>>,
}

impl QuantizedMatrix {
    pub(super) fn pack(
        fitted: &[Row],
        cols: usize,
        bits: u8,
        coefficient_type: CoefficientType,
    ) -> Self {
        let (rows, planes) = (fitted.len(), usize::from(bits));
        let words = (rows * cols).div_ceil(64);
        let mut matrix = Self {
            rows,
            cols,
            bits,
            coefficient_type,
            planes: vec![0; planes * words],
            coefficients: Vec::with_capacity(rows * planes),
            offsets: fitted
                .iter()
                .any(|row| row.offset() != 0.0)
                .then(|| fitted.iter().map(|row| row.offset() as f32).collect()),
        };
        for (row, fitted) in fitted.iter().enumerate() {
            for (col, &code) in fitted.codes().iter().enumerate() {
                for plane in 0..planes {
                    let bit = u64::from(code >> plane & 1);
                    let at = row * cols + col;
                    matrix.planes[plane * words + at / 64] |= bit << (at % 64);
                }
            }
            matrix.coefficients.extend(fitted.coefficients().iter().map(|&a| a as f32));
        }
        matrix
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
        let coefficients = &self.coefficients[row * planes..][..planes];
        for (plane, &a) in coefficients.iter().enumerate() {
            let codes = &self.planes[plane * words..][..words];
            for (col, out) in out.iter_mut().enumerate() {
                let at = row * self.cols + col;
                let term = if codes[at / 64] >> (at % 64) & 1 == 1 { a } else { -a };
                *out = if plane == 0 { term } else { *out + term };
            }
        }
        if let Some(offsets) = &self.offsets {
            out.iter_mut().for_each(|out| *out += offsets[row]);
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
