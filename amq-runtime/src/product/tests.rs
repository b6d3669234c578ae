//! Every instruction set against the definitions, bit for bit.
#![allow(clippy::needless_range_loop, reason = "indices as in the formulas")]

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use core::fmt;
use core::ops::Range;

use amq_format::graph::{
    Activations, CoefficientType, DataType, Dim, Gather, Graph, MultiBit, Node, Op, Port, Tensor,
};
use amq_format::spec::MAX_COLUMNS;
use amq_format::{Draft, Validated, write};

use super::*;
use crate::kernels::{Isa, Order, Target};

const CODES: [Activations; 8] = [
    Activations::Codes1,
    Activations::Codes2,
    Activations::Codes3,
    Activations::Codes4,
    Activations::Offset1,
    Activations::Offset2,
    Activations::Offset3,
    Activations::Offset4,
];

fn targets() -> impl Iterator<Item = Target> {
    Isa::ALL.into_iter().filter_map(Target::new)
}

/// A linear congruential generator (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 ^ self.0 >> 29
    }

    fn below(&mut self, n: usize) -> usize {
        (self.bits() >> 33) as usize % n
    }

    /// About Gaussian, so that magnitudes vary.
    fn float(&mut self) -> f32 {
        (0..4).map(|_| (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0).sum()
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// A multi-bit matrix with a code in each element.
struct Coded {
    rows: usize,
    cols: usize,
    group: usize,
    bits: usize,
    /// `[plane][row][column]`, +1 or -1
    codes: Vec<i32>,
    coefficients: Vec<f32>,
    offsets: Option<Vec<f32>>,
}

impl Coded {
    fn random(r: &mut Random, shape: [usize; 2], group: usize, bits: usize, offset: bool) -> Coded {
        let [rows, cols] = shape;
        let groups = cols.div_ceil(group);
        Coded {
            rows,
            cols,
            group,
            bits,
            codes: (0..bits * rows * cols).map(|_| r.below(2) as i32 * 2 - 1).collect(),
            coefficients: r.floats(rows * groups * bits),
            offsets: offset.then(|| r.floats(rows * groups)),
        }
    }

    fn source(&self) -> MatrixSource<'static> {
        let words = self.cols.div_ceil(64);
        let mut planes = vec![0u64; self.bits * self.rows * words];
        for (row, codes) in self.codes.chunks(self.cols).enumerate() {
            for (col, code) in codes.iter().enumerate() {
                planes[row * words + col / 64] |= u64::from(*code == 1) << (col % 64);
            }
        }
        MatrixSource::Codes {
            rows: self.rows,
            cols: self.cols,
            group: self.group,
            bits: self.bits,
            planes: planes.into_iter().map(u64::to_le_bytes).collect(),
            coefficients: self.coefficients.clone(),
            offsets: self.offsets.clone(),
        }
    }

    /// The same, as a tensor that stays in a file, if a file may hold it.
    fn in_file(&self) -> Option<MatrixSource<'static>> {
        let plane = self.rows * self.cols;
        let mut words = vec![0u64; self.bits * plane.div_ceil(64)];
        for (i, code) in self.codes.iter().enumerate() {
            let (number, at) = (i / plane, i % plane);
            words[number * plane.div_ceil(64) + at / 64] |= u64::from(*code == 1) << (at % 64);
        }
        let mut data: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        let numbers = self.coefficients.iter().chain(self.offsets.iter().flatten());
        data.extend(numbers.flat_map(|number| number.to_le_bytes()));
        let (rows, cols) = (self.rows as u64, self.cols as u64);
        let tensor = Tensor {
            value: 1,
            data_type: DataType::F32 as i32,
            dims: vec![rows, cols],
            section: 0,
            multi_bit: Some(MultiBit {
                bits: self.bits as u32,
                rows,
                group: if self.group == self.cols { 0 } else { self.group as u64 },
                coefficients: CoefficientType::F32 as i32,
                offset: self.offsets.is_some(),
            }),
        };
        // Its rows are looked up, which any matrix of codes allows.
        let index = Port { value: 2, data_type: DataType::I64 as i32, ..Port::default() };
        let entry = Port {
            value: 3,
            data_type: DataType::F32 as i32,
            dims: vec![Dim::from(cols as i64)],
            ..Port::default()
        };
        let look_up = Node {
            name: "look up".into(),
            inputs: vec![1, 2],
            outputs: vec![3],
            version: 1,
            op: Some(Op::Gather(Gather { axis: 0 })),
            ..Node::default()
        };
        let graph = Graph {
            values: ["", "w", "index", "y"].map(Into::into).to_vec(),
            inputs: vec![index],
            outputs: vec![entry],
            tensors: vec![tensor],
            nodes: vec![look_up],
            ..Graph::default()
        };
        let draft = Draft { graph, data: vec![data], provenance: None };
        let file: &'static [u8] = Vec::leak(write(draft).ok()?);
        let tensor = Validated::new(file).unwrap().network().tensor(0);
        Some(MatrixSource::InFile { tensor, rows: 0..self.rows, cols: self.cols })
    }

    fn code(&self, plane: usize, row: usize, col: usize) -> i32 {
        self.codes[(plane * self.rows + row) * self.cols + col]
    }

    fn groups(&self) -> usize {
        self.cols.div_ceil(self.group)
    }

    /// Columns from one that begins a tap or a group to the next.
    fn segments(&self, taps: usize) -> Vec<Range<usize>> {
        let tap = self.cols / taps;
        let mut starts: Vec<usize> = (0..self.cols)
            .filter(|col| col.is_multiple_of(tap) || col.is_multiple_of(self.group))
            .collect();
        starts.push(self.cols);
        starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
    }

    /// Coefficients of each plane and the offset, of the group that a column is in.
    fn scales(&self, row: usize, col: usize) -> (&[f32], Option<f32>) {
        let at = row * self.groups() + col / self.group;
        let coefficients = &self.coefficients[at * self.bits..][..self.bits];
        (coefficients, self.offsets.as_ref().map(|offsets| offsets[at]))
    }

    fn decoded(&self) -> Vec<f32> {
        let mut all = Vec::new();
        for (row, col) in (0..self.rows).flat_map(|row| (0..self.cols).map(move |col| (row, col))) {
            let (coefficients, offset) = self.scales(row, col);
            let planes = coefficients.iter().enumerate();
            let terms = planes.map(|(plane, a)| a * self.code(plane, row, col) as f32);
            all.push(sum(terms.chain(offset)));
        }
        all
    }
}

