//! What the user should know of a model that was read.

/// What was noticed while a model was read.
#[derive(Default)]
pub(super) struct Notes {
    /// The version of the file format, where it is newer than any that is known.
    pub(super) newer_ir: Option<i64>,
    pub(super) default_inputs: Vec<String>,
    pub(super) narrowed_inputs: Vec<String>,
    pub(super) narrowed_constants: usize,
    pub(super) narrowed_nodes: usize,
    /// Constants in integers with scales.
    pub(super) dequantized: usize,
    /// Values that were quantized only to be floats again.
    pub(super) dropped_steps: usize,
}

impl Notes {
    /// A sentence for each kind.
    pub(super) fn finish(self) -> Vec<String> {
        let default = |name| {
            format!("input {name:?} has a default value in the model and is a constant from now on")
        };
        let narrowed = |name| format!("input {name:?} is float64 and is taken as f32");
        let newer = |version| {
            format!(
                "the model's IR version {version} is newer than any that is known: what it may mean \
                 that others do not was not read"
            )
        };
        let mut notes: Vec<String> = self.newer_ir.map(newer).into_iter().collect();
        notes.extend(self.default_inputs.into_iter().map(default));
        notes.extend(self.narrowed_inputs.into_iter().map(narrowed));
        if self.narrowed_constants > 0 {
            let count = self.narrowed_constants;
            notes.push(format!("constants of another float type, changed to f32: {count}"));
        }
        if self.narrowed_nodes > 0 {
            let count = self.narrowed_nodes;
            notes.push(format!("nodes that ask for another float type, computed in f32: {count}"));
        }
        if self.dequantized > 0 {
            let count = self.dequantized;
            notes
                .push(format!("constants that were quantized already, made floats first: {count}"));
        }
        if self.dropped_steps > 0 {
            let count = self.dropped_steps;
            notes.push(format!(
                "values that the model quantizes and makes floats again; they keep the range and \
                 lose the steps, since the settings say how activations are coded: {count}"
            ));
        }
        notes
    }
}
