use std::vec;
use std::vec::Vec;

use amq_format::graph::{Activations, UnaryFunction};

use super::*;
use crate::kernels::{Isa, NAN};
use crate::product::{MatrixSource, Packer};
use crate::workers::Alone;

/// Numbers that repeat from run to run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 1
    }

    fn numbers(&mut self, count: usize, size: f32) -> Vec<f32> {
        (0..count).map(|_| (self.below(20_001) as f32 / 10_000.0 - 1.0) * size).collect()
    }
}

fn function(function: UnaryFunction, alpha: f32, beta: f32) -> Unary {
    Unary { function: function as i32, alpha, beta }
}

/// A layer, its data and what to do with them.
#[derive(Clone, Debug)]
struct Problem {
    recurrent: Recurrent,
    input: usize,
    weights: Vec<Weights<'static>>,
    steps: usize,
    batch: usize,
    x: Vec<f32>,
    lengths: Option<Vec<i32>>,
    h: Option<Vec<f32>>,
    c: Option<Vec<f32>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Answer {
    y: Vec<f32>,
    h: Vec<f32>,
    c: Vec<f32>,
}

impl Answer {
    fn bits(&self) -> Vec<u32> {
        self.y.iter().chain(&self.h).chain(&self.c).map(|x| x.to_bits()).collect()
    }
}

fn float(random: &mut Random, rows: usize, cols: usize) -> MatrixSource<'static> {
    let size = 1.5 / (cols.max(1) as f32).sqrt();
    MatrixSource::float(rows, cols, &random.numbers(rows * cols, size))
}

fn codes(random: &mut Random, rows: usize, cols: usize) -> MatrixSource<'static> {
    let words = cols.div_ceil(64);
    let mut planes = Vec::new();
    for _ in 0..2 * rows {
        for word in 0..words {
            let used = (cols - word * 64).min(64);
            let all = random.next() ^ random.next() << 32;
            planes.push(u64::to_le_bytes(all & (u64::MAX >> (64 - used))));
        }
    }
    let (planes, coefficients) = (planes.into(), random.numbers(rows * 2, 0.3));
    MatrixSource::Codes { rows, cols, group: cols, bits: 2, planes, coefficients, offsets: None }
}

impl Problem {
    fn new(
        random: &mut Random,
        cell: Cell,
        matrix: fn(&mut Random, usize, usize) -> MatrixSource<'static>,
    ) -> Problem {
        let (input, hidden) = (1 + random.below(9), 1 + random.below(35));
        let direction =
            [Direction::Forward, Direction::Reverse, Direction::Bidirectional][random.below(3)];
        let sets = [
            [
                function(UnaryFunction::Sigmoid, 0.0, 0.0),
                function(UnaryFunction::Tanh, 0.0, 0.0),
                function(UnaryFunction::Tanh, 0.0, 0.0),
            ],
            [
                function(UnaryFunction::HardSigmoid, 0.2, 0.5),
                function(UnaryFunction::Softsign, 0.0, 0.0),
                function(UnaryFunction::ScaledTanh, 0.9, 1.1),
            ],
            [
                function(UnaryFunction::Sigmoid, 0.0, 0.0),
                function(UnaryFunction::Affine, 0.7, 0.1),
                function(UnaryFunction::Elu, 0.5, 0.0),
            ],
        ];
        let count = [3, 2, 1][cell as usize];
        let directions = direction.count();
        let mut functions = Vec::new();
        for _ in 0..directions {
            let set = sets[random.below(sets.len())];
            // An RNN's only function is better tanh-like than sigmoid-like.
            functions.extend_from_slice(if cell == Cell::Rnn { &set[1..2] } else { &set[..count] });
        }
        let rows = cell.gates() * hidden;
        let lstm = cell == Cell::Lstm;
        let (biases, peepholes) = (random.chance(), lstm && random.chance());
        let weights = (0..directions)
            .map(|_| Weights {
                w: matrix(random, rows, input),
                r: matrix(random, rows, hidden),
                biases: biases.then(|| random.numbers(2 * rows, 0.5).into()),
                peepholes: peepholes.then(|| random.numbers(3 * hidden, 0.8).into()),
            })
            .collect();
        // At times more sequences than are computed together.
        let many = if random.below(16) == 0 { VECTORS } else { 0 };
        let (steps, batch) = (random.below(9), 1 + many + random.below(4));
        let states = directions * batch * hidden;
        Problem {
            recurrent: Recurrent {
                cell: cell as i32,
                hidden_size: hidden as u64,
                direction: direction as i32,
                functions,
                clip: random.chance().then_some(0.6),
                input_forget: lstm && random.chance(),
                linear_before_reset: random.chance(),
                activations: Activations::F32 as i32,
                recurrent_activations: Activations::F32 as i32,
            },
            input,
            weights,
            steps,
            batch,
            x: random.numbers(steps * batch * input, 1.5),
            lengths: random
                .chance()
                .then(|| (0..batch).map(|_| random.below(steps + 1) as i32).collect()),
            h: random.chance().then(|| random.numbers(states, 1.0)),
            c: (lstm && random.chance()).then(|| random.numbers(states, 1.0)),
        }
    }

