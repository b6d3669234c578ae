//! `amqc inspect`

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::PathBuf;

use amq_format::graph::{self, Graph, Node, Port, ValueId};
use amq_format::operator::{Role, Slot};
use amq_format::{Validated, spec};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Outcome;
use super::interface::check;
use super::settings::Settings;
use crate::compile::{Stage, dump, hex};
use crate::effective::{self, EffectiveBits};
use crate::error::{Error, ErrorKind, ErrorReport, Result};
use crate::ir::visit;
use crate::loaded::{port_text, value_name};
use crate::names::shown;
use crate::open::{Opened, is_amq};
use crate::options::ConvertOptions;
use crate::report::{self, Report};
use crate::small::Small;
use crate::table::Table;
use crate::weights::op_name;

/// Show what a model holds: inputs, outputs, states, layers, sections and digests
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// An .amq file or an ONNX model
    file: PathBuf,
    /// Show what this stage of compiling makes of an ONNX model, with the settings below
    #[arg(long, value_name = "STAGE", value_parser = stage(), conflicts_with = "json")]
    stage: Option<Stage>,
    /// Also show what the model takes of such a device, its weights in flash
    #[arg(long, value_name = "DEVICE", conflicts_with = "stage")]
    target: Option<Device>,
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What a model may be meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Device {
    /// A microcontroller
    Small,
}

#[derive(Debug, Serialize)]
pub(super) struct Inspected {
    file: String,
    kind: &'static str,
    /// Of the format; of an ONNX model as it would be written.
    version: String,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_digest: Option<String>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    states: Vec<State>,
    streams: Vec<Stream>,
    nodes: BTreeMap<&'static str, usize>,
    layers: Vec<Layer>,
    /// Of an .amq file.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_bits: Option<EffectiveBits>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sections: Vec<Section>,
    /// On a small device.
    #[serde(skip_serializing_if = "Option::is_none")]
    small: Option<Small>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
}

/// An ONNX model that cannot be converted.
#[derive(Debug, Serialize)]
struct Refused<'a> {
    file: String,
    kind: &'static str,
    error: ErrorReport<'a>,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    r#type: &'static str,
    dims: Vec<String>,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
struct State {
    name: String,
    input: String,
    output: String,
    /// The constant that it starts from, unless it starts from zeros.
    #[serde(skip_serializing_if = "Option::is_none")]
    initial: Option<String>,
}

#[derive(Debug, Serialize)]
struct Stream {
    name: String,
    time_axis: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_axis: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    op: &'static str,
    rows: u64,
    cols: u64,
    /// `f32` or a number of codes.
    bits: String,
    activations: &'static str,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Section {
    kind: String,
    bytes: u64,
    offset: u64,
    sha256: String,
}

fn stage() -> impl TypedValueParser<Value = Stage> {
    PossibleValuesParser::new(Stage::ALL.map(Stage::name)).try_map(|text| {
        let found = Stage::ALL.into_iter().find(|stage| stage.name() == text);
        found.ok_or_else(|| format!("unknown stage {text:?}"))
    })
}

impl Inspect {
    pub(super) fn execute(&self) -> Result<Outcome> {
        let options = self.settings.options()?;
        if let Some(stage) = self.stage {
            if is_amq(&self.file)? {
                return Err(Error::usage("an .amq file has passed all stages")
                    .within(self.file.display())
                    .remedy("give --stage with the ONNX model that it was made from"));
            }
            return Ok(Outcome::text(dump(&self.file, &options, stage)?));
        }
        let (interface, max_constants) = (options.interface.clone(), options.max_constants);
        if options != (ConvertOptions { interface, max_constants, ..ConvertOptions::default() }) {
            return Err(Error::usage("settings have no meaning without --stage")
                .remedy("add --stage plan, or leave them out"));
        }
        check(&self.file, &options.interface)?;
        let opened = match Opened::read_as(&self.file, &options) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let refused = Refused {
                    file: self.file.display().to_string(),
                    kind: "onnx",
                    error: error.report(),
                };
                return Outcome::of(self.json, &refused, |refused| {
                    format!("file: {}\nkind: onnx\ncannot be converted: {error}\n", refused.file)
                });
            }
            opened => opened?,
        };
        let small = self.target.map(|_| Small::of(&opened)).transpose()?;
        let inspected = Inspected { small, ..Inspected::new(&opened)? };
        Outcome::of(self.json, &inspected, Inspected::text)
    }
}

