//! How weights follow gradients.

use amq_runtime::vectorize;
use rayon::prelude::*;

use super::params::{Params, restore};
use crate::tensor::Data;

/// Elements that one piece of work takes.
const PIECE: usize = 1 << 14;
/// Lanes of a sum.
const LANES: usize = 8;

/// Which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rule {
    /// Adam; the rate rises at first and falls to 0 as a cosine
    Adam,
    /// Gradients as they are; the rate is divided by 1.2 where validation does not gain, as in the paper
    Sgd,
}

impl Rule {
    /// The rate where none is asked for.
    pub fn rate(self) -> f64 {
        match self {
            Rule::Adam => 0.03,
            Rule::Sgd => 20.0,
        }
    }

    /// The largest norm of all gradients together: longer ones are shortened to it.
    fn longest(self) -> f64 {
        match self {
            Rule::Adam => 1.0,
            Rule::Sgd => 0.25,
        }
    }
}

/// Adam's usual numbers.
const MEANS: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;
/// The smallest scale of a param's steps.
const LEAST_SCALE: f64 = 1e-3;

/// What a rule keeps of what was before.
#[derive(Clone, Debug)]
pub(super) struct Optimizer {
    rule: Rule,
    /// Steps since the means began.
    steps: i32,
    /// Of each param, means of gradients and of their squares; none for plain descent.
    means: Vec<[Vec<f32>; 2]>,
    /// Of each param, what Adam's steps are in the unit of: the root of the mean square of its weights at first.
    scales: Vec<f32>,
}

impl Optimizer {
    pub(super) fn new(rule: Rule, params: &Params) -> Optimizer {
        let means = |count: usize| if rule == Rule::Adam { count } else { 0 };
        let scale = |data: &Data| match data {
            Data::F32(weights) => {
                let squares: f64 = weights.iter().map(|&w| f64::from(w).powi(2)).sum();
                (squares / weights.len().max(1) as f64).sqrt().max(LEAST_SCALE) as f32
            }
            _ => 1.0,
        };
        Optimizer {
            rule,
            steps: 0,
            means: (params.all.iter())
                .map(|param| [(); 2].map(|()| vec![0.0; means(param.gradient.len())]))
                .collect(),
            scales: params.all.iter().map(|param| scale(&param.weights.data)).collect(),
        }
    }

    /// Forgets what was before.
    pub(super) fn reset(&mut self) {
        self.steps = 0;
        self.means.iter_mut().flatten().for_each(|means| means.fill(0.0));
    }

    /// The norm of all gradients together, of what moves.
    pub(super) fn norm(params: &Params) -> f64 {
        let square = |piece: &[f32]| {
            let mut sums = [0.0; LANES];
            let (chunks, rest) = piece.as_chunks::<LANES>();
            vectorize(
                #[inline(always)]
                || {
                    for chunk in chunks {
                        sums.iter_mut()
                            .zip(chunk)
                            .for_each(|(sum, &g)| *sum += f64::from(g).powi(2));
                    }
                },
            );
            sums.iter().sum::<f64>() + rest.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>()
        };
        let of_param = |gradient: &Vec<f32>| {
            let pieces: Vec<f64> = gradient.par_chunks(PIECE).map(square).collect();
            pieces.iter().sum::<f64>()
        };
        let moving = params.all.iter().filter(|param| param.moves);
        moving.map(|param| of_param(&param.gradient)).sum::<f64>().sqrt()
    }

    /// Takes a step against gradients of this norm. Adam then takes `rate * decay` of each weight that is coded away, whatever
    /// its gradient (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).
    pub(super) fn step(&mut self, params: &mut Params, norm: f64, rate: f64, decay: f64) {
        self.steps = self.steps.saturating_add(1);
        let shorten = (self.rule.longest() / norm.max(f64::MIN_POSITIVE)).min(1.0) as f32;
        let [first, second] = MEANS.map(|mean| 1.0 - f64::from(mean).powi(self.steps));
        for ((param, [means, squares]), scale) in
            params.all.iter_mut().zip(&mut self.means).zip(&self.scales)
        {
            let keep = if param.is_coded() { (1.0 - rate * decay) as f32 } else { 1.0 };
            let (Data::F32(weights), true) = (&mut param.weights.data, param.moves) else {
                continue;
            };
            let pieces = weights.par_chunks_mut(PIECE).zip(param.gradient.par_chunks(PIECE));
            if self.rule == Rule::Sgd {
                let by = rate as f32 * shorten;
                pieces.for_each(|(weights, gradient)| {
                    weights.iter_mut().zip(gradient).for_each(|(w, g)| *w -= by * g);
                });
                continue;
            }
            let by = (rate * f64::from(*scale) / first) as f32;
            let root = (1.0 / second.sqrt()) as f32;
            let means = means.par_chunks_mut(PIECE).zip(squares.par_chunks_mut(PIECE));
            pieces.zip(means).for_each(|((weights, gradient), (means, squares))| {
                let of_weights = weights.iter_mut().zip(gradient);
                let all = of_weights.zip(means.iter_mut().zip(squares));
                vectorize(
                    #[inline(always)]
                    || {
                        all.for_each(|((w, g), (m, v))| {
                            let g = g * shorten;
                            *m = MEANS[0] * *m + (1.0 - MEANS[0]) * g;
                            *v = MEANS[1] * *v + (1.0 - MEANS[1]) * (g * g);
                            *w = (*w - by * *m / (v.sqrt() * root + EPSILON)) * keep;
                        });
                    },
                );
            });
        }
    }

    pub(super) fn save(&self, to: &mut Vec<u8>) {
        to.extend(self.steps.to_le_bytes());
        for means in self.means.iter().flatten() {
            to.extend(means.iter().flat_map(|mean| mean.to_le_bytes()));
        }
    }

    /// Takes back what [`Optimizer::save`] gave; none if the bytes end before.
    pub(super) fn restore(&mut self, from: &mut &[u8]) -> Option<()> {
        self.steps = i32::from_le_bytes(from.split_off(..4)?.try_into().ok()?);
        self.means.iter_mut().flatten().try_for_each(|means| restore(means, from))
    }
}
