//! Models, opened: an .amq file, or an ONNX file that is compiled in memory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_format::graph::{Graph, Port, Precision, State, ValueId};
use amq_format::{Draft, Validated};
use amq_runtime::{Isa, LoadOptions, Model, Session};
use serde::Deserialize;

use crate::compile::compile;
use crate::error::{Error, Result};
use crate::interface::Interface;
use crate::names::{no_such, shown};
use crate::options::ConvertOptions;
use crate::report::Report;
use crate::tensor::{Tensor, views};
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
        if is_amq(path)? {
            return Opened::read_amq(path);
        }
        let compiled = compile(path, &ConvertOptions::float_with(interface), &|_| ())?;
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
        let amq = fs::read(path).map_err(|error| Error::io(path, error))?;
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
        // A file that others wrote says nothing that is understood here.
        let made = |text| serde_json::from_str::<Made>(text).ok();
        let made = self.validated()?.provenance().and_then(made);
        Ok(made.map(|made| made.interface).unwrap_or_default())
    }

    /// Validates the file and packs its weights for `isa`.
    ///
    /// # Errors
    /// As [`Opened::validated`], and an instruction set that this CPU lacks.
    pub fn load(&self, isa: Isa) -> Result<Loaded> {
        let file = self.validated()?;
        let options = LoadOptions { isa, ..LoadOptions::default() };
        let model = Model::with_options(&file, &options).map_err(|e| runtime(&self.path, e))?;
        let (path, threads) = (self.path.clone(), Threads::default());
        Ok(Loaded { path, model: Arc::new(model), threads })
    }
}

/// Of a file's provenance, what was said of the model.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Made {
    interface: Interface,
}

/// Whether the file is an .amq file, or means to be one.
///
/// # Errors
/// A file that cannot be read.
pub fn is_amq(path: &Path) -> Result<bool> {
    let mut magic = Vec::new();
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    file.take(4).read_to_end(&mut magic).map_err(|error| Error::io(path, error))?;
    // A damaged .amq file is told what is wrong with it as such.
    Ok(magic == amq_format::spec::MAGIC[..4] || path.extension().is_some_and(|e| e == "amq"))
}

/// What the runtime refused, in the words of this tool.
fn runtime(path: &Path, error: amq_runtime::Error) -> Error {
    use amq_runtime::Error as Runtime;
    let text = error.to_string();
    let error = match error {
        Runtime::Memory { needed, limit } => Error::unsupported(format!(
            "a call with these shapes needs {needed} bytes of memory, {limit} are allowed"
        ))
        .remedy("give smaller inputs"),
        Runtime::IsaUnavailable(_) => Error::unsupported(text),
        Runtime::Input(_) => {
            return Error::bad_file(text).within(format_args!("inputs of {}", path.display()));
        }
        _ => Error::bad_file(text),
    };
    error.within(path.display())
}

/// A model that is ready to run.
#[derive(Debug)]
pub struct Loaded {
    /// The file that it comes from.
    pub path: PathBuf,
    /// The model.
    pub model: Arc<Model>,
    /// The threads that run it.
    pub threads: Threads,
}

impl Loaded {
    /// The network that a draft holds, which was made of the model at `path`, its weights packed for
    /// `isa`.
    ///
    /// # Errors
    /// A rule that it breaks, and an instruction set that this CPU lacks.
    pub(crate) fn of_draft(path: &Path, draft: &Draft, isa: Isa) -> Result<Loaded> {
        let network = draft.network().map_err(|error| {
            Error::unsupported(format!("the model does not fit: {error}")).within(path.display())
        })?;
        let options = LoadOptions { isa, ..LoadOptions::default() };
        let model = Model::of_network(&network, &options).map_err(|e| runtime(path, e))?;
        let threads = Threads::default();
        Ok(Loaded { path: path.to_owned(), model: Arc::new(model), threads })
    }

    /// A runtime error, with the file's name.
    pub fn error(&self, error: amq_runtime::Error) -> Error {
        runtime(&self.path, error)
    }

    /// The same, run by these threads.
    pub fn with_threads(self, threads: Threads) -> Loaded {
        Loaded { threads, ..self }
    }

    /// A session of it.
    pub fn session(&self) -> Session {
        self.threads.session(Arc::clone(&self.model))
    }

