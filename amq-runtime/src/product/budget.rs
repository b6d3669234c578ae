//! What calls may take.

use alloc::vec::Vec;

use crate::error::{Fault, ensure, fault};
use crate::view::Buffer;

/// What a call may take: bytes of memory, and iterations of loops.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What it may take.
    pub(crate) limit: u64,
    /// What it takes.
    pub(crate) held: u64,
    /// Bytes that a vector lacks which could not grow.
    pub(crate) lacking: u64,
    /// Iterations that are left to the call.
    pub(crate) iterations: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { limit: u64::MAX, held: 0, lacking: 0, iterations: u64::MAX }
    }
}

impl Budget {
    /// Takes bytes, if they are there.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Fault> {
        let held = self.held.saturating_add(bytes);
        let limit = self.limit;
        ensure!(
            bytes == 0 || held <= limit,
            "it needs {held} bytes of memory, {limit} are allowed"
        );
        self.held = held;
        Ok(())
    }

    /// Takes an iteration, if one is left.
    pub(crate) fn iterate(&mut self) -> Result<(), Fault> {
        let left = self.iterations.checked_sub(1);
        self.iterations = left.ok_or_else(|| {
            fault!("the call has no iterations left: end it sooner or raise LoadOptions::max_iterations")
        })?;
        Ok(())
    }

    /// Makes a slot at least `len` long, if there is memory for that.
    pub(crate) fn slot(&mut self, slot: &mut Buffer, len: usize) -> Result<(), Fault> {
        let more = len.saturating_sub(slot.len()) as u64;
        self.take(more.saturating_mul(slot.data_type().size() as u64))?;
        ensure!(slot.grow(len), "there is no memory for {len} elements");
        Ok(())
    }

    /// Makes room for at least `len` elements in all, if there is memory for that.
    pub(super) fn reserve<T>(&mut self, vec: &mut Vec<T>, len: usize) {
        let more = len.saturating_sub(vec.capacity());
        let bytes = (more as u64).saturating_mul(size_of::<T>() as u64);
        let held = self.held.saturating_add(bytes);
        let missing = len.saturating_sub(vec.len());
        if more > 0 && held > self.limit || vec.try_reserve_exact(missing).is_err() {
            self.lacking = self.lacking.saturating_add(bytes);
        } else {
            self.held = held;
        }
    }

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
