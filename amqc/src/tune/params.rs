//! What is trained: weights, and their codes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use amq_format::graph::{BinaryFunction as B, Op, ValueId};
use amq_format::operator::Role;

use crate::fit::{Fitted, Matrix};
use crate::ir::Module;
use crate::plan::Plan;
use crate::quant::{BitCodes, Tracked};
use crate::tensor::{Data, Tensor};

/// What moves of matrices that are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Their coefficients: codes stay.
    Scales = 0,
    /// Their weights, which codes and coefficients follow.
    Weights = 1,
}

/// A constant that is trained, or the coefficients of one.
#[derive(Clone, Debug)]
pub(super) struct Param {
    /// Its value in the network; none for coefficients.
    pub(super) value: Option<ValueId>,
    /// Its elements, not coded.
    pub(super) weights: Tensor,
    /// Whether it moves in this stage.
    pub(super) moves: bool,
    /// Whether it is of the nodes that are trained.
    is_own: bool,
    /// The loss's gradient.
    pub(super) gradient: Vec<f32>,
    /// Whether that is one of a step before, which nothing was added to since it was cleared.
    stale: bool,
    /// Of a coded one, how large elements may become: row by row what its weights reach when they begin to move.
    pub(super) bounds: Vec<f32>,
}

impl Param {
    /// Whether products take codes in its place.
    pub(super) fn is_coded(&self) -> bool {
        !self.bounds.is_empty()
    }
}

/// The codes of a param.
#[derive(Clone, Debug)]
struct Coded {
    param: usize,
    /// The param that holds its coefficients.
    scales: usize,
    tracked: Tracked,
    /// What they stand for.
    decoded: Tensor,
    /// The codes as bits, once they were asked for since they changed.
    bits: OnceLock<Option<Arc<BitCodes>>>,
}

/// Where a node takes its weights from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// Which param it is.
    pub(super) param: usize,
    coded: Option<usize>,
}

/// All that is trained.
#[derive(Clone, Debug)]
pub(super) struct Params {
    pub(super) all: Vec<Param>,
    coded: Vec<Coded>,
    stage: Stage,
    /// By node and input.
    uses: BTreeMap<(usize, usize), Use>,
}

impl Params {
    /// Weights, tables and biases of the outermost nodes, those that are coded with their codes, and what scales and shifts
    /// channels behind them, such as normalization's. Of a network whose biases are constants already.
    pub(super) fn new(module: &Module, plan: &Plan, fitted: &Fitted) -> Params {
        let mut params = Params {
            all: Vec::new(),
            coded: Vec::new(),
            stage: Stage::Weights,
            uses: BTreeMap::new(),
        };
        let mut places = BTreeMap::new();
        for (index, node) in module.graph.nodes.iter().enumerate() {
            let slots = node.op.as_ref().map(|op| op.operator().slots()).unwrap_or_default();
            for slot in slots {
                let Some(&value) = node.inputs.get(slot.input) else { continue };
                let Some(constant) = module.constant(value) else { continue };
                let table = matches!(slot.role, Role::Table { .. });
                if table && !is_table(&node.op, constant) || !matches!(constant.data, Data::F32(_))
                {
                    continue;
                }
                let param = *places
                    .entry(value)
                    .or_insert_with(|| params.push(Some(value), constant.clone()));
                params.uses.insert((index, slot.input), Use { param, coded: None });
            }
        }
        let matrices: BTreeSet<ValueId> = places.keys().copied().collect();
        for (index, input, value) in params.of_channels(module) {
            if let (Some(constant), false) = (module.constant(value), matrices.contains(&value)) {
                let param = *places
                    .entry(value)
                    .or_insert_with(|| params.push(Some(value), constant.clone()));
                params.uses.insert((index, input), Use { param, coded: None });
            }
        }
        for matrix in &fitted.matrices {
            let param = places.get(&matrix.source).copied().unwrap_or(usize::MAX);
            let Some(Param { weights, bounds, .. }) = params.all.get_mut(param) else { continue };
            let Data::F32(data) = &mut weights.data else { continue };
            let tracked = Tracked::new(&matrix.codes);
            let mut decoded = vec![0.0; data.len()];
            tracked.decode(&mut decoded);
            let cols = matrix.codes.cols.max(1);
            let rows = data.chunks(cols).zip(decoded.chunks(cols));
            *bounds = rows.map(|(row, levels)| largest(row).max(largest(levels))).collect();
            tracked.pull(data);
            let decoded = Tensor { dims: weights.dims.clone(), data: Data::F32(decoded) };
            let scales = tracked.scales();
            let scales = Tensor { dims: vec![scales.len()], data: Data::F32(scales) };
            let scales = params.push(None, scales);
            params.all[scales].moves = false;
            params.coded.push(Coded { param, scales, tracked, decoded, bits: OnceLock::new() });
        }
        for (planned, place) in plan.matrices.iter().zip(&fitted.places) {
            let (Some(place), true) = (place, planned.weight.place.is_outermost()) else {
                continue;
            };
            let key = (planned.weight.place.node, planned.weight.slot.input);
            if let Some(of_node) = params.uses.get_mut(&key) {
                of_node.coded = Some(*place);
            }
        }
        params
    }

