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
pub(super) fn readings(exprs: &Exprs<'_>, expr: &Expr) -> Vec<Found> {
    let rows = batch(exprs.dims(expr.value));
    let mut found = lstm(exprs, expr);
    found.extend(gru(exprs, expr));
    found.extend(rnn(exprs, expr));
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

/// A function of a sum with products.
fn gate(exprs: &Exprs<'_>, expr: &Expr) -> Option<(Unary, Rc<Expr>)> {
    let (function, of) = function(exprs, expr)?;
    sum(&of).filter(|sum| sum.terms.iter().any(|term| term.matrix.is_some()))?;
    Some((function, of))
}

fn sum(expr: &Expr) -> Option<&Sum> {
    match &expr.kind {
        Kind::Affine(affine) => Some(affine),
        _ => None,
    }
}

/// The function, and what it is of.
fn function(exprs: &Exprs<'_>, expr: &Expr) -> Option<(Unary, Rc<Expr>)> {
    match expr.kind {
        Kind::Function(function, of) => Some((function, exprs.get(of))),
        _ => None,
    }
}

/// The factors of a product, both ways round.
fn product(exprs: &Exprs<'_>, expr: &Expr) -> Vec<[Rc<Expr>; 2]> {
    match expr.kind {
        Kind::Product(factors) => both(exprs, factors),
        _ => Vec::new(),
    }
}

/// The parts of a sum that is not affine, both ways round.
fn addends(exprs: &Exprs<'_>, expr: &Expr) -> Vec<[Rc<Expr>; 2]> {
    match expr.kind {
        Kind::Sum(addends) => both(exprs, addends),
        _ => Vec::new(),
    }
}

fn both(exprs: &Exprs<'_>, [a, b]: [ValueId; 2]) -> Vec<[Rc<Expr>; 2]> {
    let (a, b) = (exprs.get(a), exprs.get(b));
    vec![[Rc::clone(&a), Rc::clone(&b)], [b, a]]
}

/// `h = o . g(c')`, `c' = f . c + i . k`
fn lstm(exprs: &Exprs<'_>, expr: &Expr) -> Vec<Found> {
    let mut found = Vec::new();
    for [output, squashed] in product(exprs, expr) {
        let (Some((f, o)), Some((g, after))) = (gate(exprs, &output), function(exprs, &squashed))
        else {
            continue;
        };
        for [kept, new] in addends(exprs, &after) {
            for [forget, before] in product(exprs, &kept) {
                for [input, cell] in product(exprs, &new) {
                    let gates = [&forget, &input, &cell].map(|part| gate(exprs, part));
                    let [Some((f1, forget)), Some((f2, input)), Some((k, cell))] = gates else {
                        continue;
                    };
                    if f1 != f || f2 != f {
                        continue;
                    }
                    let sums = [&input, &o, &forget, &cell].map(|gate| sum(gate));
                    let [Some(i), Some(o), Some(f1), Some(c)] = sums else { continue };
                    let sums = [i, o, f1, c];
                    for h in states(&sums) {
                        let is_h = |value| Some(value) == h;
                        let step = assemble(Cell::Lstm, vec![f, k, g], &sums, &is_h);
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
fn gru(exprs: &Exprs<'_>, expr: &Expr) -> Vec<Found> {
    let mut found = Vec::new();
    // a holds what is new.
    for [a, b] in addends(exprs, expr) {
        for [z, other] in product(exprs, &b) {
            for [rest, new] in product(exprs, &a) {
                if let Kind::From(1.0, of) = rest.kind
                    && of == z.value
                {
                    found.extend(gru_of(exprs, expr, &z, &new, other.value));
                }
            }
            if let Kind::Difference([h, new]) = other.kind
                && new == a.value
            {
                found.extend(gru_of(exprs, expr, &z, &a, h));
            }
        }
    }
    found
}

fn gru_of(exprs: &Exprs<'_>, expr: &Expr, z: &Expr, new: &Expr, h: ValueId) -> Option<Found> {
    let ((f, z), (g, inner)) = (gate(exprs, z)?, function(exprs, new)?);
    let (z, functions) = (sum(&z)?, vec![f, g]);
    let is_h = |value: ValueId| value == h;
    let found = match sum(&inner) {
        // n = g(Wx + r . (Rh + b))
        None => {
            let pairs = addends(exprs, &inner).into_iter();
            let mut pairs = pairs.flat_map(|[of_x, of_h]| {
                let pairs = product(exprs, &of_h).into_iter();
                pairs.map(move |[reset, of_h]| (Rc::clone(&of_x), reset, of_h))
            });
            pairs.find_map(|(of_x, reset, of_h)| {
                let (f1, reset) = gate(exprs, &reset)?;
                (f1 == f).then_some(())?;
                let (of_x, of_h, reset) = (sum(&of_x)?, sum(&of_h)?, sum(&reset)?);
                let mut found = assemble(Cell::Gru, functions.clone(), &[z, reset, of_x], &is_h)?;
                found.weights.linear_before_reset = true;
                let inner = &mut found.weights.gates[2];
                inner.r.is_none().then_some(())?;
                inner.biases[1] = match of_h.terms.as_slice() {
                    // The state before is zero.
                    [] => of_h.bias.clone()?,
                    [term] => {
                        let fits = term.source == Source::Value(h) && of_h.bias.is_none();
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
        Some(of_n) => {
            let (of_h, reset) = of_n.terms.iter().find_map(|term| {
                let Source::Value(value) = term.source else { return None };
                let mut factors = product(exprs, &exprs.get(value)).into_iter();
                let [reset, _] = factors.find(|[_, other]| other.value == h)?;
                Some((value, reset))
            })?;
            let (f1, reset) = gate(exprs, &reset)?;
            (f1 == f).then_some(())?;
            let reset = sum(&reset)?;
            let takes = |sum: &Sum, value: ValueId| {
                sum.terms.iter().any(|term| term.source == Source::Value(value))
            };
            // The inner product takes r . h, the others h.
            let mixed = takes(z, of_h) || takes(reset, of_h) || takes(of_n, h);
            (!mixed).then_some(())?;
            let is_h = |value: ValueId| value == of_h || is_h(value);
            assemble(Cell::Gru, functions, &[z, reset, of_n], &is_h)?
        }
    };
    Some(Found { h: Some(h), y: expr.value, ..found })
}

/// `h' = f(Wx + Rh + b)`
fn rnn(exprs: &Exprs<'_>, expr: &Expr) -> Vec<Found> {
    let Some((f, of)) = gate(exprs, expr) else { return Vec::new() };
    let Some(sum) = sum(&of) else { return Vec::new() };
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