/// A sum from the first term on.
fn sum(terms: impl Iterator<Item = f32>) -> f32 {
    terms.reduce(|sum, term| sum + term).unwrap()
}

fn canonical(x: f32) -> f32 {
    if x.is_nan() { f32::from_bits(0x7fc0_0000) } else { x }
}

fn expect_float(w: &[f32], x: &[f32]) -> Vec<f32> {
    let row = |w: &[f32]| w.iter().zip(x).fold(0.0, |sum, (w, x)| f32::mul_add(*w, *x, sum));
    w.chunks(x.len()).map(|w| canonical(row(w))).collect()
}

/// A product, then fused multiply-adds.
fn chain(terms: impl Iterator<Item = (f32, f32)>) -> f32 {
    let add =
        |sum: Option<f32>, (a, b): (f32, f32)| Some(sum.map_or(a * b, |sum| a.mul_add(b, sum)));
    terms.fold(None, add).unwrap()
}

/// 32 partial sums, folded in halves.
fn lane_sum(x: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = vec![0.0; 32];
    for (j, x) in x.enumerate() {
        lanes[j % 32] += x;
    }
    while lanes.len() > 1 {
        let high = lanes.split_off(lanes.len() / 2);
        lanes = lanes.iter().zip(high).map(|(low, high)| low + high).collect();
    }
    lanes[0]
}

/// The values of all sums of the coefficients, sorted, with the signs in them; `of_magnitudes` turns
/// those that are negative.
fn levels(c: &[f32], of_magnitudes: bool) -> Vec<(f32, Vec<i32>)> {
    let k = c.len();
    let mut levels = Vec::new();
    for number in 0..1 << (k - 1) {
        let mut signs = vec![1];
        signs.extend((0..k - 1).map(|i| if number >> i & 1 == 1 { 1 } else { -1 }));
        let value = sum(c.iter().zip(&signs).map(|(c, sign)| c * *sign as f32));
        if value < 0.0 && of_magnitudes {
            levels.push((-value, signs.iter().map(|sign| -sign).collect()));
        } else {
            levels.push((value, signs));
        }
    }
    levels.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap());
    levels
}

/// By expansion along the first row.
fn determinant(m: &[Vec<i128>]) -> i128 {
    let minor = |skipped: usize| -> Vec<Vec<i128>> {
        let columns = |row: &Vec<i128>| [&row[..skipped], &row[skipped + 1..]].concat();
        m[1..].iter().map(columns).collect()
    };
    let term =
        |i: usize| m[0][i] * determinant(&minor(i)) * if i.is_multiple_of(2) { 1 } else { -1 };
    if m.is_empty() { 1 } else { (0..m.len()).map(term).sum() }
}

/// A vector as a constant and scaled codes.
#[derive(Clone)]
struct CodedVector {
    /// The constant first, 0 where there is none.
    c: Vec<f32>,
    /// `[code][column]`
    d: Vec<Vec<i32>>,
    constant: bool,
}

impl CodedVector {
    fn zero(n: usize, k: usize, constant: bool) -> CodedVector {
        CodedVector { c: vec![0.0; k + 1], d: vec![vec![1; n]; k], constant }
    }

    fn decoded(&self, j: usize) -> f64 {
        let codes = self.c[1..].iter().zip(&self.d);
        f64::from(self.c[0]) + codes.map(|(c, d)| f64::from(*c) * f64::from(d[j])).sum::<f64>()
    }
}

