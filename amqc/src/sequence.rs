//! Codes fitted in the order in which a network runs: those of a matrix to what it meets where matrices
//! before it are coded, so that they make good for what these lose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use amq_format::graph::{Activations, Op, ValueId};
use amq_runtime::{Isa, Probe};

use crate::calibrate::batches::{Batches, ITEMS, PIECE, Which};
use crate::calibrate::moments::Moments;
use crate::calibrate::pairs::{Key, Pairing, Pairs, pair};
use crate::calibrate::resolution::lost;
use crate::calibrate::samples::Samples;
use crate::emit::emit;
use crate::error::Result;
use crate::feed::stream::{PortNames, TextReader};
use crate::fit::{Fitted, Met, met};
use crate::ir::Module;
use crate::loaded::Loaded;
use crate::plan::{Choice, Plan, Planned};
use crate::quant::Method;
use crate::random::SplitMix64;
use crate::tensor::{Data, views};
use crate::threads::Threads;

mod parts;

use parts::Run;

/// Samples that are run at most; of a network with states, which is run anew for each matrix, that all runs take
/// together, about, and each at least.
const MOST_SAMPLES: usize = 512;
const SAMPLES: usize = 1024;
const LEAST_SAMPLES: usize = 8;
/// The same of tokens.
const TOKENS: usize = 65_536;
const LEAST_TOKENS: usize = 2048;
const MOST_TOKENS: usize = 16_384;
/// Samples, and tokens, that activations are measured on.
const MEASURED_SAMPLES: usize = 8;
const MEASURED_TOKENS: usize = 512;
/// Activations of 8 bits may lose so much of a product, in decibels, beside what its codes lose.
const MOST_LOST: f64 = 0.5;
/// Vectors of a row that are taken, about.
const VECTORS: f64 = 16_384.0;

/// Data for a float model, and what its matrices meet on them.
#[derive(Debug)]
pub struct Calibrated {
    /// The data.
    pub samples: Samples,
    /// What its matrices meet.
    pub moments: Moments,
    /// The instruction set that answers are computed with.
    pub isa: Isa,
}

/// Whether codes depend on others that are fitted before them.
pub(crate) fn is_joint(module: &Module, plan: &Plan, moments: &Moments) -> bool {
    let met: Vec<_> = plan.matrices.iter().map(|planned| met(&planned.weight, moments)).collect();
    steps(module, plan, &met).values().any(|step| step.paired)
}

/// Fits the codes of every matrix, and gives those finer activations that [need](refine) them; `progress` is told what
/// is done, and how far.
///
/// # Errors
/// As [`Fitted::new`]; what the runtime refuses.
pub(crate) fn fit(
    path: &Path,
    module: &Module,
    plan: &mut Plan,
    data: &Calibrated,
    progress: &(dyn Fn(&str, usize, usize) + Sync),
) -> Result<Fitted> {
    let met: Vec<Vec<Met<'_>>> =
        plan.matrices.iter().map(|planned| met(&planned.weight, &data.moments)).collect();
    let steps = steps(module, plan, &met);
    let count = steps.values().filter(|step| step.paired).count();
    let none = Fitted::none(module, plan).map_err(|error| error.within(path.display()))?;
    let mut fitted = none.clone();
    let threads = Threads::new(rayon::current_num_threads())?;
    let network = Network { path, module, data, threads };
    let mut float = network.start(&none)?;
    let mut coded = float.clone();
    let mut done = 0;
    for (&node, Step { entries, paired }) in &steps {
        let mut pairs = BTreeMap::new();
        if *paired {
            progress("in sequence", done, count);
            done += 1;
        }
        if *paired && !fitted.matrices.is_empty() {
            let mut wanted = BTreeMap::new();
            for met in entries.iter().flat_map(|&entry| &met[entry]) {
                let every = (met.block.sums.weight() / VECTORS).ceil().max(1.0);
                wanted.insert(key(met), every as usize);
            }
            let in_parts = match (&mut float, &mut coded) {
                (Some(float), Some(coded)) => {
                    in_parts([float, coded], node, plan, [&none, &fitted], &wanted).ok()
                }
                _ => None,
            };
            pairs = match in_parts {
                Some(pairs) => pairs,
                None => {
                    // Not every part can stand alone: one may need sizes that another gives.
                    (float, coded) = (None, None);
                    let most = match data.samples {
                        Samples::Text { .. } => (TOKENS / count).clamp(LEAST_TOKENS, MOST_TOKENS),
                        _ => (SAMPLES / count).clamp(LEAST_SAMPLES, MOST_SAMPLES),
                    };
                    let models = [network.whole(plan, &none)?, network.whole(plan, &fitted)?];
                    pair(models.each_ref(), &data.samples, most, &wanted)?
                }
            };
        }
        for &entry in entries {
            let met = met[entry].iter().map(|met| met.paired(pairs.get(&key(met))));
            let met: Vec<Met<'_>> = met.collect();
            fitted.fit(module, plan, entry, &met, progress);
        }
        network.refine(node, plan, &fitted, coded.as_ref())?;
    }
    Ok(fitted)
}

