//! The rules of each operator.

use super::check_dim;
use crate::error::Rule;
use crate::graph::{
    ABSENT, Activations, AutoPad, BinaryFunction, Cell, Conv, DataType, Dim, Direction, Gather,
    Graph, MultiBit, Node, Op, PadMode, Pool, PoolKind, Recurrent, ReduceKind, Slice, Tensor,
    Unary, UnaryFunction, ValueId,
};
use crate::spec::{MAX_BITS_WITH_CODES, MAX_HIDDEN, MAX_RANK, MAX_WINDOW};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What operators are checked against.
pub(super) struct Context<'a> {
    pub(super) graph: &'a Graph,
    /// Each value's tensor.
    pub(super) constants: Vec<Option<usize>>,
    /// Names that dimensions may have.
    pub(super) names: BTreeSet<String>,
    /// Of each tensor, whether it is a weight or a bias.
    pub(super) weights: &'a mut Vec<bool>,
}

type Checked<T = ()> = Result<T, (Rule, String)>;

fn ensure(holds: bool, rule: Rule, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err((rule, what())) }
}

/// An attribute's number as one of an enumeration.
fn known<E: TryFrom<i32>>(number: i32, attribute: &str) -> Checked<E> {
    E::try_from(number).map_err(|_| (Rule::G11, format!("{attribute} is {number}")))
}

