//! Models, opened: an .amq file, or an ONNX file that is compiled in memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_format::Validated;
use amq_runtime::{Isa, LoadOptions};
use serde::Deserialize;

use crate::compile::compile;
use crate::error::{Error, Result};
use crate::input;
use crate::interface::Interface;
use crate::loaded::{Loaded, runtime};
use crate::options::ConvertOptions;
use crate::report::Report;
use crate::threads::Threads;

/// A file that was opened, as bytes of an .amq file.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub path: PathBuf,
    /// Its bytes on disk; of an ONNX model with those of its external data.
    pub size: u64,
    /// What it holds, or what it was compiled to.
    pub amq: Vec<u8>,
    /// What compiling an ONNX model said.
    pub report: Option<Report>,
    /// Files that hold its external data.
    pub external: Vec<PathBuf>,
}

impl Opened {
    /// Opens an .amq file, or an ONNX model with its weights in float.
    ///
    /// # Errors
    /// A file that cannot be read, and what of an ONNX model is damaged or not supported.
    pub fn read(path: &Path) -> Result<Opened> {
        Opened::read_with(path, &Interface::default())
    }

    /// As [`Opened::read`], with what is said of an ONNX model's inputs and outputs.
    ///
    /// # Errors
    /// As [`Opened::read`], and what is said of inputs that are not there.
    pub fn read_with(path: &Path, interface: &Interface) -> Result<Opened> {
        Opened::read_as(path, &ConvertOptions::float_with(interface))
    }

    /// As [`Opened::read`], with what these options say of an ONNX model and of reading it.
    ///
    /// # Errors
    /// As [`Opened::read_with`].
    pub fn read_as(path: &Path, options: &ConvertOptions) -> Result<Opened> {
        if is_amq(path)? {
            return Opened::read_amq(path);
        }
        let compiled = compile(path, &options.as_float(), &|_| ())?;
        let size = compiled.report.bytes_in;
        let report = Some(compiled.report);
        let external = compiled.external;
        Ok(Opened { path: path.to_owned(), size, amq: compiled.bytes, report, external })
    }

    /// Opens an .amq file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read_amq(path: &Path) -> Result<Opened> {
        input::ordinary(path)?;
        let amq = amq_runtime::read(path).map_err(|error| Error::io(path, error))?;
        let size = amq.len() as u64;
        Ok(Opened { path: path.to_owned(), size, amq, report: None, external: Vec::new() })
    }

    /// The bytes of an .amq file, made of the model at `path`.
    pub fn of_bytes(path: &Path, amq: &[u8]) -> Opened {
        let (path, size, amq) = (path.to_owned(), amq.len() as u64, amq.to_vec());
        Opened { path, size, amq, report: None, external: Vec::new() }
    }

    /// The file, checked.
    ///
    /// # Errors
    /// A file that is damaged, or of a version that is not read.
    pub fn validated(&self) -> Result<Validated<'_>> {
        Validated::new(&self.amq).map_err(|error| {
            let text = error.to_string();
            let error = match error {
                amq_format::Error::Unsupported { .. } => Error::unsupported(text),
                _ => Error::bad_file(text),
            };
            error.within(self.path.display())
        })
    }

    /// What was said of the model's inputs and outputs when the file was made.
    ///
    /// # Errors
    /// As [`Opened::validated`].
    pub fn interface(&self) -> Result<Interface> {
        Ok(self.made()?.interface)
    }

    /// What the file tells of the model by the keys of who converted it.
    ///
    /// # Errors
    /// As [`Opened::validated`].
    pub fn meta(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.made()?.meta)
    }

    fn made(&self) -> Result<Made> {
        // A file that others wrote says nothing that is understood here.
        let made = |text| serde_json::from_str::<Made>(text).ok();
        Ok(self.validated()?.provenance().and_then(made).unwrap_or_default())
    }

    /// Validates the file and packs its weights for `isa`.
    ///
    /// # Errors
    /// As [`Opened::validated`], and an instruction set that this CPU lacks.
    pub fn load(&self, isa: Isa) -> Result<Loaded> {
        self.load_with(isa, Threads::default())
    }

    /// The same, packed and run by these threads.
    ///
    /// # Errors
    /// As [`Opened::load`].
    pub fn load_with(&self, isa: Isa, threads: Threads) -> Result<Loaded> {
        self.load_within(isa, threads, None)
    }

    /// The same, whose calls may take so many bytes for their values, if a number is given.
    ///
    /// # Errors
    /// As [`Opened::load`].
    pub fn load_within(
        &self,
        isa: Isa,
        threads: Threads,
        max_memory: Option<u64>,
    ) -> Result<Loaded> {
        let file = self.validated()?;
        let mut options = LoadOptions { isa, ..LoadOptions::default() };
        options.max_arena_bytes = max_memory.unwrap_or(options.max_arena_bytes);
        let model = threads.load(&file, &options).map_err(|e| runtime(&self.path, e))?;
        Ok(Loaded { path: self.path.clone(), model: Arc::new(model), threads })
    }
}

