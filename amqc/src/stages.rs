//! How long each stage of a conversion takes.

use std::time::Instant;

use serde::Serialize;

/// A stage, and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageTime {
    /// What was done.
    pub stage: &'static str,
    /// By the clock.
    pub seconds: f64,
}

/// A stopwatch, stage by stage.
#[derive(Debug)]
pub(crate) struct Stages {
    last: Instant,
    taken: Vec<StageTime>,
}

impl Stages {
    /// Begins now.
    pub(crate) fn begin() -> Stages {
        Stages { last: Instant::now(), taken: Vec::new() }
    }

    /// What was done since the last stage was this one.
    pub(crate) fn done(&mut self, stage: &'static str) {
        let now = Instant::now();
        self.taken.push(StageTime { stage, seconds: (now - self.last).as_secs_f64() });
        self.last = now;
    }

    /// What was done since the last stage is known in its parts.
    pub(crate) fn parts(&mut self, parts: &[StageTime]) {
        self.taken.extend_from_slice(parts);
        self.last = Instant::now();
    }

    /// All stages.
    pub(crate) fn taken(self) -> Vec<StageTime> {
        self.taken
    }
}
