//! `amqc run`

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use amq_runtime::Isa;
use clap::{ArgGroup, Args};

use super::interface::{Dims, Ports, open};
use super::{Outcome, Running, name_path, output};
use crate::data;
use crate::error::{Error, Result};
use crate::feed::arrays::{bind, read_inputs, roundings};
use crate::loaded::Loaded;
use crate::tensor::Tensor;

/// Run a model once on arrays from NumPy files
///
/// An input that is a state and is not given takes its initial value. Integers of another width are
/// taken if they fit, and for a float input floats and integers of any width, which are rounded to f32; a note says
/// so where that changes one.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("results").required(true).multiple(true)))]
pub(super) struct Run {
    /// An .amq file or an ONNX model
    file: PathBuf,
    /// Arrays by the names of inputs
    #[arg(long, value_name = "I.npz")]
    inputs: Option<PathBuf>,
    /// One input (repeatable)
    #[arg(long, value_name = "NAME=X.npy", value_parser = name_path)]
    input: Vec<(String, PathBuf)>,
    /// Where to write the outputs, by name; where there is but one, it may be an .npy file
    #[arg(long, value_name = "O.npz", group = "results")]
    outputs: Option<PathBuf>,
    /// Directory to write the outputs to, each an .npy file
    ///
    /// Characters of a name other than letters, digits, dots, - and _ become _.
    #[arg(long, value_name = "DIR", group = "results")]
    output_dir: Option<PathBuf>,
    #[command(flatten)]
    ports: Ports,
    #[command(flatten)]
    dims: Dims,
    #[command(flatten)]
    running: Running,
}

impl Run {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        let threads = self.running.threads()?;
        let opened = open(&self.file, &self.ports.interface(&self.dims))?;
        let read = || {
            let arrays = self.input.iter().map(|(_, path)| path);
            [&self.file].into_iter().chain(&opened.external).chain(&self.inputs).chain(arrays)
        };
        let loaded = self.running.load(&opened, isa, &threads)?;
        let mut arrays = match &self.inputs {
            Some(path) => read_inputs(&loaded, path)?,
            None => Vec::new(),
        };
        for (name, path) in &self.input {
            arrays.push((name.clone(), data::read_npy(path)?));
        }
        let mut notes = roundings(&loaded, &arrays);
        let inputs = bind(&loaded, arrays)?;
        let single = self.single(&loaded)?;
        let outputs = loaded.run(&inputs)?;
        let precision = |name: &str| loaded.precision(name);
        if let Some(path) = &self.outputs {
            output::check_not_read(path, read())?;
            if let Some(other) =
                path.extension().filter(|e| !single && !e.eq_ignore_ascii_case("npz"))
            {
                let (path, other) = (path.display(), other.display());
                notes.push(format!("{path} is an .npz archive: nothing writes .{other}"));
            }
            output::write_whole(path, |file| match (single, &outputs[..]) {
                (true, [(name, tensor)]) => data::write_npy_as(file, tensor, precision(name)),
                _ => data::write_npz_as(file, &outputs, precision),
            })?;
        }
        if let Some(directory) = &self.output_dir {
            fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
            let mut used = BTreeSet::new();
            let path = |(name, _): &(String, Tensor)| directory.join(file_name(name, &mut used));
            let paths: Vec<PathBuf> = outputs.iter().map(path).collect();
            paths.iter().try_for_each(|path| output::check_not_read(path, read()))?;
            for (path, (name, tensor)) in paths.iter().zip(&outputs) {
                let precision = precision(name);
                output::write_whole(path, |file| data::write_npy_as(file, tensor, precision))?;
            }
        }
        Ok(Outcome { notes, ..Outcome::default() })
    }

    /// Whether the outputs are written as one array.
    fn single(&self, loaded: &Loaded) -> Result<bool> {
        let npy = |path: &PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"));
        let Some(path) = self.outputs.as_ref().filter(|path| npy(path)) else { return Ok(false) };
        match loaded.graph().outputs.len() {
            1 => Ok(true),
            count => {
                Err(Error::usage(format!("an .npy file holds one array, not {count} outputs"))
                    .within(path.display())
                    .remedy("name an .npz archive, or a folder with --output-dir"))
            }
        }
    }
}

/// A name for a file that stays in its directory and that no other output has.
fn file_name(name: &str, used: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let stem: String = name.trim_start_matches('.').chars().map(plain).collect();
    let stem = if stem.is_empty() { "_".to_owned() } else { stem };
    let mut file = format!("{stem}.npy");
    let mut number = 2;
    // Names that differ in case alone are one file on some systems.
    while !used.insert(file.to_ascii_lowercase()) {
        file = format!("{stem}_{number}.npy");
        number += 1;
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_outputs_stay_in_the_directory() {
        let mut used = BTreeSet::new();
        for (name, expected) in [
            ("logits", "logits.npy"),
            ("../../etc/passwd", "_.._etc_passwd.npy"),
            ("/a/b:0", "_a_b_0.npy"),
            ("_a/b:0", "_a_b_0_2.npy"),
            ("Logits", "Logits_2.npy"),
            ("..", "_.npy"),
            ("", "__2.npy"),
            ("é", "__3.npy"),
        ] {
            assert_eq!(file_name(name, &mut used), expected, "{name}");
        }
    }
}
