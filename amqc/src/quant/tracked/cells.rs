//! Which of a row's levels weights are nearest to.

use amq_runtime::vectorize;

use crate::quant::coefficients::MAX_LEVELS;

/// What lies between two thresholds, in ascending order.
pub(super) struct Cells {
    /// Sums of weights.
    pub(super) sums: [f64; MAX_LEVELS],
    /// How many they are.
    pub(super) counts: [u32; MAX_LEVELS],
}

/// Writes the number of the cell that each weight lies in.
pub(super) fn cells(
    planes: usize,
    thresholds: &[f32; MAX_LEVELS],
    offset: f32,
    weights: &[f32],
    places: &mut [u8],
) -> Cells {
    let mut cells = Cells { sums: [0.0; MAX_LEVELS], counts: [0; MAX_LEVELS] };
    for (to, &w) in places.iter_mut().zip(weights) {
        let w = w - offset;
        let mut place = 0;
        for step in (0..planes).rev() {
            place += usize::from(w >= thresholds[place + (1 << step) - 1]) << step;
        }
        *to = place as u8;
        cells.sums[place] += f64::from(w);
        cells.counts[place] += 1;
    }
    cells
}

/// Weights that are held against thresholds together.
const LANES: usize = 16;

/// Sums and counts, in lanes: of all weights, and of those at or above each threshold.
struct Above {
    sums: [[f32; LANES]; 8],
    counts: [[u32; LANES]; 8],
}

impl Above {
    #[inline(always)]
    fn add<const THRESHOLDS: usize>(
        &mut self,
        thresholds: &[f32; MAX_LEVELS],
        offset: f32,
        weights: &[f32; LANES],
        places: &mut [u8; LANES],
    ) {
        let mut place = [0u32; LANES];
        for (sum, &w) in self.sums[0].iter_mut().zip(weights) {
            *sum += w - offset;
        }
        let lanes = self.sums[1..].iter_mut().zip(&mut self.counts[1..]);
        for (threshold, (sums, counts)) in thresholds[..THRESHOLDS].iter().zip(lanes) {
            for (lane, &w) in weights.iter().enumerate() {
                let w = w - offset;
                let above = w >= *threshold;
                sums[lane] += if above { w } else { 0.0 };
                counts[lane] += u32::from(above);
                place[lane] += u32::from(above);
            }
        }
        places.iter_mut().zip(place).for_each(|(to, place)| *to = place as u8);
    }
}

/// The same for few thresholds, in lanes: each weight is held against all of them.
pub(super) fn cells_of<const THRESHOLDS: usize>(
    thresholds: &[f32; MAX_LEVELS],
    offset: f32,
    weights: &[f32],
    places: &mut [u8],
) -> Cells {
    let mut above = Above { sums: [[0.0; LANES]; 8], counts: [[0; LANES]; 8] };
    vectorize(
        #[inline(always)]
        || {
            let (chunks, rest) = weights.as_chunks();
            let (to, to_rest) = places.as_chunks_mut();
            for (weights, places) in chunks.iter().zip(to) {
                above.add::<THRESHOLDS>(thresholds, offset, weights, places);
            }
            if !rest.is_empty() {
                // What fills the lanes adds 0 to sums; of counts it is taken away below.
                let mut last = [offset; LANES];
                last[..rest.len()].copy_from_slice(rest);
                let mut found = [0; LANES];
                above.add::<THRESHOLDS>(thresholds, offset, &last, &mut found);
                to_rest.copy_from_slice(&found[..rest.len()]);
            }
        },
    );
    let Above { sums, counts } = above;
    let filled = weights.len().next_multiple_of(LANES) - weights.len();
    let mut cells = Cells { sums: [0.0; MAX_LEVELS], counts: [0; MAX_LEVELS] };
    let sum = |at: usize| sums[at].iter().map(|&sum| f64::from(sum)).sum::<f64>();
    let count = |at: usize| match at {
        0 => weights.len() as u32,
        at => {
            let zeros = if thresholds[at - 1] <= 0.0 { filled as u32 } else { 0 };
            counts[at].iter().sum::<u32>() - zeros
        }
    };
    for at in 0..=THRESHOLDS {
        let above = if at < THRESHOLDS { (sum(at + 1), count(at + 1)) } else { (0.0, 0) };
        cells.sums[at] = sum(at) - above.0;
        cells.counts[at] = count(at) - above.1;
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::tracked::tests::weights;

    #[test]
    fn lanes_find_the_same_cells() {
        for count in [1, 15, 16, 17, 300] {
            let weights = weights(count);
            for (planes, offset) in [(1, 0.0), (2, 0.125), (3, -0.125)] {
                let mut thresholds = [f32::INFINITY; MAX_LEVELS];
                let few = (1 << planes) - 1;
                for (at, to) in thresholds[..few].iter_mut().enumerate() {
                    *to = at as f32 / 4.0 - 0.5;
                }
                let (mut a, mut b) = (vec![0; count], vec![0; count]);
                let expected = cells(planes, &thresholds, offset, &weights, &mut a);
                let found = match planes {
                    1 => cells_of::<1>(&thresholds, offset, &weights, &mut b),
                    2 => cells_of::<3>(&thresholds, offset, &weights, &mut b),
                    _ => cells_of::<7>(&thresholds, offset, &weights, &mut b),
                };
                assert_eq!((a, expected.counts), (b, found.counts), "{count} {planes}");
                let near = |(x, y): (&f64, &f64)| (x - y).abs() < 1e-4;
                assert!(expected.sums.iter().zip(&found.sums).all(near), "{count} {planes}");
            }
        }
    }
}