    /// Adds a constant; gives its place.
    fn push(&mut self, value: Option<ValueId>, weights: Tensor) -> usize {
        let gradient = vec![0.0; weights.data.len()];
        let (moves, is_own, stale, bounds) = (true, true, false, Vec::new());
        self.all.push(Param { value, weights, moves, is_own, gradient, stale, bounds });
        self.all.len() - 1
    }

    /// Node, input and value of the vectors that something is multiplied by or added to that depends on params. Others
    /// are part of how data are prepared; constants of several axes are positions and masks, single ones belong to formulas.
    fn of_channels(&self, module: &Module) -> Vec<(usize, usize, ValueId)> {
        let is_vector = |tensor: &Tensor| {
            let mut sizes = tensor.dims.iter().filter(|&&size| size != 1);
            let is_one = sizes.next().is_some() && sizes.next().is_none();
            is_one && matches!(&tensor.data, Data::F32(x) if x.iter().all(|x| x.is_finite()))
        };
        let mut uses = BTreeMap::<ValueId, usize>::new();
        for &value in module.graph.nodes.iter().flat_map(|node| &node.inputs) {
            *uses.entry(value).or_default() += 1;
        }
        let mut active = BTreeSet::new();
        let mut found = Vec::new();
        for (index, node) in module.graph.nodes.iter().enumerate() {
            let is_trained = (0..node.inputs.len()).any(|at| self.place(index, at).is_some());
            if is_trained || node.inputs.iter().any(|value| active.contains(value)) {
                active.extend(node.outputs.iter().copied());
            }
            let (Some(Op::Binary(binary)), [a, b]) = (&node.op, &node.inputs[..]) else { continue };
            if !matches!(binary.function(), B::Add | B::Sub | B::Mul | B::Prelu) {
                continue;
            }
            for (input, value, other) in [(0, *a, *b), (1, *b, *a)] {
                if active.contains(&other) && module.constant(value).is_some_and(is_vector) {
                    found.push((index, input, value));
                }
            }
        }
        // What is used elsewhere as well would change there.
        for &(_, _, value) in &found {
            uses.entry(value).and_modify(|count| *count -= 1);
        }
        found.retain(|(_, _, value)| uses.get(value) == Some(&0));
        found
    }

    /// Where an input of a node comes from, if it is trained.
    pub(super) fn place(&self, node: usize, input: usize) -> Option<Use> {
        self.uses.get(&(node, input)).copied()
    }

    /// Whether an input of a node is trained, of the nodes that are.
    pub(super) fn is_own(&self, node: usize, input: usize) -> bool {
        self.place(node, input).is_some_and(|place| self.all[place.param].is_own)
    }

    /// What products take: what codes stand for, or floats.
    pub(super) fn tensor(&self, place: Use) -> &Tensor {
        match place.coded {
            Some(coded) => &self.coded[coded].decoded,
            None => &self.all[place.param].weights,
        }
    }

    /// The codes of what is coded, if they can be counted.
    pub(super) fn codes(&self, place: Use) -> Option<Arc<BitCodes>> {
        let Coded { tracked, bits, .. } = &self.coded[place.coded?];
        bits.get_or_init(|| tracked.bits().map(Arc::new)).clone()
    }

    /// What moves of coded matrices.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Lets nothing move but what these nodes alone use.
    pub(super) fn confine(&mut self, nodes: &Range<usize>) {
        self.all.iter_mut().for_each(|param| param.is_own = true);
        for (_, place) in self.uses.iter().filter(|((node, _), _)| !nodes.contains(node)) {
            self.all[place.param].is_own = false;
        }
        for Coded { param, scales, .. } in &self.coded {
            self.all[*scales].is_own = self.all[*param].is_own;
        }
        self.settle_moves();
    }

    /// Exchanges what may move for that of others of the same network.
    pub(super) fn exchange(&mut self, others: &mut Params) {
        let own: Vec<bool> = self.all.iter().map(|param| param.is_own).collect();
        let pairs = self.all.iter_mut().zip(&mut others.all);
        for ((param, other), _) in pairs.zip(&own).filter(|(_, is_own)| **is_own) {
            std::mem::swap(&mut param.weights, &mut other.weights);
            std::mem::swap(&mut param.bounds, &mut other.bounds);
        }
        let pairs = self.coded.iter_mut().zip(&mut others.coded);
        for (coded, other) in pairs.filter(|(coded, _)| own[coded.param]) {
            std::mem::swap(coded, other);
        }
    }

