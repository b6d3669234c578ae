//! Sizes that data decide, through all passes and in a session.

use super::bodies::run_with;
use super::*;

/// The rows of x that `c` chooses go through an LSTM of two sequences.
fn chosen_rows() -> Build {
    let build = Build::new(14).input("x", "t 2 4").typed("c", ElementType::Bool, "t");
    let build = build.numbers("w", &[1, 12, 4]).numbers("r", &[1, 12, 3]);
    let build = build.input("h0", "1 2 3").input("c0", "1 2 3");
    let build = build.node_with("Compress", "x c", "rows", &[("axis", A::I(0))]);
    let lstm = [("hidden_size", A::I(3))];
    build.node_with("LSTM", "rows w r _ _ h0 c0", "y h c1", &lstm)
}

#[test]
fn a_sequence_of_length_0_leaves_its_states() {
    let build = chosen_rows().output("h").output("c1").output("y");
    let (x, h0, c0) = (numbers(1, 3 * 8), numbers(2, 6), numbers(3, 6));
    let run = |rows: &[f32], chosen: &[u8]| {
        let dims = [chosen.len(), 2, 4];
        let inputs = [
            ("x", View::f32(&dims, rows)),
            ("c", View::bool(&dims[..1], chosen)),
            ("h0", View::f32(&[1, 2, 3], &h0)),
            ("c0", View::f32(&[1, 2, 3], &c0)),
        ];
        run_with(&build, &inputs)
    };
    assert_eq!(run(&x, &[0, 0, 0]), [h0.clone(), c0.clone()].concat());
    // The same as of the rows alone.
    let alone = [&x[..8], &x[16..]].concat();
    assert_eq!(run(&x, &[1, 0, 1]), run(&alone, &[1, 1]));
}

#[test]
fn a_session_plans_for_each_size() {
    let build = Build::new(17).input("x", "n 3").typed("k", ElementType::Int64, "1");
    let build = build.ints("zero", &[0]).node("Slice", "x zero k", "rows").numbers("w", &[3, 2]);
    let build = build.node("MatMul", "rows w", "y").output("y");
    let (draft, _) = emitted(&passed(&build), &ConvertOptions::float()).unwrap();
    let model = Model::load(&amq_format::write(draft).unwrap()).unwrap();
    let mut session = Session::new(Arc::new(model));
    let x = numbers(4, 18);
    let mut first = |k: i64| {
        let k = [k];
        let inputs = [("x", View::f32(&[6, 3], &x)), ("k", View::i64(&[1], &k))];
        let outputs = session.run(&inputs).unwrap();
        let (_, view) = outputs.iter().next().unwrap();
        (view.dims.to_vec(), view.as_f32().unwrap().to_vec())
    };
    let (_, all) = first(6);
    for k in [2, 5, -1, 2, 0, 1, 3, 4, 5, 2, 9, -9] {
        let rows = if k < 0 { (6 + k).max(0) } else { k.min(6) } as usize;
        assert_eq!(first(k), (vec![rows, 2], all[..2 * rows].to_vec()), "{k}");
    }
}

#[test]
fn parts_must_be_the_axis_together() {
    let build = Build::new(17).input("x", "n").typed("parts", ElementType::Int64, "2");
    let build = build.node("Split", "x parts", "a b").output("b").output("a");
    let (draft, _) = emitted(&passed(&build), &ConvertOptions::float()).unwrap();
    let model = Arc::new(Model::load(&amq_format::write(draft).unwrap()).unwrap());
    let run = |parts: [i64; 2]| {
        let mut session = Session::new(Arc::clone(&model));
        let inputs = [("x", View::f32(&[3], &[1.0, 2.0, 3.0])), ("parts", View::i64(&[2], &parts))];
        let outputs = session.run(&inputs).map_err(|error| error.to_string())?;
        Ok(outputs.iter().flat_map(|(_, view)| view.as_f32().unwrap().to_vec()).collect())
    };
    assert_eq!(run([1, 2]), Ok::<Vec<f32>, String>(vec![2.0, 3.0, 1.0]));
    assert_eq!(run([3, 0]), Ok(vec![1.0, 2.0, 3.0]));
    for parts in [[1, 1], [2, 2], [4, -1]] {
        assert!(run(parts).unwrap_err().contains("of the sizes that it is given is -"));
    }
}

#[test]
fn sizes_are_bounded_by_memory() {
    let build = Build::new(17).typed("k", ElementType::Int64, "2");
    let build = build.node("ConstantOfShape", "k", "y").output("y");
    let (draft, _) = emitted(&passed(&build), &ConvertOptions::float()).unwrap();
    let model = Arc::new(Model::load(&amq_format::write(draft).unwrap()).unwrap());
    for k in [[1 << 40, 1 << 40], [1 << 20, 1 << 20], [i64::MAX, 1], [-1, 2]] {
        let mut session = Session::new(Arc::clone(&model));
        assert!(session.run(&[("k", View::i64(&[2], &k))]).is_err(), "{k:?}");
        assert!(session.run(&[("k", View::i64(&[2], &[2, 3]))]).is_ok(), "after {k:?}");
    }
}

#[test]
fn an_axis_that_would_go_is_an_error() {
    let build = Build::new(13).input("x", "1 n 1 m").node("Squeeze", "x", "y").output("y");
    let (draft, _) = emitted(&passed(&build), &ConvertOptions::float()).unwrap();
    let model = Arc::new(Model::load(&amq_format::write(draft).unwrap()).unwrap());
    let run = |n: usize| {
        let (dims, x) = ([1, n, 1, 2], numbers(6, 2 * n));
        let mut session = Session::new(Arc::clone(&model));
        let outputs = session.run(&[("x", View::f32(&dims, &x))]).map_err(|e| e.to_string())?;
        let (_, view) = outputs.iter().next().unwrap();
        assert_eq!(view.as_f32().unwrap(), x);
        Ok::<_, String>(view.dims.to_vec())
    };
    assert_eq!(run(3), Ok(vec![3, 2]));
    assert!(run(1).unwrap_err().contains("squeeze_without_axes_needs_sizes_other_than_1"));
}

/// Half of what a border that data decide leaves is a size too.
#[test]
fn sizes_after_borders_can_be_divided() {
    let build = Build::new(18)
        .input("x", "n 2")
        .typed("k", ElementType::Int64, "1")
        .ints("none", &[0])
        .ints("two", &[2])
        .node_with("Concat", "none none k none", "pads", &[("axis", A::I(0))])
        .node("Pad", "x pads", "wide")
        .node_with("Shape", "wide", "size", &[("end", A::I(1))])
        .node("Div", "size two", "half")
        .node("Sub", "size half", "rest")
        .node_with("Concat", "half rest", "parts", &[("axis", A::I(0))])
        .node("Split", "wide parts", "a b")
        .node_with("Concat", "b a", "y", &[("axis", A::I(0))])
        .output("y");
    let (x, none) = (numbers(7, 6), 0.0);
    for (k, rows) in [(0i64, vec![1, 2, 0]), (2, vec![2, 9, 9, 0, 1]), (-1, vec![1, 0])] {
        let k = [k];
        let inputs = [("x", View::f32(&[3, 2], &x)), ("k", View::i64(&[1], &k))];
        let row = |row: usize| [0, 1].map(|i| x.get(2 * row + i).copied().unwrap_or(none));
        let expected: Vec<f32> = rows.into_iter().flat_map(row).collect();
        assert_eq!(run_with(&build, &inputs), expected, "{k:?}");
    }
}
