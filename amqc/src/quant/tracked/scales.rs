//! Coefficients that are trained while the codes stay.

use rayon::prelude::*;

use super::{Tracked, decode};
use crate::quant::coefficients::{MAX_LEVELS, MAX_PLANES, normalise, round};

impl Tracked {
    /// The coefficients: `[row][group][plane]`.
    pub fn scales(&self) -> Vec<f32> {
        let of_group = |a: &[f64; MAX_PLANES]| a.map(|a| a as f32).into_iter().take(self.planes);
        self.coefficients.iter().flat_map(of_group).collect()
    }

    /// A loss's gradient by the coefficients, from that by what the codes stand for: each weight is a sum of coefficients
    /// with the signs of its code.
    ///
    /// # Panics
    /// If there are not as many elements as codes.
    pub fn by_scales(&self, gradient: &[f32]) -> Vec<f32> {
        assert_eq!(gradient.len(), self.codes.len(), "elements of the matrix");
        let (cols, groups, planes) = (self.cols, self.cols.div_ceil(self.group), self.planes);
        let mut found = vec![0.0; self.coefficients.len() * planes];
        let rows = self.codes.par_chunks(cols).zip(gradient.par_chunks(cols));
        let rows = rows.zip(found.par_chunks_mut(groups * planes)).with_min_len(16);
        rows.for_each(|((codes, gradient), found)| {
            let parts = codes.chunks(self.group).zip(gradient.chunks(self.group));
            for ((codes, gradient), found) in parts.zip(found.chunks_mut(planes)) {
                let mut sums = [0.0f32; MAX_LEVELS];
                codes.iter().zip(gradient).for_each(|(&code, g)| sums[usize::from(code)] += g);
                for (code, sum) in sums[..1 << planes].iter().enumerate() {
                    for (plane, found) in found.iter_mut().enumerate() {
                        *found += if code >> plane & 1 == 1 { *sum } else { -sum };
                    }
                }
            }
        });
        found
    }

    /// Takes coefficients, rounded to their type, and writes what the codes stand for to `decoded`. Planes stay in the order
    /// of their coefficients, which are positive: where they are not, `scales` is brought into that order too. A group keeps its
    /// own where one is 0 or none of its type.
    ///
    /// # Panics
    /// If there are not as many coefficients and results as the matrix has.
    pub fn take_scales(&mut self, scales: &mut [f32], decoded: &mut [f32]) {
        assert_eq!(scales.len(), self.coefficients.len() * self.planes, "coefficients");
        assert_eq!(decoded.len(), self.codes.len(), "weights of the matrix");
        let (cols, width, planes) = (self.cols, self.group, self.planes);
        let (groups, kind) = (self.cols.div_ceil(self.group), self.coefficient_type);
        let offsets = self.offsets.as_deref();
        let rows = self.codes.par_chunks_mut(cols).zip(self.coefficients.par_chunks_mut(groups));
        let rows = rows.zip(scales.par_chunks_mut(groups * planes));
        let rows = rows.zip(decoded.par_chunks_mut(cols)).enumerate().with_min_len(16);
        rows.for_each(|(row, (((codes, all), scales), decoded))| {
            let parts = codes.chunks_mut(width).zip(decoded.chunks_mut(width));
            let parts = parts.zip(all).zip(scales.chunks_mut(planes)).enumerate();
            for (at, (((codes, decoded), coefficients), scales)) in parts {
                let mut found = [0.0; MAX_PLANES];
                found.iter_mut().zip(&*scales).for_each(|(to, &a)| *to = f64::from(a));
                let recode = normalise(&mut found, planes);
                if recode[..1 << planes]
                    .iter()
                    .enumerate()
                    .any(|(code, &new)| code != usize::from(new))
                {
                    codes.iter_mut().for_each(|code| *code = recode[usize::from(*code)]);
                    scales.iter_mut().zip(found).for_each(|(to, a)| *to = a as f32);
                }
                let rounded = round(&found, kind)
                    .filter(|rounded| rounded[..planes].iter().all(|&a| a != 0.0 && a.is_finite()));
                *coefficients = rounded.unwrap_or(*coefficients);
                let offset = offsets.map_or(0.0, |offsets| offsets[row * groups + at]);
                decode(planes, offset, codes, coefficients, decoded);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{coded, weights};
    use super::*;

    /// What the codes stand for moves by what the gradient says, and comes back as it was.
    #[test]
    fn scales_move_levels() {
        for (bits, group) in [(1, 0), (2, 32), (3, 0)] {
            let original = weights(4 * 70);
            let mut tracked = Tracked::new(&coded(&original, 70, bits, group));
            let by: Vec<f32> = (0..4 * 70).map(|i| (i * 37 % 19) as f32 / 9.0 - 1.0).collect();
            let loss = |decoded: &[f32]| -> f64 {
                decoded.iter().zip(&by).map(|(w, b)| f64::from(w * b)).sum()
            };
            let mut decoded = vec![0.0; 4 * 70];
            let mut scales = tracked.scales();
            tracked.take_scales(&mut scales, &mut decoded);
            let mut again = vec![0.0; 4 * 70];
            tracked.decode(&mut again);
            assert_eq!(decoded, again);
            let (before, gradient) = (loss(&decoded), tracked.by_scales(&by));
            for at in [0, gradient.len() - 1] {
                let mut moved = scales.clone();
                let step = 0.125 * moved[at];
                moved[at] += step;
                tracked.clone().take_scales(&mut moved, &mut decoded);
                let (found, expected) = (loss(&decoded) - before, f64::from(gradient[at] * step));
                // Coefficients are rounded to 11 bits.
                assert!(
                    (found - expected).abs() < 2e-3 * expected.abs() + 2e-3,
                    "{found} {expected}"
                );
            }
        }
    }

    #[test]
    fn planes_stay_in_order() {
        let original = weights(2 * 64);
        let mut tracked = Tracked::new(&coded(&original, 64, 2, 0));
        let before = tracked.clone();
        let [mut expected, mut found] = [vec![0.0; 2 * 64], vec![0.0; 2 * 64]];
        let mut scales = vec![0.25, 0.5, 0.5, -0.25];
        tracked.take_scales(&mut scales, &mut found);
        assert_eq!(scales, [0.5, 0.25, 0.5, 0.25]);
        assert!(tracked.coefficients.iter().all(|a| a[0] > a[1] && a[1] > 0.0));
        for (at, level) in expected.iter_mut().enumerate() {
            let signs = [0, 1].map(|plane| f32::from(before.codes[at] >> plane & 1) * 2.0 - 1.0);
            *level = if at < 64 {
                0.25 * signs[0] + 0.5 * signs[1]
            } else {
                0.5 * signs[0] - 0.25 * signs[1]
            };
        }
        assert_eq!(found, expected);
        let kept = tracked.clone();
        tracked.take_scales(&mut [0.0, 0.25, f32::INFINITY, 0.25], &mut found);
        assert_eq!(tracked.coefficients, kept.coefficients);
    }
}
