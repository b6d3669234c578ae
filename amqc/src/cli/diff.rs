//! `amqc diff`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::Outcome;
use super::inspect::Inspected;
use crate::error::{Error, Result};
use crate::names::shown;
use crate::open::{Opened, is_amq};

/// Tell what differs between two .amq files: layers, settings, sizes and digests
///
/// Layers and constants are the same where their names are. The exit code is 0 for files that are the
/// same byte for byte, and 1 for others.
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// A file
    #[arg(value_name = "A.amq")]
    a: PathBuf,
    /// The file that is compared with it
    #[arg(value_name = "B.amq")]
    b: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Serialize)]
struct Diffed {
    a: String,
    b: String,
    same: bool,
    /// Of the files as a whole.
    changes: Vec<Change>,
    /// Those that are not the same.
    layers: Vec<Item>,
    /// How many are.
    layers_same: usize,
    /// Sections of constants that are in one file alone, or whose bytes differ.
    tensors: Vec<Item>,
    tensors_same: usize,
}

/// Something that is another in the second file; null where one has none.
#[derive(Debug, Serialize)]
struct Change {
    what: String,
    a: Value,
    b: Value,
}

#[derive(Debug, Serialize)]
struct Item {
    name: String,
    /// The only file that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_in: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
}

impl Diff {
    pub(super) fn execute(&self) -> Result<Outcome> {
        let [a, b] = [inspected(&self.a)?, inspected(&self.b)?];
        let (layers, layers_same) = items(&layers(&a), &layers(&b));
        let (tensors, tensors_same) = items(&tensors(&a), &tensors(&b));
        let diffed = Diffed {
            a: self.a.display().to_string(),
            b: self.b.display().to_string(),
            // It is the digest of all others.
            same: a["root_digest"] == b["root_digest"],
            changes: changes(&whole(&a), &whole(&b)),
            layers,
            layers_same,
            tensors,
            tensors_same,
        };
        let outcome = Outcome::of(self.json, &diffed, Diffed::text)?;
        Ok(Outcome { differs: !diffed.same, ..outcome })
    }
}

/// What `inspect --json` says of a file.
fn inspected(path: &Path) -> Result<Value> {
    if !is_amq(path)? {
        return Err(Error::usage("not an .amq file")
            .within(path.display())
            .remedy("diff compares .amq files; verify compares one with its ONNX model"));
    }
    let inspected = Inspected::new(&Opened::read_amq(path)?)?;
    serde_json::to_value(inspected).map_err(|error| Error::io(path, error))
}

/// Values by what they are called.
type Facts = BTreeMap<String, Value>;

/// What is said of a file, but for its layers and sections.
fn whole(file: &Value) -> Facts {
    let keys =
        ["version", "bytes", "root_digest", "inputs", "outputs", "states", "streams", "nodes"];
    let own = keys.map(|key| (key, &file[key]));
    let origin = ["compiler", "options", "interface", "recipe", "meta", "source_sha256"];
    let origin = origin.map(|key| (key, &file["provenance"][key]));
    own.into_iter().chain(origin).map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

/// Layers by name: what stands in the file, and of its report how that was found.
fn layers(file: &Value) -> BTreeMap<String, Facts> {
    let mut layers = BTreeMap::new();
    for layer in file["layers"].as_array().into_iter().flatten() {
        let facts = layer.as_object().into_iter().flatten();
        let facts: Facts = facts.map(|(key, value)| (key.clone(), value.clone())).collect();
        layers.insert(name(layer, "name"), facts);
    }
    for layer in file["provenance"]["report"]["layers"].as_array().into_iter().flatten() {
        if let Some(facts) = layers.get_mut(&name(layer, "name")) {
            for key in ["method", "relative_mse", "kept_float"] {
                facts.insert(key.to_owned(), layer[key].clone());
            }
        }
    }
    layers
}

/// Sections by what is in them, but those that tell of others.
fn tensors(file: &Value) -> BTreeMap<String, Facts> {
    let sections = file["sections"].as_array().into_iter().flatten();
    let tensors = sections.filter_map(|section| {
        let name = section["kind"].as_str()?.strip_prefix("tensor ")?.to_owned();
        let facts = ["bytes", "sha256"].map(|key| (key.to_owned(), section[key].clone()));
        Some((name, Facts::from(facts)))
    });
    tensors.collect()
}

fn name(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// Items that are not the same, and how many are.
fn items(a: &BTreeMap<String, Facts>, b: &BTreeMap<String, Facts>) -> (Vec<Item>, usize) {
    let (mut items, mut same) = (Vec::new(), 0);
    for (name, facts) in a {
        let name = name.clone();
        match b.get(&name).map(|other| changes(facts, other)) {
            Some(changes) if changes.is_empty() => same += 1,
            Some(changes) => items.push(Item { name, only_in: None, changes }),
            None => items.push(Item { name, only_in: Some("a"), changes: Vec::new() }),
        }
    }
    for name in b.keys().filter(|name| !a.contains_key(*name)) {
        items.push(Item { name: name.clone(), only_in: Some("b"), changes: Vec::new() });
    }
    (items, same)
}

fn changes(a: &Facts, b: &Facts) -> Vec<Change> {
    let of = |facts: &Facts, key: &String| facts.get(key).cloned().unwrap_or_default();
    let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
    let change = |key: &String| Change { what: key.clone(), a: of(a, key), b: of(b, key) };
    keys.map(change).filter(|change| change.a != change.b).collect()
}

impl Diffed {
    fn text(&self) -> String {
        let Diffed { a, b, same, changes, layers, layers_same, tensors, tensors_same } = self;
        if *same {
            return format!("{a} and {b} are the same\n");
        }
        let mut text = format!("a: {a}\nb: {b}\n");
        if *layers_same == 0 && !layers.is_empty() && layers.iter().all(|l| l.only_in.is_some()) {
            return text + "no layer of one is in the other: they come from different models\n";
        }
        for change in changes {
            let _ = writeln!(text, "{}", change.text());
        }
        let of = |item: &Item| match (item.only_in, &item.changes[..]) {
            (Some(file), _) => format!("only in {file}"),
            (None, changes) => changes.iter().map(Change::text).collect::<Vec<_>>().join(", "),
        };
        for layer in layers {
            let _ = writeln!(text, "layer {}: {}", shown(&layer.name), of(layer));
        }
        for tensor in tensors {
            let what = match tensor.only_in {
                Some(file) => format!("only in {file}"),
                None => "other bytes".to_owned(),
            };
            let _ = writeln!(text, "tensor {}: {what}", shown(&tensor.name));
        }
        let _ = writeln!(text, "the same: {layers_same} layers, {tensors_same} tensors");
        text
    }
}

impl Change {
    fn text(&self) -> String {
        let Change { what, a, b } = self;
        format!("{} {} -> {}", what.replace('_', " "), value(a), value(b))
    }
}

/// A value in a line.
fn value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => shown(text).into_owned(),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map(|number| format!("{number:.4}")).unwrap_or_default()
        }
        other => other.to_string(),
    }
}