    fn layer(&self, target: Target) -> Result<Layer, LayerError> {
        Layer::new(&self.recurrent, &self.weights, target, &mut |which, direction, rows| {
            let weights = &self.weights[direction];
            let (source, activations) = match which {
                Which::W => (&weights.w, self.recurrent.activations()),
                Which::R => (&weights.r, self.recurrent.recurrent_activations()),
            };
            Matrix::pack_rows(source, rows, activations, Packer::alone(target)).map(Arc::new)
        })
    }

    fn hidden(&self) -> usize {
        self.recurrent.hidden_size as usize
    }

    fn lstm(&self) -> bool {
        self.recurrent.cell() == Cell::Lstm
    }

    fn length(&self, n: usize) -> usize {
        self.lengths.as_ref().map_or(self.steps, |lengths| lengths[n] as usize)
    }

    fn solve(&self, target: Target) -> Answer {
        self.try_solve(target).unwrap()
    }

    /// The answer, which must be the same whichever end the weights are read from first.
    fn try_solve(&self, target: Target) -> Result<Answer, LayerError> {
        let layer = self.layer(target)?;
        let mut scratch = Scratch::default();
        layer.reserve(self.steps, self.batch, &mut scratch);
        let answer = self.run(&layer, &mut scratch)?;
        assert_eq!(scratch.order, Order::Forward);
        scratch.order = Order::Backward;
        assert_eq!(self.run(&layer, &mut scratch)?.bits(), answer.bits());
        Ok(answer)
    }

    fn run(&self, layer: &Layer, scratch: &mut Scratch) -> Result<Answer, LayerError> {
        let states = self.weights.len() * self.batch * self.hidden();
        let mut answer = Answer {
            y: vec![7.0; self.steps * states],
            h: vec![7.0; states],
            c: vec![7.0; if self.lstm() { states } else { 0 }],
        };
        let mut work = vec![f32::NAN; layer.work_len(self.steps, self.batch)?];
        let inputs = Inputs {
            x: &self.x,
            steps: self.steps,
            batch: self.batch,
            lengths: self.lengths.as_deref(),
            h: self.h.as_deref(),
            c: self.c.as_deref(),
        };
        let c = self.lstm().then_some(&mut answer.c[..]);
        let outputs = Outputs { y: Some(&mut answer.y), h: Some(&mut answer.h), c };
        layer.forward(&inputs, outputs, &mut work, &mut tools(scratch))?;
        Ok(answer)
    }

    /// One sequence of the batch, as long as it is.
    fn alone(&self, n: usize) -> Problem {
        let steps = self.length(n);
        let (hidden, input) = (self.hidden(), self.input);
        let state = |states: &Vec<f32>| {
            (0..self.weights.len())
                .flat_map(|d| states[(d * self.batch + n) * hidden..][..hidden].to_vec())
                .collect::<Vec<f32>>()
        };
        Problem {
            steps,
            batch: 1,
            x: (0..steps)
                .flat_map(|t| self.x[(t * self.batch + n) * input..][..input].to_vec())
                .collect(),
            lengths: None,
            h: self.h.as_ref().map(state),
            c: self.c.as_ref().map(state),
            ..self.clone()
        }
    }
}