fn expect_codes(x: &[f32], k: usize, constant: bool) -> CodedVector {
    let n = x.len();
    let key = |x: &f32| if constant { *x } else { x.abs() };
    let total = lane_sum(x.iter().map(key));
    let mut c: Vec<f32> = Vec::new();
    let mut residue: Vec<f32> = x.iter().map(key).collect();
    for _ in 0..k + usize::from(constant) {
        c.push(lane_sum(residue.iter().copied()) / n as f32);
        residue = residue.iter().map(|r| (r - c[c.len() - 1]).abs()).collect();
    }
    if !c.iter().all(|c| c.is_finite()) {
        return CodedVector { c: vec![f32::NAN; k + 1], ..CodedVector::zero(n, k, constant) };
    }
    let mut codes = Vec::new();
    for _ in 0..3 {
        let levels = levels(&c, !constant);
        let thresholds: Vec<f32> =
            levels.windows(2).map(|pair| (pair[0].0 + pair[1].0) * 0.5).collect();
        let level: Vec<usize> = x
            .iter()
            .map(|x| thresholds.iter().filter(|threshold| key(x) >= **threshold).count())
            .collect();
        let side = |x: f32| if x >= 0.0 || constant { 1 } else { -1 };
        codes = (0..c.len())
            .map(|i| x.iter().zip(&level).map(|(x, h)| side(*x) * levels[*h].1[i]).collect())
            .collect::<Vec<Vec<i32>>>();
        // Normal equations.
        let exact: Vec<Vec<i128>> = codes
            .iter()
            .map(|b| {
                let row = codes.iter().map(|d| b.iter().zip(d).map(|(b, d)| b * d).sum::<i32>());
                row.map(i128::from).collect()
            })
            .collect();
        let mut g: Vec<Vec<f64>> =
            exact.iter().map(|row| row.iter().map(|g| *g as f64).collect()).collect();
        let mut v = vec![0.0; c.len()];
        for (i, v) in v.iter_mut().enumerate() {
            *v = f64::from(levels[0].1[i]) * f64::from(total);
            for h in 1..levels.len() {
                let step = levels[h].1[i] - levels[h - 1].1[i];
                let above = x.iter().zip(&level).map(|(x, at)| if *at >= h { key(x) } else { 0.0 });
                *v += f64::from(step) * f64::from(lane_sum(above));
            }
        }
        // In integers there is no question which codes depend on those before them.
        let mut kept: Vec<usize> = Vec::new();
        for p in 0..c.len() {
            let with: Vec<usize> = kept.iter().copied().chain([p]).collect();
            let part: Vec<Vec<i128>> =
                with.iter().map(|i| with.iter().map(|l| exact[*i][*l]).collect()).collect();
            if determinant(&part) != 0 {
                kept = with;
            }
        }
        for (at, &p) in kept.iter().enumerate() {
            for &row in &kept[at + 1..] {
                let factor = g[row][p] / g[p][p];
                for &col in &kept[at + 1..] {
                    g[row][col] -= factor * g[p][col];
                }
                v[row] -= factor * v[p];
            }
        }
        let mut fitted = vec![0.0; c.len()];
        for (at, &row) in kept.iter().enumerate().rev() {
            for &col in &kept[at + 1..] {
                v[row] -= g[row][col] * v[col];
            }
            v[row] /= g[row][row];
            fitted[row] = v[row] as f32;
        }
        if fitted.iter().all(|c| c.is_finite()) {
            c = fitted;
        }
    }
    if constant {
        codes.remove(0);
    } else {
        c.insert(0, 0.0);
    }
    CodedVector { c, d: codes, constant }
}

/// The product with coded vectors, one for each tap.
fn expect_coded(w: &Coded, taps: &[CodedVector]) -> Vec<f32> {
    let tap = w.cols / taps.len();
    let row = |row| {
        let segments = w.segments(taps.len()).into_iter().map(|columns| {
            let x = &taps[columns.start / tap];
            let local = columns.start % tap..columns.start % tap + columns.len();
            let (a, offset) = w.scales(row, columns.start);
            let constant = |total: i32| x.constant.then_some((x.c[0], total as f32));
            let planes = a.iter().enumerate().map(|(plane, a)| {
                let b = || columns.clone().map(|col| w.code(plane, row, col));
                let codes = x.c[1..].iter().zip(&x.d).map(|(c, d)| {
                    (*c, b().zip(&d[local.clone()]).map(|(b, d)| b * d).sum::<i32>() as f32)
                });
                (*a, chain(constant(b().sum()).into_iter().chain(codes)))
            });
            let offset = offset.map(|offset| {
                let codes = x.c[1..].iter().zip(&x.d);
                let codes = codes.map(|(c, d)| (*c, d[local.clone()].iter().sum::<i32>() as f32));
                (offset, chain(constant(columns.len() as i32).into_iter().chain(codes)))
            });
            chain(planes.chain(offset))
        });
        canonical(segments.fold(0.0, |y, d| y + d))
    };
    (0..w.rows).map(row).collect()
}

