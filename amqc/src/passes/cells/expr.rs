//! What the values of a graph are made of: products with constant matrices, functions of them, and
//! products and sums of those. Only the last axis counts: what stands before it is the batch.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use amq_format::Fact;
use amq_format::graph::{ABSENT, BinaryFunction, Dim, Node, Op, Slice, Unary, ValueId};

use crate::ir::{Module, fact, producers};
use crate::tensor::{Data, Tensor};

/// A value, made of others. Copies of it in other shapes are it too.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) value: ValueId,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Affine(Affine),
    Function(Unary, ValueId),
    Product([ValueId; 2]),
    /// Not both affine.
    Sum([ValueId; 2]),
    Difference([ValueId; 2]),
    /// Constants that are this number everywhere less a value.
    From(f32, ValueId),
    /// Parts of the last axis.
    Joined(Vec<ValueId>),
}

/// A sum of products with constant matrices and of constants.
#[derive(Clone, Debug, Default)]
pub(super) struct Affine {
    pub(super) terms: Vec<Term>,
    /// A constant that belongs to no term.
    pub(super) bias: Option<Vec<f32>>,
}

/// A product, or a part of a value as it is.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) source: Source,
    /// None where it is the source itself.
    pub(super) matrix: Option<Matrix>,
    /// Of the last axis of a source as it is, the part.
    part: Range<usize>,
    pub(super) bias: Option<Vec<f32>>,
}

/// A part of a constant matrix.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    pub(super) value: ValueId,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// What enters a product.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Value(ValueId),
    /// One entry along an axis of a value.
    Step {
        value: ValueId,
        axis: usize,
        step: Step,
    },
}

/// Which entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Number(usize),
    /// The number of the iteration.
    Iteration,
}

/// The values of a graph.
pub(super) struct Exprs<'m> {
    module: &'m Module,
    facts: &'m [Option<Fact>],
    /// The number of the iteration, in the body of a loop; [`ABSENT`] elsewhere.
    iteration: ValueId,
    known: BTreeMap<ValueId, Rc<Expr>>,
    /// Index of the node that gives each value.
    given: BTreeMap<ValueId, usize>,
}

/// Most terms of a sum. A gate has two, or one more for each part of x.
const MOST_TERMS: usize = 16;

