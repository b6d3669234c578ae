//! Models as commands open them: an .amq file, or an ONNX file that is compiled in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amq_format::Validated;
use amq_format::graph::{DataType, Graph, Op, Port, State, ValueId};
use amq_runtime::{Isa, LoadOptions, Model, View};

use super::{key_value, no_such};
use crate::compile::compile;
use crate::data::{self, Array};
use crate::error::{Error, Result};
use crate::options::ConvertOptions;
use crate::report::Report;
use crate::tensor::{Data, Tensor};

/// The instruction set that `AMQ_ISA` asks for, or the fastest of this CPU.
pub(super) fn isa() -> Result<Isa> {
    let Some(name) = std::env::var_os("AMQ_ISA") else { return Ok(Isa::detect()) };
    let name = name.to_string_lossy();
    match Isa::from_name(&name) {
        Some(isa) if isa.is_available() => Ok(isa),
        found => {
            let why = match found {
                Some(_) => "this CPU does not have it",
                None => "this version has no kernels for it",
            };
            let available = Isa::ALL.into_iter().filter(|isa| isa.is_available());
            let names: Vec<&str> = available.map(Isa::name).collect();
            Err(Error::usage(format!("AMQ_ISA={name}: {why}"))
                .remedy(format!("use one of {}, or leave it unset", names.join(", "))))
        }
    }
}

/// A file that was opened, as bytes of an .amq file.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) path: PathBuf,
    /// Bytes on disk.
    pub(super) size: u64,
    pub(super) amq: Vec<u8>,
    /// What compiling an ONNX model said.
    pub(super) report: Option<Report>,
    /// Files that hold its external data.
    pub(super) external: Vec<PathBuf>,
}

impl Opened {
    /// Opens an .amq file, or an ONNX model with its weights in float.
    pub(super) fn read(path: &Path) -> Result<Opened> {
        if is_amq(path)? {
            return Opened::read_amq(path);
        }
        let compiled = compile(path, &ConvertOptions::float(), &|_| ())?;
        let size = compiled.report.bytes_in;
        let report = Some(compiled.report);
        let external = compiled.external;
        Ok(Opened { path: path.to_owned(), size, amq: compiled.bytes, report, external })
    }

    /// Opens an .amq file.
    pub(super) fn read_amq(path: &Path) -> Result<Opened> {
        let amq = fs::read(path).map_err(|error| Error::io(path, error))?;
        let size = amq.len() as u64;
        Ok(Opened { path: path.to_owned(), size, amq, report: None, external: Vec::new() })
    }

    pub(super) fn validated(&self) -> Result<Validated<'_>> {
        Validated::new(&self.amq).map_err(|error| {
            let text = error.to_string();
            let error = match error {
                amq_format::Error::Unsupported { .. } => Error::unsupported(text),
                _ => Error::bad_file(text),
            };
            error.within(self.path.display())
        })
    }

    /// Validates the file and packs its weights for `isa`.
    pub(super) fn load(&self, isa: Isa) -> Result<Loaded> {
        let file = self.validated()?;
        let options = LoadOptions { isa, ..LoadOptions::default() };
        let model = Model::with_options(&file, &options).map_err(|e| runtime(&self.path, e))?;
        Ok(Loaded { path: self.path.clone(), model: Arc::new(model) })
    }
}

/// Whether the file is an .amq file, or means to be one.
pub(super) fn is_amq(path: &Path) -> Result<bool> {
    let mut magic = Vec::new();
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    file.take(4).read_to_end(&mut magic).map_err(|error| Error::io(path, error))?;
    // A damaged .amq file is told what is wrong with it as such.
    Ok(magic == amq_format::spec::MAGIC[..4] || path.extension().is_some_and(|e| e == "amq"))
}

/// The name and the size that `--dim` takes.
pub(super) fn size(text: &str) -> Result<(String, i64), String> {
    let (name, size) = key_value(text)?;
    match size.parse() {
        Ok(size @ 1..) => Ok((name, size)),
        _ => Err(format!("{size:?} is not a size: expected a whole number from 1")),
    }
}