impl Context<'_> {
    /// The constant that gives a value, if one does.
    pub(super) fn constant(&self, value: ValueId) -> Option<&Tensor> {
        let index = (*self.constants.get(value as usize)?)?;
        self.graph.tensors.get(index)
    }

    pub(super) fn check(&mut self, node: &Node) -> Checked {
        let Some(op) = &node.op else { return Ok(()) };
        check_arity(node, op)?;
        self.check_multi_bit(node, op)?;
        match op {
            Op::Linear(linear) => {
                let weight = self.weight(node, 1, "W", |dims| dims.len() == 2)?;
                self.bias(node, 2, "bias", |dims| dims == [weight.dims[0]])?;
                check_activations(linear.activations, &[weight.multi_bit.as_ref()])
            }
            Op::Conv(conv) => self.check_conv(node, conv),
            Op::Pool(pool) => check_pool(pool),
            Op::Recurrent(recurrent) => self.check_recurrent(node, recurrent),
            Op::Gather(Gather { axis }) => check_axes(&[*axis]),
            Op::Unary(unary) => check_unary(unary),
            Op::Binary(binary) => known::<BinaryFunction>(binary.function, "function").map(drop),
            Op::Reduce(reduce) => {
                known::<ReduceKind>(reduce.kind, "kind")?;
                check_axes(&reduce.axes)?;
                let ascending = reduce.axes.is_sorted_by(|a, b| a < b);
                ensure(ascending, Rule::G11, || format!("axes {:?}", reduce.axes))
            }
            Op::Softmax(softmax) => check_axes(&[softmax.axis]),
            Op::Concat(concat) => check_axes(&[concat.axis]),
            Op::Slice(slice) => self.check_slice(slice),
            Op::Reshape(reshape) => self.check_shape(&reshape.dims),
            Op::Expand(expand) => self.check_shape(&expand.dims),
            Op::Transpose(transpose) => {
                check_axes(&transpose.perm)?;
                let mut sorted = transpose.perm.clone();
                sorted.sort_unstable();
                let permutes = sorted.iter().enumerate().all(|(i, &axis)| axis as usize == i);
                ensure(permutes, Rule::G11, || format!("perm {:?}", transpose.perm))
            }
            Op::Pad(pad) => {
                known::<PadMode>(pad.mode, "mode")?;
                let (begins, ends) = (pad.begins.len(), pad.ends.len());
                ensure(begins == ends && begins <= MAX_RANK, Rule::G11, || {
                    format!("{begins} begins, {ends} ends")
                })?;
                self.check_dims(pad.begins.iter().chain(&pad.ends), i64::MIN)
            }
            Op::Cast(cast) => known::<DataType>(cast.to, "to").map(drop),
            Op::Dims(dims) => self.check_dims(&dims.dims, i64::MIN),
            Op::MatMul(_) | Op::Select(_) => Ok(()),
        }
    }

    /// An f32 constant that the operator needs, whose shape `fits` accepts.
    fn weight(
        &mut self,
        node: &Node,
        input: usize,
        name: &str,
        fits: impl FnOnce(&[u64]) -> bool,
    ) -> Checked<Tensor> {
        let value = node.inputs.get(input).copied().unwrap_or(ABSENT);
        let tensor = self.constant(value).cloned();
        let tensor = tensor.ok_or_else(|| (Rule::G13, format!("{name} is no constant")))?;
        ensure(tensor.data_type == DataType::F32 as i32 && fits(&tensor.dims), Rule::G13, || {
            let found =
                DataType::try_from(tensor.data_type).map_or("of no known type", DataType::name);
            format!("{name} is {found}, its shape {:?}", tensor.dims)
        })?;
        if let Some(index) = self.constants[value as usize] {
            self.weights[index] = true;
        }
        Ok(tensor)
    }

    /// As [`weight`](Self::weight), where the input may be absent.
    fn bias(
        &mut self,
        node: &Node,
        input: usize,
        name: &str,
        fits: impl FnOnce(&[u64]) -> bool,
    ) -> Checked {
        match node.inputs.get(input) {
            None | Some(&ABSENT) => Ok(()),
            Some(_) => self.weight(node, input, name, fits).map(drop),
        }
    }

    /// Multi-bit inputs stand only where the operator takes them, divided into its rows.
    fn check_multi_bit(&self, node: &Node, op: &Op) -> Checked {
        for (input, &value) in node.inputs.iter().enumerate() {
            let Some(tensor) = self.constant(value) else { continue };
            let Some(coding) = &tensor.multi_bit else { continue };
            let leading = match (op, input) {
                (Op::Linear(_) | Op::Conv(_), 1) | (Op::Gather(Gather { axis: 0 }), 0) => 1,
                (Op::Recurrent(_), 1 | 2) => 2,
                _ => return Err((Rule::G14, format!("input {input} may not be multi-bit"))),
            };
            let leading = tensor.dims.get(..leading).unwrap_or_default();
            let rows = leading.iter().try_fold(1u64, |rows, &dim| rows.checked_mul(dim));
            ensure(!leading.is_empty() && rows == Some(coding.rows), Rule::G14, || {
                format!("input {input} of shape {:?} has {} rows", tensor.dims, coding.rows)
            })?;
        }
        Ok(())
    }

    fn check_conv(&mut self, node: &Node, conv: &Conv) -> Checked {
        let weight = self.weight(node, 1, "W", |dims| {
            (3..=4).contains(&dims.len()) && dims.iter().all(|&dim| dim > 0)
        })?;
        let out_channels = weight.dims[0];
        self.bias(node, 2, "bias", |dims| dims == [out_channels])?;
        let divides = out_channels.checked_rem(conv.groups) == Some(0);
        ensure(divides, Rule::G11, || format!("{} groups", conv.groups))?;
        let window = Window {
            kernel: &weight.dims[2..],
            strides: &conv.strides,
            dilations: &conv.dilations,
            pads: &conv.pads,
            auto_pad: conv.auto_pad,
        };
        window.check()?;
        check_activations(conv.activations, &[weight.multi_bit.as_ref()])
    }

    fn check_recurrent(&mut self, node: &Node, recurrent: &Recurrent) -> Checked {
        let cell: Cell = known(recurrent.cell, "cell")?;
        let direction: Direction = known(recurrent.direction, "direction")?;
        let hidden = recurrent.hidden_size;
        ensure((1..=MAX_HIDDEN).contains(&hidden), Rule::G11, || format!("hidden_size {hidden}"))?;
        let lstm = cell == Cell::Lstm;
        ensure(lstm || node.inputs.len() <= 6 && node.outputs.len() <= 2, Rule::G10, || {
            format!("{} inputs and {} outputs", node.inputs.len(), node.outputs.len())
        })?;
        ensure(
            (lstm || !recurrent.input_forget)
                && (cell == Cell::Gru || !recurrent.linear_before_reset),
            Rule::G11,
            || String::from("input_forget is LSTM's alone, linear_before_reset GRU's"),
        )?;
        if let Some(clip) = recurrent.clip {
            ensure(clip >= 0.0, Rule::G11, || format!("clip is {clip}"))?;
        }
        let of_cell = match cell {
            Cell::Lstm => 3,
            Cell::Gru => 2,
            Cell::Rnn => 1,
        };
        let count = recurrent.functions.len();
        ensure(count == of_cell * direction.count(), Rule::G11, || format!("{count} functions"))?;
        for function in &recurrent.functions {
            check_unary(function)?;
            let of_gates = matches!(
                function.function(),
                UnaryFunction::Relu
                    | UnaryFunction::Tanh
                    | UnaryFunction::Sigmoid
                    | UnaryFunction::Affine
                    | UnaryFunction::LeakyRelu
                    | UnaryFunction::ThresholdedRelu
                    | UnaryFunction::ScaledTanh
                    | UnaryFunction::HardSigmoid
                    | UnaryFunction::Elu
                    | UnaryFunction::Softsign
                    | UnaryFunction::Softplus
            );
            ensure(of_gates, Rule::G11, || format!("{:?} of a gate", function.function()))?;
        }

        let directions = direction.count() as u64;
        // At most 2 * 4 * 2^24: no overflow.
        let rows = cell.gates() as u64 * hidden;
        let w = self.weight(node, 1, "W", |dims| {
            dims.len() == 3 && dims[..2] == [directions, rows] && dims[2] > 0
        })?;
        let r = self.weight(node, 2, "R", |dims| dims == [directions, rows, hidden])?;
        self.bias(node, 3, "B", |dims| dims == [directions, 2 * rows])?;
        self.bias(node, 7, "P", |dims| dims == [directions, 3 * hidden])?;
        check_activations(recurrent.activations, &[w.multi_bit.as_ref(), r.multi_bit.as_ref()])
    }

    fn check_slice(&self, slice: &Slice) -> Checked {
        check_axes(&slice.axes)?;
        let axes = slice.axes.len();
        let distinct = (1..axes).all(|i| !slice.axes[..i].contains(&slice.axes[i]));
        ensure(distinct, Rule::G11, || format!("axes {:?}", slice.axes))?;
        ensure(
            [slice.starts.len(), slice.ends.len(), slice.steps.len()] == [axes; 3],
            Rule::G11,
            || String::from("there are not as many starts, ends and steps as axes"),
        )?;
        let steps = slice.steps.iter().all(|&step| step != 0 && step != i64::MIN);
        ensure(steps, Rule::G11, || format!("steps {:?}", slice.steps))?;
        self.check_dims(slice.starts.iter().chain(&slice.ends), i64::MIN)
    }

    fn check_shape(&self, dims: &[Dim]) -> Checked {
        ensure(dims.len() <= MAX_RANK, Rule::G11, || format!("{} axes", dims.len()))?;
        self.check_dims(dims, 0)
    }

    fn check_dims<'d>(&self, dims: impl IntoIterator<Item = &'d Dim>, least: i64) -> Checked {
        dims.into_iter().try_for_each(|dim| {
            check_dim(dim, &self.names, least).map_err(|what| (Rule::G12, what))
        })
    }
}

