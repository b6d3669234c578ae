//! Arrays as inputs of a model.

use std::ops::Range;
use std::path::Path;

use amq_format::graph::{DataType, Port};

use crate::data::{self, Array};
use crate::error::{Error, ErrorKind, Result};
use crate::loaded::{Loaded, port_text, value_name};
use crate::names::shown;
use crate::tensor::Tensor;

/// The arrays of an `.npz` file, each for an input of the model.
///
/// # Errors
/// What of the file cannot be read, and a name that no input has.
pub fn read_inputs(loaded: &Loaded, path: &Path) -> Result<Vec<(String, Array)>> {
    let wrong = |error: Error| error.within(path.display()).of_kind(ErrorKind::BadFile);
    data::read_npz(path, |name| loaded.input(name).map(|_| ()).map_err(wrong))
}

/// A sentence for each array whose numbers a model takes only rounded.
pub fn roundings(loaded: &Loaded, arrays: &[(String, Array)]) -> Vec<String> {
    let float = |name: &str| loaded.input(name).is_ok_and(|port| port.data_type() == DataType::F32);
    let told = |(name, array): &(String, Array)| {
        let held = array.finer_than_f32().filter(|_| float(name))?;
        let name = shown(name);
        Some(format!("{name}: {held} values are rounded to float32, the type that models take"))
    };
    arrays.iter().filter_map(told).collect()
}

/// Arrays as the inputs they are for. Every input that is no state must be there.
///
/// # Errors
/// An input that is unknown, given twice or not given, and values that its type does not hold.
pub fn bind(loaded: &Loaded, arrays: Vec<(String, Array)>) -> Result<Vec<(String, Tensor)>> {
    let mut bound: Vec<(String, Tensor)> = Vec::new();
    for (name, array) in arrays {
        let port = loaded.input(&name)?;
        if bound.iter().any(|(other, _)| *other == name) {
            return Err(Error::usage(format!("the input {name:?} is given twice")));
        }
        let tensor = array.into_tensor(&name, port.data_type())?;
        let tensor = data::rounded(tensor, &name, port.precision())?;
        bound.push((name, tensor));
    }
    let given = |port: &&Port| bound.iter().any(|(name, _)| name == loaded.name(port.value));
    if let Some(missing) = loaded.inputs().find(|port| !given(port)) {
        let name = loaded.name(missing.value);
        let mut remedy = format!("it takes {}", port_text(loaded.graph(), missing));
        if let Some((_, output)) = pairs(loaded).into_iter().find(|(input, _)| *input == name) {
            remedy += &format!(
                "; if each call is to begin with what the one before gave, name a state: amqc convert \
                 --state {}={output}",
                name.replace('=', "\\=")
            );
        }
        return Err(Error::usage(format!("the input {name:?} is not given"))
            .within(loaded.path.display())
            .remedy(remedy));
    }
    Ok(bound)
}

/// Inputs and outputs that look like states which nobody named: of one shape, and of names that differ in nothing but
/// which way they go.
pub fn pairs(loaded: &Loaded) -> Vec<(&str, &str)> {
    let stem = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
        let mut stem: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let before = stem.len();
        stem.retain(|word| !WAYS.contains(word));
        (stem.len() < before && !stem.is_empty()).then(|| stem.join("_"))
    };
    let graph = loaded.graph();
    let name = |port: &Port| value_name(graph, port.value);
    let mut found = Vec::new();
    for input in loaded.inputs().filter(|port| !port.dims.is_empty()) {
        let Some(wanted) = stem(name(input)) else { continue };
        let alike = |port: &&Port| {
            let same = port.data_type == input.data_type && port.dims == input.dims;
            same && stem(name(port)).as_ref() == Some(&wanted)
        };
        let alike: Vec<&Port> = loaded.outputs().filter(alike).collect();
        if let [output] = alike[..] {
            found.push((loaded.name(input.value), loaded.name(output.value)));
        }
    }
    found
}

/// Words of names that say which way a state goes.
const WAYS: [&str; 15] = [
    "in", "out", "input", "output", "prev", "previous", "past", "present", "next", "new", "old",
    "last", "init", "initial", "final",
];

/// Inputs of many items, which stand along axis 0, cut into batches.
#[derive(Debug)]
pub struct Batches<'a> {
    inputs: &'a [(String, Tensor)],
    items: usize,
    /// Of a batch; what is not fixed may be fewer in the last one.
    size: usize,
    fixed: bool,
}