/// Scale and integers of a vector.
fn expect_integers(x: &[f32]) -> (f32, Vec<i32>) {
    let mut m: f32 = 0.0;
    for four in x.chunks(4) {
        let at = |i: usize| four.get(i).map_or(0.0, |x| x.abs() / 4.0);
        let sum = ((at(0) + at(1)) + at(2)) + at(3);
        m = if sum.is_finite() && m.is_finite() { m.max(sum) } else { f32::NAN };
    }
    let s = m * (4.0 / 253.0);
    let zeros = vec![0; x.len()];
    if s.is_nan() {
        return (f32::NAN, zeros);
    }
    if s < f32::MIN_POSITIVE {
        return (0.0, zeros);
    }
    let r = 63.25 / m;
    let q: Vec<i32> = x.iter().map(|x| (x * r).round_ties_even() as i32).collect();
    for four in q.chunks(4) {
        assert!(four.iter().map(|q| q.abs()).sum::<i32>() <= 255, "{four:?}");
    }
    (s, q)
}

/// Scales and integers of a vector, and of what they leave.
fn expect_parts(x: &[f32]) -> [(f32, Vec<i32>); 2] {
    let (s, q) = expect_integers(x);
    let rest: Vec<f32> = x.iter().zip(&q).map(|(x, q)| f32::mul_add(-s, *q as f32, *x)).collect();
    let second = expect_integers(&rest);
    [(s, q), second]
}

/// The product with integers, a vector for each tap.
fn expect_tables(w: &Coded, taps: &[(f32, Vec<i32>)]) -> Vec<f32> {
    let tap = w.cols / taps.len();
    let row = |row| {
        let mut y = 0.0;
        for columns in w.segments(taps.len()) {
            let (s, q) = &taps[columns.start / tap];
            let q = &q[columns.start % tap..][..columns.len()];
            let (a, offset) = w.scales(row, columns.start);
            let planes = a.iter().enumerate().map(|(plane, a)| {
                let b = columns.clone().map(|col| w.code(plane, row, col));
                (*a, b.zip(q).map(|(b, q)| b * q).sum::<i32>() as f32)
            });
            let offset = offset.map(|offset| (offset, q.iter().sum::<i32>() as f32));
            y = f32::mul_add(*s, chain(planes.chain(offset)), y);
        }
        canonical(y)
    };
    (0..w.rows).map(row).collect()
}

/// The product with a vector for each tap; none is that of the border.
fn expect_taps(w: &Coded, taps: &[Option<Vec<f32>>], activations: Activations) -> Vec<f32> {
    let n = w.cols / taps.len();
    match (activations, activations.codes()) {
        (_, Some(k)) => {
            let constant = activations.has_offset();
            let code = |x: &Option<Vec<f32>>| match x {
                Some(x) => expect_codes(x, k, constant),
                None => CodedVector::zero(n, k, constant),
            };
            expect_coded(w, &taps.iter().map(code).collect::<Vec<_>>())
        }
        (Activations::Int16, _) => {
            let zero = || [(0.0, vec![0; n]), (0.0, vec![0; n])];
            let code = |x: &Option<Vec<f32>>| x.as_ref().map_or_else(zero, |x| expect_parts(x));
            let [first, second]: [Vec<_>; 2] = taps.iter().map(code).fold(
                [vec![], vec![]],
                |[mut first, mut second], [one, two]| {
                    first.push(one);
                    second.push(two);
                    [first, second]
                },
            );
            let sums = expect_tables(w, &first).into_iter().zip(expect_tables(w, &second));
            sums.map(|(a, b)| canonical(a + b)).collect()
        }
        (Activations::Int8, _) => {
            let zero = || (0.0, vec![0; n]);
            let code = |x: &Option<Vec<f32>>| x.as_ref().map_or_else(zero, |x| expect_integers(x));
            expect_tables(w, &taps.iter().map(code).collect::<Vec<_>>())
        }
        _ => {
            let x: Vec<f32> =
                taps.iter().flat_map(|x| x.clone().unwrap_or_else(|| vec![0.0; n])).collect();
            expect_float(&w.decoded(), &x)
        }
    }
}

fn expect_vector(w: &Coded, x: &[f32], activations: Activations) -> Vec<f32> {
    expect_taps(w, &[Some(x.to_vec())], activations)
}

#[track_caller]
fn assert_bits(found: &[f32], expected: &[f32], what: fmt::Arguments<'_>) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert_eq!(a.to_bits(), b.to_bits(), "{what}: element {i}: {a} is not {b}");
    }
}

/// Checks products with some vectors on every instruction set, in either order.
#[track_caller]
fn check(w: &Coded, activations: Activations, x: &[f32]) {
    let vectors = x.len() / w.cols;
    let expected: Vec<f32> =
        x.chunks(w.cols).flat_map(|x| expect_vector(w, x, activations)).collect();
    let sources: Vec<_> = w.in_file().into_iter().chain([w.source()]).collect();
    for (target, source) in targets().flat_map(|target| sources.iter().map(move |s| (target, s))) {
        let matrix = Matrix::pack(source, activations, Packer::alone(target)).unwrap();
        let mut scratch = Scratch::default();
        for order in [Order::Forward, Order::Backward] {
            scratch.order = order;
            let mut out = vec![7.0; vectors * w.rows];
            matrix.multiply(x, vectors, None, &mut out, &mut scratch);
            let what = format_args!(
                "{} in file: {} {}x{} group {} bits {} offset {} x {} on {vectors} vectors, {order:?}",
                target.isa(),
                matches!(source, MatrixSource::InFile { .. }),
                w.rows,
                w.cols,
                w.group,
                w.bits,
                w.offsets.is_some(),
                activations.name(),
            );
            assert_bits(&out, &expected, what);
        }
    }
}