impl Inspected {
    /// What an opened file holds.
    pub(super) fn new(opened: &Opened) -> Result<Inspected> {
        let file = opened.validated()?;
        let graph = file.graph();
        let name = |value| value_name(graph, value).to_owned();
        let is_amq = opened.report.is_none();
        let mut nodes = BTreeMap::new();
        visit(graph, &mut |_, node, _| *nodes.entry(op_name(node)).or_default() += 1);
        let (major, minor) = file.version();
        let port = |port: &Port| Tensor {
            name: name(port.value),
            r#type: port.type_name(),
            dims: port.dims.iter().map(|dim| dim.to_string()).collect(),
            text: port_text(graph, port),
        };
        let states = graph.states.iter().map(|state| State {
            name: state.name.clone(),
            input: name(state.input),
            output: name(state.output),
            initial: (state.initial != 0).then(|| name(state.initial)),
        });
        let streams = graph.streams.iter().map(|stream| Stream {
            name: name(stream.value),
            time_axis: stream.time_axis,
            batch_axis: stream.batch_axis,
        });
        Ok(Inspected {
            file: opened.path.display().to_string(),
            kind: if is_amq { "amq" } else { "onnx" },
            version: format!("{major}.{minor}"),
            bytes: opened.size,
            root_digest: is_amq.then(|| hex(&file.root_digest())),
            inputs: graph.inputs.iter().map(port).collect(),
            outputs: graph.outputs.iter().map(port).collect(),
            states: states.collect(),
            streams: streams.collect(),
            nodes,
            layers: layers(&file),
            effective_bits: EffectiveBits::of(&file, opened.size).filter(|_| is_amq),
            sections: if is_amq { sections(&file) } else { Vec::new() },
            small: None,
            provenance: match is_amq {
                true => file.provenance().and_then(|text| serde_json::from_str(text).ok()),
                false => None,
            },
            report: opened.report.clone(),
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "file: {}", self.file);
        let _ = match &self.root_digest {
            Some(digest) => writeln!(
                text,
                "kind: amq {}\nbytes: {}\nroot digest: {digest}",
                self.version, self.bytes
            ),
            None => writeln!(text, "kind: onnx\nbytes: {}", self.bytes),
        };
        for key in ["compiler", "options", "source_sha256"] {
            let value = self.provenance.as_ref().and_then(|provenance| provenance.get(key));
            if let Some(value) = value.and_then(|value| value.as_str()) {
                let value = if value.is_empty() { "none" } else { value };
                let _ = writeln!(text, "{}: {}", key.replace('_', " "), shown(value));
            }
        }
        let meta = self.provenance.as_ref().and_then(|provenance| provenance["meta"].as_object());
        for (key, value) in meta.into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            let _ = writeln!(text, "meta {}: {}", shown(key), shown(value));
        }
        let recipe = self.provenance.as_ref().and_then(|provenance| provenance.get("recipe"));
        if let Some(recipe) = recipe.and_then(|recipe| recipe.as_str()) {
            let _ = writeln!(text, "recipe:");
            recipe.lines().for_each(|line| text += &format!("    {line}\n"));
        }
        for (what, tensors) in [("input", &self.inputs), ("output", &self.outputs)] {
            for tensor in tensors {
                let _ = writeln!(text, "{what}: {}", tensor.text);
            }
        }
        for State { name, output, initial, .. } in &self.states {
            let initial = initial.as_deref().unwrap_or("zeros");
            let [name, output, initial] = [name.as_str(), output, initial].map(shown);
            let _ = writeln!(text, "state: {name} <- {output}, at first {initial}");
        }
        for Stream { name, time_axis, batch_axis } in &self.streams {
            let batch = batch_axis.map(|axis| format!(", batch axis {axis}")).unwrap_or_default();
            let _ = writeln!(text, "stream: {}, time axis {time_axis}{batch}", shown(name));
        }
        let nodes: Vec<_> = self.nodes.iter().map(|(op, count)| format!("{count} {op}")).collect();
        let _ = writeln!(text, "nodes: {}", nodes.join(", "));
        if !self.layers.is_empty() {
            let header = ["layer", "op", "shape", "bits", "b/weight", "act.", "bytes"];
            let mut table = Table::new(&header, "llrrrlr");
            for Layer { name, op, rows, cols, bits, activations, bytes } in &self.layers {
                let taken = effective::shown(*bytes, rows * cols);
                let (shape, bytes) = (format!("{rows}x{cols}"), bytes.to_string());
                let [op, activations] = [*op, *activations].map(str::to_owned);
                table.row(vec![name.clone(), op, shape, bits.clone(), taken, activations, bytes]);
            }
            let _ = write!(text, "\n{}", table.render());
        }
        if let Some(bits) = self.effective_bits {
            let _ = writeln!(text, "\nbits a weight: {bits}");
        }
        if let Some(small) = self.small {
            let Small { flash, values, working, states } = small;
            let _ = writeln!(
                text,
                "\nsmall device, one stream: {flash} bytes of flash, {} of RAM ({values} values, {working} working \
                 memory, {states} states), beside the program and its graph",
                small.ram()
            );
        }
        if !self.sections.is_empty() {
            let mut table = Table::new(&["section", "bytes", "offset", "sha256"], "lrrl");
            for Section { kind, bytes, offset, sha256 } in &self.sections {
                let (bytes, offset) = (bytes.to_string(), offset.to_string());
                table.row(vec![kind.clone(), bytes, offset, sha256.clone()]);
            }
            let _ = write!(text, "\n{}", table.render());
        }
        let report = self.report.as_ref().map(|report| report.notes.as_slice());
        for note in report.unwrap_or_default() {
            let _ = writeln!(text, "note: {}", shown(note));
        }
        text
    }
}

