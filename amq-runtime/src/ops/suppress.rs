//! NonMaxSuppression: of boxes that overlap, those with the highest scores.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::NonMaxSuppression;

use super::order::compare;
use crate::call::{Call, Dynamic, Memory, mismatch};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, Rounded, ensure, fault};
use crate::view::{Data, DataMut};

impl Compute for NonMaxSuppression {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (boxes, classes) = match shapes.input(1)?.dims.as_slice() {
            &[_, classes, boxes] => (boxes, classes),
            _ => return Err(fault!("scores have not three axes")),
        };
        u32::try_from(boxes).map_err(|_| fault!("{boxes} boxes are too many"))?;
        Ok(Computation::Dynamic(Box::new(Suppression { boxes, classes, centered: self.centered })))
    }
}

struct Suppression {
    /// Boxes of an entry of the batch, fewer than 2^32.
    boxes: usize,
    classes: usize,
    centered: bool,
}

/// A box by its corners.
#[derive(Clone, Copy)]
struct Corners {
    low: [f32; 2],
    high: [f32; 2],
}

impl Corners {
    fn new(stated: &[f32], centered: bool) -> Corners {
        let &[a, b, c, d] = stated else { return Corners { low: [0.0; 2], high: [0.0; 2] } };
        if centered {
            let (half_width, half_height) = (c / 2.0, d / 2.0);
            Corners {
                low: [b - half_height, a - half_width],
                high: [b + half_height, a + half_width],
            }
        } else {
            Corners { low: [a.min(c), b.min(d)], high: [a.max(c), b.max(d)] }
        }
    }

    fn area(&self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// What lies in both, as a part of what lies in either.
    fn overlap(&self, other: &Corners) -> f32 {
        let side = |i: usize| self.high[i].min(other.high[i]) - self.low[i].max(other.low[i]);
        let (height, width) = (side(0), side(1));
        let (own, others) = (self.area(), other.area());
        if !(height > 0.0 && width > 0.0 && own > 0.0 && others > 0.0) {
            return 0.0;
        }
        let both = height * width;
        both / (own + others - both)
    }
}

/// The one element of an input that may be absent.
fn float(call: &Call<'_>, input: usize) -> Result<Option<f32>, Fault> {
    match call.inputs.optional(input) {
        None => Ok(None),
        Some(Data::F32(&[float])) => Ok(Some(float)),
        Some(_) => Err(mismatch()),
    }
}

impl Dynamic for Suppression {
    fn reserve(&mut self, memory: &mut Memory) {
        memory.scratch.budget.grow(&mut memory.order, self.boxes, 0);
    }

    fn run(&mut self, call: &mut Call<'_>, sizes: &mut Vec<i64>) -> Result<(), Fault> {
        let (all, scores) = (call.inputs.f32(0)?, call.inputs.f32(1)?);
        let Data::I64(&[most]) = call.inputs.data(2)? else { return Err(mismatch()) };
        let most = usize::try_from(most).unwrap_or(0).min(self.boxes);
        let limit = float(call, 3)?.unwrap_or(0.0);
        ensure!(
            (0.0..=1.0).contains(&limit),
            "an overlap of {} is not between 0 and 1",
            Rounded(limit)
        );
        let least = float(call, 4)?;
        let lines = scores.chunks_exact(self.boxes.max(1));
        let room = lines.len().saturating_mul(most).saturating_mul(3);
        let left = call.outputs.grown(0, room, &mut call.memory.scratch.budget)?;
        let mut left = match left {
            Some(DataMut::I64(left)) => left,
            None => &mut [],
            _ => return Err(mismatch()),
        };
        let mut count = 0;
        for (line, scores) in lines.enumerate() {
            let (batch, class) = (line / self.classes, line % self.classes);
            let corners = |i: u32| {
                let stated = &all[4 * (batch * self.boxes + i as usize)..][..4];
                Corners::new(stated, self.centered)
            };
            let counts = |i: &u32| {
                let score = scores[*i as usize];
                least.map_or(!score.is_nan(), |least| score > least)
            };
            let mut tried = 0;
            for i in (0..self.boxes as u32).filter(counts) {
                call.memory.order[tried] = i;
                tried += 1;
            }
            let order = &mut call.memory.order[..tried];
            order.sort_unstable_by(|&i, &j| {
                compare(&scores[j as usize], &scores[i as usize]).then(i.cmp(&j))
            });
            // Those that are left come first.
            let mut kept = 0;
            for at in 0..tried {
                if kept == most {
                    break;
                }
                let (i, candidate) = (order[at], corners(order[at]));
                if order[..kept].iter().any(|&other| corners(other).overlap(&candidate) > limit) {
                    continue;
                }
                order[kept] = i;
                kept += 1;
                if let Some((y, rest)) = core::mem::take(&mut left).split_at_mut_checked(3) {
                    y.copy_from_slice(&[batch as i64, class as i64, i64::from(i)]);
                    left = rest;
                }
            }
            count += kept;
        }
        sizes.push(count as i64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use amq_format::graph::Op;

    use super::*;
    use crate::ops::testing::{floats, integers, run};

    /// Boxes in a row, each a half over the next, with two of equal scores.
    #[test]
    fn boxes_give_way_to_higher_scores() {
        let boxes = [[0.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 3.0], [1.0, 4.0, 0.0, 2.0]];
        let boxes = floats(&[1, 3, 4], boxes.into_iter().flatten());
        let left = |scores: [f32; 3], most: i64, overlap: f32, least: Option<f32>| {
            let (scores, most) = (floats(&[1, 1, 3], scores), integers(&[1], [most]));
            let mut inputs = alloc::vec![boxes.clone(), scores, most, floats(&[], [overlap])];
            inputs.extend(least.map(|least| floats(&[1], [least])));
            let op = Op::NonMaxSuppression(NonMaxSuppression { centered: false });
            let (dims, found) = run(op, &inputs).unwrap();
            let crate::view::Buffer::I64(found) = found else { panic!() };
            assert_eq!(dims, [found.len() / 3, 3]);
            found.chunks(3).map(|found| found[2]).collect::<Vec<i64>>()
        };
        // Each overlaps the next by 1 of 3.
        assert_eq!(left([0.1, 0.3, 0.2], 9, 0.3, None), [1]);
        assert_eq!(left([0.1, 0.3, 0.2], 9, 0.34, None), [1, 2, 0]);
        assert_eq!(left([0.3, 0.2, 0.3], 9, 0.3, None), [0, 2]);
        assert_eq!(left([0.3, 0.2, 0.3], 1, 0.3, None), [0]);
        assert_eq!(left([0.3, 0.2, 0.3], 0, 0.3, None), [0i64; 0]);
        assert_eq!(left([0.3, 0.2, 0.3], -1, 0.3, None), [0i64; 0]);
        assert_eq!(left([0.1, 0.3, 0.2], 9, 1.0, Some(0.2)), [1]);
        assert_eq!(left([0.1, f32::NAN, 0.2], 9, 0.34, None), [2, 0]);
    }

    #[test]
    fn an_overlap_is_a_part() {
        let inputs = [
            floats(&[1, 1, 4], [0.0, 0.0, 1.0, 1.0]),
            floats(&[1, 1, 1], [1.0]),
            integers(&[], [1]),
            floats(&[], [1.5]),
        ];
        let op = Op::NonMaxSuppression(NonMaxSuppression { centered: true });
        assert_eq!(run(op, &inputs).unwrap_err(), "an overlap of 1.5 is not between 0 and 1");
    }
}
