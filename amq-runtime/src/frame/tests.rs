//! Chains, places and segments change nothing: random graphs give the same bits however they are
//! planned.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use amq_format::graph::*;
use amq_format::{Draft, Validated};
use proptest::prelude::*;

use super::*;
use crate::kernels::{Isa, NAN};
use crate::product::Packer;
use crate::weights::Constants;
use crate::workers::Alone;

/// Sizes of the shape that most values have.
const DIMS: [usize; 2] = [3, 1500];

/// A graph of elementwise operators, views and sums in between.
struct Random {
    graph: Graph,
    data: Vec<Vec<u8>>,
    /// Floats of the shape `DIMS`.
    values: Vec<ValueId>,
    state: u64,
}

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.state >> 33) as usize % below
    }

    fn float(&mut self) -> f32 {
        self.next(4001) as f32 / 1000.0 - 2.0
    }

    fn value(&mut self) -> ValueId {
        self.graph.values.push(format!("v{}", self.graph.values.len()));
        self.graph.values.len() as ValueId - 1
    }

    fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let output = self.value();
        self.graph.nodes.push(Node {
            name: format!("n{output}"),
            inputs: inputs.to_vec(),
            outputs: Vec::from([output]),
            version: 1,
            op: Some(op),
            ..Node::default()
        });
        output
    }

    fn constant(&mut self, dims: &[usize]) -> ValueId {
        let value = self.value();
        self.graph.tensors.push(Tensor {
            value,
            data_type: DataType::F32 as i32,
            dims: dims.iter().map(|&size| size as u64).collect(),
            ..Tensor::default()
        });
        let count = dims.iter().product();
        let elements: Vec<f32> = (0..count).map(|_| self.float()).collect();
        self.data.push(elements.iter().flat_map(|x| x.to_le_bytes()).collect());
        value
    }

    fn any(&mut self) -> ValueId {
        // Rather what came last, so that chains form.
        let back = self.next(4).min(self.next(self.values.len()));
        self.values[self.values.len() - 1 - back]
    }

    fn binary(&mut self, function: BinaryFunction, inputs: &[ValueId]) -> ValueId {
        self.node(Op::Binary(Binary { function: function as i32 }), inputs)
    }

    fn reshape(&mut self, x: ValueId, dims: &[usize]) -> ValueId {
        let dims = dims.iter().map(|&size| Dim::from(size as i64)).collect();
        self.node(Op::Reshape(Reshape { dims }), &[x])
    }

    fn grow(&mut self) {
        use BinaryFunction as F;
        let x = self.any();
        let y = match self.next(10) {
            0..3 => {
                let functions = [UnaryFunction::Sigmoid, UnaryFunction::Abs, UnaryFunction::Affine];
                let function = functions[self.next(3)] as i32;
                self.node(Op::Unary(Unary { function, alpha: 0.7, beta: -0.2 }), &[x])
            }
            3..6 => {
                let other = match self.next(6) {
                    0 => self.constant(&[1]),
                    1 => self.constant(&[DIMS[1]]),
                    2 => self.constant(&[DIMS[0], 1]),
                    _ => self.any(),
                };
                let functions = [F::Add, F::Sub, F::Mul, F::Max, F::Div];
                let function = functions[self.next(5)];
                let pair = if self.next(2) == 0 { [x, other] } else { [other, x] };
                self.binary(function, &pair)
            }
            6 => {
                let pair = [x, self.any()];
                let less = self.binary(F::Less, &pair);
                let (a, b) = (self.any(), self.any());
                self.node(Op::Select(Select {}), &[less, a, b])
            }
            7 => {
                let int = self.node(Op::Cast(Cast { to: DataType::I32 as i32 }), &[x]);
                self.node(Op::Cast(Cast { to: DataType::F32 as i32 }), &[int])
            }
            8 => {
                // Two short axes: rows are no blocks.
                let split = self.reshape(x, &[DIMS[0], 50, 30]);
                let narrow = self.constant(&[50, 1]);
                let sum = self.binary(F::Add, &[narrow, split]);
                self.reshape(sum, &DIMS)
            }
            _ => {
                let kind = ReduceKind::Max as i32;
                let most = self
                    .node(Op::Reduce(Reduce { kind, axes: Vec::from([1]), keep_dims: true }), &[x]);
                let other = self.any();
                self.binary(F::Sub, &[other, most])
            }
        };
        self.values.push(y);
    }
}