/// Every matrix of weights that a node works with, and every table.
fn layers(file: &Validated<'_>) -> Vec<Layer> {
    let mut layers = Vec::new();
    let tensors: HashMap<ValueId, &graph::Tensor> =
        file.graph().tensors.iter().map(|tensor| (tensor.value, tensor)).collect();
    visit(file.graph(), &mut |_, node, outermost| {
        let slots = node.op.as_ref().map(|op| op.operator().slots()).unwrap_or_default();
        layers.extend(slots.iter().filter_map(|slot| {
            let tensor = tensors.get(&outermost(*node.inputs.get(slot.input)?))?;
            layer(file, node, slot, tensor)
        }));
    });
    layers
}

fn layer(file: &Validated<'_>, node: &Node, slot: &Slot, tensor: &graph::Tensor) -> Option<Layer> {
    let lead = slot.rows()?;
    let rows = tensor.dims.get(..lead)?.iter().product();
    let bits = tensor
        .multi_bit
        .as_ref()
        .map(|coded| report::bits(coded.bits as u8, Some(coded.group).filter(|&group| group > 0)));
    let suffix = slot.suffix.map(|suffix| format!(".{suffix}")).unwrap_or_default();
    Some(Layer {
        name: format!("{}{suffix}", node.name),
        op: op_name(node),
        rows,
        cols: tensor.dims.iter().product::<u64>().checked_div(rows).unwrap_or(0),
        activations: match (&bits, slot.role) {
            (Some(_), Role::Weight { activations, .. }) => activations.name(),
            _ => "f32",
        },
        bits: bits.unwrap_or_else(|| tensor.data_type().name().to_owned()),
        bytes: file.sections().get(tensor.section as usize).map_or(0, |section| section.length),
    })
}

fn sections(file: &Validated<'_>) -> Vec<Section> {
    let graph: &Graph = file.graph();
    let tensors: HashMap<usize, ValueId> =
        graph.tensors.iter().map(|tensor| (tensor.section as usize, tensor.value)).collect();
    let kind = |index: usize, kind| match kind {
        spec::GRAPH => "graph".to_owned(),
        spec::PROVENANCE => "provenance".to_owned(),
        spec::TENSOR => {
            let value = tensors.get(&index);
            format!("tensor {}", value.map_or("", |&value| value_name(graph, value)))
        }
        other => format!("unknown {other}"),
    };
    let sections = file.sections().iter().enumerate().map(|(index, section)| Section {
        kind: kind(index, section.kind),
        bytes: section.length,
        offset: section.offset,
        sha256: hex(&section.digest),
    });
    sections.collect()
}