/// Of a file's provenance, what was said of the model and its ports.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Made {
    interface: Interface,
    meta: BTreeMap<String, String>,
}

/// Whether the file is an .amq file, or means to be one.
///
/// # Errors
/// A file that cannot be read.
pub fn is_amq(path: &Path) -> Result<bool> {
    let mut magic = Vec::new();
    let file = input::ordinary(path)?;
    file.take(4).read_to_end(&mut magic).map_err(|error| Error::io(path, error))?;
    // A damaged .amq file is told what is wrong with it as such.
    Ok(magic == amq_format::spec::MAGIC[..4] || path.extension().is_some_and(|e| e == "amq"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use prost::Message;

    use super::*;
    use crate::onnx::tests::{Build, ElementType};

    /// Seeded inputs are numbers that the model's type holds.
    #[test]
    fn seeded_inputs_of_half_a_float_are_such() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        let build = Build::new(13).typed("x", ElementType::Float16, "9").node("Neg", "x", "y");
        fs::write(&model, build.output("y").model.encode_to_vec()).unwrap();
        let loaded = Opened::read(&model).unwrap().load(Isa::detect()).unwrap();
        let inputs = crate::verify::seeded_inputs(&loaded, &[]).unwrap();
        let crate::tensor::Data::F32(x) = &inputs[0].1.data else { panic!("{inputs:?}") };
        assert!(x.iter().all(|&x| half::f16::from_f32(x).to_f32() == x), "{x:?}");
        assert!(x.iter().any(|&x| x != 0.0));
    }

    /// What verify needs to read the model again.
    #[test]
    fn a_file_tells_what_was_said_of_its_model() {
        let folder = tempfile::tempdir().unwrap();
        let (model, file) = (folder.path().join("m.onnx"), folder.path().join("m.amq"));
        let build = Build::new(13).input("x", "n 2").typed("k", ElementType::Int64, "m");
        let build = build.node("Reshape", "x k", "y").output("y");
        fs::write(&model, build.model.encode_to_vec()).unwrap();
        assert!(Opened::read(&model).is_err());
        let interface = Interface {
            states: vec![("x".into(), "y".into())],
            fixed: vec![("k".into(), "4,2".into())],
            dims: vec![("n".into(), 4)],
        };
        let compiled = compile(&model, &ConvertOptions::float_with(&interface), &|_| ()).unwrap();
        fs::write(&file, compiled.bytes).unwrap();
        let opened = Opened::read_amq(&file).unwrap();
        assert_eq!(opened.interface().unwrap(), interface);
        let again = Opened::read_with(&model, &interface).unwrap();
        assert_eq!(again.validated().unwrap().graph(), opened.validated().unwrap().graph());
    }
}
