//! Values share memory, and none is overwritten while it is needed.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use amq_format::graph::*;
use amq_runtime::{Model, Session, View};
use common::{Builder, named, sized};
use proptest::prelude::*;

proptest! {
    /// Random graphs of differences, reshapes and transpositions, against one value after the other.
    #[test]
    fn values_last_as_long_as_they_are_needed(
        nodes in prop::collection::vec((0u8..3, any::<u16>(), any::<u16>()), 1..40),
        chosen in prop::collection::vec(any::<u16>(), 1..5),
    ) {
        let dims = [named("n"), sized(3), sized(3)];
        let mut b = Builder::new();
        let x = b.input("x", DataType::F32, &dims);
        let elements: Vec<f32> = (0..18).map(|i| i as f32 * 0.5 - 3.0).collect();
        let constant: Vec<f32> = (0..9).map(|i| (i * i) as f32).collect();
        let c = b.floats("c", &[1, 3, 3], &constant);
        let (mut ids, mut expected) = (vec![x, c], vec![elements.clone(), constant.repeat(2)]);
        for (i, &(op, left, right)) in nodes.iter().enumerate() {
            let y = b.value(&format!("v{i}"));
            // What comes from the constant alone has no axis n to reshape to.
            let pick = |k: u16| k as usize % ids.len();
            let (l, r) = (pick(left), if op == 0 { pick(right) } else { pick(left) });
            let (l, op) = if l == 1 { (0, 0) } else { (l, op) };
            let a = &expected[l];
            expected.push(match op {
                0 => a.iter().zip(&expected[r]).map(|(a, b)| a - b).collect(),
                1 => a.clone(),
                _ => (0..18).map(|k| a[k / 9 * 9 + k % 3 * 3 + k % 9 / 3]).collect(),
            });
            match op {
                0 => {
                    let sub = Binary { function: BinaryFunction::Sub as i32 };
                    b.node(Op::Binary(sub), &[ids[l], ids[r]], &[y]);
                }
                1 => b.node(Op::Reshape(Reshape { dims: dims.to_vec() }), &[ids[l]], &[y]),
                _ => b.node(Op::Transpose(Transpose { perm: vec![0, 2, 1] }), &[ids[l]], &[y]),
            }
            ids.push(y);
        }
        let chosen: BTreeSet<usize> =
            chosen.iter().map(|&k| k as usize % nodes.len() + 2).collect();
        chosen.iter().for_each(|&k| b.output(ids[k], DataType::F32, &dims));
        let mut session = Session::new(Arc::new(Model::load(&b.finish()).unwrap()));
        for _ in 0..2 {
            let outputs = session.run(&[("x", View::f32(&[2, 3, 3], &elements))]).unwrap();
            for (&k, (_, view)) in chosen.iter().zip(outputs.iter()) {
                prop_assert_eq!(view.as_f32().unwrap(), &expected[k]);
            }
        }
    }
}
