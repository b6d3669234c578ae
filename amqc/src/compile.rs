//! From an ONNX file to the bytes of an `.amq` file, stage by stage.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use amq_format::Validated;
use amq_runtime::{LoadOptions, Model};

use crate::cost;
use crate::effective::EffectiveBits;
use crate::emit;
use crate::error::{Error, Result};
use crate::fit::Fitted;
use crate::histogram::Histogram;
use crate::ir::Module;
use crate::onnx;
use crate::options::ConvertOptions;
use crate::passes;
use crate::plan::{Choice, Plan, Planned, called, needs};
use crate::report::{self, External, Provenance, Report, State};
use crate::sequence::{self, Calibrated};
use crate::settings::Given;
use crate::stages::{StageTime, Stages};
use crate::tensor::Data;
use crate::weights::{Weight, Weights};

/// A compiled model.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The `.amq` file.
    pub bytes: Vec<u8>,
    /// What was done to each layer.
    pub report: Report,
    /// Of each layer of the report, how its weights lie; none for those that stayed float.
    pub histograms: Vec<Option<Histogram>>,
    /// Bits a weight of the file; none if it has no parameters.
    pub effective_bits: Option<EffectiveBits>,
    /// The files that hold its external data.
    pub external: Vec<PathBuf>,
    /// The conversion that gave it.
    pub options: ConvertOptions,
    /// How long its stages took.
    pub stages: Vec<StageTime>,
}

/// How far the quantization of one matrix has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The matrix.
    pub layer: &'a str,
    /// Rows that are done.
    pub done: usize,
    /// Rows in all.
    pub total: usize,
}

/// A stage of compiling: each works on what the one before gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The operators that ONNX nodes became.
    Import,
    /// The same network after the passes, with its states.
    Simplify,
    /// Which constants are matrices that can be coded.
    Weights,
    /// What is done to each.
    Plan,
    /// Their codes: how far each is from the original.
    Fit,
    /// The tensors of the file.
    Emit,
    /// What was done to each layer.
    Report,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 7] = [
        Stage::Import,
        Stage::Simplify,
        Stage::Weights,
        Stage::Plan,
        Stage::Fit,
        Stage::Emit,
        Stage::Report,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Import => "import",
            Stage::Simplify => "simplify",
            Stage::Weights => "weights",
            Stage::Plan => "plan",
            Stage::Fit => "fit",
            Stage::Emit => "emit",
            Stage::Report => "report",
        }
    }
}

/// A model as the passes leave it.
pub(crate) struct Prepared {
    pub(crate) source: onnx::Source,
    pub(crate) module: Module,
    pub(crate) weights: Weights,
}

impl Prepared {
    /// Reads the ONNX model at `path`, simplifies it and finds its weights.
    ///
    /// # Errors
    /// What of the file cannot be read, is damaged or not supported.
    pub(crate) fn read(path: &Path, options: &ConvertOptions) -> Result<Prepared> {
        let source = onnx::load(path, &options.limits())?;
        let located = |error: Error| error.within(path.display());
        let module = simplified(&source, options).map_err(located)?;
        let weights = Weights::find(&module).map_err(located)?;
        Ok(Prepared { source, module, weights })
    }

    /// As [`ConvertOptions::spelled_out`].
    fn spelled_out(
        &self,
        options: &ConvertOptions,
        comment: &str,
        chosen: &[Given],
        open: bool,
    ) -> Result<ConvertOptions> {
        let matrix = |weight: &Weight| {
            let node = self.module.node(&weight.place);
            (called(&self.module, node, weight), needs(node, weight))
        };
        let matrices: Vec<_> = self.weights.matrices.iter().map(matrix).collect();
        options.spelled_out(comment, &matrices, chosen, open)
    }

    /// The conversion that says all of what a plan became on data, by a recipe alone; and the plan that follows from it.
    ///
    /// # Errors
    /// As [`ConvertOptions::spelled_out`].
    pub(crate) fn settled(
        &self,
        options: &ConvertOptions,
        comment: &str,
        plan: &Plan,
    ) -> Result<(ConvertOptions, Plan)> {
        let chosen = |planned: &Planned| match planned.choice {
            Choice::Codes { open: true, activations, .. } => {
                Given { activations: Some(activations), ..Given::default() }
            }
            _ => Given::default(),
        };
        let chosen: Vec<Given> = plan.matrices.iter().map(chosen).collect();
        let options = self.spelled_out(options, comment, &chosen, false)?;
        let plan = Plan::new(&self.module, &self.weights, options.resolver()?)?;
        Ok((options, plan))
    }
}