impl<'m> Exprs<'m> {
    pub(super) fn new(
        module: &'m Module,
        facts: &'m [Option<Fact>],
        iteration: ValueId,
    ) -> Exprs<'m> {
        let given = producers(&module.graph.nodes);
        let mut exprs = Exprs { module, facts, iteration, known: BTreeMap::new(), given };
        for node in &module.graph.nodes {
            if let &[output] = node.outputs.as_slice()
                && let Some(expr) = exprs.of_node(node, output)
            {
                exprs.known.insert(output, expr);
            }
        }
        exprs
    }

    /// What a value is made of.
    pub(super) fn get(&self, value: ValueId) -> Rc<Expr> {
        self.known.get(&value).cloned().unwrap_or_else(|| self.leaf(value))
    }

    /// The node that gives a value.
    fn node(&self, value: ValueId) -> Option<&'m Node> {
        Some(&self.module.graph.nodes[*self.given.get(&value)?])
    }

    /// The value that a value is a copy of.
    fn of(&self, value: ValueId) -> ValueId {
        self.known.get(&value).map_or(value, |expr| expr.value)
    }

    /// The sizes of a value.
    pub(super) fn dims(&self, value: ValueId) -> &'m [Dim] {
        fact(self.facts, value).map_or(&[], |fact| &fact.dims)
    }

    /// A constant.
    pub(super) fn constant(&self, value: ValueId) -> Option<&'m Tensor> {
        self.module.constant(value)
    }

    /// The length of the last axis.
    fn len(&self, value: ValueId) -> Option<usize> {
        usize::try_from(self.dims(value).last()?.as_size()?).ok()
    }

    fn leaf(&self, value: ValueId) -> Rc<Expr> {
        let affine = match (self.row(value), self.len(value)) {
            (Some(row), _) => Affine { terms: Vec::new(), bias: Some(row) },
            (None, Some(len)) => Affine {
                terms: vec![Term {
                    source: Source::Value(value),
                    matrix: None,
                    part: 0..len,
                    bias: None,
                }],
                bias: None,
            },
            // Nothing is known of it.
            (None, None) => Affine::default(),
        };
        Rc::new(Expr { value, kind: Kind::Affine(affine) })
    }

    /// The elements along the last axis of a constant that has the same everywhere.
    fn row(&self, value: ValueId) -> Option<Vec<f32>> {
        let Tensor { dims, data: Data::F32(data) } = self.constant(value)? else { return None };
        let len = dims.last().copied().unwrap_or(1).max(1);
        let row = data.get(..len)?;
        data.chunks(len).all(|other| other == row).then(|| row.to_vec())
    }

    fn of_node(&self, node: &Node, value: ValueId) -> Option<Rc<Expr>> {
        let inputs = node.inputs.as_slice();
        let kind = match (node.op.as_ref()?, inputs) {
            (Op::Linear(_), &[x, weights, bias]) => self.product(x, weights, bias)?,
            (Op::Unary(function), &[x]) => Kind::Function(*function, self.of(x)),
            (Op::Binary(op), &[a, b]) => self.binary(op.function(), a, b, value)?,
            (Op::Slice(slice), &[x]) => return self.slice(slice, x, value),
            (Op::Gather(gather), &[x, index]) => {
                let axis = gather.axis as usize;
                let step = self.step(index, self.dims(x).get(axis)?)?;
                return self.select(x, axis, step, value);
            }
            (Op::Reshape(_), &[x]) => return self.same_rows(x, value).then(|| self.get(x)),
            (Op::Concat(op), inputs) if op.axis as usize + 1 == self.dims(value).len() => {
                Kind::Joined(inputs.iter().map(|&input| self.of(input)).collect())
            }
            _ => return None,
        };
        Some(Rc::new(Expr { value, kind }))
    }

    /// Whether two values differ in axes of size 1 alone, before the last.
    fn same_rows(&self, a: ValueId, b: ValueId) -> bool {
        let counts = |value: ValueId| {
            let (last, batch) = self.dims(value).split_last()?;
            let batch = batch.iter().filter(|dim| dim.as_size() != Some(1)).collect::<Vec<_>>();
            Some((last, batch))
        };
        counts(a).is_some() && counts(a) == counts(b)
    }

    fn product(&self, x: ValueId, weights: ValueId, bias: ValueId) -> Option<Kind> {
        let Tensor { dims, data: Data::F32(_) } = self.constant(weights)? else { return None };
        let &[rows, columns] = dims.as_slice() else { return None };
        let bias = match bias {
            ABSENT => None,
            bias => Some(self.row(bias).filter(|row| row.len() == rows)?),
        };
        let expr = self.get(x);
        let parts = match &expr.kind {
            Kind::Joined(parts) => parts.iter().map(|&part| self.get(part)).collect(),
            _ => vec![expr],
        };
        (parts.len() <= MOST_TERMS).then_some(())?;
        let mut at = 0;
        let mut terms = Vec::new();
        for part in parts {
            let columns = at..at + self.len(part.value)?;
            at = columns.end;
            let source = self.source(&part);
            let matrix = Some(Matrix { value: weights, rows: 0..rows, columns });
            terms.push(Term { source, matrix, part: 0..0, bias: None });
        }
        (at == columns).then_some(())?;
        let mut affine = Affine { terms, bias: None };
        if let Some(bias) = bias {
            affine.add(&bias);
        }
        Some(Kind::Affine(affine))
    }

    /// What a value is as an operand of a product.
    pub(super) fn source(&self, expr: &Expr) -> Source {
        if let Kind::Affine(Affine { terms, bias: None }) = &expr.kind
            && let [Term { source, matrix: None, part, bias: None }] = terms.as_slice()
            && let Source::Step { value, .. } = source
            && Some(part.clone()) == self.len(*value).map(|len| 0..len)
        {
            return source.clone();
        }
        Source::Value(expr.value)
    }

    fn binary(
        &self,
        function: BinaryFunction,
        a: ValueId,
        b: ValueId,
        value: ValueId,
    ) -> Option<Kind> {
        let len = self.len(value)?;
        let (left, right) = (self.get(a), self.get(b));
        // A scalar stands for every element.
        let affine = |expr: &Expr| match &expr.kind {
            Kind::Affine(affine) => affine.widened(len),
            _ => None,
        };
        let both = [left.value, right.value];
        let whole = both.iter().all(|&part| self.len(part) == Some(len));
        match function {
            BinaryFunction::Add => match (affine(&left), affine(&right)) {
                (Some(mut sum), Some(other)) => {
                    sum.terms.extend(other.terms);
                    if let Some(bias) = other.bias {
                        sum.add(&bias);
                    }
                    (sum.terms.len() <= MOST_TERMS).then_some(Kind::Affine(sum))
                }
                _ => whole.then_some(Kind::Sum(both)),
            },
            BinaryFunction::Mul => whole.then_some(Kind::Product(both)),
            BinaryFunction::Sub => match self.row(a) {
                Some(row) if row.iter().all(|x| *x == row[0] && *x != 0.0) => {
                    Some(Kind::From(row[0], right.value))
                }
                _ => Some(Kind::Difference(both)),
            },
            _ => None,
        }
    }

    fn slice(&self, slice: &Slice, x: ValueId, value: ValueId) -> Option<Rc<Expr>> {
        let (before, after) = (self.dims(x), self.dims(value));
        slice.steps.iter().all(|&step| step == 1).then_some(())?;
        let mut cut = slice.axes.iter().enumerate().filter(|&(_, &axis)| {
            let axis = axis as usize;
            before[axis] != after[axis]
        });
        let Some((which, &axis)) = cut.next() else { return Some(self.get(x)) };
        cut.next().is_none().then_some(())?;
        let axis = axis as usize;
        let size = usize::try_from(before[axis].as_size()?).ok()?;
        let start = slice.starts[which].as_size()?;
        let start = usize::try_from(if start < 0 { start + size as i64 } else { start }).ok()?;
        let len = usize::try_from(after[axis].as_size()?).ok()?;
        if axis + 1 < before.len() {
            (len == 1 && start < size).then_some(())?;
            return self.select(x, axis, Step::Number(start), value);
        }
        let Kind::Affine(affine) = &self.get(x).kind else { return None };
        let kind = Kind::Affine(affine.part(start..start + len));
        Some(Rc::new(Expr { value, kind }))
    }

    /// Which entry an index means.
    fn step(&self, index: ValueId, size: &Dim) -> Option<Step> {
        if index == self.iteration && index != ABSENT {
            return Some(Step::Iteration);
        }
        if let Some(index) = self.constant(index) {
            let &[number] = index.data.integers()?.as_slice() else { return None };
            let number = if number < 0 { number + size.as_size()? } else { number };
            let number = usize::try_from(number).ok()?;
            let inside = size.as_size().is_some_and(|size| number < size as usize);
            return inside.then_some(Step::Number(number));
        }
        // Copies of the number of the iteration.
        let node = self.node(index)?;
        match (&node.op, node.inputs.as_slice()) {
            (Some(Op::Cast(_) | Op::Reshape(_)), &[index]) => self.step(index, size),
            _ => None,
        }
    }

    /// What a value is all of along an axis, from the last entry to the first.
    fn backwards(&self, value: ValueId, axis: usize) -> Option<ValueId> {
        let node = self.node(value)?;
        let (Some(Op::Slice(slice)), Some(&x)) = (&node.op, node.inputs.first()) else {
            return None;
        };
        let turned = slice.axes == [axis as u32] && slice.steps == [-1];
        (turned && self.dims(x) == self.dims(value)).then_some(x)
    }

    /// An entry along an axis before the last.
    fn select(&self, x: ValueId, axis: usize, step: Step, value: ValueId) -> Option<Rc<Expr>> {
        let (_, batch) = self.dims(x).split_last()?;
        (axis < batch.len()).then_some(())?;
        if let Some(whole) = self.backwards(x, axis) {
            let size = usize::try_from(self.dims(x)[axis].as_size()?).ok()?;
            let Step::Number(number) = step else { return None };
            return self.select(whole, axis, Step::Number(size.checked_sub(number + 1)?), value);
        }
        let expr = self.get(x);
        let Kind::Affine(affine) = &expr.kind else { return None };
        let mut affine = affine.clone();
        for term in &mut affine.terms {
            let Source::Value(source) = term.source else { return None };
            let same = self.dims(source).split_last().is_some_and(|(_, other)| other == batch);
            same.then_some(())?;
            term.source = Source::Step { value: source, axis, step };
        }
        Some(Rc::new(Expr { value, kind: Kind::Affine(affine) }))
    }
}