    /// Its graph.
    pub fn graph(&self) -> &Graph {
        self.model.graph()
    }

    /// The name of a value, empty where there is none.
    pub fn name(&self, value: ValueId) -> &str {
        value_name(self.graph(), value)
    }

    fn state(&self, of: impl Fn(&State) -> ValueId, value: ValueId) -> bool {
        self.graph().states.iter().any(|state| of(state) == value)
    }

    /// Inputs that are no states.
    pub fn inputs(&self) -> impl Iterator<Item = &Port> {
        self.graph().inputs.iter().filter(|port| !self.state(|state| state.input, port.value))
    }

    /// Outputs that are no states.
    pub fn outputs(&self) -> impl Iterator<Item = &Port> {
        self.graph().outputs.iter().filter(|port| !self.state(|state| state.output, port.value))
    }

    /// The one of `ports` called `name`, if one is named, else the only one in `candidates`. Errors
    /// speak of `what` it is, and of the `flag` that names it.
    ///
    /// # Errors
    /// No such name, or none given and not one candidate.
    pub fn pick<'a>(
        &'a self,
        what: &str,
        flag: &str,
        name: Option<&str>,
        ports: &'a [Port],
        candidates: &[&'a Port],
    ) -> Result<&'a Port> {
        if let Some(name) = name {
            let names = || ports.iter().map(|port| self.name(port.value));
            let found = ports.iter().find(|port| self.name(port.value) == name);
            return found.ok_or_else(|| no_such(what, name, names()).within(self.path.display()));
        }
        if let [only] = candidates {
            return Ok(only);
        }
        let list = |ports: &mut dyn Iterator<Item = &Port>| {
            let texts: Vec<_> = ports.map(|port| port_text(self.graph(), port)).collect();
            texts.join("; ")
        };
        let error = match candidates.is_empty() {
            true => Error::usage(format!("no {what} would do"))
                .remedy(format!("its {what}s are {}", list(&mut ports.iter()))),
            false => {
                let found = list(&mut candidates.iter().copied());
                Error::usage(format!("which {what} is meant is not clear: {found}"))
                    .remedy(format!("name it with {flag}"))
            }
        };
        Err(error.within(self.path.display()))
    }

    /// The input of this name.
    ///
    /// # Errors
    /// No such name.
    pub fn input(&self, name: &str) -> Result<&Port> {
        let port = self.graph().inputs.iter().find(|port| self.name(port.value) == name);
        port.ok_or_else(|| {
            let names = self.graph().inputs.iter().map(|port| self.name(port.value));
            no_such("input", name, names).within(self.path.display())
        })
    }

    /// The float type that the output of this name has in the source model.
    pub fn precision(&self, name: &str) -> Precision {
        let port = self.graph().outputs.iter().find(|port| self.name(port.value) == name);
        port.map_or(Precision::F32, Port::precision)
    }

    /// Names of the dimensions of inputs that are no states.
    pub fn dimensions(&self) -> BTreeSet<&str> {
        let dims = self.inputs().flat_map(|port| &port.dims);
        dims.filter_map(|dim| dim.as_name()).collect()
    }

    /// Runs the model once, from initial states unless they are among the inputs. Gives every
    /// output, in the order of the graph.
    ///
    /// # Errors
    /// Inputs of another type or shape, and what the runtime cannot compute with them.
    pub fn run(&self, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>> {
        let mut session = self.session();
        let outputs = session.run(&views(inputs)).map_err(|error| self.error(error))?;
        let owned = outputs.iter().map(|(name, view)| (name.to_owned(), Tensor::from(view)));
        Ok(owned.collect())
    }
}

/// The name of a value of a graph, empty where there is none.
pub fn value_name(graph: &Graph, value: ValueId) -> &str {
    graph.values.get(value as usize).map_or("", String::as_str)
}

/// Type and shape of a port, such as `tokens: i64 [seq, batch]`.
pub fn port_text(graph: &Graph, port: &Port) -> String {
    let dims: Vec<String> = port.dims.iter().map(|dim| dim.to_string()).collect();
    let name = shown(value_name(graph, port.value));
    format!("{name}: {} [{}]", port.type_name(), shown(&dims.join(", ")))
}

#[cfg(test)]
mod tests {
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