    /// Goes on with another stage from what the codes stand for: weights come to where their codes are the nearest.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        for Coded { param, scales, tracked, .. } in &self.coded {
            let Param { weights, bounds, is_own, .. } = &mut self.all[*param];
            if !*is_own {
                continue;
            }
            if let (Stage::Weights, Data::F32(weights)) = (stage, &mut weights.data) {
                tracked.pull(weights);
                let cols = weights.len().checked_div(bounds.len()).unwrap_or(0).max(1);
                for (bound, row) in bounds.iter_mut().zip(weights.chunks(cols)) {
                    *bound = bound.max(largest(row));
                }
            }
            if stage == Stage::Scales {
                self.all[*scales].weights.data = Data::F32(tracked.scales());
            }
        }
        self.settle_moves();
    }

    /// Which params move in this stage.
    fn settle_moves(&mut self) {
        self.all.iter_mut().for_each(|param| param.moves = param.is_own);
        for Coded { param, scales, .. } in &self.coded {
            self.all[*param].moves &= self.stage == Stage::Weights;
            self.all[*scales].moves &= self.stage == Stage::Scales;
        }
    }

    /// Bounds weights that are coded and lets codes follow them, or takes the coefficients, whichever moves.
    pub(super) fn follow(&mut self) {
        for Coded { param, scales, tracked, decoded, bits } in &mut self.coded {
            let moving = if self.stage == Stage::Scales { *scales } else { *param };
            let Param { weights, bounds, moves, .. } = &mut self.all[moving];
            let (Data::F32(weights), Data::F32(decoded), true) =
                (&mut weights.data, &mut decoded.data, *moves)
            else {
                continue;
            };
            bits.take();
            match self.stage {
                Stage::Scales => tracked.take_scales(weights, decoded),
                Stage::Weights => tracked.follow(weights, bounds, decoded),
            }
        }
    }

    /// Sets gradients to 0, once [`Params::settle`] is called.
    pub(super) fn clear(&mut self) {
        self.all.iter_mut().for_each(|param| param.stale = param.is_own);
    }

    /// Adds to a gradient. The first one takes its place: matrices are large.
    pub(super) fn add(&mut self, place: Use, gradient: Vec<f32>) {
        let param = &mut self.all[place.param];
        match std::mem::take(&mut param.stale) {
            true => param.gradient = gradient,
            false => param.gradient.iter_mut().zip(&gradient).for_each(|(sum, x)| *sum += x),
        }
    }

    /// Sets those gradients to 0 that were cleared and have nothing added; gives coefficients theirs, where they move.
    pub(super) fn settle(&mut self) {
        if self.stage == Stage::Scales {
            for Coded { param, scales, tracked, .. } in &self.coded {
                let Param { gradient, stale, .. } = &self.all[*param];
                if !stale {
                    self.all[*scales].gradient = tracked.by_scales(gradient);
                    self.all[*scales].stale = false;
                }
            }
        }
        for param in self.all.iter_mut().filter(|param| param.stale) {
            param.gradient.fill(0.0);
            param.stale = false;
        }
    }

    /// The codes as they are, in the place of those that were fitted; `module` gets what is not coded.
    pub(super) fn write(&self, module: &mut Module, fitted: &Fitted) -> Fitted {
        let matrices = fitted.matrices.iter().zip(&self.coded);
        let matrices = matrices
            .map(|(matrix, coded)| Matrix { codes: coded.tracked.matrix(), ..matrix.clone() });
        for (index, param) in self.all.iter().enumerate() {
            if let Some(value) = param.value
                && !self.coded.iter().any(|coded| coded.param == index)
            {
                module.constants.insert(value, param.weights.clone().into());
            }
        }
        Fitted { matrices: matrices.collect(), ..fitted.clone() }
    }

    /// The stage, weights and codes as bytes.
    pub(super) fn save(&self, to: &mut Vec<u8>) {
        to.push(self.stage as u8);
        for param in &self.all {
            to.extend(param.weights.data.to_bytes());
            to.extend(param.bounds.iter().flat_map(|bound| bound.to_le_bytes()));
        }
        self.coded.iter().for_each(|coded| coded.tracked.save(to));
    }

    /// Takes back what [`Params::save`] gave; none if the bytes end before.
    pub(super) fn restore(&mut self, from: &mut &[u8]) -> Option<()> {
        self.stage = if from.split_off_first()? == &0 { Stage::Scales } else { Stage::Weights };
        self.settle_moves();
        for param in &mut self.all {
            if let Data::F32(weights) = &mut param.weights.data {
                restore(weights, from)?;
            }
            restore(&mut param.bounds, from)?;
        }
        for Coded { tracked, decoded, bits, .. } in &mut self.coded {
            bits.take();
            tracked.restore(from)?;
            if let Data::F32(decoded) = &mut decoded.data {
                tracked.decode(decoded);
            }
        }
        Some(())
    }
}

fn largest(row: &[f32]) -> f32 {
    row.iter().fold(0.0, |most, w| most.max(w.abs()))
}

/// Whether a node looks up rows of a matrix.
pub(super) fn is_table(op: &Option<Op>, constant: &Tensor) -> bool {
    matches!(op, Some(Op::Gather(gather)) if gather.axis == 0) && constant.dims.len() == 2
}

/// Floats from their bytes.
pub(super) fn restore(floats: &mut [f32], from: &mut &[u8]) -> Option<()> {
    let bytes = from.split_off(..4 * floats.len())?;
    for (to, bytes) in floats.iter_mut().zip(bytes.chunks_exact(4)) {
        *to = f32::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(())
}
