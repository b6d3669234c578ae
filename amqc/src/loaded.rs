//! Models that are ready to run, in the words of this tool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_format::Draft;
use amq_format::graph::{Graph, Port, Precision, State, ValueId};
use amq_runtime::{Isa, LoadOptions, Model, Session};

use crate::error::{Error, ErrorKind, Result};
use crate::names::{no_such, shown};
use crate::onnx::OPEN_SQUEEZE;
use crate::tensor::{Tensor, views};
use crate::threads::Threads;

/// What the runtime refused, in the words of this tool.
pub(crate) fn runtime(path: &Path, error: amq_runtime::Error) -> Error {
    use amq_runtime::Error as Runtime;
    let text = error.to_string();
    let error = match error {
        Runtime::Node { ref node, .. } if node.ends_with(OPEN_SQUEEZE) => {
            let node = node.trim_end_matches(OPEN_SQUEEZE).trim_end_matches('/');
            Error::bad_file(format!(
                "node {node:?} (Squeeze): it has no axes, and when the model was converted no dimension of open size of \
                 its input was taken to be 1, as one is now"
            ))
            .remedy(
                "convert the model for it: amqc convert --dim NAME=1, where amqc inspect shows the names of \
                 dimensions",
            )
        }
        Runtime::Memory { needed, limit } => Error::unsupported(format!(
            "a call with these shapes needs {needed} bytes of memory, {limit} are allowed"
        ))
        .remedy("give smaller inputs; run, verify, eval and bench allow more with --max-memory"),
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

    /// The same of seeded inputs, whose sizes a user says: a mistake in them is one of the command line.
    pub(crate) fn error_of_sizes(&self, error: Error, sizes: &[(&str, usize)]) -> Error {
        match (error.kind(), sizes.is_empty()) {
            (ErrorKind::BadFile, false) => {
                error.of_kind(ErrorKind::Usage).remedy(other_sizes(sizes))
            }
            _ => error,
        }
    }

    /// The size that each named dimension has in inputs of these shapes.
    pub(crate) fn sizes_of<'a>(
        &self,
        shapes: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Vec<(&str, usize)> {
        let mut found: Vec<(&str, usize)> = Vec::new();
        for (name, shape) in shapes {
            let port = self.inputs().find(|port| self.name(port.value) == name);
            for (dim, &size) in port.into_iter().flat_map(|port| &port.dims).zip(shape) {
                let Some(name) = dim.as_name() else { continue };
                if found.iter().all(|(other, _)| *other != name) {
                    found.push((name, size));
                }
            }
        }
        found
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

    /// Whether the axis is that of time, whose entries follow each other, in an input that is no state.
    pub(crate) fn is_time(&self, axis: usize) -> bool {
        let streams = &self.graph().streams;
        let time = |port: &Port| {
            streams.iter().any(|s| s.value == port.value && s.time_axis as usize == axis)
        };
        self.inputs().any(time)
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

/// Advice to give dimensions other sizes than these.
pub(crate) fn other_sizes(sizes: &[(&str, usize)]) -> String {
    let sizes: Vec<String> =
        sizes.iter().map(|(name, size)| format!("{} is {size}", shown(name))).collect();
    format!("give its dimensions other sizes with --dim NAME=N (here {})", sizes.join(", "))
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
    use std::fs;

    use prost::Message;

    use super::*;
    use crate::onnx::tests::Build;
    use crate::open::Opened;
    use crate::tensor::Data;

    #[test]
    fn an_axis_that_would_go_is_told_in_terms_of_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let build = Build::new(13).input("x", "n 1 m").node("Squeeze", "x", "y").output("y");
        fs::write(&path, build.model.encode_to_vec()).unwrap();
        let loaded = Opened::read(&path).unwrap().load(Isa::detect()).unwrap();
        let run = |n: usize| {
            let x = Tensor { dims: vec![n, 1, 2], data: Data::F32(vec![0.0; 2 * n]) };
            loaded.run(&[("x".to_owned(), x)]).map_err(|error| error.to_string())
        };
        assert_eq!(run(3).unwrap()[0].1.dims, [3, 2]);
        let error = run(1).unwrap_err();
        for word in ["(Squeeze): it has no axes", "--dim NAME=1"] {
            assert!(error.contains(word), "{error}");
        }
        assert!(!error.contains("Sizes") && !error.contains("/squeeze"), "{error}");
    }
}