/// Element of a matrix, decoded.
fn element(matrix: &MatrixSource<'_>, row: usize, col: usize) -> f64 {
    match matrix {
        MatrixSource::Float { cols, data, .. } => {
            f64::from(f32::from_le_bytes(data[row * cols + col]))
        }
        MatrixSource::InFile { .. } => panic!("it is in no file"),
        MatrixSource::Codes { rows, cols, bits, planes, coefficients, .. } => (0..*bits)
            .map(|plane| {
                let word = planes[(plane * rows + row) * cols.div_ceil(64) + col / 64];
                let word = u64::from_le_bytes(word);
                let sign = if word >> (col % 64) & 1 == 1 { 1.0 } else { -1.0 };
                sign * f64::from(coefficients[row * bits + plane])
            })
            .sum(),
    }
}

fn call(function: &Unary, x: f64) -> f64 {
    let (alpha, beta) = (f64::from(function.alpha), f64::from(function.beta));
    match function.function() {
        UnaryFunction::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryFunction::Tanh => x.tanh(),
        UnaryFunction::HardSigmoid => (alpha * x + beta).clamp(0.0, 1.0),
        UnaryFunction::Softsign => x / (1.0 + x.abs()),
        UnaryFunction::ScaledTanh => alpha * (beta * x).tanh(),
        UnaryFunction::Affine => alpha * x + beta,
        UnaryFunction::Elu if x < 0.0 => alpha * (x.exp() - 1.0),
        UnaryFunction::Elu => x,
        other => panic!("{other:?} is not used here"),
    }
}

/// ONNX's formulas, one number at a time: y, h, c.
fn reference(p: &Problem) -> [Vec<f64>; 3] {
    let (hidden, batch, directions) = (p.hidden(), p.batch, p.weights.len());
    let states = directions * batch * hidden;
    let mut y = vec![0.0; p.steps * states];
    let widen = |from: &Option<Vec<f32>>| match from {
        Some(from) => from.iter().map(|x| f64::from(*x)).collect(),
        None => vec![0.0; states],
    };
    let (mut last_h, mut last_c): (Vec<f64>, Vec<f64>) = (widen(&p.h), widen(&p.c));
    let per = p.recurrent.functions.len() / directions;
    for d in 0..directions {
        let weights = &p.weights[d];
        let backwards = match p.recurrent.direction() {
            Direction::Forward => false,
            Direction::Reverse => true,
            Direction::Bidirectional => d == 1,
        };
        let fun = |k: usize, x: f64| call(&p.recurrent.functions[d * per + k], x);
        let clip = |x: f64| match p.recurrent.clip {
            Some(bound) => x.clamp(-f64::from(bound), f64::from(bound)),
            None => x,
        };
        let gates = p.recurrent.cell().gates();
        let bias = |recurrent: usize, gate: usize, j: usize| {
            weights
                .biases
                .as_ref()
                .map_or(0.0, |b| f64::from(b[(recurrent * gates + gate) * hidden + j]))
        };
        let peep = |gate: usize, j: usize| {
            weights.peepholes.as_ref().map_or(0.0, |p| f64::from(p[gate * hidden + j]))
        };
        for n in 0..batch {
            let at = (d * batch + n) * hidden;
            let mut order: Vec<usize> = (0..p.length(n)).collect();
            if backwards {
                order.reverse();
            }
            for t in order {
                let h: Vec<f64> = last_h[at..at + hidden].to_vec();
                let c: Vec<f64> = last_c[at..at + hidden].to_vec();
                let wx = |gate: usize, j: usize| -> f64 {
                    (0..p.input)
                        .map(|i| {
                            element(&weights.w, gate * hidden + j, i)
                                * f64::from(p.x[(t * batch + n) * p.input + i])
                        })
                        .sum::<f64>()
                        + bias(0, gate, j)
                };
                let rh = |gate: usize, j: usize, h: &[f64]| -> f64 {
                    (0..hidden)
                        .map(|i| element(&weights.r, gate * hidden + j, i) * h[i])
                        .sum::<f64>()
                        + bias(1, gate, j)
                };
                match p.recurrent.cell() {
                    Cell::Rnn => {
                        for j in 0..hidden {
                            last_h[at + j] = fun(0, clip(wx(0, j) + rh(0, j, &h)));
                        }
                    }
                    Cell::Gru => {
                        let z: Vec<f64> =
                            (0..hidden).map(|j| fun(0, clip(wx(0, j) + rh(0, j, &h)))).collect();
                        let r: Vec<f64> =
                            (0..hidden).map(|j| fun(0, clip(wx(1, j) + rh(1, j, &h)))).collect();
                        let reset: Vec<f64> = r.iter().zip(&h).map(|(r, h)| r * h).collect();
                        for j in 0..hidden {
                            let recurrent = if p.recurrent.linear_before_reset {
                                r[j] * rh(2, j, &h)
                            } else {
                                rh(2, j, &reset)
                            };
                            let candidate = fun(1, clip(wx(2, j) + recurrent));
                            last_h[at + j] = (1.0 - z[j]) * candidate + z[j] * h[j];
                        }
                    }
                    Cell::Lstm => {
                        for j in 0..hidden {
                            let sum = |gate: usize| wx(gate, j) + rh(gate, j, &h);
                            let i = fun(0, clip(sum(0) + peep(0, j) * c[j]));
                            let f = if p.recurrent.input_forget {
                                1.0 - i
                            } else {
                                fun(0, clip(sum(2) + peep(2, j) * c[j]))
                            };
                            let new = f * c[j] + i * fun(1, clip(sum(3)));
                            let o = fun(0, clip(sum(1) + peep(1, j) * new));
                            last_c[at + j] = new;
                            last_h[at + j] = o * fun(2, new);
                        }
                    }
                }
                for j in 0..hidden {
                    y[((t * directions + d) * batch + n) * hidden + j] = last_h[at + j];
                }
            }
        }
    }
    [y, last_h, last_c]
}

