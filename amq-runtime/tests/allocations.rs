//! After the first call with a given shape, nothing is allocated.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell as Counter;
use std::sync::Arc;

use amq_format::Validated;
use amq_format::graph::{Activations, Binary, BinaryFunction, Cell, DataType, Gather, Linear, Op};
use amq_runtime::{LoadOptions, Model, Session, View};
use common::{Builder, named, sized};

struct Counting;

thread_local! {
    static ALLOCATIONS: Counter<usize> = const { Counter::new(0) };
    static BYTES: Counter<usize> = const { Counter::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps the contract, which is the system's.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        BYTES.with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller keeps the contract, which is the system's.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The number of allocations that `work` makes on this thread.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Counter::get);
    work();
    ALLOCATIONS.with(Counter::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1]))), 1);
}

#[test]
fn calls_with_known_shapes_allocate_nothing() {
    for activations in [Activations::F32, Activations::Int8, Activations::Codes2] {
        for cell in [Cell::Lstm, Cell::Gru] {
            for model in models(common::language_model(cell, activations)) {
                let mut session = Session::new(model);
                let tokens: Vec<i64> = (0..24).map(|i| i * 7 % 50).collect();
                let shapes = [[1, 1], [12, 1], [12, 2], [3, 4]];
                let call = |session: &mut Session| {
                    for dims in &shapes {
                        let count = dims[0] * dims[1];
                        let inputs = [("tokens", View::i64(dims, &tokens[..count]))];
                        let outputs = session.run(&inputs).unwrap();
                        assert!(outputs.get("logits").is_some());
                    }
                };
                assert!(allocations(|| call(&mut session)) > 0);
                assert_eq!(allocations(|| call(&mut session)), 0, "run, {activations:?}");

                let mut session = Session::new(Arc::clone(session.model()));
                let step = |session: &mut Session| {
                    let outputs =
                        session.step(&[("tokens", View::i64(&[1, 1], &tokens[3..4]))]).unwrap();
                    assert!(outputs.iter().count() > 1);
                };
                assert!(allocations(|| step(&mut session)) > 0);
                assert_eq!(allocations(|| (0..5).for_each(|_| step(&mut session))), 0, "step");
            }
        }
    }
}

#[test]
fn weights_that_stay_in_the_file_take_no_memory() {
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &[named("n"), sized(1024)]);
    let w = b.codes("w", &[1024, 1024], 1, 2);
    let table = b.codes("table", &[2000, 1024], 1, 2);
    let c = b.random_floats("c", &[1024]);
    let index = b.input("index", DataType::I64, &[named("n")]);
    let [y, z, sum] = ["y", "z", "sum"].map(|name| b.value(name));
    b.node(Op::Linear(Linear { activations: Activations::Int8 as i32 }), &[x, w], &[y]);
    b.node(Op::Gather(Gather { axis: 0 }), &[table, index], &[z]);
    b.node(Op::Binary(Binary { function: BinaryFunction::Add as i32 }), &[z, c], &[sum]);
    b.output(y, DataType::F32, &[named("n"), sized(1024)]);
    b.output(sum, DataType::F32, &[named("n"), sized(1024)]);
    let bytes = b.finish();
    let size = bytes.len();
    let file = Validated::new(bytes.leak()).unwrap();
    let before = BYTES.with(Counter::get);
    let model = Model::in_file(&file, &LoadOptions::default()).unwrap();
    let x = vec![0.5; 1024];
    let mut session = Session::new(Arc::new(model));
    session.run(&[("x", View::f32(&[1, 1024], &x)), ("index", View::i64(&[1], &[7]))]).unwrap();
    let taken = BYTES.with(Counter::get) - before;
    // A vector's tables are 4 KiB, and so are its results.
    assert!(taken < size / 10, "{taken} bytes for a file of {size}");
    let memory = session.memory();
    assert_eq!((memory.values, memory.states), (2 * 4096, 0));
    // What was taken has the model and the plan in it, and what they were made with.
    let told = memory.bytes() as usize;
    assert!(told <= taken && taken < 2 * told, "{taken} bytes, {memory:?}");
}

#[test]
fn plans_for_several_shapes_share_memory() {
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &[named("n"), sized(512)]);
    let w = b.codes("w", &[512, 512], 1, 2);
    let [y, z] = ["y", "z"].map(|name| b.value(name));
    let linear = Op::Linear(Linear { activations: Activations::Int8 as i32 });
    b.node(linear.clone(), &[x, w], &[y]);
    b.node(linear, &[y, w], &[z]);
    b.output(z, DataType::F32, &[named("n"), sized(512)]);
    let mut session = Session::new(Arc::new(Model::load(&b.finish()).unwrap()));
    let x = vec![0.5; 200 * 512];
    let mut taken = |n: usize| {
        let before = BYTES.with(Counter::get);
        session.run(&[("x", View::f32(&[n, 512], &x[..n * 512]))]).unwrap();
        BYTES.with(Counter::get) - before
    };
    let values = 200 * 512 * size_of::<f32>();
    assert!(taken(200) > values);
    for n in [150, 7, 100] {
        assert!(taken(n) < values / 50, "{n}");
    }
}

#[test]
fn a_convolutional_network_allocates_nothing() {
    let pixels: Vec<f32> = (0..600).map(|i| (i % 13) as f32 - 6.0).collect();
    for model in models(common::classifier()) {
        let mut session = Session::new(model);
        let mut call = || {
            let inputs = [("x", View::f32(&[2, 3, 10, 10], &pixels))];
            assert!(session.run(&inputs).is_ok());
        };
        call();
        assert_eq!(allocations(call), 0);
    }
}

/// The model of a file, packed, and with weights that stay in the file.
fn models(file: Vec<u8>) -> [Arc<Model>; 2] {
    let file = Validated::new(file.leak()).unwrap();
    let options = LoadOptions::default();
    let [packed, in_file] = [Model::with_options(&file, &options), Model::in_file(&file, &options)];
    [packed.unwrap(), in_file.unwrap()].map(Arc::new)
}

#[test]
fn branches_and_loops_of_known_sizes_allocate_nothing() {
    for (file, name) in [(common::branch(), "x"), (common::fibonacci(), "first")] {
        let model = Arc::new(Model::load(&file).unwrap());
        let (limit, one, x) = ([50], [1], [1.0, -2.0, 3.0]);
        let mut session = Session::new(model);
        let mut call = || {
            for go in [[1], [0]] {
                let mut inputs = vec![("go", View::bool(&[], &go))];
                match name {
                    "x" => inputs.push(("x", View::f32(&[3], &x))),
                    _ => inputs.extend([
                        ("limit", View::i64(&[], &limit)),
                        ("first", View::i64(&[], &one)),
                        ("second", View::i64(&[], &one)),
                    ]),
                }
                let before = ALLOCATIONS.with(Counter::get);
                assert!(session.run(&inputs).is_ok());
                inputs.clear();
                TAKEN
                    .with(|taken| taken.set(taken.get() + ALLOCATIONS.with(Counter::get) - before));
            }
        };
        call();
        TAKEN.with(|taken| taken.set(0));
        call();
        assert_eq!(TAKEN.with(Counter::get), 0, "{name}");
    }
}

thread_local! {
    /// Allocations of calls alone.
    static TAKEN: Counter<usize> = const { Counter::new(0) };
}