/// Sizes that the command line gives to dimensions of inputs that are no states.
pub(super) fn sizes(dims: &[(String, i64)], models: &[&Loaded]) -> Result<BTreeMap<String, i64>> {
    let mut sizes = BTreeMap::new();
    for (name, size) in dims {
        if !models.iter().any(|model| model.dimensions().contains(name.as_str())) {
            let known = models.iter().flat_map(|model| model.dimensions());
            return Err(no_such("dimension", name, known));
        }
        if sizes.insert(name.clone(), *size).is_some_and(|other| other != *size) {
            return Err(Error::usage(format!("--dim {name} is given twice")));
        }
    }
    Ok(sizes)
}

/// What the runtime refused, in the words of this tool.
pub(super) fn runtime(path: &Path, error: amq_runtime::Error) -> Error {
    use amq_runtime::Error as Runtime;
    let text = error.to_string();
    let error = match error {
        Runtime::Memory { needed, limit } => Error::unsupported(format!(
            "a call with these shapes needs {needed} bytes of memory, {limit} are allowed"
        ))
        .remedy("give smaller inputs"),
        Runtime::IsaUnavailable(_) => Error::unsupported(text),
        _ => Error::bad_file(text),
    };
    error.within(path.display())
}

/// A model that is ready to run.
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) model: Arc<Model>,
}

impl Loaded {
    /// A runtime error, with the file's name.
    pub(super) fn error(&self, error: amq_runtime::Error) -> Error {
        runtime(&self.path, error)
    }

    pub(super) fn graph(&self) -> &Graph {
        self.model.graph()
    }

    pub(super) fn name(&self, value: ValueId) -> &str {
        value_name(self.graph(), value)
    }

    fn state(&self, of: impl Fn(&State) -> ValueId, value: ValueId) -> bool {
        self.graph().states.iter().any(|state| of(state) == value)
    }

