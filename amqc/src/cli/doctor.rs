//! `amqc doctor`

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use amq_format::graph::{Direction, Op};
use amq_runtime::Isa;
use clap::Args;
use serde::Serialize;

use super::Outcome;
use super::settings::Settings;
use crate::answers::seeded_trial;
use crate::compile::compile;
use crate::error::{Error, Result};
use crate::feed::arrays::pairs;
use crate::feed::time::starts_anew;
use crate::loaded::{Loaded, port_text, value_name};
use crate::names::shown;
use crate::open::{Opened, is_amq};
use crate::options::ConvertOptions;
use crate::quant::Method;
use crate::report::{Coding, Layer, Report};
use crate::settings::Given;
use crate::table::Table;
use crate::tensor::{Tensor, views};

/// Tell what converting an ONNX model would give, and what to do about what is in its way
///
/// The model is converted in memory by the fastest method: sizes are those of the file, and both models
/// are run on this machine to tell how much faster a call becomes. How near answers stay depends on
/// the method and on data: convert tells it. What is not supported is named as convert would name it,
/// with its exit code.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The ONNX model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Serialize)]
struct Examined {
    file: String,
    bytes_in: u64,
    bytes_out: u64,
    inputs: Vec<String>,
    outputs: Vec<String>,
    layers: Vec<Matrix>,
    /// Times of a call, where one on seeded inputs is possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<Speed>,
    /// What to know and to do.
    advice: Vec<String>,
    #[serde(skip)]
    report: Report,
}

/// A matrix of weights.
#[derive(Debug, Serialize)]
struct Matrix {
    name: String,
    op: String,
    rows: u64,
    cols: u64,
    /// `f32` or a number of codes.
    bits: String,
    activations: String,
    bytes_before: u64,
    bytes_after: u64,
}

/// The least time of a call on this machine, on one thread, in microseconds.
#[derive(Debug, Serialize)]
struct Speed {
    /// The inputs of the call, with their shapes.
    inputs: String,
    float_us: f64,
    coded_us: f64,
    ratio: f64,
    isa: &'static str,
}

impl Doctor {
    pub(super) fn execute(&self, isa: Isa) -> Result<Outcome> {
        if is_amq(&self.model)? {
            return Err(Error::usage("an .amq file is converted already")
                .within(self.model.display())
                .remedy("amqc inspect tells what is in it"));
        }
        let options = self.settings.options()?;
        let asked = options.recipe.as_ref().map(|recipe| recipe.defaults()).unwrap_or_default();
        let Given { method, cycles, .. } = options.flags.or(asked);
        // Sizes are the same by every method.
        let method = match (method, cycles) {
            (None, None) => Some(Method::Greedy),
            _ => options.flags.method,
        };
        let fast = ConvertOptions { flags: Given { method, ..options.flags }, ..options.clone() };
        let fast = match fast.resolver() {
            Ok(_) => fast,
            // Of weights in float no method is asked.
            Err(_) => options.clone(),
        };
        let compiled = compile(&self.model, &fast, &|_| ())?;
        let coded = Opened::of_bytes(&self.model, &compiled.bytes).load(isa)?;
        let float = Opened::read_as(&self.model, &options)?.load(isa)?;
        let speed = match compiled.report.is_coded() {
            true => Some(speed(&float, &coded, isa)),
            false => None,
        };
        let graph = float.graph();
        let text = |ports: &[_]| ports.iter().map(|port| port_text(graph, port)).collect();
        let examined = Examined {
            file: self.model.display().to_string(),
            bytes_in: compiled.report.bytes_in,
            bytes_out: compiled.bytes.len() as u64,
            inputs: text(&graph.inputs),
            outputs: text(&graph.outputs),
            layers: compiled.report.layers.iter().map(matrix).collect(),
            advice: advice(&float, &compiled.report, speed.as_ref()),
            speed: speed.and_then(Result::ok),
            report: compiled.report,
        };
        Outcome::of(self.json, &examined, Examined::text)
    }
}

fn matrix(layer: &Layer) -> Matrix {
    let (bits, activations) = match &layer.coding {
        Coding::MultiBit { bits, group, activations, .. } => {
            (crate::report::bits(*bits, *group), activations.clone())
        }
        Coding::Float { .. } => ("f32".to_owned(), "f32".to_owned()),
    };
    Matrix {
        name: layer.name.clone(),
        op: layer.op.clone(),
        rows: layer.rows,
        cols: layer.cols,
        bits,
        activations,
        bytes_before: layer.bytes_before,
        bytes_after: layer.bytes_after,
    }
}