fn all_activations(bits: usize) -> impl Iterator<Item = Activations> {
    let codes = CODES.into_iter().filter(move |_| bits <= 4);
    [Activations::F32, Activations::Int8, Activations::Int16].into_iter().chain(codes)
}

#[test]
fn all_widths_agree_with_the_definition() {
    let mut r = Random(1);
    for bits in 1..=8 {
        for activations in all_activations(bits) {
            for (shape, group, offset) in [
                ([17, 70], 70, false),
                ([5, 131], 131, true),
                ([33, 192], 64, true),
                ([4, 200], 96, true),
                ([3, 80], 32, bits % 2 == 0),
                ([16, 300], 128, false),
            ] {
                let w = Coded::random(&mut r, shape, group, bits, offset);
                let x = r.floats(2 * w.cols);
                check(&w, activations, &x);
            }
        }
    }
}

#[test]
fn all_sizes_agree_with_the_definition() {
    let mut r = Random(2);
    let sizes = [1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300, 1024];
    for (i, cols) in sizes.into_iter().enumerate() {
        for activations in all_activations(2) {
            let rows = [1, 15, 16, 17, 31, 32, 33][i % 7];
            let w = Coded::random(&mut r, [rows, cols], cols, 2 + i % 2, i % 3 == 0);
            let x = r.floats(cols);
            check(&w, activations, &x);
        }
    }
    for rows in sizes {
        for activations in all_activations(2) {
            let w = Coded::random(&mut r, [rows, 37], 37, 2, false);
            let x = r.floats(37);
            check(&w, activations, &x);
        }
    }
}

#[test]
fn accumulators_are_folded_in_time() {
    let mut r = Random(3);
    for cols in [1984, 2048, 2113, 4500] {
        for activations in [Activations::Int8, Activations::Int16, Activations::Codes2] {
            let mut w = Coded::random(&mut r, [3, cols], cols, 2, false);
            // Rows that always select the largest entries and differ everywhere.
            w.codes[..2 * cols].fill(-1);
            w.codes[..cols].fill(1);
            check(&w, activations, &vec![1.0; cols]);
            check(&w, activations, &r.floats(cols));
        }
    }
}

#[test]
fn batches_agree_with_single_vectors() {
    let mut r = Random(4);
    for vectors in [3, 4, 5, 6, 7, 8, 9, 32, 33, 65] {
        // The last is of whole rows, in which a word is not full, for any number of planes.
        for (group, bits) in [([64, 32][vectors % 2], 3), (67, 1 + vectors % 4)] {
            for activations in all_activations(bits) {
                let w = Coded::random(&mut r, [18, 67], group, bits, vectors % 2 == 1);
                let x = r.floats(vectors * w.cols);
                check(&w, activations, &x);
            }
        }
    }
    // More words than sums of 16 bits hold.
    let w = Coded::random(&mut r, [50, 700], 700, 2, false);
    let x = r.floats(13 * w.cols);
    all_activations(2).for_each(|activations| check(&w, activations, &x));
}

#[test]
fn special_values_agree_with_the_definition() {
    let mut r = Random(5);
    let cols = 41;
    let specials = [
        0.0,
        -0.0,
        f32::from_bits(1),
        -f32::MIN_POSITIVE,
        f32::MAX,
        -1e38,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
        1.0,
        -1.0,
    ];
    for activations in all_activations(2) {
        let w = Coded::random(&mut r, [17, cols], cols, 2, true);
        let mut cases = Vec::new();
        for special in specials {
            cases.push(vec![special; cols]);
            let mut one = vec![0.0; cols];
            one[r.below(cols)] = special;
            cases.push(one);
            let mut among = r.floats(cols);
            among[cols - 1] = special;
            among[3] = -special;
            cases.push(among);
            cases.push((0..cols).map(|_| specials[r.below(6)]).collect());
            cases.push((0..cols).map(|_| special * [1.0, -1.0, 0.5][r.below(3)]).collect());
        }
        // Few magnitudes: levels coincide, equations are singular, ties are many.
        for few in 1..6 {
            cases.push((0..cols).map(|_| r.below(few) as f32 - 2.0).collect());
            cases.push((0..cols).map(|_| r.below(few) as f32 * 1e-39).collect());
        }
        for x in cases {
            check(&w, activations, &x);
        }
    }
}

#[test]
fn codes_of_few_columns_agree_with_the_definition() {
    let mut r = Random(6);
    for _ in 0..300 {
        let cols = 1 + r.below(9);
        let x: Vec<f32> = match r.below(3) {
            0 => r.floats(cols),
            1 => (0..cols).map(|_| r.float().exp2().powi(9)).collect(),
            _ => (0..cols).map(|_| r.below(7) as f32 / 4.0 - 1.0).collect(),
        };
        for activations in CODES {
            check(&Coded::random(&mut r, [2, cols], cols, 1, false), activations, &x);
        }
    }
}

