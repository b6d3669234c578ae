//! Rows that give on some vectors what other rows give on those that the vectors stand for.

use super::norm::factor;

/// Share of the mean of the diagonal of the second moment that is added to it: so much a change of the rows counts.
const RIDGE: f64 = 0.01;

/// Rows `t` for vectors `y` in place of rows `w` for vectors `x`: the least squares of `w x - t y`, with `t`
/// held near `w`; `w` itself where that would change it by more than it is. Vectors are centred. `second`, `[column][column]`, is the mean of `y y^T`, `drift` that of
/// `y (x - y)^T`. `None` where the moment says nothing.
pub fn targets(rows: &[&[f32]], second: &[f64], drift: &[f64]) -> Option<Vec<Vec<f32>>> {
    let n = rows.first()?.len();
    let mean = (0..n).map(|i| second[i * n + i]).sum::<f64>() / n.max(1) as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return None;
    }
    // Of the scaled moment, so that pivots are those of numbers about 1.
    let l = factor(n, &|i, j| second[i * n + j] / mean + if i == j { RIDGE } else { 0.0 });
    let mut pivots = vec![0.0; n];
    for i in 0..n {
        let known: f64 = (0..i).map(|k| l[i * n + k] * l[i * n + k] * pivots[k]).sum();
        pivots[i] = (second[i * n + i] / mean + RIDGE - known).max(f64::MIN_POSITIVE);
    }
    let target = |w: &&[f32]| -> Vec<f32> {
        // (t - w) (H + ridge) = E w (x - y) y^T
        let mut z: Vec<f64> = drift
            .chunks_exact(n)
            .map(|drift| drift.iter().zip(*w).map(|(d, &w)| d * f64::from(w)).sum::<f64>() / mean)
            .collect();
        for i in 0..n {
            let known: f64 = l[i * n..][..i].iter().zip(&z).map(|(l, z)| l * z).sum();
            z[i] -= known;
        }
        z.iter_mut().zip(&pivots).for_each(|(z, pivot)| *z /= pivot);
        for i in (0..n).rev() {
            let (before, rest) = z.split_at_mut(i);
            before.iter_mut().zip(&l[i * n..]).for_each(|(z, l)| *z -= l * rest[0]);
        }
        // Vectors that hardly vary say nothing: what is left of their moment is rounding.
        let [change, size] = [squares(z.iter().copied()), squares(w.iter().map(|&w| w.into()))];
        if change <= size {
            w.iter().zip(z).map(|(&w, z)| (f64::from(w) + z) as f32).collect()
        } else {
            w.to_vec()
        }
    };
    Some(rows.iter().map(target).collect())
}

fn squares(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::tests::Random;

    /// Of all rows, those found have the least error on the vectors, the change's own weight counted.
    #[test]
    fn targets_make_good_for_what_vectors_lost() {
        let mut random = Random(4);
        let (n, count) = (6, 200);
        let x: Vec<Vec<f64>> =
            (0..count).map(|_| (0..n).map(|_| f64::from(random.gaussian())).collect()).collect();
        // Each vector has lost a third of its length, and something by chance.
        let y: Vec<Vec<f64>> = x
            .iter()
            .map(|x| x.iter().map(|x| 0.67 * x + 0.1 * f64::from(random.gaussian())).collect())
            .collect();
        let moment = |of: &dyn Fn(usize, usize, usize) -> f64| -> Vec<f64> {
            let at =
                |at: usize| (0..count).map(|s| of(s, at / n, at % n)).sum::<f64>() / count as f64;
            (0..n * n).map(at).collect()
        };
        let second = moment(&|s, i, j| y[s][i] * y[s][j]);
        let drift = moment(&|s, i, j| y[s][i] * (x[s][j] - y[s][j]));
        let w: Vec<f32> = (0..n).map(|_| random.gaussian()).collect();
        let target = targets(&[&w], &second, &drift).unwrap().remove(0);
        let mean = (0..n).map(|i| second[i * n + i]).sum::<f64>() / n as f64;
        let cost = |t: &[f32]| -> f64 {
            let dot = |t: &[f32], v: &[f64]| -> f64 {
                t.iter().zip(v).map(|(&t, v)| f64::from(t) * v).sum()
            };
            let errors = x.iter().zip(&y).map(|(x, y)| (dot(&w, x) - dot(t, y)).powi(2));
            let moved: f64 = t.iter().zip(&w).map(|(t, w)| f64::from(t - w).powi(2)).sum();
            errors.sum::<f64>() / count as f64 + RIDGE * mean * moved
        };
        let least = cost(&target);
        assert!(least < 0.6 * cost(&w));
        for i in 0..n {
            for step in [-0.01, 0.01] {
                let mut other = target.clone();
                other[i] += step;
                assert!(cost(&other) > least, "{i} {step}");
            }
        }
    }
    #[test]
    fn what_is_left_of_a_constant_moves_nothing() {
        let w = [0.5, -0.25];
        let found = targets(&[&w], &[1e-30, 0.0, 0.0, 1e-30], &[1e3, 0.0, 0.0, f64::NAN]).unwrap();
        assert_eq!(found, [w]);
        assert!(targets(&[&w], &[0.0; 4], &[1.0; 4]).is_none());
    }
}