fn random(seed: u64) -> Draft {
    let graph = Graph { values: Vec::from([String::new()]), ..Graph::default() };
    let mut random = Random { graph, data: Vec::new(), values: Vec::new(), state: seed };
    let x = random.value();
    let port = |value| Port {
        value,
        data_type: DataType::F32 as i32,
        dims: DIMS.iter().map(|&size| Dim::from(size as i64)).collect(),
        ..Port::default()
    };
    random.graph.inputs.push(port(x));
    random.values.push(x);
    (0..30).for_each(|_| random.grow());
    let mut outputs = Vec::from([random.values[random.values.len() - 1]]);
    for _ in 0..2 {
        let output = random.next(random.values.len());
        outputs.push(random.values[output]);
    }
    outputs.sort_unstable();
    outputs.dedup();
    random.graph.outputs = outputs.into_iter().map(port).collect();
    Draft { graph: random.graph, data: random.data, ..Draft::default() }
}

struct Only<'a>(&'a [f32]);

impl Given for Only<'_> {
    fn input(&self, _: usize) -> Option<Data<'_>> {
        Some(Data::F32(self.0))
    }
}

/// The bits of all outputs, after calls that left other values in the slots; and the steps.
fn run(program: &Program, target: Target, apart: bool) -> (Vec<Vec<u32>>, usize) {
    let (mut frame, mut memory) = (Frame::new(), Memory::default());
    frame.plan(program, |_| Some(&DIMS[..]), apart, &mut memory, 1 << 30).unwrap();
    let x: Vec<f32> = (0..DIMS[0] * DIMS[1]).map(|i| (i % 677) as f32 / 200.0 - 1.5).collect();
    for x in [&x.iter().map(|x| x * 3.0).collect::<Vec<f32>>(), &x] {
        frame
            .run(
                program,
                &Only(x),
                &mut Means { target, memory: &mut memory, workers: &Alone, probe: None },
            )
            .unwrap();
    }
    let bits = |i| match frame.output(i).data {
        // Which NaN it is, is said only of what leaves a session.
        Data::F32(y) => y.iter().map(|y| if y.is_nan() { NAN.to_bits() } else { y.to_bits() }),
        other => panic!("{other:?}"),
    };
    let bits = (0..program.outputs.len()).map(|i| bits(i).collect()).collect();
    (bits, frame.plans[0].steps())
}

#[test]
fn a_chain_is_one_step_in_the_place_of_its_operand() {
    let mut draft = random(1);
    draft.graph.nodes.clear();
    draft.graph.values.truncate(2);
    draft.graph.tensors.clear();
    let mut random = Random { graph: draft.graph, data: Vec::new(), values: Vec::new(), state: 7 };
    let soft = random.node(Op::Softmax(Softmax { axis: 1, log: false }), &[1]);
    let function = UnaryFunction::Affine as i32;
    let affine = random.node(Op::Unary(Unary { function, alpha: 2.0, beta: 1.0 }), &[soft]);
    let row = random.constant(&[DIMS[1]]);
    let scaled = random.binary(BinaryFunction::Mul, &[row, affine]);
    let y = random.binary(BinaryFunction::Add, &[scaled, affine]);
    random.graph.outputs.truncate(1);
    random.graph.outputs[0].value = y;
    let file =
        amq_format::write(Draft { graph: random.graph, data: random.data, ..draft }).unwrap();
    let file = Validated::new(&file).unwrap();
    let target = Target::new(Isa::detect()).unwrap();
    let constants = &mut Constants::new(file.network(), Packer::alone(target));
    let program = Program::new(file.graph().clone(), constants).unwrap();
    let slots = |apart| {
        let (mut frame, mut memory) = (Frame::new(), Memory::default());
        frame.plan(&program, |_| Some(&DIMS[..]), apart, &mut memory, 1 << 30).unwrap();
        (frame.plans[0].steps(), frame.slots.len())
    };
    assert_eq!(slots(false), (2, 1));
    assert_eq!(slots(true), (4, 2));
    assert!(run(&program, target, false).0 == run(&program, target, true).0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn however_planned_the_bits_are_the_same(seed: u64) {
        let file = amq_format::write(random(seed)).unwrap();
        let file = Validated::new(&file).unwrap();
        let target = Target::new(Isa::detect()).unwrap();
        let program = || {
            Program::new(file.graph().clone(), &mut Constants::new(file.network(), Packer::alone(target))).unwrap()
        };
        let mut program = program();
        let (expected, apart) = run(&program, target, true);
        let (found, fused) = run(&program, target, false);
        prop_assert!(expected == found);
        prop_assert!(fused <= apart);

        let scalar = Target::new(Isa::Scalar).unwrap();
        prop_assert!(expected == run(&program, scalar, false).0);

        // As if every third node bound a size.
        let nodes = program.graph.nodes.len();
        program.segments = (0..nodes).step_by(3).map(|i| i..nodes.min(i + 3)).collect();
        prop_assert!(expected == run(&program, target, false).0);
    }
}