/// Calls of each model that are timed at most, and how long that takes, unless one call takes longer.
const CALLS: usize = 25;
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs both models in turns on one call's seeded inputs.
fn speed(float: &Loaded, coded: &Loaded, isa: Isa) -> Result<Speed> {
    let inputs = seeded_trial(float)?.first_call(float)?;
    let shape = |(name, x): &(String, Tensor)| format!("{} {:?}", shown(name), x.dims);
    let shapes: Vec<String> = inputs.iter().map(shape).collect();
    let inputs = views(&inputs);
    let mut sessions = [float.session(), coded.session()];
    let mut least = [f64::INFINITY; 2];
    let start = Instant::now();
    for call in 0..=CALLS {
        for (session, least) in sessions.iter_mut().zip(&mut least) {
            let start = Instant::now();
            session.run(&inputs).map_err(|error| coded.error(error))?;
            // The first call plans.
            if call > 0 {
                *least = least.min(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        if call > 0 && start.elapsed() > PATIENCE {
            break;
        }
    }
    let [float_us, coded_us] = least;
    let (inputs, ratio, isa) = (shapes.join(", "), float_us / coded_us, isa.name());
    Ok(Speed { inputs, float_us, coded_us, ratio, isa })
}

/// What to know and to do, beside what the report notes.
fn advice(model: &Loaded, report: &Report, speed: Option<&Result<Speed>>) -> Vec<String> {
    let graph = model.graph();
    let mut advice = Vec::new();
    if report.layers.is_empty() {
        advice.push("there is no matrix of weights: nothing to quantize".to_owned());
    }
    let bytes = |float: bool| -> u64 {
        let kept = |layer: &&Layer| matches!(layer.coding, Coding::Float { .. }) == float;
        report.layers.iter().filter(kept).map(|layer| layer.bytes_after).sum()
    };
    let (float, all) = (bytes(true), bytes(true) + bytes(false));
    if 2 * float > all && report.is_coded() {
        let sizes = model.dimensions();
        let fix = match sizes.first() {
            Some(name) => format!(
                "; a table that is cut to a size that varies becomes small where that is fixed, as with --dim {name}=N"
            ),
            None => String::new(),
        };
        advice.push(format!(
            "{}% of the weights' bytes stay in float, for the reasons above{fix}",
            100 * float / all
        ));
    }
    // A backward direction needs the whole: there is nothing to carry.
    let backward = graph.nodes.iter().any(|node| match &node.op {
        Some(Op::Recurrent(layer)) => layer.direction() != Direction::Forward,
        _ => false,
    });
    if !backward && starts_anew(graph) {
        advice.push(
            "a recurrent layer starts each call anew: to feed a stream in pieces, export its first and \
             last states as inputs and outputs"
                .to_owned(),
        );
    }
    for (input, output) in pairs(model) {
        let (key, output) = (shown(&input.replace('=', "\\=")).to_string(), shown(output));
        advice.push(format!(
            "{} looks like what the call before gave as {output}: --state {key}={output} carries it",
            shown(input)
        ));
    }
    for stream in &graph.streams {
        let port = graph.inputs.iter().find(|port| port.value == stream.value);
        let size = port.and_then(|port| port.dims.get(stream.time_axis as usize)?.as_size());
        if let Some(steps @ 2..) = size {
            let name = shown(value_name(graph, stream.value));
            advice.push(format!(
                "{name}: a call takes exactly {steps} steps; if that was not meant, export the axis as dynamic"
            ));
        }
    }
    match speed {
        Some(Ok(speed)) if speed.ratio < 1.0 => advice.push(
            "a call would be slower than in float: such models gain size, not speed (-a f32 or more \
             bits may serve better)"
                .to_owned(),
        ),
        Some(Err(error)) => {
            advice.push(format!("no call on seeded inputs was possible: {}", error.line()));
        }
        _ => {}
    }
    if report.is_coded() {
        advice.push(
            "next: amqc convert, with --calib and data where answers are to stay near; amqc sensitivity \
             tells which matrices cost most"
                .to_owned(),
        );
    }
    advice
}

impl Examined {
    fn text(&self) -> String {
        let Examined { file, bytes_in, bytes_out, inputs, outputs, layers, speed, advice, report } =
            self;
        let mut text = format!("file: {file}\n");
        for (what, ports) in [("input", inputs), ("output", outputs)] {
            ports.iter().for_each(|port| text += &format!("{what}: {port}\n"));
        }
        let header = ["layer", "op", "shape", "bits", "act.", "as f32", "after"];
        let mut table = Table::new(&header, "llrrlrr");
        for layer in layers {
            let shape = format!("{}x{}", layer.rows, layer.cols);
            let Matrix { name, op, bits, activations, bytes_before, bytes_after, .. } = layer;
            let [before, after] = [bytes_before, bytes_after].map(u64::to_string);
            let [name, op, bits, activations] = [name, op, bits, activations].map(String::clone);
            table.row(vec![name, op, shape, bits, activations, before, after]);
        }
        if !layers.is_empty() {
            text += &format!("\n{}\n", table.render());
        }
        text += &report.remarks();
        let times = *bytes_in as f64 / *bytes_out as f64;
        let _ = writeln!(text, "size: {bytes_in} -> {bytes_out} bytes, {times:.2} times smaller");
        if let Some(Speed { inputs, float_us, coded_us, ratio, isa }) = speed {
            let _ = writeln!(
                text,
                "speed: a call of {inputs} takes {coded_us:.0} us here, in float by amqc {float_us:.0} us: \
                 {ratio:.1} times as fast ({isa}, one thread)"
            );
        }
        for line in advice {
            let _ = writeln!(text, "advice: {line}");
        }
        text
    }
}
