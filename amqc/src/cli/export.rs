//! `amqc export`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Outcome, output};
use crate::error::{Error, Result};
use crate::export::export;
use crate::open::{Opened, is_amq};

/// Write an .amq file as an ONNX model in float, for tools that read no .amq
///
/// Weights are what their codes stand for, exactly; activations are not coded, for ONNX has no such operator. So answers
/// differ from those of the file by what its activations lose. Inputs, outputs and states keep their names.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The .amq file
    #[arg(value_name = "MODEL.amq")]
    model: PathBuf,
    /// Where to write; an existing file is replaced [default: beside the model, as MODEL.onnx]
    #[arg(short, long, value_name = "OUT.onnx")]
    output: Option<PathBuf>,
    /// Print what was written as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but errors and what --json asks for
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Serialize)]
struct Written {
    input: String,
    output: String,
    bytes_out: u64,
    notes: Vec<String>,
}

impl Export {
    pub(super) fn execute(&self) -> Result<Outcome> {
        if !is_amq(&self.model)? {
            return Err(Error::usage("it is no .amq file")
                .within(self.model.display())
                .remedy("export what amqc convert or amqc tune has written"));
        }
        let target = self.output.clone().unwrap_or_else(|| self.model.with_extension("onnx"));
        output::check_not_read(&target, [&self.model])?;
        let opened = Opened::read_amq(&self.model)?;
        let exported = export(&opened.validated()?).map_err(|e| e.within(self.model.display()))?;
        output::write_whole(&target, |file| file.write_all(&exported.bytes))?;
        let written = Written {
            input: self.model.display().to_string(),
            output: target.display().to_string(),
            bytes_out: exported.bytes.len() as u64,
            notes: exported.notes,
        };
        match self.quiet && !self.json {
            true => Ok(Outcome::default()),
            false => Outcome::of(self.json, &written, Written::text),
        }
    }
}

impl Written {
    fn text(&self) -> String {
        let mut text = format!("{} -> {}: {} bytes\n", self.input, self.output, self.bytes_out);
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        text
    }
}