fn check_arity(node: &Node, op: &Op) -> Checked {
    // Inputs that must be there, inputs there may be, outputs there may be.
    let (needed, inputs, outputs) = match op {
        Op::Linear(_) | Op::Conv(_) => (2, 3, 1),
        Op::Recurrent(_) => (3, 8, 3),
        Op::MatMul(_) | Op::Gather(_) | Op::Binary(_) => (2, 2, 1),
        Op::Select(_) => (3, 3, 1),
        Op::Concat(_) => (node.inputs.len().max(1), usize::MAX, 1),
        Op::Pad(_) => (1, 2, 1),
        Op::Dims(_) => (0, 0, 1),
        Op::Pool(_)
        | Op::Unary(_)
        | Op::Reduce(_)
        | Op::Softmax(_)
        | Op::Slice(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Expand(_)
        | Op::Cast(_) => (1, 1, 1),
    };
    let found = (node.inputs.len(), node.outputs.len());
    ensure(
        (needed..=inputs).contains(&found.0) && (1..=outputs).contains(&found.1),
        Rule::G10,
        || format!("{} inputs and {} outputs", found.0, found.1),
    )?;
    ensure(
        !node.inputs.iter().take(needed).any(|&value| value == ABSENT)
            && node.outputs.iter().any(|&value| value != ABSENT),
        Rule::G4,
        || String::from("an input or output that must be there is absent"),
    )
}

fn check_axes(axes: &[u32]) -> Checked {
    ensure(axes.len() <= MAX_RANK, Rule::G11, || format!("{} axes", axes.len()))?;
    ensure(axes.iter().all(|&axis| (axis as usize) < MAX_RANK), Rule::G11, || {
        format!("axes {axes:?}")
    })
}

fn check_unary(unary: &Unary) -> Checked {
    known::<UnaryFunction>(unary.function, "function")?;
    // Protobuf would lose the sign of a zero.
    let parameter = |x: f32| !x.is_nan() && (x != 0.0 || x.is_sign_positive());
    ensure(parameter(unary.alpha) && parameter(unary.beta), Rule::G11, || {
        format!("alpha {:?} and beta {:?}", unary.alpha, unary.beta)
    })
}

/// The weights are those inputs that may be multi-bit, and how they are.
fn check_activations(activations: i32, weights: &[Option<&MultiBit>]) -> Checked {
    let activations: Activations = known(activations, "activations")?;
    if activations == Activations::F32 {
        return Ok(());
    }
    let most = weights.iter().flatten().map(|coding| coding.bits).max();
    let (allowed, found) = (activations.codes().is_none(), activations.adjective());
    let Some(bits) = most else {
        return Err((Rule::G15, format!("{found} activations meet plain weights")));
    };
    ensure(allowed || bits <= MAX_BITS_WITH_CODES, Rule::G15, || {
        format!("{found} activations meet weights of {bits} bits")
    })
}

/// The windows of a convolution or pooling.
struct Window<'a> {
    kernel: &'a [u64],
    strides: &'a [u64],
    dilations: &'a [u64],
    pads: &'a [u64],
    auto_pad: i32,
}

