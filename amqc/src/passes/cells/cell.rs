//! Steps of recurrent layers, told by what their results are made of.

use std::rc::Rc;

use amq_format::graph::{Cell, Dim, Unary, ValueId};

use super::expr::{Affine, Expr, Exprs, Kind, Matrix, Source};

/// One step of a layer of one direction.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) weights: Weights,
    /// What enters the products with W: parts of the last axis.
    pub(super) x: Vec<Source>,
    /// The hidden state before; none where only its being zero leaves it out.
    pub(super) h: Option<ValueId>,
    /// The hidden state after.
    pub(super) y: ValueId,
    /// Of an LSTM, the cell state before and after.
    pub(super) c: Option<(ValueId, ValueId)>,
}

/// What the steps of a layer have in common.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub(super) cell: Cell,
    pub(super) functions: Vec<Unary>,
    pub(super) linear_before_reset: bool,
    /// In ONNX's order.
    pub(super) gates: Vec<Gate>,
}

/// Products and biases of a gate.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// For each part of x.
    pub(super) w: Vec<Matrix>,
    /// None where the state before is known to be zero.
    pub(super) r: Option<Matrix>,
    /// Of W and of R.
    pub(super) biases: [Vec<f32>; 2],
}

/// A gate's sum, before it is told which of its terms is which.
type Sum = Affine;

/// The steps that `expr` may be the hidden state after, for each term that may be of the state before.
pub(super) fn readings(exprs: &Exprs<'_>, expr: &Rc<Expr>) -> Vec<Found> {
    let rows = batch(exprs.dims(expr.value));
    let mut found = lstm(expr);
    found.extend(gru(exprs, expr));
    found.extend(rnn(expr));
    // One row for each sequence, everywhere.
    found.retain(|found| {
        let of_x = |source: &Source| match source {
            Source::Value(value) => batch(exprs.dims(*value)),
            Source::Step { value, axis, .. } => {
                let mut dims = exprs.dims(*value).to_vec();
                dims.remove(*axis);
                batch(&dims)
            }
        };
        let mut states = found.h.into_iter().chain(found.c.map(|(before, _)| before));
        found.x.iter().all(|x| of_x(x) == rows)
            && states.all(|state| batch(exprs.dims(state)) == rows)
    });
    found
}

/// The states that some terms may be of, and none.
fn states(sums: &[&Sum]) -> Vec<Option<ValueId>> {
    let mut found = vec![None];
    for term in sums.iter().flat_map(|sum| &sum.terms) {
        if let Source::Value(value) = term.source
            && !found.contains(&Some(value))
        {
            found.push(Some(value));
        }
    }
    found
}

/// What stands before the last axis, but for axes of size 1.
fn batch(dims: &[Dim]) -> Vec<Dim> {
    let batch = &dims[..dims.len().saturating_sub(1)];
    batch.iter().filter(|dim| dim.as_size() != Some(1)).cloned().collect()
}

fn gate(expr: &Expr) -> Option<(Unary, &Sum)> {
    let Kind::Function(function, sum) = &expr.kind else { return None };
    match &sum.kind {
        Kind::Affine(affine) if affine.terms.iter().any(|term| term.matrix.is_some()) => {
            Some((*function, affine))
        }
        _ => None,
    }
}

/// The function, and what it is of.
fn function(expr: &Expr) -> Option<(Unary, &Rc<Expr>)> {
    match &expr.kind {
        Kind::Function(function, of) => Some((*function, of)),
        _ => None,
    }
}

fn product(expr: &Expr) -> Option<[&Rc<Expr>; 2]> {
    match &expr.kind {
        Kind::Product(a, b) => Some([a, b]),
        _ => None,
    }
}

fn sum_of_two(expr: &Expr) -> Option<[&Rc<Expr>; 2]> {
    match &expr.kind {
        Kind::Sum(addends) if addends.len() == 2 => Some([&addends[0], &addends[1]]),
        _ => None,
    }
}

/// A pair, if there is one, both ways round.
fn both<T: Copy>(pair: Option<[T; 2]>) -> Vec<[T; 2]> {
    pair.map_or_else(Vec::new, |[a, b]| vec![[a, b], [b, a]])
}

