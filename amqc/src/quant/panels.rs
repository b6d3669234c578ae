//! Products with a matrix that is laid out for them.

use std::ops::Range;

/// Columns of a panel.
pub(super) const WIDE: usize = 8;
/// Rows of a product that one loop computes.
const TALL: usize = 4;

/// A matrix of f32, in panels of [`WIDE`] columns: `[panel][row][column of the panel]`, padded with zeros.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    rows: usize,
    columns: usize,
    data: Vec<[f32; WIDE]>,
}

impl Panels {
    /// The matrix whose elements `at` gives by row and column.
    pub(super) fn new(rows: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Panels {
        let mut data = vec![[0.0; WIDE]; columns.div_ceil(WIDE) * rows];
        for column in 0..columns {
            let panel = &mut data[column / WIDE * rows..][..rows];
            for (row, out) in panel.iter_mut().enumerate() {
                out[column % WIDE] = at(row, column);
            }
        }
        Panels { rows, columns, data }
    }

    /// An element.
    pub(super) fn at(&self, row: usize, column: usize) -> f32 {
        self.data[column / WIDE * self.rows + row][column % WIDE]
    }

    /// Adds to each row of `out`, `[..][column]`, a row of `left`, `[..][row of rows]`, times the matrix's
    /// `rows`; columns before `first`, a multiple of [`WIDE`], are left as they are. Rows of `left` that
    /// are zero cost little.
    pub(super) fn add_product(
        &self,
        left: &[f32],
        rows: Range<usize>,
        first: usize,
        out: &mut [f32],
    ) {
        let depth = rows.len();
        if depth == 0 || self.columns == 0 {
            return;
        }
        let tiles: Vec<(usize, Vec<[f32; TALL]>)> = left
            .chunks(TALL * depth)
            .enumerate()
            .filter(|(_, tile)| tile.iter().any(|&x| x != 0.0))
            .map(|(index, tile)| {
                let mut packed = vec![[0.0; TALL]; depth];
                for (lane, row) in tile.chunks_exact(depth).enumerate() {
                    packed.iter_mut().zip(row).for_each(|(out, &x)| out[lane] = x);
                }
                (index * TALL, packed)
            })
            .collect();
        for start in (first..self.columns).step_by(WIDE) {
            let panel = &self.data[start / WIDE * self.rows..][rows.clone()];
            let wide = WIDE.min(self.columns - start);
            for (row, tile) in &tiles {
                let sums = products(tile, panel);
                let out = out[row * self.columns..].chunks_mut(self.columns);
                for (out, sums) in out.zip(&sums) {
                    let out = &mut out[start..start + wide];
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
                }
            }
        }
    }
}

/// Sums of products of each element of one panel with each of another.
fn products(tall: &[[f32; TALL]], wide: &[[f32; WIDE]]) -> [[f32; WIDE]; TALL] {
    let mut sums = [[0.0; WIDE]; TALL];
    for (tall, wide) in tall.iter().zip(wide) {
        for i in 0..TALL {
            for j in 0..WIDE {
                sums[i][j] += tall[i] * wide[j];
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_their_definition() {
        let at = |row: usize, column: usize| ((row * 5 + column * 3) % 7) as f32 - 3.0;
        for (rows, columns, count) in [(1, 1, 1), (5, 7, 3), (20, 19, 9)] {
            let matrix = Panels::new(rows, columns, at);
            let left = |r: usize, i: usize| if r == 1 { 0.0 } else { (r * 2 + i) as f32 - 4.0 };
            for (part, first) in [(0..rows, 0), (rows / 2..rows, 8)] {
                let packed: Vec<f32> =
                    (0..count).flat_map(|r| part.clone().map(move |i| left(r, i))).collect();
                let mut out = vec![1.0; count * columns];
                matrix.add_product(&packed, part.clone(), first, &mut out);
                for (index, found) in out.iter().enumerate() {
                    let (r, column) = (index / columns, index % columns);
                    let sum: f32 = part.clone().map(|i| left(r, i) * at(i, column)).sum();
                    let sum = if column < first { 0.0 } else { sum };
                    assert_eq!(*found, 1.0 + sum, "{rows} {columns} {r} {column}");
                }
            }
        }
    }
}
