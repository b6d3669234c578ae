//! Branches and loops: each body runs in memory of its own, and sizes that a node gives are known to
//! what follows.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::sync::Arc;

use amq_format::Validated;
use amq_runtime::{LoadOptions, Model, Session, View};
use common::{branch, branch_of_a_quotient, fibonacci};

#[test]
fn a_branch_gives_the_size_of_what_it_computes() {
    let mut session = Session::new(Arc::new(Model::load(&branch()).unwrap()));
    for (x, go) in [(vec![1.0, -2.0], 1), (vec![1.0, -2.0], 0), (vec![3.0], 0), (vec![-1.0; 3], 1)]
    {
        let (flag, dims) = ([go], [x.len()]);
        let inputs = [("go", View::bool(&[], &flag)), ("x", View::f32(&dims, &x))];
        let outputs = session.run(&inputs).unwrap();
        let expected: Vec<f32> = match go {
            1 => x.iter().map(|x| -x.max(0.0)).collect(),
            _ => x.iter().chain(&x).map(|x| -x).collect(),
        };
        let found = outputs.get("y").unwrap();
        assert_eq!((found.dims, found.as_f32().unwrap()), (&[expected.len()][..], &expected[..]));
    }
}

/// A size that only the other branch has, and that cannot be, is no error.
#[test]
fn a_branch_that_is_not_taken_needs_no_sizes() {
    let mut session = Session::new(Arc::new(Model::load(&branch_of_a_quotient()).unwrap()));
    let mut call = |x: &[f32], go: u8| {
        let (dims, flag) = ([x.len()], [go]);
        let inputs = [("go", View::bool(&[], &flag)), ("x", View::f32(&dims, x))];
        let outputs = session.run(&inputs).map_err(|error| error.to_string())?;
        Ok::<_, String>(outputs.get("y").unwrap().as_f32().unwrap().to_vec())
    };
    assert_eq!(call(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0), Ok(vec![21.0; 3]));
    assert_eq!(call(&[1.0, -2.0], 1), Ok(vec![1.0, 0.0]));
    assert!(call(&[1.0, -2.0], 0).is_err());
    assert_eq!(call(&[1.0, -2.0, 3.0], 0), Ok(vec![2.0; 12]));
}

#[test]
fn a_loop_ends_when_its_body_says_so() {
    let mut session = Session::new(Arc::new(Model::load(&fibonacci()).unwrap()));
    for (limit, go, expected) in [
        (10, 1, &[1, 1, 2, 3, 5, 8][..]),
        (100, 1, &[1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89]),
        (0, 1, &[1]),
        (100, 0, &[]),
        (10, 1, &[1, 1, 2, 3, 5, 8]),
    ] {
        let (limit, flag) = ([limit], [go]);
        let inputs = [
            ("limit", View::i64(&[], &limit)),
            ("go", View::bool(&[], &flag)),
            ("first", View::i64(&[], &[1])),
            ("second", View::i64(&[], &[1])),
        ];
        let outputs = session.run(&inputs).unwrap();
        let all = outputs.get("all").unwrap();
        assert_eq!((all.dims, all.as_i64().unwrap()), (&[expected.len()][..], expected));
        assert_eq!(outputs.get("last").unwrap().as_i64().unwrap().len(), 1);
    }
}

/// Memory and iterations that loops take are bounded, in each call anew.
#[test]
fn a_loop_without_end_is_an_error() {
    let file = fibonacci();
    let file = Validated::new(&file).unwrap();
    let session = |options| {
        let model = Model::with_options(&file, &options).unwrap();
        Session::new(Arc::new(model))
    };
    // Both numbers stay 0, below the limit for ever.
    let inputs = [
        ("limit", View::i64(&[], &[1])),
        ("go", View::bool(&[], &[1])),
        ("first", View::i64(&[], &[0])),
        ("second", View::i64(&[], &[0])),
    ];
    let small = LoadOptions { max_arena_bytes: 1 << 20, ..LoadOptions::default() };
    let error = session(small).run(&inputs).unwrap_err();
    assert!(error.to_string().contains("bytes of memory"), "{error}");

    let mut session = session(LoadOptions { max_iterations: 8, ..LoadOptions::default() });
    for _ in 0..2 {
        let error = session.run(&inputs).unwrap_err();
        assert!(error.to_string().contains("max_iterations"), "{error}");
        // Numbers up to 10 take six iterations.
        let ends = [("limit", View::i64(&[], &[10])), inputs[1], one("first"), one("second")];
        assert_eq!(session.run(&ends).unwrap().get("all").unwrap().dims, [6]);
    }
}

fn one(name: &str) -> (&str, View<'static>) {
    (name, View::i64(&[], &[1]))
}

#[test]
fn calls_of_known_sizes_are_planned_once() {
    // What follows a size is kept by size: five sizes in turn are more than are kept, four are not.
    let mut session = Session::new(Arc::new(Model::load(&branch()).unwrap()));
    let x = [1.0, -1.0, 2.0, -2.0];
    for _ in 0..3 {
        for (go, count) in [(1, 4), (0, 4), (1, 2), (0, 2)] {
            let (dims, flag) = ([count], [go]);
            let inputs = [("go", View::bool(&[], &flag)), ("x", View::f32(&dims, &x[..count]))];
            let outputs = session.run(&inputs).unwrap();
            let expected = if go == 1 { count } else { 2 * count };
            assert_eq!(outputs.get("y").unwrap().dims, [expected]);
        }
    }
}
