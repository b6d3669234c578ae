//! The windows of a convolution as vectors, for a probe.

use alloc::vec::Vec;

use super::conv::ConvMatrix;
use super::geometry::Geometry;

/// Windows that are shown together.
const WINDOWS: usize = 256;

impl ConvMatrix {
    /// Shows the windows of all items x `[item][channel][height][width]` and their results out
    /// `[item][output channel][height][width]`: the first output channel, columns and rows, vectors
    /// `[window][kernel position, channel]` and results `[window][row]`.
    pub(crate) fn show(
        &self,
        geometry: &Geometry,
        x: &[f32],
        out: &[f32],
        mut show: impl FnMut(usize, [usize; 2], &[f32], &[f32]),
    ) {
        let (positions, taps) = (geometry.positions(), geometry.taps());
        let plane = geometry.input[0] * geometry.input[1];
        let [groups, rows, columns] = self.shape();
        let channels = geometry.channels.checked_div(groups).unwrap_or(0);
        if rows * positions * columns * plane == 0 {
            return;
        }
        let outs = out.chunks_exact(rows * positions);
        for (i, (x, out)) in x.chunks_exact(channels * plane).zip(outs).enumerate() {
            for start in (0..positions).step_by(WINDOWS) {
                let windows = start..positions.min(start + WINDOWS);
                let mut vectors = Vec::with_capacity(windows.len() * taps * channels);
                let mut places = alloc::vec![0; taps];
                for position in windows.clone() {
                    geometry.window(position, geometry.input[0], &mut places);
                    for &place in &places {
                        let planes = x.chunks_exact(plane);
                        vectors.extend(planes.map(|x| x.get(place as usize).unwrap_or(&0.0)));
                    }
                }
                let result = |position| out[position..].iter().step_by(positions);
                let results: Vec<f32> = windows.flat_map(result).copied().collect();
                show(i % groups * rows, [taps * channels, rows], &vectors, &results);
            }
        }
    }
}