impl Affine {
    /// Adds a constant: to the one term that there is, or to none.
    fn add(&mut self, bias: &[f32]) {
        let slot = match self.terms.as_mut_slice() {
            [term @ Term { matrix: Some(_), .. }] if self.bias.is_none() => &mut term.bias,
            _ => &mut self.bias,
        };
        match slot {
            Some(sum) => sum.iter_mut().zip(bias).for_each(|(sum, x)| *sum += x),
            None => *slot = Some(bias.to_vec()),
        }
    }

    /// This for so many elements, if it has as many or is a constant scalar.
    fn widened(&self, len: usize) -> Option<Affine> {
        let fits = |term: &Term| term.len() == len;
        self.terms.iter().all(fits).then_some(())?;
        let bias = match &self.bias {
            Some(bias) if bias.len() == 1 => Some(bias.repeat(len)),
            Some(bias) => Some(bias.clone()).filter(|bias| bias.len() == len),
            None => None,
        };
        (bias.is_some() || self.bias.is_none()).then_some(())?;
        (bias.is_some() || !self.terms.is_empty()).then_some(())?;
        Some(Affine { terms: self.terms.clone(), bias })
    }

    /// Some elements of it.
    fn part(&self, range: Range<usize>) -> Affine {
        let cut = |bias: &Option<Vec<f32>>| {
            bias.as_ref().map(|bias| {
                if bias.len() == 1 { bias.clone() } else { bias[range.clone()].to_vec() }
            })
        };
        let inside = |of: &Range<usize>| of.start + range.start..of.start + range.end;
        let term = |term: &Term| Term {
            source: term.source.clone(),
            matrix: term
                .matrix
                .as_ref()
                .map(|matrix| Matrix { rows: inside(&matrix.rows), ..matrix.clone() }),
            part: if term.matrix.is_none() { inside(&term.part) } else { 0..0 },
            bias: cut(&term.bias),
        };
        Affine { terms: self.terms.iter().map(term).collect(), bias: cut(&self.bias) }
    }
}

impl Term {
    fn len(&self) -> usize {
        self.matrix.as_ref().map_or(self.part.len(), |matrix| matrix.rows.len())
    }
}

/// The values that are zero everywhere, as far as constants say so.
pub(super) fn zeros(module: &Module) -> BTreeSet<ValueId> {
    let is_zero = |constant: &Arc<Tensor>| match &constant.data {
        Data::F32(data) => data.iter().all(|x| *x == 0.0),
        _ => false,
    };
    let constants = module.constants.iter().filter(|(_, constant)| is_zero(constant));
    let mut zeros: BTreeSet<ValueId> = constants.map(|(&value, _)| value).collect();
    for node in &module.graph.nodes {
        if let (Some(Op::Expand(_) | Op::Reshape(_)), Some(x)) = (&node.op, node.inputs.first())
            && zeros.contains(x)
        {
            zeros.extend(&node.outputs);
        }
    }
    zeros
}