    /// Inputs that are no states.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Port> {
        self.graph().inputs.iter().filter(|port| !self.state(|state| state.input, port.value))
    }

    /// Outputs that are no states.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &Port> {
        self.graph().outputs.iter().filter(|port| !self.state(|state| state.output, port.value))
    }

    /// The input or output called `name`, if one is named, else the only one in `candidates`.
    pub(super) fn pick<'a>(
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
    pub(super) fn input(&self, name: &str) -> Result<&Port> {
        let port = self.graph().inputs.iter().find(|port| self.name(port.value) == name);
        port.ok_or_else(|| {
            let names = self.graph().inputs.iter().map(|port| self.name(port.value));
            no_such("input", name, names).within(self.path.display())
        })
    }

    /// The arrays of an `.npz` file, each for an input.
    pub(super) fn read_inputs(&self, path: &Path) -> Result<Vec<(String, Array)>> {
        data::read_npz(path, |name| self.input(name).map(|_| ()))
    }

    /// Arrays as the inputs they are for. Every input that is no state must be there.
    pub(super) fn bind(&self, arrays: Vec<(String, Array)>) -> Result<Vec<(String, Tensor)>> {
        let mut bound: Vec<(String, Tensor)> = Vec::new();
        for (name, array) in arrays {
            let port = self.input(&name)?;
            if bound.iter().any(|(other, _)| *other == name) {
                return Err(Error::usage(format!("the input {name:?} is given twice")));
            }
            let tensor = array.into_tensor(&name, port.data_type())?;
            bound.push((name, tensor));
        }
        let given = |port: &&Port| bound.iter().any(|(name, _)| name == self.name(port.value));
        if let Some(missing) = self.inputs().find(|port| !given(port)) {
            let name = self.name(missing.value);
            return Err(Error::usage(format!("the input {name:?} is not given"))
                .within(self.path.display())
                .remedy(format!("it takes {}", port_text(self.graph(), missing))));
        }
        Ok(bound)
    }

    /// Names of the dimensions of inputs that are no states.
    pub(super) fn dimensions(&self) -> BTreeSet<&str> {
        let dims = self.inputs().flat_map(|port| &port.dims);
        dims.filter_map(|dim| dim.as_name()).collect()
    }

    /// Valid inputs, the same each time, for dimensions of these sizes (1 where none is given).
    pub(super) fn seeded(&self, sizes: &BTreeMap<String, i64>) -> Result<Vec<(String, Tensor)>> {
        let mut random = SplitMix64(0x5eed);
        let make = |port: &Port| {
            let name = self.name(port.value);
            let fail = |why: String| Error::usage(format!("input {name:?}: {why}"));
            let size_of = |dim: &str| Some(sizes.get(dim).copied().unwrap_or(1));
            let mut dims = Vec::new();
            let mut count = 1usize;
            for dim in &port.dims {
                let size = dim.eval(&size_of).map_err(|error| fail(error.to_string()))?;
                let size = usize::try_from(size).map_err(|_| fail(format!("size {size}")))?;
                count = count
                    .checked_mul(size)
                    .filter(|&n| n <= MAX_SEEDED)
                    .ok_or_else(|| fail("such sizes make it larger than 2^30 elements".into()))?;
                dims.push(size);
            }
            let range = self.index_range(port.value);
            let mut integer = || {
                let span = (range.end - range.start) as u64;
                range.start + (random.next() % span) as i64
            };
            let data = match port.data_type() {
                DataType::I64 => Data::I64((0..count).map(|_| integer()).collect()),
                DataType::I32 => Data::I32((0..count).map(|_| integer() as i32).collect()),
                DataType::U8 => Data::U8((0..count).map(|_| integer() as u8).collect()),
                DataType::I8 => Data::I8((0..count).map(|_| integer() as i8).collect()),
                DataType::Bool => {
                    Data::Bool((0..count).map(|_| (random.next() & 1) as u8).collect())
                }
                DataType::F32 => Data::F32((0..count).map(|_| random.uniform()).collect()),
            };
            Ok((name.to_owned(), Tensor { dims, data }))
        };
        self.inputs().map(make).collect()
    }

    /// Integers that an input may hold: those that index every table it reaches, 1 where it gives
    /// lengths of sequences, else 0.
    fn index_range(&self, input: ValueId) -> Range<i64> {
        let mut same = BTreeSet::from([input]);
        let mut range = None::<Range<i64>>;
        let mut narrow = |other: Range<i64>| {
            range = Some(match &range {
                Some(range) => range.start.max(other.start)..range.end.min(other.end),
                None => other,
            });
        };
        for node in &self.graph().nodes {
            let reads = |place: usize| node.inputs.get(place).is_some_and(|v| same.contains(v));
            match &node.op {
                Some(Op::Gather(gather)) if reads(1) => {
                    let table = self.graph().tensors.iter().find(|t| t.value == node.inputs[0]);
                    let size = table.and_then(|table| table.dims.get(gather.axis as usize));
                    narrow(0..size.map_or(1, |&size| i64::try_from(size).unwrap_or(1)));
                }
                Some(Op::Recurrent(_)) if reads(4) => narrow(1..2),
                Some(
                    Op::Cast(_)
                    | Op::Reshape(_)
                    | Op::Transpose(_)
                    | Op::Slice(_)
                    | Op::Expand(_)
                    | Op::Concat(_),
                ) if node.inputs.iter().any(|value| same.contains(value)) => {
                    same.extend(&node.outputs);
                }
                _ => {}
            }
        }
        // Small enough for every integer type.
        range.filter(|range| !range.is_empty()).unwrap_or(0..1)
    }
}

const MAX_SEEDED: usize = 1 << 30;

pub(super) fn value_name(graph: &Graph, value: ValueId) -> &str {
    graph.values.get(value as usize).map_or("", String::as_str)
}

/// Type and shape of a port, such as `i64 [seq, batch]`.
pub(super) fn port_text(graph: &Graph, port: &Port) -> String {
    let dims: Vec<String> = port.dims.iter().map(|dim| dim.to_string()).collect();
    format!("{}: {} [{}]", value_name(graph, port.value), port.data_type().name(), dims.join(", "))
}

/// The tensors as a call takes them.
pub(super) fn views(tensors: &[(String, Tensor)]) -> Vec<(&str, View<'_>)> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect()
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [-1, 1), exact.
    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