/// Pairs what rows of a node meet, in a network that is run up to it in both ways.
fn in_parts(
    [float, coded]: [&mut Run<'_>; 2],
    node: usize,
    plan: &Plan,
    [none, fitted]: [&Fitted; 2],
    wanted: &BTreeMap<Key, usize>,
) -> Result<BTreeMap<Key, Pairs>> {
    float.advance(node, plan, none)?;
    coded.advance(node, plan, fitted)?;
    let calls = float.calls().min(coded.calls());
    let (mut float, mut coded) = (float.part(node, plan, none), coded.part(node, plan, fitted));
    let mut pairing = Pairing::new(wanted);
    for call in 0..calls {
        pairing.call(
            |probe| float.run(call, probe).map(|_| ()),
            |probe| coded.run(call, probe).map(|_| ()),
        )?;
    }
    Ok(pairing.pairs())
}

/// Gives those matrices finer activations that lose more than half a decibel of their products by 8 bits, where nobody
/// asked for these.
///
/// # Errors
/// What the runtime refuses.
pub(crate) fn refine(
    path: &Path,
    module: &Module,
    plan: &mut Plan,
    fitted: &Fitted,
    data: &Calibrated,
) -> Result<()> {
    let threads = Threads::new(rayon::current_num_threads())?;
    let network = Network { path, module, data, threads };
    let mut coded = network.start(fitted)?;
    let nodes = plan.matrices.iter().map(|planned| planned.weight.place.outermost());
    let nodes: BTreeSet<usize> = nodes.collect();
    for node in nodes {
        if coded.as_mut().is_some_and(|coded| coded.advance(node, plan, fitted).is_err()) {
            coded = None;
        }
        network.refine(node, plan, fitted, coded.as_ref())?;
    }
    Ok(())
}

/// A network and its data.
struct Network<'a> {
    path: &'a Path,
    module: &'a Module,
    data: &'a Calibrated,
    threads: Threads,
}

impl Network<'_> {
    /// The network before its first node; none where it must be run whole: a text is read with the scores of its last
    /// nodes, and states have values of their own.
    fn start(&self, none: &Fitted) -> Result<Option<Run<'_>>> {
        if matches!(self.data.samples, Samples::Text { .. }) || !self.module.graph.states.is_empty()
        {
            return Ok(None);
        }
        let plan = Plan { matrices: Vec::new(), raised: Vec::new() };
        let none = Fitted { places: Vec::new(), shifts: Vec::new(), ..none.clone() };
        let float = self.whole(&plan, &none)?;
        let calls = Batches::new(&float, &self.data.samples, Which::Fitted, MOST_SAMPLES)?;
        let mut calls: Vec<_> = calls.map(|batch| batch.inputs).collect();
        // Where all would take too much memory, the first are kept: any, not those at the beginning of the data.
        SplitMix64(0).shuffle(&mut calls);
        Run::new((self.path, self.module), (self.data.isa, &self.threads), calls).map(Some)
    }

    /// All of the network, with these codes.
    fn whole(&self, plan: &Plan, fitted: &Fitted) -> Result<Loaded> {
        let draft = emit(self.module.clone(), plan, fitted);
        let loaded = Loaded::of_draft(self.path, &draft, self.data.isa)?;
        Ok(loaded.with_threads(self.threads.clone()))
    }

    /// [`refine`]s the matrices of a node, in a network that is run up to it or whole.
    fn refine(
        &self,
        node: usize,
        plan: &mut Plan,
        fitted: &Fitted,
        coded: Option<&Run<'_>>,
    ) -> Result<()> {
        let open = |planned: &Planned| {
            planned.weight.place.is_outermost()
                && planned.weight.place.node == node
                && matches!(planned.choice, Choice::Codes { open: true, .. })
        };
        let open = plan.matrices.iter().enumerate().filter(|(_, planned)| open(planned));
        let open: Vec<usize> = open.map(|(entry, _)| entry).collect();
        let mut losses = Vec::new();
        for &entry in &open {
            let weight = &plan.matrices[entry].weight;
            let (Some(place), Data::F32(weights)) =
                (fitted.places[entry], &self.module.constants[&weight.value].data)
            else {
                continue;
            };
            let mut run = |probe: &mut dyn Probe| {
                if let Some(coded) = coded {
                    let mut part = coded.part(node, plan, fitted);
                    let mut calls = 0..coded.calls().min(MEASURED_SAMPLES.div_ceil(ITEMS));
                    if calls.try_for_each(|call| part.run(call, probe).map(|_| ())).is_ok() {
                        return Ok(());
                    }
                }
                self.run_whole(&self.whole(plan, fitted)?, probe)
            };
            let codes = &fitted.matrices[place].codes;
            losses.extend(lost(&mut run, weight, weights, codes)?.map(|lost| (entry, lost)));
        }
        for (entry, lost) in losses.into_iter().filter(|(_, lost)| *lost > MOST_LOST) {
            if let Choice::Codes { activations, note, .. } = &mut plan.matrices[entry].choice {
                *activations = Activations::Int16;
                *note = Some(format!("int8 would lose {lost:.1} dB of the product"));
            }
        }
        Ok(())
    }

    /// Runs all of the network on some of the data.
    fn run_whole(&self, loaded: &Loaded, probe: &mut dyn Probe) -> Result<()> {
        match &self.data.samples {
            Samples::Text { tokens, classes } => {
                let mut reader = TextReader::new(loaded, *classes, PortNames::default())?;
                let piece = reader.piece(tokens.len())?.min(PIECE);
                let mut pieces = tokens[..tokens.len().min(MEASURED_TOKENS)].chunks(piece);
                pieces.try_for_each(|tokens| reader.feed_with(tokens, probe))
            }
            samples @ Samples::Arrays { .. } => {
                let mut session = loaded.session();
                for batch in Batches::new(loaded, samples, Which::Fitted, MEASURED_SAMPLES)? {
                    let done = session.run_with(&views(&batch.inputs), probe).map(|_| ());
                    done.map_err(|error| loaded.error(error))?;
                }
                Ok(())
            }
        }
    }
}

