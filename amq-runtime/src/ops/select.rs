//! Select: a choice between two elements.

use alloc::boxed::Box;

use amq_format::graph::Select;

use super::elementwise::pairs;
use super::narrow::{BLOCK, blocks, cut, widen};
use crate::call::mismatch;
use crate::compute::{Computation, Compute, Elementwise, Shapes, keeps_nothing};
use crate::error::Fault;
use crate::kernels::Target;
use crate::view::{Data, DataMut};

impl Compute for Select {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, _: &Shapes<'_>) -> Result<Computation, Fault> {
        Ok(Computation::Elementwise(Box::new(Choice)))
    }
}

struct Choice;

impl Elementwise for Choice {
    fn apply(
        &self,
        target: Target,
        [c, a, b]: &[Data<'_>; 3],
        y: DataMut<'_>,
    ) -> Result<(), Fault> {
        let Data::Bool(c) = *c else { return Err(mismatch()) };
        match (*a, *b, y) {
            (Data::F32(a), Data::F32(b), DataMut::F32(y)) => choose(target, c, a, b, y),
            (Data::I64(a), Data::I64(b), DataMut::I64(y)) => choose(target, c, a, b, y),
            (Data::U64(a), Data::U64(b), DataMut::U64(y)) => choose(target, c, a, b, y),
            (a, b, mut y) => {
                let [mut left, mut right, mut chosen] = [[0; BLOCK]; 3];
                let len = y.as_data().len();
                return blocks(len, |at, len| {
                    let c = if c.len() == 1 { c } else { &c[at..at + len] };
                    let (a, b) = (widen(a, at, len, &mut left)?, widen(b, at, len, &mut right)?);
                    choose(target, c, a, b, &mut chosen[..len]);
                    cut(&chosen[..len], at, &mut y)
                });
            }
        }
        Ok(())
    }
}

/// Of each pair, that which the condition says.
fn choose<T: Copy>(target: Target, condition: &[u8], a: &[T], b: &[T], y: &mut [T]) {
    target.vectorize(
        #[inline(always)]
        || match *condition {
            [condition] => {
                pairs(if condition != 0 { a } else { b }, a, y, |chosen, _| chosen);
            }
            _ => match (a, b) {
                (&[a], &[b]) => {
                    pairs(condition, condition, y, |c, _| if c != 0 { a } else { b });
                }
                (&[a], b) => pairs(condition, b, y, |c, b| if c != 0 { a } else { b }),
                (a, &[b]) => pairs(condition, a, y, |c, a| if c != 0 { a } else { b }),
                _ => {
                    let chosen = condition.iter().zip(a).zip(b);
                    for (y, ((&c, &a), &b)) in y.iter_mut().zip(chosen) {
                        *y = if c != 0 { a } else { b };
                    }
                }
            },
        },
    );
}