#[test]
fn codes_determine_their_coefficients_or_leave_them_out() {
    let mut r = Random(12);
    for x in [
        // Four codes of which one follows from the others: the last pivot is not 0 for rounding alone.
        vec![9.0, 2.0, -8.0, -9.0, -9.0],
        vec![7.0, -7.0, 2.0, 2.0, -2.0, 5.0],
        vec![9.0, -8.0, -8.0, 5.0],
        // Codes that barely determine them: the last pivot is 8/7.
        vec![-4.0, -7.0, 7.0, 12.0, -1.0],
        vec![2.0, -8.0, -12.0, -8.0, -7.0],
    ] {
        let w = Coded::random(&mut r, [3, x.len()], x.len(), 2, false);
        check(&w, Activations::Codes4, &x);
    }
}

#[test]
fn infinite_and_undefined_weights_agree_with_the_definition() {
    let mut r = Random(7);
    for activations in all_activations(2) {
        let mut w = Coded::random(&mut r, [20, 30], 30, 2, false);
        w.coefficients[3] = f32::INFINITY;
        w.coefficients[6] = f32::NAN;
        w.coefficients[8] = 3e38;
        w.coefficients[9] = 3e38;
        check(&w, activations, &r.floats(30));
        check(&w, activations, &[0.0; 30]);
    }
}

#[test]
fn weights_are_the_same_whoever_packs_them() {
    let mut r = Random(16);
    let w = Coded::random(&mut r, [1500, 3000], 3000, 4, false);
    let floats = MatrixSource::float(1500, 600, &r.floats(1500 * 600));
    let threads = crate::Threads::new(core::num::NonZeroUsize::new(3).unwrap());
    for target in targets() {
        let shared = Packer { target, workers: &threads };
        for activations in [Activations::Int8, Activations::Codes1] {
            let [a, b] = [Packer::alone(target), shared]
                .map(|packer| Matrix::pack(&w.source(), activations, packer).unwrap());
            assert!(format!("{a:?}") == format!("{b:?}"), "{} {activations:?}", target.isa());
        }
        let [a, b] = [Packer::alone(target), shared]
            .map(|packer| Matrix::pack(&floats, Activations::F32, packer).unwrap());
        assert!(format!("{a:?}") == format!("{b:?}"), "{}", target.isa());
    }
}

#[test]
fn plain_weights_are_multiplied_in_the_order_of_the_definition() {
    let mut r = Random(8);
    for (rows, cols, vectors) in [(1, 1, 1), (16, 4, 2), (17, 5, 9), (50, 131, 5), (3, 1024, 1)] {
        let data = r.floats(rows * cols);
        let x = r.floats(vectors * cols);
        let expected: Vec<f32> = x.chunks(cols).flat_map(|x| expect_float(&data, x)).collect();
        let sources = [
            MatrixSource::float(rows, cols, &data),
            MatrixSource::float_in_file(rows, cols, &data),
        ];
        for (target, source) in
            targets().flat_map(|target| sources.iter().map(move |s| (target, s)))
        {
            let matrix = Matrix::pack(source, Activations::F32, Packer::alone(target)).unwrap();
            let mut out = vec![7.0; rows * vectors];
            matrix.multiply(&x, vectors, None, &mut out, &mut Scratch::default());
            assert_bits(&out, &expected, format_args!("{} {rows}x{cols}", target.isa()));
        }
    }
}

/// The pixel at each tap of the window at an output position, or none in the border.
fn window(
    g: &Geometry,
    channels: &Range<usize>,
    position: usize,
    x: &[f32],
) -> Vec<Option<Vec<f32>>> {
    let mut taps = Vec::new();
    for (kh, kw) in (0..g.kernel[0]).flat_map(|kh| (0..g.kernel[1]).map(move |kw| (kh, kw))) {
        let h = (position / g.output[1] * g.strides[0] + kh * g.dilations[0]) as isize
            - g.pads[0] as isize;
        let w = (position % g.output[1] * g.strides[1] + kw * g.dilations[1]) as isize
            - g.pads[1] as isize;
        let inside = (0..g.input[0] as isize).contains(&h) && (0..g.input[1] as isize).contains(&w);
        taps.push(inside.then(|| {
            let at = |c| x[(c * g.input[0] + h as usize) * g.input[1] + w as usize];
            channels.clone().map(at).collect()
        }));
    }
    taps
}