/// What the rows meet together.
fn key(met: &Met<'_>) -> Key {
    (met.block.node, met.block.part, met.block.rows.first().copied().unwrap_or(0))
}

/// What is fitted at a node.
#[derive(Default)]
struct Step {
    /// Entries of the plan.
    entries: Vec<usize>,
    /// Whether to what they meet where those before are coded.
    paired: bool,
}

/// The entries of a plan by the node of the outermost graph that they belong to. Not paired are those under a
/// softmax, whose vectors have weights, and recurrent layers, whose states drift by their own codes: paired, they
/// lose more.
fn steps(module: &Module, plan: &Plan, met: &[Vec<Met<'_>>]) -> BTreeMap<usize, Step> {
    let mut uses: BTreeMap<ValueId, usize> = BTreeMap::new();
    for Planned { weight, .. } in &plan.matrices {
        *uses.entry(weight.value).or_default() += 1;
    }
    let mut steps: BTreeMap<usize, Step> = BTreeMap::new();
    for (entry, (Planned { weight, choice }, met)) in plan.matrices.iter().zip(met).enumerate() {
        let calibrated =
            matches!(choice, Choice::Codes { fit, .. } if fit.method == Method::Calibrated);
        let alone = uses[&weight.value] == 1;
        let seen = !met.is_empty() && !met.iter().any(|met| met.block.under_softmax);
        let recurrent = matches!(module.node(&weight.place).op, Some(Op::Recurrent(_)));
        let step = steps.entry(weight.place.outermost()).or_default();
        step.entries.push(entry);
        step.paired |= calibrated && alone && seen && !recurrent && !weight.is_table();
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use prost::Message;

    use super::*;
    use crate::calibrate::gather::gather;
    use crate::calibrate::source::Source;
    use crate::compile::Prepared;
    use crate::data::write_npz;
    use crate::feed::text::Unit;
    use crate::onnx::tests::{Build, ElementType, f32s};
    use crate::open::Opened;
    use crate::options::ConvertOptions;
    use crate::settings::{Bits, Given};
    use crate::tensor::{Data, Tensor};

    /// Numbers from -1 to 1 that look like chance.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let number = |i: u64| {
            let z = (i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ z >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (z >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count as u64).map(number).collect()
    }

    /// Codes make good for what those before them lose: on the data the outputs are nearer than where each
    /// matrix is fitted alone.
    #[test]
    fn codes_make_good_for_those_before() {
        let folder = tempfile::tempdir().unwrap();
        let (path, npz) = (folder.path().join("m.onnx"), folder.path().join("c.npz"));
        let mut build = Build::new(13).input("x", "n 48");
        for (i, seed) in [3, 5000, 9000].into_iter().enumerate() {
            let weights: Vec<f32> = numbers(48 * 48, seed).iter().map(|w| 0.25 * w).collect();
            build = build.initializer(f32s(&format!("w{i}"), &[48, 48], &weights));
        }
        let build = build.node("MatMul", "x w0", "a").node("Tanh", "a", "b");
        let build = build.node("MatMul", "b w1", "c").node("Tanh", "c", "d");
        let build = build.node("MatMul", "d w2", "y").output("y");
        std::fs::write(&path, build.model.encode_to_vec()).unwrap();
        let x = Tensor { dims: vec![256, 48], data: Data::F32(numbers(256 * 48, 20_000)) };
        write_npz(File::create(&npz).unwrap(), &[("x".into(), x.clone())]).unwrap();
        let source = Source { path: npz, vocabulary: None, axis: 0, most: None };
        let flags = Given { bits: Some(Bits::Codes(2)), ..Given::default() };
        let options = ConvertOptions {
            flags,
            calibration: Some(source.clone()),
            ..ConvertOptions::default()
        };
        let isa = Isa::detect();
        let opened = Opened::read(&path).unwrap();
        let moments = gather(&opened, &source, isa, &|_, _| ()).unwrap();
        let float = opened.load(isa).unwrap();
        let samples = source.read(&float).unwrap();
        let data = Calibrated { samples, moments, isa };
        let Prepared { module, weights, .. } = Prepared::read(&path, &options).unwrap();
        let mut plan = Plan::new(&module, &weights, options.resolver().unwrap()).unwrap();
        let inputs = [("x".to_owned(), x)];
        let floats = |loaded: &Loaded| match loaded.run(&inputs).unwrap().remove(0).1.data {
            Data::F32(floats) => floats,
            other => panic!("{other:?}"),
        };
        let expected = floats(&float);
        let error = |plan: &Plan, fitted: &Fitted| -> f32 {
            let draft = emit(module.clone(), plan, fitted);
            let found = floats(&Loaded::of_draft(&path, &draft, isa).unwrap());
            found.iter().zip(&expected).map(|(x, y)| (x - y).powi(2)).sum()
        };
        let alone_plan = plan.clone();
        let alone = Fitted::new(&module, &plan, Some(&data.moments), &|_, _, _| ()).unwrap();
        let together = fit(&path, &module, &mut plan, &data, &|_, _, _| ()).unwrap();
        let (alone, together) = (error(&alone_plan, &alone), error(&plan, &together));
        assert!(together < 0.9 * alone, "{together} {alone}");
    }
    /// A text is read with the scores of the whole network.
    #[test]
    fn a_text_is_read_by_a_network_without_states() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let vocabulary = file("v.txt", "a\nb\nc\nd\n<eos>\n");
        let text = file("t.txt", &"a b c d b a d d c\n".repeat(40));
        let build = Build::new(13).typed("x", ElementType::Int64, "n");
        let build = build.initializer(f32s("e", &[5, 32], &numbers(160, 1)));
        let build = build.initializer(f32s("w", &[32, 32], &numbers(1024, 400)));
        let build = build.initializer(f32s("o", &[32, 5], &numbers(160, 3000)));
        let build = build.node("Gather", "e x", "a").node("MatMul", "a w", "b");
        let build = build.node("Tanh", "b", "c").node("MatMul", "c o", "y").output("y");
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, build.model.encode_to_vec()).unwrap();
        let vocabulary = Some((vocabulary, Unit::Word));
        let source = Source { path: text, vocabulary, axis: 0, most: None };
        let options =
            ConvertOptions { calibration: Some(source.clone()), ..ConvertOptions::default() };
        let isa = Isa::detect();
        let opened = Opened::read(&path).unwrap();
        let moments = gather(&opened, &source, isa, &|_, _| ()).unwrap();
        let samples = source.read(&opened.load(isa).unwrap()).unwrap();
        let data = Calibrated { samples, moments, isa };
        let Prepared { module, weights, .. } = Prepared::read(&path, &options).unwrap();
        let mut plan = Plan::new(&module, &weights, options.resolver().unwrap()).unwrap();
        assert!(is_joint(&module, &plan, &data.moments));
        let fitted = fit(&path, &module, &mut plan, &data, &|_, _, _| ()).unwrap();
        assert!(fitted.unmet.is_empty(), "{:?}", fitted.unmet);
        // Not the table's.
        assert_eq!(fitted.shifts.iter().flatten().count(), 2);
    }
}
