//! The same bits for any number of workers, however small the parts.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use amq_format::graph::{Activations, AutoPad, Cell, Conv, DataType, Dim, Op};
use amq_runtime::{Model, Session, Threads, View, Workers};
use common::{Builder, named, sized};

/// Divides all that can be divided, and counts.
struct Eager {
    count: usize,
    joins: AtomicUsize,
}

impl Workers for Eager {
    fn count(&self) -> usize {
        self.count
    }

    fn join(&self, a: &mut (dyn FnMut() + Send), b: &mut (dyn FnMut() + Send)) {
        self.joins.fetch_add(1, Ordering::Relaxed);
        thread::scope(|scope| {
            scope.spawn(a);
            b();
        });
    }

    fn grain(&self) -> usize {
        1
    }
}

/// The bits of all outputs of two calls, with each number of workers, and with threads that divide
/// only what is large.
fn same_bits(file: &[u8], inputs: &[(&str, View<'_>)]) {
    let model = Arc::new(Model::load(file).unwrap());
    let bits = |mut session: Session| {
        session.run(inputs).unwrap();
        let outputs = session.run(inputs).unwrap();
        let bits = |view: View<'_>| view.as_f32().unwrap().iter().map(|x| x.to_bits()).collect();
        outputs.iter().map(|(_, view)| bits(view)).collect::<Vec<Vec<u32>>>()
    };
    let expected = bits(Session::new(Arc::clone(&model)));
    for count in 1..=5 {
        let workers = Arc::new(Eager { count, joins: AtomicUsize::new(0) });
        let lent: Arc<dyn Workers> = Arc::clone(&workers) as _;
        let found = bits(Session::with_workers(Arc::clone(&model), lent));
        assert!(found == expected, "{count} workers");
        assert_eq!(workers.joins.load(Ordering::Relaxed) > 0, count > 1);
    }
    let threads = Threads::new(NonZeroUsize::new(3).unwrap());
    assert!(bits(Session::with_workers(model, Arc::new(threads))) == expected);
}

#[test]
fn recurrent_layers_and_products_of_vectors() {
    let tokens: Vec<i64> = (0..36).map(|i| i * 7 % 50).collect();
    for activations in [Activations::F32, Activations::Int8, Activations::Codes2] {
        for cell in [Cell::Lstm, Cell::Gru] {
            let file = common::language_model(cell, activations);
            for dims in [[1, 1], [7, 1], [9, 4]] {
                let count = dims[0] * dims[1];
                same_bits(&file, &[("tokens", View::i64(&dims, &tokens[..count]))]);
            }
        }
    }
}

fn conv(
    groups: u64,
    stride: u64,
    [height, width]: [Dim; 2],
    bits: u32,
    activations: Activations,
) -> Vec<u8> {
    let mut b = Builder::new();
    let x = b.input(
        "x",
        DataType::F32,
        &[named("n"), sized(8 * groups as i64), height.clone(), width.clone()],
    );
    let dims = [96 * groups, 3, 3, 8];
    let w = if bits == 0 { b.random_floats("w", &dims) } else { b.codes("w", &dims, 1, bits) };
    let bias = b.random_floats("bias", &[96 * groups]);
    let y = b.value("y");
    let conv = Conv {
        strides: vec![stride; 2],
        dilations: vec![1; 2],
        pads: vec![1; 4],
        auto_pad: AutoPad::Explicit as i32,
        groups,
        activations: activations as i32,
    };
    b.node(Op::Conv(conv), &[x, w, bias], &[y]);
    let half = |size: Dim| size.ceil_div(&Dim::from(stride as i64)).unwrap();
    let [height, width] = [height, width].map(|size| if stride > 1 { half(size) } else { size });
    b.output(y, DataType::F32, &[named("n"), sized(96 * groups as i64), height, width]);
    b.finish()
}

#[test]
fn convolutions_of_items_groups_and_channels() {
    let pixels: Vec<f32> = (0..3 * 24 * 6 * 9).map(|i| (i * 7 % 23) as f32 / 9.0 - 1.0).collect();
    for groups in [1, 3] {
        for (bits, activations) in
            [(0, Activations::F32), (2, Activations::Int8), (2, Activations::Codes2)]
        {
            let file = conv(groups, 1, [named("height"), named("width")], bits, activations);
            for items in [1, 2, 3] {
                let dims = [items, 8 * groups as usize, 6, 9];
                let count = dims.iter().product();
                same_bits(&file, &[("x", View::f32(&dims, &pixels[..count]))]);
            }
        }
    }
}

/// Workers have lines of windows where there are enough: rows, of one row the columns.
#[test]
fn convolutions_of_lines() {
    let pixels: Vec<f32> = (0..8 * 600).map(|i| (i * 7 % 23) as f32 / 9.0 - 1.0).collect();
    for (bits, activations) in [
        (0, Activations::F32),
        (2, Activations::Int8),
        (2, Activations::Int16),
        (2, Activations::Codes2),
    ] {
        for (stride, sizes) in [
            (1, [[40, 5], [13, 17], [1, 61], [31, 1]]),
            (2, [[61, 3], [25, 24], [1, 122], [2, 200]]),
        ] {
            for [height, width] in sizes {
                let size = [height, width].map(|size| sized(size as i64));
                let file = conv(1, stride, size, bits, activations);
                let dims = [1, 8, height, width];
                same_bits(&file, &[("x", View::f32(&dims, &pixels[..8 * height * width]))]);
            }
        }
    }
}