fn best() -> Target {
    Target::new(Isa::detect()).unwrap()
}

const CELLS: [Cell; 3] = [Cell::Lstm, Cell::Gru, Cell::Rnn];

#[test]
fn layers_compute_the_formulas() {
    let mut random = Random(1);
    for round in 0..400 {
        for cell in CELLS {
            let matrix = if round % 4 == 0 { codes } else { float };
            let problem = Problem::new(&mut random, cell, matrix);
            let answer = problem.solve(best());
            let [y, h, c] = reference(&problem);
            let c = if problem.lstm() { c } else { Vec::new() };
            for (name, found, expected) in
                [("Y", &answer.y, y), ("Y_h", &answer.h, h), ("Y_c", &answer.c, c)]
            {
                assert_eq!(found.len(), expected.len());
                for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let error = (f64::from(*found) - expected).abs();
                    // Affine cells grow, and errors with them.
                    assert!(
                        error <= 2e-5 * (1.0 + expected.abs()),
                        "{name}[{i}]: {found} for {expected}, {:?}",
                        problem.recurrent
                    );
                }
            }
        }
    }
}

/// Problems whose activations are quantized as well.
fn quantized(random: &mut Random, cell: Cell, round: usize) -> Problem {
    let matrix = if round.is_multiple_of(4) { float } else { codes };
    let mut problem = Problem::new(random, cell, matrix);
    let kinds = [Activations::F32, Activations::Int8, Activations::Codes1, Activations::Codes3];
    problem.recurrent.activations = kinds[random.below(4)] as i32;
    problem.recurrent.recurrent_activations = kinds[random.below(4)] as i32;
    problem
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let mut random = Random(2);
    for round in 0..60 {
        for cell in CELLS {
            let problem = quantized(&mut random, cell, round);
            let answer = problem.solve(Target::new(Isa::Scalar).unwrap()).bits();
            for target in Isa::ALL.into_iter().filter_map(Target::new) {
                assert_eq!(problem.solve(target).bits(), answer, "{target:?} {problem:?}");
            }
        }
    }
}

