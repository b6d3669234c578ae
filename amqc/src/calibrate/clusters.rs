//! Clusters of the rows of a matrix.

use rayon::prelude::*;

/// Rounds of Lloyd's algorithm.
const ROUNDS: usize = 8;

/// Divides the rows of a matrix into at most `count` clusters by k-means in which each row counts as much as
/// its share says, started from those that count most; gives the rows of each, none of which is empty.
pub(super) fn clusters(
    weights: &[f32],
    cols: usize,
    shares: &[f64],
    count: usize,
) -> Vec<Vec<usize>> {
    let rows = weights.len() / cols.max(1);
    let count = count.clamp(1, rows.max(1));
    let row = |index: usize| &weights[index * cols..][..cols];
    let mut heaviest: Vec<usize> = (0..rows).collect();
    heaviest.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
    let mut centres: Vec<f32> =
        heaviest[..count].iter().flat_map(|&index| row(index).iter().copied()).collect();
    let mut cluster = vec![0; rows];
    for _ in 0..ROUNDS {
        let squares: Vec<f32> =
            centres.chunks_exact(cols).map(|centre| 0.5 * dot(centre, centre)).collect();
        cluster.par_iter_mut().enumerate().for_each(|(index, cluster)| {
            let distance =
                |i: usize| squares[i] - dot(row(index), &centres[i * cols..(i + 1) * cols]);
            // The first of equals.
            let nearest = (0..count).map(|i| (distance(i), i)).min_by(|a, b| a.0.total_cmp(&b.0));
            *cluster = nearest.map_or(0, |(_, i)| i);
        });
        let mut sums = vec![0.0_f64; count * cols];
        let mut sizes = vec![0.0; count];
        for (index, &cluster) in cluster.iter().enumerate() {
            let share = shares[index];
            sizes[cluster] += share;
            for (sum, &w) in sums[cluster * cols..].iter_mut().zip(row(index)) {
                *sum += share * f64::from(w);
            }
        }
        for (i, size) in sizes.into_iter().enumerate().filter(|&(_, size)| size > 0.0) {
            for (centre, sum) in centres[i * cols..].iter_mut().zip(&sums[i * cols..][..cols]) {
                *centre = (sum / size) as f32;
            }
        }
    }
    let mut clusters = vec![Vec::new(); count];
    for (index, cluster) in cluster.into_iter().enumerate() {
        clusters[cluster].push(index);
    }
    clusters.retain(|rows| !rows.is_empty());
    clusters
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (chunks, rest) = a.as_chunks::<8>();
    let (others, other_rest) = b.as_chunks::<8>();
    for (a, b) in chunks.iter().zip(others) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.into_iter().sum::<f32>() + rest.iter().zip(other_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_rows_share_a_cluster() {
        let weights = [0.0, 0.1, 9.0, 9.0, 0.1, 0.0, -9.0, 0.0, 9.1, 9.0];
        let shares = [4.0, 3.0, 1.0, 2.0, 1.0];
        let found = clusters(&weights, 2, &shares, 3);
        assert_eq!(found, [vec![0, 2], vec![1, 4], vec![3]]);
        assert_eq!(clusters(&weights, 2, &shares, 100).len(), 5);
    }
}