/// A conversion that is said by a recipe.
#[derive(Clone, Debug, Default)]
pub struct Spelling {
    /// The recipe's first line.
    pub comment: String,
    /// What was chosen for each matrix, in place of the flags; for none, if it is empty.
    pub chosen: Vec<Given>,
}

impl Spelling {
    /// The conversion, said by a recipe that leaves open what data decide.
    ///
    /// # Errors
    /// As [`ConvertOptions::spelled_out`].
    pub(crate) fn open(
        &self,
        options: &ConvertOptions,
        prepared: &Prepared,
    ) -> Result<ConvertOptions> {
        prepared.spelled_out(options, &self.comment, &self.chosen, true)
    }
}

/// Compiles the ONNX model at `path`; `progress` hears of every row that is done.
///
/// # Errors
/// What of the file cannot be read, is damaged or not supported, and options that contradict each
/// other or the model.
pub fn compile(
    path: &Path,
    options: &ConvertOptions,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Compiled> {
    compile_for(path, options, None, None, progress)
}

/// As [`compile`], with the data that `options` names for calibration. With a `spelling` the conversion is said by a recipe
/// alone, [`Compiled::options`], which gives the same file again.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(
    path: &Path,
    options: &ConvertOptions,
    data: Option<&Calibrated>,
    spelling: Option<&Spelling>,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Compiled> {
    options.resolver()?;
    let located = |error: Error| error.within(path.display());
    let mut stages = Stages::begin();
    let prepared = Prepared::read(path, options)?;
    stages.done("read and simplify");
    let mut options = options.clone();
    if let Some(spelling) = spelling {
        options = spelling.open(&options, &prepared)?;
    }
    let resolver = options.resolver()?;
    let mut plan = Plan::new(&prepared.module, &prepared.weights, resolver).map_err(located)?;
    stages.done("plan");
    let tell = |layer: &str, done, total| progress(Progress { layer, done, total });
    let fitted = match data {
        Some(data) => sequence::fit(path, &prepared.module, &mut plan, data, &tell),
        None => Fitted::new(&prepared.module, &plan, None, &tell).map_err(located),
    }?;
    stages.done("fit");
    if let Some(spelling) = spelling {
        (options, plan) = prepared.settled(&options, &spelling.comment, &plan)?;
    }
    let Prepared { source, module, weights } = prepared;
    let compiled = finish(path, &options, &source, module, &weights, &plan, &fitted)?;
    stages.done("write and check");
    Ok(Compiled { stages: stages.taken(), ..compiled })
}

/// The file of a network whose matrices are fitted. Constants that nobody else holds go as they are written.
///
/// # Errors
/// What the format or the runtime does not take.
pub(crate) fn finish(
    path: &Path,
    options: &ConvertOptions,
    source: &onnx::Source,
    module: Module,
    weights: &Weights,
    plan: &Plan,
    fitted: &Fitted,
) -> Result<Compiled> {
    let located = |error: Error| error.within(path.display());
    let mut notes = module.notes.clone();
    let states = states(&module);
    if !plan.raised.is_empty() {
        let names = plan.raised.join(", ");
        notes.push(format!("more bits, for kernels of few columns: {names}"));
    }
    for (tables, why) in [
        (true, "what is looked up enters no product of weights directly"),
        (false, "they do not meet it, or it takes too much memory"),
    ] {
        let of_kind = fitted.unmet.iter().filter(|unmet| unmet.table == tables);
        let names: Vec<_> = of_kind.map(|unmet| unmet.name.as_str()).collect();
        if !names.is_empty() {
            notes.push(format!(
                "fitted by their weights alone, for the calibration data say nothing of them ({why}): {}",
                names.join(", ")
            ));
        }
    }
    let slow = cost::slower_than_float(&module, plan);
    if !slow.is_empty() {
        let slow: Vec<_> = slow.iter().map(|(name, times)| format!("{name} {times:.1}x")).collect();
        notes.push(format!(
            "slower than in float on a CPU with AVX2, about so many times (-a f32 takes no more space): {}",
            slow.join(", ")
        ));
    }
    let layers = report::layers(&module, weights, plan, fitted);
    let mut histograms = histograms(&module, plan, fitted);
    histograms.resize(layers.len(), None);
    let mut draft = emit::emit(module, plan, fitted);
    let external = onnx::external_files(source).map_err(located)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let paths = external.iter().map(|file| folder.join(&file.location)).collect();
    let bytes_in = source.bytes() + external.iter().map(|file| file.bytes).sum::<u64>();
    let report = Report { bytes_in, layers, states, notes };
    let provenance = Provenance {
        compiler: concat!("amqc ", env!("CARGO_PKG_VERSION")).into(),
        source_sha256: hex(&source.sha256()),
        external: external
            .into_iter()
            .map(|file| External { location: file.location, sha256: hex(&file.sha256) })
            .collect(),
        options: options.to_string(),
        interface: options.interface.clone(),
        recipe: options.recipe.as_ref().map(|recipe| recipe.text().to_owned()),
        meta: options.meta.clone(),
        report: report.clone(),
    };
    draft.provenance = Some(
        serde_json::to_string(&provenance)
            .map_err(|error| located(Error::bad_file(format!("the report: {error}"))))?,
    );
    let misfit =
        |why: &dyn Display| located(Error::unsupported(format!("the model does not fit: {why}")));
    let bytes = amq_format::encode(draft).map_err(|error| misfit(&error))?;
    // What is written is what the runtime loads.
    let file = Validated::new(&bytes).map_err(|error| misfit(&error))?;
    Model::with_options(&file, &LoadOptions::default()).map_err(|error| misfit(&error))?;
    let effective_bits = EffectiveBits::of(&file, bytes.len() as u64);
    let options = options.clone();
    Ok(Compiled {
        bytes,
        report,
        histograms,
        effective_bits,
        external: paths,
        options,
        stages: Vec::new(),
    })
}

/// How the weights of each matrix lie that was coded.
fn histograms(module: &Module, plan: &Plan, fitted: &Fitted) -> Vec<Option<Histogram>> {
    let entries = plan.matrices.iter().zip(&fitted.places);
    let histogram = |(planned, place): (&Planned, &Option<usize>)| {
        let codes = &fitted.matrices[(*place)?].codes;
        match &module.constants[&planned.weight.value].data {
            Data::F32(weights) => Some(Histogram::new(weights, codes)),
            _ => None,
        }
    };
    entries.map(histogram).collect()
}

/// What a stage makes of the ONNX model at `path`, as text: the same for the same model and options.
///
/// # Errors
/// As [`compile`], of the stages up to this one.
pub fn dump(path: &Path, options: &ConvertOptions, stage: Stage) -> Result<String> {
    let resolver = options.resolver()?;
    let source = onnx::load(path, &options.limits())?;
    let located = |error: Error| error.within(path.display());
    if stage == Stage::Import {
        return Ok(onnx::import(&source, &options.interface).map_err(located)?.to_string());
    }
    let module = simplified(&source, options).map_err(located)?;
    if stage == Stage::Simplify {
        return Ok(module.to_string());
    }
    let weights = Weights::find(&module).map_err(located)?;
    if stage == Stage::Weights {
        return Ok(weights.to_string());
    }
    let plan = Plan::new(&module, &weights, resolver).map_err(located)?;
    if stage == Stage::Plan {
        return Ok(plan.to_string());
    }
    if stage == Stage::Report {
        return Ok(compile(path, options, &|_| ())?.report.text());
    }
    let fitted = Fitted::new(&module, &plan, None, &|_, _, _| ()).map_err(located)?;
    Ok(match stage {
        Stage::Emit => emit::listing(&emit::emit(module, &plan, &fitted)),
        _ => report::table(&report::layers(&module, &weights, &plan, &fitted)),
    })
}

/// The network after the passes, with its states declared.
fn simplified(source: &onnx::Source, options: &ConvertOptions) -> Result<Module> {
    let mut module = onnx::import(source, &options.interface)?;
    passes::run(&mut module)?;
    passes::states::declare(&mut module, &options.interface.states)?;
    Ok(module)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn states(module: &Module) -> Vec<State> {
    let name = |value: u32| module.graph.values[value as usize].clone();
    let dims = |value| {
        let port = module.graph.inputs.iter().find(|port| port.value == value);
        port.map(|port| port.dims.iter().map(ToString::to_string).collect()).unwrap_or_default()
    };
    let describe = |state: &amq_format::graph::State| State {
        input: name(state.input),
        output: name(state.output),
        dims: dims(state.input),
    };
    module.graph.states.iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use amq_runtime::Session;
    use prost::Message;

    use super::*;
    use crate::onnx::tests::{A, Build, ElementType, ValueInfoProto, f32s, i64s};
    use crate::tensor::Tensor;

    #[test]
    fn files_of_external_data_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("w.bin");
        std::fs::write(&file, [0; 16]).unwrap();
        let model = folder.path().join("m.onnx");
        let weight = f32s("w", &[4], &[]).kept_in("w.bin");
        let build = Build::new(13).input("x", "n 4").initializer(weight);
        let build = build.node("Add", "x w", "y").output("y");
        std::fs::write(&model, build.model.encode_to_vec()).unwrap();
        let compiled = compile(&model, &ConvertOptions::float(), &|_| ()).unwrap();
        assert_eq!(compiled.external, [file]);
    }

    /// The floats that a model gives for `x`.
    fn floats(build: &Build, x: &Tensor) -> Vec<f32> {
        outputs(build, &[("x", x)])
    }

    /// The floats of a model's first output.
    fn outputs(build: &Build, inputs: &[(&str, &Tensor)]) -> Vec<f32> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, build.model.encode_to_vec()).unwrap();
        let compiled = compile(&path, &ConvertOptions::float(), &|_| ()).unwrap();
        let mut session = Session::new(Arc::new(Model::load(&compiled.bytes).unwrap()));
        let inputs: Vec<_> = inputs.iter().map(|(name, tensor)| (*name, tensor.view())).collect();
        let outputs = session.run(&inputs).unwrap();
        let (_, view) = outputs.iter().next().unwrap();
        let amq_runtime::Data::F32(floats) = view.data else { panic!("{:?}", view.data) };
        floats.to_vec()
    }

    /// Before opset 14 the number of outputs says that BatchNormalization takes the statistics of its
    /// input: here mean 2 and variance 1.
    #[test]
    fn outputs_of_training_choose_the_statistics() {
        let x = Tensor { dims: vec![2, 1], data: Data::F32(vec![1.0, 3.0]) };
        let build = |opset, outputs: &str, attributes: &[(&str, A<'_>)]| {
            let attributes = [&[("epsilon", A::F(0.0))], attributes].concat();
            let model = Build::new(opset).input("x", "n 1").weight("one", &[1]);
            let model = model.initializer(f32s("zero", &[1], &[0.0]));
            let inputs = "x one zero zero one";
            model.node_with("BatchNormalization", inputs, outputs, &attributes).output("y")
        };
        for (opset, outputs, expected) in [
            (13, "y", [1.0, 3.0]),
            (13, "y mean var _ _", [-1.0, 1.0]),
            (9, "y mean var saved_mean saved_var", [-1.0, 1.0]),
            (7, "y _ _ _ saved_var", [-1.0, 1.0]),
            (7, "y _ _ _ _", [1.0, 3.0]),
            (14, "y mean var", [1.0, 3.0]),
        ] {
            assert_eq!(floats(&build(opset, outputs, &[]), &x), expected, "{opset} {outputs}");
        }
        let training = [("training_mode", A::I(1))];
        assert_eq!(floats(&build(15, "y", &training), &x), [-1.0, 1.0]);
    }

    /// What Keras writes for a mask: the sum of its ones is the length of a sequence.
    #[test]
    fn sums_of_integers_are_lengths_of_sequences() {
        let weights = |name: &str, dims: &[i64]| {
            let count = dims.iter().product::<i64>();
            f32s(name, dims, &(0..count).map(|i| (i % 7) as f32 / 8.0 - 0.4).collect::<Vec<_>>())
        };
        let build = |nodes: fn(Build) -> Build| {
            let model = Build::new(13).input("x", "4 2 3").initializer(weights("w", &[1, 20, 3]));
            let model = model.initializer(weights("r", &[1, 20, 5]));
            let lstm = [("hidden_size", A::I(5)), ("direction", A::S("reverse"))];
            nodes(model).node_with("LSTM", "x w r _ lengths", "y", &lstm).output("y")
        };
        let mut mask = i64s("mask", &[2, 4], &[1, 1, 1, 0, 1, 0, 0, 0]);
        mask.data_type = ElementType::Int32 as i32;
        (mask.int32_data, mask.int64_data) = (vec![1, 1, 1, 0, 1, 0, 0, 0], Vec::new());
        let mut counted = build(|model| {
            let axes = model.ints("axes", &[1]);
            axes.node_with("ReduceSum", "mask axes", "lengths", &[("keepdims", A::I(0))])
        });
        counted.graph().input.push(ValueInfoProto {
            name: "mask".into(),
            ..Build::new(13).typed("mask", ElementType::Int32, "2 4").graph().input[0].clone()
        });
        let mut known = build(|model| model);
        let mut lengths = mask.clone();
        (lengths.name, lengths.dims, lengths.int32_data) = ("lengths".into(), vec![2], vec![3, 1]);
        known.graph().initializer.push(lengths);
        let x: Vec<f32> = (0..24).map(|i| (i as f32 - 11.0) / 9.0).collect();
        let x = Tensor { dims: vec![4, 2, 3], data: Data::F32(x) };
        let mask = Tensor { dims: vec![2, 4], data: Data::I32(mask.int32_data) };
        let expected = outputs(&known, &[("x", &x)]);
        assert_eq!(outputs(&counted, &[("x", &x), ("mask", &mask)]), expected);
        assert!(expected[10..].contains(&0.0) && expected.iter().any(|&y| y != 0.0));
    }
}