#[test]
fn a_sequence_in_a_batch_is_the_sequence_alone() {
    let mut random = Random(3);
    for round in 0..100 {
        for cell in CELLS {
            let mut problem = quantized(&mut random, cell, round);
            // Padding may hold anything.
            for n in 0..problem.batch {
                for t in problem.length(n)..problem.steps {
                    let at = (t * problem.batch + n) * problem.input;
                    problem.x[at..at + problem.input].fill(f32::NAN);
                }
            }
            let answer = problem.solve(best());
            let (hidden, directions) = (problem.hidden(), problem.weights.len());
            for n in 0..problem.batch {
                let alone = problem.alone(n);
                let expected = alone.solve(best());
                for d in 0..directions {
                    let from = (d * problem.batch + n) * hidden..;
                    let at = d * hidden..(d + 1) * hidden;
                    assert_eq!(answer.h[from.clone()][..hidden], expected.h[at.clone()]);
                    if problem.lstm() {
                        assert_eq!(answer.c[from][..hidden], expected.c[at]);
                    }
                    for t in 0..problem.steps {
                        let row = ((t * directions + d) * problem.batch + n) * hidden;
                        let row = &answer.y[row..row + hidden];
                        if t < alone.steps {
                            assert_eq!(row, &expected.y[(t * directions + d) * hidden..][..hidden]);
                        } else {
                            assert!(row.iter().all(|y| y.to_bits() == 0));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn cutting_a_sequence_into_calls_changes_no_bit() {
    let mut random = Random(4);
    for round in 0..60 {
        for cell in CELLS {
            let mut problem = quantized(&mut random, cell, round);
            problem.recurrent.direction = Direction::Forward as i32;
            problem.weights.truncate(1);
            let functions = [3, 2, 1][cell as usize];
            problem.recurrent.functions.truncate(functions);
            problem.lengths = None;
            let states = problem.batch * problem.hidden();
            for states_of in [&mut problem.h, &mut problem.c] {
                states_of.iter_mut().for_each(|numbers| numbers.truncate(states));
            }
            // More steps than are multiplied with W together.
            problem.steps = 70 + random.below(70);
            problem.x = random.numbers(problem.steps * problem.batch * problem.input, 1.5);
            let whole = problem.solve(best());
            for longest in [1, 40] {
                let mut pieces = Answer { y: Vec::new(), h: Vec::new(), c: Vec::new() };
                let mut rest = problem.clone();
                let mut done = 0;
                while done < problem.steps {
                    rest.steps = (1 + random.below(longest)).min(problem.steps - done);
                    let width = problem.batch * problem.input;
                    rest.x = problem.x[done * width..(done + rest.steps) * width].to_vec();
                    done += rest.steps;
                    let answer = rest.solve(best());
                    pieces.y.extend_from_slice(&answer.y);
                    rest.h = Some(answer.h.clone());
                    rest.c = problem.lstm().then(|| answer.c.clone());
                    (pieces.h, pieces.c) = (answer.h, answer.c);
                }
                assert_eq!(pieces.bits(), whole.bits());
            }
        }
    }
}

#[test]
fn nans_are_canonical() {
    let mut random = Random(8);
    let odd = [0x7fc0_0001, 0xffc0_0000, 0x7f80_0001].map(f32::from_bits);
    let mut found = 0;
    for round in 0..60 {
        for cell in CELLS {
            let mut problem = quantized(&mut random, cell, round);
            let states = problem.weights.len() * problem.batch * problem.hidden();
            problem.h = Some((0..states).map(|i| odd[i % 3]).collect());
            problem.c = problem.lstm().then(|| (0..states).map(|i| odd[i % 3]).collect());
            // Products give the canonical one; what is added to them keeps its own.
            let biases = 2 * cell.gates() * problem.hidden();
            for weights in &mut problem.weights {
                weights.biases = Some((0..biases).map(|i| odd[i % 3]).collect::<Vec<_>>().into());
            }
            for target in Isa::ALL.into_iter().filter_map(Target::new) {
                let answer = problem.solve(target).bits();
                let mut nans = answer.iter().filter(|&&x| f32::from_bits(x).is_nan());
                assert!(nans.all(|&x| x == NAN.to_bits()), "{target:?} {problem:?}");
                found += usize::from(answer.contains(&NAN.to_bits()));
            }
        }
    }
    assert!(found > 0);
}

#[test]
fn reading_backwards_is_reading_the_reversed_sequence() {
    let mut random = Random(5);
    for steps in [1, 63, 64, 65, 150] {
        let mut problem = quantized(&mut random, Cell::Lstm, 1);
        problem.recurrent.direction = Direction::Reverse as i32;
        problem.weights.truncate(1);
        problem.recurrent.functions.truncate(3);
        (problem.steps, problem.batch) = (steps, 1);
        (problem.lengths, problem.h, problem.c) = (None, None, None);
        problem.x = random.numbers(steps * problem.input, 1.5);
        let backwards = problem.solve(best());
        problem.recurrent.direction = Direction::Forward as i32;
        problem.x = problem.x.chunks(problem.input).rev().flatten().copied().collect();
        let mut forwards = problem.solve(best());
        forwards.y = forwards.y.chunks(problem.hidden()).rev().flatten().copied().collect();
        assert_eq!(forwards, backwards);
    }
}

#[test]
fn no_steps_and_no_sequences() {
    let mut random = Random(6);
    for cell in CELLS {
        let mut problem = Problem::new(&mut random, cell, float);
        let states = problem.weights.len() * problem.batch * problem.hidden();
        (problem.steps, problem.lengths) = (0, None);
        (problem.x, problem.h) = (Vec::new(), Some(random.numbers(states, 1.0)));
        assert_eq!(Some(problem.solve(best()).h), problem.h);
        (problem.batch, problem.steps, problem.h, problem.c) = (0, 3, None, None);
        assert!(problem.solve(best()).y.is_empty());
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut random = Random(7);
    let problem = loop {
        let problem = Problem::new(&mut random, Cell::Gru, float);
        if problem.steps > 2 {
            break problem;
        }
    };
    let error = |change: fn(&mut Problem)| {
        let mut problem = problem.clone();
        change(&mut problem);
        std::format!("{}", problem.try_solve(best()).unwrap_err())
    };
    for (length, shown) in [(-1, "is -1"), (i32::MIN, "is -2147483648"), (100, "is 100")] {
        let mut problem = problem.clone();
        let mut lengths = vec![0; problem.batch];
        *lengths.last_mut().unwrap() = length;
        problem.lengths = Some(lengths);
        let error = problem.try_solve(best()).unwrap_err();
        assert!(std::format!("{error}").contains(shown), "{error}");
    }
    assert!(error(|p| p.lengths = Some(vec![0; 9])).starts_with("sequence_lens"));
    assert!(error(|p| p.x.truncate(1)).starts_with("X"));
    assert!(error(|p| p.h = Some(vec![0.0])).starts_with("initial_h"));
    assert!(error(|p| p.c = Some(vec![0.0])).contains("cell state"));
    assert!(error(|p| p.recurrent.functions.truncate(1)).starts_with("functions"));
    assert!(error(|p| p.recurrent.hidden_size += 1).starts_with("rows of W"));
    assert!(error(|p| p.recurrent.hidden_size = 0).starts_with("hidden_size"));
    assert!(error(|p| p.recurrent.hidden_size = u64::MAX).contains("overflow"));
    assert!(error(|p| p.weights.clear()).starts_with("directions"));
    assert!(error(|p| p.weights[0].biases = Some(vec![].into())).starts_with("B"));
    assert!(error(|p| p.weights[0].peepholes = Some(vec![].into())).starts_with("P"));
    assert!(error(|p| p.weights[0].r = MatrixSource::float(1, 1, &[0.0])).starts_with("rows of R"));
    let layer = problem.layer(best()).unwrap();
    assert_eq!(layer.work_len(1, usize::MAX), Err(LayerError::TooLarge));
    let inputs = Inputs { x: &[], steps: 1, batch: 0, lengths: None, h: None, c: None };
    let huge = Inputs { steps: usize::MAX, batch: usize::MAX, ..inputs };
    let run = |inputs, work: &mut [f32]| {
        layer.forward(&inputs, Outputs::default(), work, &mut tools(&mut Scratch::default()))
    };
    assert_eq!(run(huge, &mut []), Err(LayerError::TooLarge));
    let x = vec![0.0; problem.input];
    let short = run(Inputs { x: &x, batch: 1, ..inputs }, &mut []).unwrap_err();
    assert!(std::format!("{short}").starts_with("working memory"));
}

fn tools(scratch: &mut Scratch) -> Tools<'_> {
    let hands = Hands { workers: &Alone, scratch, helpers: &mut [] };
    Tools { hands, tap: Tap { node: 0, probe: None } }
}
