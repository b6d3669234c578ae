//! Memory that products work in.

use alloc::vec::Vec;

use crate::kernels::Order;
use crate::kernels::lanes::Tables;

/// Memory for quantized activations: as large as the largest product needed.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) order: Order,
    pub(crate) budget: Budget,
    pub(super) planes: Vec<u64>,
    pub(super) patch: Vec<u64>,
    pub(super) words: Vec<[u32; 2]>,
    pub(super) coefficients: Vec<[f32; 4]>,
    pub(super) tables: Vec<Tables>,
    pub(super) scales: Vec<f32>,
    pub(super) sums: Vec<f32>,
    pub(super) patches: Vec<f32>,
}

/// Bytes of working memory.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What it may take.
    pub(crate) limit: u64,
    /// What it takes.
    pub(crate) held: u64,
    /// Bytes that a vector lacks which could not grow.
    pub(crate) lacking: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { limit: u64::MAX, held: 0, lacking: 0 }
    }
}

impl Budget {
    /// Makes a vector at least `len` long, if there is memory for that.
    pub(crate) fn grow<T: Clone>(&mut self, vec: &mut Vec<T>, len: usize, value: T) {
        let more = len.saturating_sub(vec.len());
        let bytes = (more as u64).saturating_mul(size_of::<T>() as u64);
        let held = self.held.saturating_add(bytes);
        if more > 0 && held > self.limit || vec.try_reserve_exact(more).is_err() {
            self.lacking = self.lacking.saturating_add(bytes);
        } else if more > 0 {
            self.held = held;
            vec.resize(len, value);
        }
    }
}
