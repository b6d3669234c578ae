//! What a model takes of a small device, where its weights stay in the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use amq_format::Validated;
use amq_runtime::{Isa, LoadOptions, Model};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::feed::seeded::seeded;
use crate::loaded::{Loaded, runtime};
use crate::open::Opened;
use crate::tensor::views;
use crate::threads::Threads;

/// Bytes that one stream takes, in steps of inputs whose open sizes are what weights fix, else 1.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Small {
    /// The file, which is read where it lies.
    pub flash: u64,
    /// Values between the nodes, and outputs.
    pub values: u64,
    /// What nodes work in, the rows among it that a product packs.
    pub working: u64,
    /// State between steps.
    pub states: u64,
}

impl Small {
    /// Steps a model as a small device would: in portable code, by one thread.
    ///
    /// # Errors
    /// A file that is damaged, and a step that fails.
    pub fn of(opened: &Opened) -> Result<Small> {
        opened.validated()?;
        // A model whose weights stay in a file needs it as long as the program runs.
        let bytes: &'static [u8] = Vec::leak(opened.amq.clone());
        let file = Validated::new(bytes).map_err(|error| Error::bad_file(error.to_string()))?;
        let options = LoadOptions { isa: Isa::Scalar, ..LoadOptions::default() };
        let model = Model::in_file(&file, &options).map_err(|e| runtime(&opened.path, e))?;
        let (path, threads) = (opened.path.clone(), Threads::default());
        let loaded = Loaded { path, model: Arc::new(model), threads };
        let inputs = seeded(&loaded, &BTreeMap::new())?;
        let mut session = loaded.session();
        session.step(&views(&inputs)).map_err(|error| loaded.error(error))?;
        let taken = session.memory();
        Ok(Small {
            flash: bytes.len() as u64,
            values: taken.values,
            working: taken.working,
            states: taken.states,
        })
    }

    /// RAM: all but the file.
    pub fn ram(&self) -> u64 {
        self.values + self.working + self.states
    }
}
