//! Convolutions with constant weights.

use alloc::vec::Vec;
use core::ops::Range;

use amq_format::graph::Activations;

use super::geometry::Geometry;
use super::matrix::{Matrix, VECTORS, write_pairs};
use super::pack::Weights;
use super::scratch::Scratch;
use super::source::{MatrixSource, PackError};
use crate::kernels::{Output, Target};
use crate::quantize::{Code, largest_four, scale};

/// Packed weights of a convolution.
#[derive(Debug)]
pub(crate) struct ConvMatrix {
    groups: Vec<Matrix>,
}

impl ConvMatrix {
    /// Packs a matrix `[output channel][channel of the group, kernel row, kernel column]` for a
    /// convolution in `groups` groups.
    pub(crate) fn pack(
        source: &MatrixSource,
        groups: usize,
        activations: Activations,
        target: Target,
    ) -> Result<ConvMatrix, PackError> {
        source.check()?;
        let rows = source.shape().0;
        if groups == 0 || !rows.is_multiple_of(groups) {
            return Err(PackError::Groups { rows, groups });
        }
        let rows = rows / groups;
        let groups = (0..groups).map(|group| {
            Matrix::pack_rows(source, group * rows..(group + 1) * rows, activations, target)
        });
        Ok(ConvMatrix { groups: groups.collect::<Result<_, _>>()? })
    }

    /// Grows the scratch so that `convolve` allocates nothing.
    pub(crate) fn reserve(&self, geometry: &Geometry, scratch: &mut Scratch) {
        let vectors = geometry.positions().min(VECTORS);
        let item = geometry.channels * geometry.input[0] * geometry.input[1];
        for matrix in &self.groups {
            scratch.grow(matrix, vectors, 2);
            let Scratch { budget, planes, patch, patches, .. } = scratch;
            match &matrix.weights {
                Weights::Float(_) | Weights::Tables(_) => {
                    budget.grow(patches, vectors * matrix.cols, 0.0);
                }
                Weights::Codes { codes, .. } => {
                    budget.grow(planes, item.div_ceil(64) * codes, 0);
                    let most = vectors.min(geometry.reach());
                    budget.grow(patch, matrix.cols.div_ceil(64) * most, 0);
                }
            }
        }
    }

    /// Convolves one batch item x `[channel][height][width]`, which is quantized as one, to out
    /// `[output channel][height][width]`. The rows' columns must be the channels of a group times
    /// the kernel's size.
    pub(crate) fn convolve(
        &self,
        geometry: &Geometry,
        x: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let positions = geometry.positions();
        let channels = geometry.channels / self.groups.len();
        let Some(first) = self.groups.first() else { return };
        debug_assert_eq!(first.cols, channels * geometry.kernel[0] * geometry.kernel[1]);
        debug_assert_eq!(x.len(), geometry.channels * geometry.input[0] * geometry.input[1]);
        debug_assert_eq!(out.len(), self.groups.len() * first.rows * positions);
        // Without elements there is nothing to code, and all windows are border.
        if out.is_empty() || first.cols == 0 || x.is_empty() {
            out.fill(0.0);
            return;
        }
        self.reserve(geometry, scratch);
        let mut item = Item { coefficients: [0.0; 4], scale: 0.0 };
        match &first.weights {
            Weights::Float(_) => {}
            Weights::Codes { codes, .. } => {
                let planes = &mut scratch.planes[..x.len().div_ceil(64) * codes];
                item.coefficients = first.target.run(Code { x, codes: *codes, planes });
            }
            Weights::Tables(_) => {
                let patch = &mut scratch.patches[..first.cols];
                let mut largest = 0;
                for group in 0..self.groups.len() {
                    for position in 0..positions {
                        let channels = group * channels..(group + 1) * channels;
                        geometry.gather(channels, position, x, patch);
                        largest = largest.max(first.target.vectorize(|| largest_four(patch)));
                    }
                }
                item.scale = scale(largest);
            }
        }
        for (group, (matrix, out)) in
            self.groups.iter().zip(out.chunks_exact_mut(first.rows * positions)).enumerate()
        {
            let channels = group * channels..(group + 1) * channels;
            let mut start = 0;
            while start < positions {
                let inside = geometry.is_inside(start);
                let mut end = positions.min(start + VECTORS);
                if matches!(matrix.weights, Weights::Codes { .. }) {
                    let width = geometry.output[1];
                    let most = end.min(start + geometry.reach()).min(start - start % width + width);
                    end = start + 1;
                    while end < most && geometry.is_inside(end) == inside {
                        end += 1;
                    }
                }
                let out = Output {
                    data: &mut out[start..],
                    rows: matrix.rows,
                    row_stride: positions,
                    vector_stride: 1,
                    order: scratch.order,
                };
                let sets = if inside { 1 } else { 2 };
                matrix.multiply_windows(
                    geometry,
                    channels.clone(),
                    start..end,
                    sets,
                    x,
                    &item,
                    out,
                    scratch,
                );
                start = end;
            }
        }
    }
}

/// How a batch item is quantized.
struct Item {
    coefficients: [f32; 4],
    scale: f32,
}

impl Matrix {
    /// Multiplies the windows at some output positions.
    #[expect(clippy::too_many_arguments, reason = "one caller; a struct would say no more")]
    fn multiply_windows(
        &self,
        geometry: &Geometry,
        channels: Range<usize>,
        positions: Range<usize>,
        sets: usize,
        x: &[f32],
        item: &Item,
        out: Output<'_>,
        scratch: &mut Scratch,
    ) {
        let count = positions.len();
        match &self.weights {
            Weights::Float(weights) => {
                let patches = &mut scratch.patches[..count * self.cols];
                for (position, patch) in positions.zip(patches.chunks_exact_mut(self.cols)) {
                    geometry.gather(channels.clone(), position, x, patch);
                }
                weights.multiply(self.target, patches, out);
            }
            Weights::Codes { weights, codes } => {
                let pairs = self.cols.div_ceil(64);
                let set = pairs * codes;
                let patch = &mut scratch.patch[..pairs * count];
                let planes = scratch.planes.chunks_exact(x.len().div_ceil(64));
                for (code, plane) in planes.take(*codes).enumerate() {
                    for border in 0..sets {
                        self.target.vectorize(
                            #[inline(always)]
                            || {
                                let (channels, positions) = (channels.clone(), positions.clone());
                                geometry.gather_bits(channels, positions, plane, border == 1, patch)
                            },
                        );
                        for i in 0..count {
                            let words = &mut scratch.words[(i * sets + border) * set + code..];
                            let pairs = patch[i..].iter().copied().step_by(count);
                            write_pairs(pairs, &mut words[..set - code], *codes);
                        }
                    }
                }
                scratch.coefficients[..count].fill(item.coefficients);
                let vectors = scratch.coded(weights, *codes, count, sets);
                weights.multiply(self.target, vectors, out);
            }
            Weights::Tables(weights) => {
                let mut patches = core::mem::take(&mut scratch.patches);
                let patch = &mut patches[..self.cols];
                for (vector, position) in positions.enumerate() {
                    geometry.gather(channels.clone(), position, x, patch);
                    scratch.tabulate(self, vector, patch, item.scale);
                }
                scratch.patches = patches;
                let vectors = scratch.tabulated(weights, count);
                weights.multiply(self.target, vectors, out);
            }
        }
    }
}
