//! Elements that are left out of a product by chance.

use rayon::prelude::*;

use crate::random::SplitMix64;

/// Elements that do not enter a product in a step (Srivastava and others, "Dropout", 2014); the others are larger for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropout {
    /// The product's node.
    pub(super) node: usize,
    /// The share that is left out.
    pub(super) share: f32,
    /// Which they are follows from it.
    pub(super) seed: u64,
}

impl Dropout {
    /// What the elements that are not left out are multiplied by.
    pub(super) fn scale(self) -> f32 {
        1.0 / (1.0 - self.share)
    }
}

/// Leaves elements of vectors of so many columns out, always the same ones, and makes the others larger.
pub(super) fn leave_out(dropout: Dropout, columns: usize, x: &mut [f32]) {
    let (Dropout { share, seed, .. }, scale) = (dropout, dropout.scale());
    x.par_chunks_mut(columns.max(1)).enumerate().for_each(|(vector, x)| {
        let mut random = SplitMix64(seed ^ SplitMix64(vector as u64).next());
        // Uniform in [-1, 1).
        x.iter_mut()
            .for_each(|x| *x *= if random.uniform() < 2.0 * share - 1.0 { 0.0 } else { scale });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_keeps_the_mean() {
        let dropout = |seed| Dropout { node: 0, share: 0.25, seed };
        let left = |seed| {
            let mut x = vec![3.0; 40 * 250];
            leave_out(dropout(seed), 250, &mut x);
            x
        };
        let x = left(7);
        assert!(x.iter().all(|&x| x == 0.0 || x == 4.0));
        // 10,000 elements: three deviations are 0.013.
        let zeros = x.iter().filter(|&&x| x == 0.0).count() as f64 / x.len() as f64;
        assert!((zeros - 0.25).abs() < 0.013, "{zeros}");
        assert_eq!(x, left(7));
        assert_ne!(x, left(8));
        assert_ne!(x[..250], x[250..500]);
    }
}
