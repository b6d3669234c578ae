//! What a session takes.

use super::Session;

/// Bytes that a session has taken for its calls, beside what plans take, which grows with the graph alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryTaken {
    /// Values between the nodes, and outputs; inputs that are given lie with the caller.
    pub values: u64,
    /// What nodes work in, and values of the bodies of branches and loops.
    pub working: u64,
    /// State between steps.
    pub states: u64,
}

impl MemoryTaken {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.values + self.working + self.states
    }
}

impl Session {
    /// What the calls up to now needed: as much as the one that needed most.
    pub fn memory(&self) -> MemoryTaken {
        let values = self.frame.bytes();
        let states = self.states.iter().map(|kept| {
            (kept.elements.len() as u64).saturating_mul(kept.elements.data_type().size() as u64)
        });
        MemoryTaken {
            values,
            working: self.memory.scratch.budget.held.saturating_sub(values),
            states: states.sum(),
        }
    }
}