#[test]
fn convolutions_agree_with_the_definition() {
    let mut r = Random(9);
    let geometries = [
        // channels, groups, rows a group, input, kernel, strides, dilations, pads, output
        (3, 1, 17, [5, 6], [3, 3], [1, 1], [1, 1], [1, 1], [5, 6]),
        (4, 2, 3, [1, 40], [1, 5], [1, 2], [1, 1], [0, 2], [1, 20]),
        (4, 4, 1, [6, 5], [3, 2], [2, 1], [1, 2], [1, 0], [3, 3]),
        (2, 1, 5, [1, 90], [1, 70], [1, 3], [1, 1], [0, 12], [1, 11]),
        (2, 2, 2, [4, 4], [2, 3], [1, 2], [3, 2], [2, 3], [5, 3]),
        (33, 1, 4, [3, 3], [1, 1], [1, 1], [1, 1], [0, 0], [3, 3]),
        (1, 1, 2, [2, 2], [2, 2], [1, 1], [1, 1], [4, 4], [9, 9]),
        (96, 1, 18, [4, 5], [2, 3], [1, 1], [1, 1], [1, 1], [5, 5]),
        (32, 1, 3, [7, 3], [3, 1], [3, 2], [2, 1], [0, 0], [1, 2]),
        (64, 1, 2, [2, 9], [2, 2], [5, 4], [1, 1], [1, 0], [1, 3]),
        // Rows of windows whose pixels do not all fit the band.
        (256, 1, 1, [40, 40], [3, 3], [2, 7], [1, 1], [1, 0], [20, 6]),
    ];
    for (i, (channels, groups, rows, input, kernel, strides, dilations, pads, output)) in
        geometries.into_iter().enumerate()
    {
        let g = Geometry { channels, input, kernel, strides, dilations, pads, output };
        let per_group = channels / groups;
        let taps = kernel[0] * kernel[1];
        let cols = per_group * taps;
        let positions = output[0] * output[1];
        for bits in [1, 2, 3] {
            for activations in all_activations(bits) {
                let offset = (i + bits) % 2 == 0;
                // All columns, a part of a pixel, whole pixels.
                let group = match (bits, per_group) {
                    (2, 64..) => 32,
                    (3, 32..) if per_group.is_multiple_of(32) && taps > 1 => 2 * per_group,
                    _ => cols,
                };
                let w = Coded::random(&mut r, [groups * rows, cols], group, bits, offset);
                let mut x = r.floats(channels * input[0] * input[1]);
                if bits == 3 {
                    x[0] = if i % 2 == 0 { f32::NAN } else { -0.0 };
                }
                let mut expected = vec![0.0; groups * rows * positions];
                for (group, position) in
                    (0..groups).flat_map(|group| (0..positions).map(move |at| (group, at)))
                {
                    let channels = group * per_group..(group + 1) * per_group;
                    let all = expect_taps(&w, &window(&g, &channels, position, &x), activations);
                    for row in group * rows..(group + 1) * rows {
                        expected[row * positions + position] = all[row];
                    }
                }
                let sources: Vec<_> = w.in_file().into_iter().chain([w.source()]).collect();
                for (target, source) in
                    targets().flat_map(|target| sources.iter().map(move |s| (target, s)))
                {
                    let packer = Packer::alone(target);
                    let matrix =
                        ConvMatrix::pack(source, groups, taps, activations, packer).unwrap();
                    let mut out = vec![7.0; expected.len()];
                    matrix.convolve(&g, &x, None, &mut out, &mut Scratch::default());
                    let what =
                        format_args!("{} {g:?} bits {bits} {}", target.isa(), activations.name());
                    assert_bits(&out, &expected, what);
                }
            }
        }
    }
}

/// Vectors of few different magnitudes: levels coincide and codes depend on each other.
fn simple_vectors(n: usize) -> Vec<Vec<f32>> {
    let of = |f: &dyn Fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
    vec![
        of(&|j| f32::from(u8::from(j == n / 2))),
        of(&|j| f32::from(u8::from(j == 0 || j == n / 3))),
        of(&|j| f32::from(u8::from(j == 1))),
        of(&|j| (j * 7 % 5 % 2) as f32),
        of(&|j| f32::from(u8::from(j < n / 2))),
        of(&|j| (j * 5 % 3) as f32 - 1.0),
        of(&|j| f32::from(u8::from(j == n / 2)) - f32::from(u8::from(j == n / 5))),
        of(&|_| 1.0),
        of(&|_| -0.3),
        of(&|j| if j % 3 == 0 { 0.7 } else { -0.7 }),
    ]
}

#[test]
fn more_codes_are_never_worse_where_codes_depend_on_each_other() {
    for n in (1..=130).chain([256, 300, 1024]) {
        for x in simple_vectors(n) {
            let energy: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
            for kinds in CODES.chunks(4) {
                let mut before = f64::INFINITY;
                for kind in kinds {
                    let coded = expect_codes(&x, kind.codes().unwrap(), kind.has_offset());
                    let error = x.iter().enumerate();
                    let error: f64 =
                        error.map(|(j, x)| (f64::from(*x) - coded.decoded(j)).powi(2)).sum();
                    let what = format!("{} of {n}: {error} after {before}, {x:?}", kind.name());
                    // But for the rounding of coefficients.
                    assert!(error <= before + 1e-12 * energy, "{what}");
                    before = error;
                }
            }
        }
    }
}

#[test]
fn a_one_hot_vector_is_coded_exactly() {
    let mut r = Random(14);
    let x: Vec<f32> = (0..64).map(|j| f32::from(u8::from(j == 11))).collect();
    let mut w = Coded::random(&mut r, [20, 64], 64, 1, false);
    w.coefficients.fill(1.0);
    let expected: Vec<f32> = (0..20).map(|row| w.code(0, row, 11) as f32).collect();
    for target in targets() {
        for activations in CODES.into_iter().filter(|kind| *kind != Activations::Codes1) {
            let matrix = Matrix::pack(&w.source(), activations, Packer::alone(target)).unwrap();
            let mut out = vec![0.0; 20];
            matrix.multiply(&x, 1, None, &mut out, &mut Scratch::default());
            assert_bits(&out, &expected, format_args!("{} {}", target.isa(), activations.name()));
        }
    }
}