/// Items that run together.
#[derive(Debug)]
pub struct Batch {
    /// Which they are.
    pub items: Range<usize>,
    /// How many the inputs hold: where the model fixes that, the last item again and again.
    pub length: usize,
    /// The inputs.
    pub inputs: Vec<(String, Tensor)>,
}

/// Items to run at once, where the model does not say: enough to keep it busy.
const ITEMS: usize = 64;

impl<'a> Batches<'a> {
    /// Cuts `inputs` of so many items as the model takes them.
    ///
    /// # Errors
    /// Inputs without an axis, and a model whose inputs take different numbers of items.
    pub fn new(
        loaded: &Loaded,
        inputs: &'a [(String, Tensor)],
        items: usize,
    ) -> Result<Batches<'a>> {
        let mut fixed = None;
        for port in loaded.inputs() {
            let name = loaded.name(port.value);
            let size = match port.dims.first().map(|dim| dim.as_size()) {
                Some(size) => size,
                None => return Err(Error::unsupported(format!("the input {name:?} has no axis"))),
            };
            let Some(size) = size else { continue };
            let size = usize::try_from(size).ok().filter(|&size| size > 0);
            if size.is_none() || fixed.is_some_and(|other| Some(other) != size) {
                return Err(Error::unsupported("the inputs take different numbers of items")
                    .within(loaded.path.display()));
            }
            fixed = size;
        }
        let (size, fixed) = (fixed.unwrap_or(ITEMS), fixed.is_some());
        Ok(Batches { inputs, items, size, fixed })
    }

    /// The batches, in order.
    pub fn iter(&self) -> impl Iterator<Item = Batch> {
        (0..self.items).step_by(self.size).map(|start| {
            let items = start..self.items.min(start + self.size);
            let length = if self.fixed { self.size } else { items.len() };
            let of =
                |(name, tensor): &(String, Tensor)| (name.clone(), rows(tensor, start, length));
            Batch { items, length, inputs: self.inputs.iter().map(of).collect() }
        })
    }
}

/// Items `start..start + length` of a tensor; beyond its end, the last one again.
fn rows(tensor: &Tensor, start: usize, length: usize) -> Tensor {
    let Some(&count) = tensor.dims.first() else { return tensor.clone() };
    let last = count.saturating_sub(1);
    let places: Vec<usize> = (start..start + length).map(|item| item.min(last)).collect();
    tensor.select(0, &places)
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
    fn inputs_that_look_like_states_are_paired_with_outputs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let mut build = Build::new(13).input("x", "1 4 3");
        for (given, gives) in [("in_cache0", "out_cache0"), ("in_cache1", "out_cache1")] {
            build = build.input(given, "1 4 3").node("Add", &format!("x {given}"), gives);
        }
        let build = build.node("Neg", "x", "y").output("out_cache1").output("out_cache0");
        fs::write(&path, build.output("y").model.encode_to_vec()).unwrap();
        let loaded = Opened::read(&path).unwrap().load(amq_runtime::Isa::detect()).unwrap();
        assert_eq!(pairs(&loaded), [("in_cache0", "out_cache0"), ("in_cache1", "out_cache1")]);
        let error = bind(&loaded, Vec::new()).unwrap_err().to_string();
        assert!(error.contains("\"x\" is not given") && !error.contains("--state"), "{error}");
        let npy = folder.path().join("x.npy");
        let x = Tensor { dims: vec![1, 4, 3], data: Data::F32(vec![0.0; 12]) };
        data::write_npy(fs::File::create(&npy).unwrap(), &x).unwrap();
        let x = vec![("x".to_owned(), data::read_npy(&npy).unwrap())];
        let error = bind(&loaded, x).unwrap_err().to_string();
        assert!(error.ends_with("amqc convert --state in_cache0=out_cache0"), "{error}");
    }

    #[test]
    fn a_short_batch_is_filled_with_its_last_item() {
        let tensor = Tensor { dims: vec![3, 2], data: Data::I64(vec![1, 2, 3, 4, 5, 6]) };
        let rows = rows(&tensor, 2, 2);
        assert_eq!(rows, Tensor { dims: vec![2, 2], data: Data::I64(vec![5, 6, 5, 6]) });
    }
}