/// `h = o . g(c')`, `c' = f . c + i . k`
fn lstm(expr: &Rc<Expr>) -> Vec<Found> {
    let mut found = Vec::new();
    for [output, squashed] in both(product(expr)) {
        let (Some((f, o)), Some((g, after))) = (gate(output), function(squashed)) else { continue };
        for [kept, new] in both(sum_of_two(after)) {
            for [forget, before] in both(product(kept)) {
                for [input, cell] in both(product(new)) {
                    let (Some((f1, forget)), Some((f2, input)), Some((k, cell))) =
                        (gate(forget), gate(input), gate(cell))
                    else {
                        continue;
                    };
                    if f1 != f || f2 != f {
                        continue;
                    }
                    let sums = [input, o, forget, cell];
                    for h in states(&sums) {
                        let functions = vec![f, k, g];
                        let is_h = |value| Some(value) == h;
                        let step = assemble(Cell::Lstm, functions, &sums, &is_h);
                        found.extend(step.map(|step| Found {
                            y: expr.value,
                            c: Some((before.value, after.value)),
                            ..step
                        }));
                    }
                }
            }
        }
    }
    found
}

/// `h' = (1 - z) . n + z . h`, or `n + z . (h - n)`
fn gru(exprs: &Exprs<'_>, expr: &Rc<Expr>) -> Vec<Found> {
    let mut found = Vec::new();
    // a holds what is new.
    for [a, b] in both(sum_of_two(expr)) {
        for [z, other] in both(product(b)) {
            for [rest, new] in both(product(a)) {
                if let Kind::From(1.0, of) = &rest.kind
                    && of.value == z.value
                {
                    found.extend(gru_of(exprs, expr, z, new, other));
                }
            }
            if let Kind::Difference(h, new) = &other.kind
                && new.value == a.value
            {
                found.extend(gru_of(exprs, expr, z, new, h));
            }
        }
    }
    found
}

fn gru_of(exprs: &Exprs<'_>, expr: &Expr, z: &Expr, new: &Expr, h: &Expr) -> Option<Found> {
    let ((f, z), (g, inner)) = (gate(z)?, function(new)?);
    let is_h = |value: ValueId| value == h.value;
    let functions = vec![f, g];
    let found = match &inner.kind {
        // n = g(Wx + r . (Rh + b))
        Kind::Sum(_) => {
            let pairs = both(sum_of_two(inner)).into_iter();
            let mut pairs = pairs.flat_map(|[of_x, of_h]| {
                both(product(of_h)).into_iter().map(move |pair| (of_x, pair))
            });
            pairs.find_map(|(of_x, [reset, of_h])| {
                let (f1, reset) = gate(reset)?;
                let (Kind::Affine(of_x), Kind::Affine(of_h)) = (&of_x.kind, &of_h.kind) else {
                    return None;
                };
                (f1 == f).then_some(())?;
                let mut found = assemble(Cell::Gru, functions.clone(), &[z, reset, of_x], &is_h)?;
                found.weights.linear_before_reset = true;
                let inner = &mut found.weights.gates[2];
                inner.r.is_none().then_some(())?;
                inner.biases[1] = match of_h.terms.as_slice() {
                    // The state before is zero.
                    [] => of_h.bias.clone()?,
                    [term] => {
                        let fits = term.source == Source::Value(h.value) && of_h.bias.is_none();
                        fits.then_some(())?;
                        inner.r = Some(term.matrix.clone()?);
                        term.bias.clone().unwrap_or_else(|| vec![0.0; inner.biases[0].len()])
                    }
                    _ => return None,
                };
                Some(found)
            })?
        }
        // n = g(Wx + R(r . h) + b)
        Kind::Affine(sum) => {
            let (of_h, reset) = sum.terms.iter().find_map(|term| {
                let Source::Value(value) = term.source else { return None };
                let of = exprs.get(value);
                let mut factors = both(product(&of)).into_iter();
                let reset = factors.find(|[_, other]| other.value == h.value)?[0];
                Some((value, Rc::clone(reset)))
            })?;
            let (f1, reset) = gate(&reset)?;
            (f1 == f).then_some(())?;
            let takes = |sum: &Sum, value: ValueId| {
                sum.terms.iter().any(|term| term.source == Source::Value(value))
            };
            // The inner product takes r . h, the others h.
            let mixed = takes(z, of_h) || takes(reset, of_h) || takes(sum, h.value);
            (!mixed).then_some(())?;
            let is_h = |value: ValueId| value == of_h || is_h(value);
            assemble(Cell::Gru, functions, &[z, reset, sum], &is_h)?
        }
        _ => return None,
    };
    Some(Found { h: Some(h.value), y: expr.value, ..found })
}