#[test]
fn simple_vectors_agree_with_the_definition() {
    let mut r = Random(15);
    for n in [1, 2, 5, 16, 31, 64, 65, 130] {
        for x in simple_vectors(n) {
            for activations in all_activations(1) {
                check(&Coded::random(&mut r, [3, n], n, 1, false), activations, &x);
            }
        }
    }
}

#[test]
fn a_batch_item_without_elements_is_all_border() {
    let mut r = Random(13);
    let g = Geometry {
        channels: 2,
        input: [0, 3],
        kernel: [2, 2],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [1, 1],
        output: [1, 4],
    };
    let w = Coded::random(&mut r, [3, 8], 8, 2, true);
    for target in targets() {
        for activations in all_activations(2) {
            let matrix =
                ConvMatrix::pack(&w.source(), 1, 4, activations, Packer::alone(target)).unwrap();
            let mut out = vec![7.0; 12];
            matrix.convolve(&g, &[], None, &mut out, &mut Scratch::default());
            assert_bits(&out, &[0.0; 12], format_args!("{}", activations.name()));
        }
    }
}

#[test]
fn a_scratch_serves_products_of_all_kinds_and_grows_no_further() {
    let mut r = Random(10);
    let w = Coded::random(&mut r, [20, 130], 130, 2, true);
    let g = Geometry {
        channels: 13,
        input: [1, 20],
        kernel: [1, 10],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [0, 4],
        output: [1, 19],
    };
    let x = r.floats(5 * 130);
    for target in targets() {
        let mut scratch = Scratch::default();
        let sources: Vec<_> = w.in_file().into_iter().chain([w.source()]).collect();
        for (activations, source) in
            all_activations(2).flat_map(|kind| sources.iter().map(move |s| (kind, s)))
        {
            let packer = Packer::alone(target);
            let matrix = Matrix::pack(source, activations, packer).unwrap();
            let conv = ConvMatrix::pack(source, 1, 10, activations, packer).unwrap();
            matrix.reserve(5, &mut scratch);
            conv.reserve(&g, &mut scratch);
            let before = scratch.capacities();
            let mut out = vec![0.0; 100];
            matrix.multiply(&x, 5, None, &mut out, &mut scratch);
            let first = out.clone();
            conv.convolve(&g, &x[..260], None, &mut vec![0.0; 20 * 19], &mut scratch);
            matrix.multiply(&x, 5, None, &mut out, &mut scratch);
            assert_bits(&out, &first, format_args!("{} {}", target.isa(), activations.name()));
            assert_eq!(scratch.capacities(), before, "{}", activations.name());
        }
    }
}

impl Scratch {
    fn capacities(&self) -> Vec<usize> {
        let [first, second] = &self.tabulated;
        let mut all = self.unpacked.as_ref().map_or(Vec::new(), |unpacked| unpacked.capacities());
        all.extend([
            self.planes.capacity(),
            self.words.capacity(),
            self.coefficients.capacity(),
            self.sums.capacity(),
            first.tables.capacity(),
            first.scales.capacity(),
            first.totals.capacity(),
            second.tables.capacity(),
            second.scales.capacity(),
            second.totals.capacity(),
            self.rest.capacity(),
            self.floats.capacity(),
            self.places.capacity(),
            self.pixels.capacity(),
            self.offsets.capacity(),
        ]);
        all
    }
}

#[test]
fn matrices_that_are_not_as_they_say_are_refused() {
    let target = Target::new(Isa::Scalar).unwrap();
    let mut r = Random(11);
    let coded = |group, bits| {
        let w = Coded::random(&mut Random(1), [4, 130], group, bits, true);
        w.source()
    };
    let refused = |source: &MatrixSource<'_>, activations| {
        Matrix::pack(source, activations, Packer::alone(target)).unwrap_err()
    };
    let bits = refused(&coded(130, 5), Activations::Codes2);
    assert_eq!(bits, PackError::Bits { bits: 5, activations: Activations::Codes2 });
    assert_eq!(refused(&coded(65, 2), Activations::Int8), PackError::Group(65));
    let short = MatrixSource::float(2, 3, &r.floats(5));
    let length = PackError::Length { part: "elements", expected: 6, found: 5 };
    assert_eq!(refused(&short, Activations::F32), length);
    let cols = MAX_COLUMNS as usize + 1;
    let wide = MatrixSource::float(0, cols, &[]);
    assert_eq!(refused(&wide, Activations::F32), PackError::Columns(cols));
    let conv = |group, groups, taps| {
        ConvMatrix::pack(&coded(group, 2), groups, taps, Activations::Int8, Packer::alone(target))
            .unwrap_err()
    };
    assert_eq!(conv(130, 3, 1), PackError::Groups { rows: 4, groups: 3 });
    assert_eq!(conv(130, 2, 3), PackError::Taps { cols: 130, taps: 3 });
    assert_eq!(conv(64, 2, 2), PackError::Tap { group: 64, columns: 65 });
}