impl Window<'_> {
    fn check(&self) -> Checked {
        let axes = self.kernel.len();
        let auto_pad: AutoPad = known(self.auto_pad, "auto_pad")?;
        ensure((1..=2).contains(&axes), Rule::G11, || format!("windows of {axes} axes"))?;
        let most_pad = if auto_pad == AutoPad::Explicit { MAX_WINDOW } else { 0 };
        for (name, sizes, count, range) in [
            ("kernel", self.kernel, axes, 1..=MAX_WINDOW),
            ("strides", self.strides, axes, 1..=MAX_WINDOW),
            ("dilations", self.dilations, axes, 1..=MAX_WINDOW),
            ("pads", self.pads, 2 * axes, 0..=most_pad),
        ] {
            ensure(sizes.len() == count, Rule::G11, || format!("{} {name}", sizes.len()))?;
            ensure(sizes.iter().all(|size| range.contains(size)), Rule::G11, || {
                format!("{name} {sizes:?}")
            })?;
        }
        Ok(())
    }
}

fn check_pool(pool: &Pool) -> Checked {
    known::<PoolKind>(pool.kind, "kind")?;
    let window = Window {
        kernel: &pool.kernel,
        strides: &pool.strides,
        dilations: &pool.dilations,
        pads: &pool.pads,
        auto_pad: pool.auto_pad,
    };
    window.check()?;
    // A border as wide as the window would give windows without an element. So may dilation, on an
    // axis shorter than it: that is known only when a call is planned.
    let narrow = pool.pads.iter().enumerate().all(|(i, &pad)| {
        let axis = i % pool.kernel.len();
        pad <= (pool.kernel[axis] - 1) * pool.dilations[axis]
    });
    ensure(narrow, Rule::G11, || format!("pads {:?} of kernel {:?}", pool.pads, pool.kernel))
}