/// `h' = f(Wx + Rh + b)`
fn rnn(expr: &Rc<Expr>) -> Vec<Found> {
    let Some((f, sum)) = gate(expr) else { return Vec::new() };
    let readings = states(&[sum]).into_iter().filter_map(|h| {
        let step = assemble(Cell::Rnn, vec![f], &[sum], &|value| Some(value) == h)?;
        Some(Found { y: expr.value, ..step })
    });
    readings.collect()
}

/// A step whose gates have these sums, of which one term each may be of the state before.
fn assemble(
    cell: Cell,
    functions: Vec<Unary>,
    sums: &[&Sum],
    is_h: &dyn Fn(ValueId) -> bool,
) -> Option<Found> {
    let (mut x, mut h) = (None, None);
    let mut gates = Vec::new();
    for sum in sums {
        let (mut w, mut sources, mut r) = (Vec::new(), Vec::new(), None);
        let rows = sum.terms.first()?.matrix.as_ref()?.rows.len();
        let mut biases = [vec![0.0; rows], vec![0.0; rows]];
        let mut add = |of: usize, more: &Option<Vec<f32>>| {
            let more = more.as_deref().unwrap_or_default();
            biases[of].iter_mut().zip(more).for_each(|(bias, more)| *bias += more);
        };
        for term in &sum.terms {
            let matrix = term.matrix.clone()?;
            match term.source {
                Source::Value(value) if is_h(value) => {
                    h = Some(value);
                    add(1, &term.bias);
                    r.replace(matrix).is_none().then_some(())?;
                }
                _ => {
                    add(0, &term.bias);
                    sources.push(term.source.clone());
                    w.push(matrix);
                }
            }
        }
        add(0, &sum.bias);
        (!w.is_empty() && *x.get_or_insert_with(|| sources.clone()) == sources).then_some(())?;
        gates.push(Gate { w, r, biases });
    }
    let hidden = gates.first()?.w.first()?.rows.len();
    let fits = gates.iter().all(|gate| {
        let square = |r: &Matrix| r.rows.len() == hidden && r.columns.len() == hidden;
        gate.w.iter().all(|w| w.rows.len() == hidden) && gate.r.as_ref().is_none_or(square)
    });
    fits.then_some(())?;
    let weights = Weights { cell, functions, linear_before_reset: false, gates };
    Some(Found { weights, x: x?, h, y: 0, c: None })
}

impl Weights {
    /// H.
    pub(super) fn hidden(&self) -> usize {
        self.gates[0].biases[0].len()
    }

    /// The numbers of columns of the parts of W.
    pub(super) fn features(&self) -> impl Iterator<Item = usize> {
        self.gates[0].w.iter().map(|w| w.columns.len())
    }

    /// Whether every product with R is there.
    pub(super) fn is_whole(&self) -> bool {
        self.gates.iter().all(|gate| gate.r.is_some())
    }

    /// Whether a step with these weights, or with a state before it that is known to be zero, is one of
    /// the same layer as `other`, which is whole.
    pub(super) fn is_of(&self, other: &Weights, same: &dyn Fn(&Matrix, &Matrix) -> bool) -> bool {
        let mut gates = self.gates.iter().zip(&other.gates).enumerate();
        self.cell == other.cell
            && self.functions == other.functions
            && self.linear_before_reset == other.linear_before_reset
            && self.gates.len() == other.gates.len()
            && gates.all(|(i, (a, b))| {
                let biases = match &a.r {
                    Some(_) => a.biases == b.biases,
                    // The product with zero left its bias.
                    None if self.linear_before_reset && i == 2 => a.biases == b.biases,
                    None => {
                        let sum = |[w, r]: &[Vec<f32>; 2]| -> Vec<f32> {
                            w.iter().zip(r).map(|(w, r)| w + r).collect()
                        };
                        sum(&a.biases) == sum(&b.biases)
                    }
                };
                let products = match (&a.r, &b.r) {
                    (Some(a), Some(b)) => same(a, b),
                    (None, _) => true,
                    (Some(_), None) => false,
                };
                let parts = a.w.iter().zip(&b.w);
                let alike = a.w.len() == b.w.len() && parts.into_iter().all(|(a, b)| same(a, b));
                biases && products && alike
            })
    }
}
