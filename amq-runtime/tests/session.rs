//! Models from file to outputs: streams, batches, errors, saved state.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amq_format::Validated;
use amq_format::graph::{self, Activations, Cell, DataType, Op, Reshape, UnaryFunction};
use amq_runtime::{Error, Isa, LoadOptions, MisfitKind, Model, Session, View};
use common::{Builder, HIDDEN, VOCABULARY, classifier, language_model, named, sized};

const ALL: [Activations; 3] = [Activations::F32, Activations::Int8, Activations::Codes2];

fn load(bytes: &[u8]) -> Arc<Model> {
    Arc::new(Model::load(bytes).unwrap())
}

fn tokens(count: usize) -> Vec<i64> {
    (0..count as i64).map(|i| (i * i * 7 + 3 * i) % VOCABULARY as i64).collect()
}

fn bits(view: View<'_>) -> Vec<u32> {
    view.as_f32().unwrap().iter().map(|x| x.to_bits()).collect()
}

/// Bits of the logits of a step with tokens `[seq, batch]`.
fn step(session: &mut Session, dims: [usize; 2], tokens: &[i64]) -> Vec<u32> {
    bits(session.step(&[("tokens", View::i64(&dims, tokens))]).unwrap().get("logits").unwrap())
}

fn input_error(result: Result<amq_runtime::Outputs<'_>, Error>) -> String {
    match result.map(|_| ()) {
        Err(Error::Input(misfit) | Error::State(misfit)) => misfit.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sequence_gives_the_same_bits_however_it_is_cut() {
    for cell in [Cell::Lstm, Cell::Gru] {
        for activations in ALL {
            let model = load(&language_model(cell, activations));
            let ids = tokens(24);
            let whole = step(&mut Session::new(Arc::clone(&model)), [12, 2], &ids);
            assert!(whole.iter().any(|&x| x != whole[0]));
            for cuts in [vec![1; 12], vec![5, 7], vec![3, 1, 8]] {
                let mut session = Session::new(Arc::clone(&model));
                let (mut from, mut pieces) = (0, Vec::new());
                for cut in cuts {
                    pieces.extend(step(&mut session, [cut, 2], &ids[from * 2..(from + cut) * 2]));
                    from += cut;
                }
                assert_eq!(pieces, whole, "{cell:?} {activations:?}");
            }
        }
    }
}

#[test]
fn states_are_also_inputs_and_outputs_of_run() {
    let model = load(&language_model(Cell::Lstm, Activations::Int8));
    let ids = tokens(12);
    let whole = step(&mut Session::new(Arc::clone(&model)), [12, 1], &ids);
    let mut session = Session::new(model);
    let outputs = session.run(&[("tokens", View::i64(&[7, 1], &ids[..7]))]).unwrap();
    let state = |name| outputs.get(name).unwrap().as_f32().unwrap().to_vec();
    let (h, c, mut pieces) = (state("h"), state("c"), bits(outputs.get("logits").unwrap()));
    let dims = [1, 1, HIDDEN];
    let inputs = [
        ("c0", View::f32(&dims, &c)),
        ("h0", View::f32(&dims, &h)),
        ("tokens", View::i64(&[5, 1], &ids[7..])),
    ];
    pieces.extend(bits(session.run(&inputs).unwrap().get("logits").unwrap()));
    assert_eq!(pieces, whole);
}

#[test]
fn a_sequence_gives_the_same_bits_alone_and_among_others() {
    for activations in ALL {
        let model = load(&language_model(Cell::Gru, activations));
        let ids = tokens(20);
        let all = step(&mut Session::new(Arc::clone(&model)), [5, 4], &ids);
        for n in 0..4 {
            let own: Vec<i64> = (0..5).map(|t| ids[t * 4 + n]).collect();
            let alone = step(&mut Session::new(Arc::clone(&model)), [5, 1], &own);
            let among = (0..5).flat_map(|t| &all[(t * 4 + n) * VOCABULARY..][..VOCABULARY]);
            assert!(alone.iter().eq(among));
        }
    }
    let mut session = Session::new(load(&classifier()));
    let pixels: Vec<f32> = (0..4 * 3 * 9 * 7).map(|i| (i * 31 % 17) as f32 / 4.0 - 2.0).collect();
    let all = session.run(&[("x", View::f32(&[4, 3, 9, 7], &pixels))]).unwrap();
    let all = bits(all.get("classes").unwrap());
    for (n, image) in pixels.chunks(3 * 9 * 7).enumerate() {
        let alone = session.run(&[("x", View::f32(&[1, 3, 9, 7], image))]).unwrap();
        assert_eq!(bits(alone.get("classes").unwrap()), all[n * 5..][..5]);
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for activations in ALL {
        let bytes = language_model(Cell::Lstm, activations);
        let file = Validated::new(&bytes).unwrap();
        let mut results = Vec::new();
        for isa in Isa::ALL {
            let options = LoadOptions { isa, ..LoadOptions::default() };
            match Model::with_options(&file, &options) {
                Ok(model) => {
                    assert_eq!(model.isa(), isa);
                    results.push(step(&mut Session::new(Arc::new(model)), [6, 3], &tokens(18)));
                }
                Err(error) => {
                    assert_eq!(error, Error::IsaUnavailable(isa));
                    assert!(!isa.is_available());
                    // Not eprintln!, which a test that passes keeps to itself.
                    let mut stderr = std::io::stderr();
                    writeln!(stderr, "skipped: {error}").unwrap();
                }
            }
        }
        assert!(results[0].iter().all(|&x| f32::from_bits(x).is_finite()));
        assert!(results[0].iter().any(|&x| x != results[0][0]));
        assert!(results.iter().all(|result| *result == results[0]));
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    let mut session = Session::new(load(&language_model(Cell::Lstm, Activations::Int8)));
    let ids = tokens(6);
    let fine = ("tokens", View::i64(&[2, 3], &ids));
    let state = vec![0.0; 4 * HIDDEN];
    let mut refuse = |inputs: &[(&str, View<'_>)], words: &[&str]| {
        let what = input_error(session.run(inputs));
        assert!(words.iter().all(|word| what.contains(word)), "{what}");
    };
    refuse(&[], &["tokens is missing"]);
    refuse(&[fine, fine], &["tokens is given twice"]);
    refuse(&[("token", fine.1)], &["no input token", "[tokens, h0, c0]"]);
    refuse(&[("tokens", View::i32(&[1, 1], &[1]))], &["tokens is i32", "i64"]);
    refuse(&[("tokens", View::i64(&[6], &ids))], &["tokens has shape [6]", "[seq, batch]"]);
    refuse(&[("tokens", View::i64(&[2, 2], &ids))], &["6 elements", "[2, 2]"]);
    refuse(
        &[("tokens", View::i64(&[0, 3], &[]))],
        &["tokens has shape [0, 3]", "dimension seq has to be at least 1"],
    );
    let huge = [usize::MAX, 2];
    refuse(&[("tokens", View::i64(&huge, &ids))], &["6 elements"]);
    let h = ("h0", View::f32(&[1, 4, HIDDEN], &state));
    refuse(&[fine, h], &["dimension batch is 3 in tokens and 4 in h0"]);
    let h = ("h0", View::f32(&[4, 1, HIDDEN], &state));
    refuse(
        &[("tokens", View::i64(&[6, 1], &ids)), h],
        &["h0 has shape [4, ", "the model takes [1, ", "axis 0 is 4, it must be 1"],
    );
    assert!(session.run(&[fine]).is_ok());
}

#[test]
fn a_step_that_fails_leaves_the_state() {
    let model = load(&language_model(Cell::Gru, Activations::Int8));
    let ids = tokens(8);
    let mut undisturbed = Session::new(Arc::clone(&model));
    let mut session = Session::new(model);
    for s in [&mut undisturbed, &mut session] {
        step(s, [4, 1], &ids[..4]);
    }
    let wrong = session.step(&[("tokens", View::i64(&[2, 1], &[1, 50]))]).map(|_| ());
    let error = wrong.unwrap_err().to_string();
    assert!(error.contains("node_0") && error.contains("index 50"), "{error}");
    let what = input_error(session.step(&[("tokens", View::i64(&[1, 2], &[1, 2]))]));
    assert!(what.contains("state h0 has shape [1, 1, 40]") && what.contains("reset"), "{what}");
    let h = [0.0; HIDDEN];
    let given = [("tokens", View::i64(&[1, 1], &[1])), ("h0", View::f32(&[1, 1, HIDDEN], &h))];
    assert!(input_error(session.step(&given)).contains("state h0 is given"));
    assert!(session.run(&[("tokens", View::i64(&[1, 2], &[1, 2]))]).is_ok());
    let next = step(&mut undisturbed, [4, 1], &ids[4..]);
    assert_eq!(step(&mut session, [4, 1], &ids[4..]), next);

    session.reset();
    assert_eq!(step(&mut session, [2, 2], &ids[..4]).len(), 4 * VOCABULARY);
}

#[test]
fn saved_state_continues_where_it_was() {
    for cell in [Cell::Lstm, Cell::Gru] {
        let model = load(&language_model(cell, Activations::Int8));
        let ids = tokens(20);
        let mut first = Session::new(Arc::clone(&model));
        let fresh = first.save();
        step(&mut first, [5, 2], &ids[..10]);
        let saved = first.save();
        let next = step(&mut first, [5, 2], &ids[10..]);
        let mut second = Session::new(model);
        second.restore(&saved).unwrap();
        assert_eq!(second.save(), saved);
        assert_eq!(step(&mut second, [5, 2], &ids[10..]), next);
        second.restore(&fresh).unwrap();
        assert_eq!(second.save(), fresh);
        // Another number of sequences than before fits again.
        step(&mut second, [1, 3], &ids[..3]);
    }
}

#[test]
fn what_is_no_saved_state_of_this_model_is_refused() {
    let model = load(&language_model(Cell::Lstm, Activations::Int8));
    let mut session = Session::new(Arc::clone(&model));
    step(&mut session, [1, 2], &[4, 5]);
    let saved = session.save();
    for len in 0..saved.len() {
        assert!(matches!(session.restore(&saved[..len]), Err(Error::State(_))), "{len}");
    }
    let mut longer = saved.clone();
    longer.push(0);
    assert!(session.restore(&longer).is_err());
    // Magic, digest, number of states, axes, sizes: none may change.
    for byte in 0..8 + 32 + 4 + 4 + 24 {
        for bit in 0..8 {
            let mut flipped = saved.clone();
            flipped[byte] ^= 1 << bit;
            assert!(session.restore(&flipped).is_err(), "byte {byte} bit {bit}");
        }
    }
    let mut other = Session::new(load(&language_model(Cell::Gru, Activations::Int8)));
    let error = other.restore(&saved).unwrap_err().to_string();
    assert!(error.contains("another model"), "{error}");
    assert_eq!(session.save(), saved);
}

#[test]
fn memory_has_a_limit() {
    let bytes = language_model(Cell::Lstm, Activations::Int8);
    let file = Validated::new(&bytes).unwrap();
    let options = LoadOptions { max_arena_bytes: 20_000, ..LoadOptions::default() };
    let mut session = Session::new(Arc::new(Model::with_options(&file, &options).unwrap()));
    let ids = tokens(1000);
    let small = step(&mut session, [4, 1], &ids[..4]);
    let error = session.run(&[("tokens", View::i64(&[1000, 1], &ids))]).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Memory { needed, limit: 20_000 } if needed > 20_000));
    session.reset();
    assert_eq!(step(&mut session, [4, 1], &ids[..4]), small);
}

#[test]
fn nan_in_outputs_has_one_form() {
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &[named("n")]);
    let root = b.unary(UnaryFunction::Sqrt, x, "root");
    let negative = b.unary(UnaryFunction::Neg, root, "negative");
    let copied = b.value("copied");
    b.node(Op::Reshape(Reshape { dims: vec![named("n"), sized(1)] }), &[x], &[copied]);
    b.output(root, DataType::F32, &[named("n")]);
    b.output(negative, DataType::F32, &[named("n")]);
    b.output(copied, DataType::F32, &[named("n"), sized(1)]);
    let mut session = Session::new(load(&b.finish()));
    let x = [-1.0, 4.0, f32::from_bits(0xffc0_1234), f32::from_bits(0x7f80_0001)];
    let outputs = session.run(&[("x", View::f32(&[4], &x))]).unwrap();
    let nan = 0x7fc0_0000;
    let expect = |name, expected: [u32; 4]| {
        assert_eq!(bits(outputs.get(name).unwrap()), expected, "{name}");
    };
    expect("root", [nan, 2f32.to_bits(), nan, nan]);
    expect("negative", [nan, (-2f32).to_bits(), nan, nan]);
    expect("copied", [(-1f32).to_bits(), 4f32.to_bits(), nan, nan]);
    assert_eq!(outputs.get("copied").unwrap().dims, [4, 1]);
}

#[test]
fn inputs_constants_and_states_may_be_outputs() {
    let dims = [sized(2)];
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &dims);
    let sum = b.input("sum", DataType::F32, &dims);
    let kept = b.input("kept", DataType::F32, &dims);
    let constant = b.floats("constant", &[2], &[0.5, f32::from_bits(0xffff_ffff)]);
    let (next, row, rows) = (b.value("next"), b.value("row"), b.value("rows"));
    let add = graph::Binary { function: graph::BinaryFunction::Add as i32 };
    b.node(Op::Binary(add), &[sum, x], &[next]);
    for (from, to) in [(sum, row), (constant, rows)] {
        b.node(Op::Reshape(Reshape { dims: vec![sized(1), sized(2)] }), &[from], &[to]);
    }
    for value in [next, x, kept, constant] {
        b.output(value, DataType::F32, &dims);
    }
    for value in [row, rows] {
        b.output(value, DataType::F32, &[sized(1), sized(2)]);
    }
    b.state(sum, next, graph::ABSENT);
    b.state(kept, kept, constant);
    let mut session = Session::new(load(&b.finish()));
    let nan = 0x7fc0_0000;
    let half = 0.5f32.to_bits();
    for (i, second) in [1.0, 2.0, f32::from_bits(0xffc0_1234), 1.0].into_iter().enumerate() {
        let outputs = session.step(&[("x", View::f32(&[2], &[3.0, second]))]).unwrap();
        let get = |name| bits(outputs.get(name).unwrap());
        let canonical = |x: f32| if x.is_nan() { nan } else { x.to_bits() };
        assert_eq!(get("x"), [3f32.to_bits(), canonical(second)]);
        let sums = [0.0, 1.0, 3.0, f32::NAN, f32::NAN].map(canonical);
        assert_eq!(get("row"), [(3.0 * i as f32).to_bits(), sums[i]]);
        assert_eq!(get("next"), [(3.0 * (i + 1) as f32).to_bits(), sums[i + 1]]);
        for name in ["kept", "constant", "rows"] {
            assert_eq!(get(name), [half, nan], "{name}");
        }
    }
    // NaNs in saved state have the one form too.
    let saved = session.save();
    assert!(saved.ends_with(&[half, nan].map(u32::to_le_bytes).concat()));
    let text = format!("{session:?}");
    assert!(text.contains(r#"("sum", [2])"#), "{text}");
}

#[test]
fn what_can_never_run_is_refused_when_it_is_loaded() {
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &[named("n"), sized(7)]);
    let w = b.random_floats("w", &[5, 8]);
    let y = b.value("y");
    let linear = graph::Linear { activations: Activations::F32 as i32 };
    b.node(Op::Linear(linear), &[x, w], &[y]);
    b.output(y, DataType::F32, &[named("n"), sized(5)]);
    let error = Model::load(&b.finish()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "node \"node_0\" (Linear): the last axis of x is 7, it must be 8");
    assert!(matches!(Model::load(b"nothing"), Err(Error::Format(_))));
}

#[test]
fn calls_do_not_depend_on_what_came_before() {
    let model = load(&language_model(Cell::Lstm, Activations::Codes2));
    let ids = tokens(40);
    let mut session = Session::new(Arc::clone(&model));
    for dims in [[1, 1], [4, 2], [2, 5], [10, 1], [3, 3], [1, 1], [4, 2], [10, 4], [2, 5]] {
        let inputs = [("tokens", View::i64(&dims, &ids[..dims[0] * dims[1]]))];
        let mut fresh = Session::new(Arc::clone(&model));
        let expected: Vec<_> =
            fresh.run(&inputs).unwrap().iter().map(|(_, view)| bits(view)).collect();
        let outputs = session.run(&inputs).unwrap();
        assert!(outputs.iter().map(|(_, view)| bits(view)).eq(expected));
    }
}

#[test]
fn the_meter_counts_quantization_and_changes_nothing() {
    /// A clock that goes on with each look at it.
    fn now() -> Duration {
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        Duration::from_nanos(LOOKS.fetch_add(1, Ordering::Relaxed))
    }

    let tokens = [("tokens", View::i64(&[3, 1], &[3, 1, 4]))];
    for (activations, coded) in [(Activations::F32, false), (Activations::Int8, true)] {
        let file = language_model(Cell::Lstm, activations);
        let mut session = Session::new(Arc::new(Model::load(&file).unwrap()));
        let logits = |session: &mut Session| {
            let outputs = session.run(&tokens).unwrap();
            outputs.get("logits").unwrap().as_f32().unwrap().to_vec()
        };
        let before = logits(&mut session);
        session.meter_quantization(now);
        assert_eq!(logits(&mut session), before);
        let metered = session.quantization_time().as_nanos();
        assert_eq!(metered > 0, coded, "{metered}");
        assert_eq!(logits(&mut session), before);
        assert_eq!(session.quantization_time().as_nanos(), 2 * metered);
    }
}

#[test]
fn a_session_tells_its_outputs_and_states_again() {
    let mut session = Session::new(load(&language_model(Cell::Lstm, Activations::Int8)));
    assert!(session.outputs().is_none());
    assert_eq!(session.states().count(), 0);
    let mut last = Vec::new();
    for token in tokens(3) {
        let outputs = session.step(&[("tokens", View::i64(&[1, 1], &[token]))]).unwrap();
        last = outputs.iter().map(|(name, view)| (name.to_owned(), bits(view))).collect();
    }
    let again = session.outputs().unwrap();
    let again: Vec<_> = again.iter().map(|(name, view)| (name.to_owned(), bits(view))).collect();
    assert_eq!(again, last);
    // A state is what the output that gives it was.
    let model = Arc::clone(session.model());
    let states: Vec<_> = session.states().collect();
    assert_eq!(states.len(), 2);
    for (state, (name, view)) in model.states().iter().zip(states) {
        assert_eq!(name, model.inputs()[state.input].name);
        assert_eq!(view.dims, [1, 1, HIDDEN]);
        assert_eq!(bits(view), last[state.output].1);
    }
    assert!(session.step(&[]).is_err());
    assert!(session.outputs().is_none());
    session.reset();
    assert_eq!(session.states().count(), 0);
}

#[test]
fn outputs_stay_when_states_change() {
    let dims = [named("n")];
    let mut b = Builder::new();
    let x = b.input("x", DataType::F32, &dims);
    let states = ["first", "second"].map(|name| b.input(name, DataType::F32, &dims));
    let add = || Op::Binary(graph::Binary { function: graph::BinaryFunction::Add as i32 });
    let [sum, rest] = ["sum", "rest"].map(|name| b.value(name));
    b.node(add(), &[states[0], x], &[sum]);
    b.node(add(), &states, &[rest]);
    let row = b.value("row");
    let reshape = Reshape { dims: vec![sized(1), named("n")] };
    b.node(Op::Reshape(reshape), &[rest], &[row]);
    // With the second state's output another shares memory.
    b.output(sum, DataType::F32, &dims);
    b.output(rest, DataType::F32, &dims);
    b.output(row, DataType::F32, &[sized(1), named("n")]);
    b.state(states[0], sum, graph::ABSENT);
    b.state(states[1], rest, graph::ABSENT);
    let model = load(&b.finish());
    type Change = fn(&mut Session);
    let changes: [Change; 4] = [
        |_| {},
        Session::reset,
        |session| session.set_state("first", View::f32(&[3], &[7.0; 3])).unwrap(),
        |session| {
            let fresh = Session::new(Arc::clone(session.model())).save();
            session.restore(&fresh).unwrap();
        },
    ];
    for change in changes {
        let mut session = Session::new(Arc::clone(&model));
        let mut expected = [0f32; 3];
        for i in 1..5 {
            let x = [i as f32; 3];
            let outputs = session.step(&[("x", View::f32(&[3], &x))]).unwrap();
            let rest = expected[0] + expected[1];
            expected = [expected[0] + i as f32, rest, rest];
            for (number, value) in expected.into_iter().enumerate() {
                assert_eq!(outputs.at(number).unwrap().as_f32(), Some(&[value; 3][..]), "{i}");
            }
            let kept: Vec<f32> =
                session.states().map(|(_, view)| view.as_f32().unwrap()[2]).collect();
            assert_eq!(kept, expected[..2]);
        }
        // Their addresses are good until the next call, as C is told.
        let addresses = |session: &Session| -> Vec<*const f32> {
            let outputs = session.outputs().unwrap();
            outputs.iter().map(|(_, view)| view.as_f32().unwrap().as_ptr()).collect()
        };
        let before = addresses(&session);
        change(&mut session);
        assert_eq!(addresses(&session), before);
        let outputs = session.outputs().unwrap();
        for ((_, view), value) in outputs.iter().zip(expected) {
            assert_eq!(view.as_f32(), Some(&[value; 3][..]));
        }
    }
}

#[test]
fn numbers_stand_for_names() {
    let model = load(&language_model(Cell::Lstm, ALL[0]));
    let ids = tokens(4);
    let view = View::i64(&[2, 2], &ids);
    let (input, output) =
        (model.input_number("tokens").unwrap(), model.output_number("logits").unwrap());
    assert_eq!((model.input_number("token"), model.output_number("tokens")), (None, None));
    let mut session = Session::new(Arc::clone(&model));
    let expected = step(&mut session, [2, 2], &ids);
    let saved = session.save();
    let mut other = Session::new(Arc::clone(&model));
    let outputs = other.step_by_number(&[(input, view)]).unwrap();
    assert_eq!(bits(outputs.at(output).unwrap()), expected);
    assert!(outputs.at(model.outputs().len()).is_none());
    assert_eq!(other.save(), saved);
    let run = bits(session.run(&[("tokens", view)]).unwrap().get("logits").unwrap());
    let outputs = other.run_by_number(&[(input, view)]).unwrap();
    assert_eq!(bits(outputs.at(output).unwrap()), run);
    let Err(Error::Input(misfit)) = other.run_by_number(&[(99, view)]) else { panic!() };
    assert_eq!((misfit.kind(), misfit.name()), (MisfitKind::Unknown, "number 99"));
}

#[test]
fn one_state_is_read_and_set_by_name() {
    let model = load(&language_model(Cell::Lstm, ALL[0]));
    let names: Vec<String> =
        model.states().iter().map(|state| model.inputs()[state.input].name.clone()).collect();
    let mut session = Session::new(Arc::clone(&model));
    let kind = |result: Result<(), Error>| match result {
        Err(Error::State(misfit)) => misfit.kind(),
        other => panic!("{other:?}"),
    };
    assert!(session.state(&names[0]).is_none());
    assert_eq!(kind(session.set_state(&names[0], View::f32(&[0], &[]))), MisfitKind::Missing);
    let ids = tokens(8);
    step(&mut session, [2, 2], &ids[..4]);
    let saved = session.save();
    let kept: Vec<(Vec<usize>, Vec<f32>)> = (names.iter())
        .map(|name| session.state(name).unwrap())
        .map(|view| (view.dims.to_vec(), view.as_f32().unwrap().to_vec()))
        .collect();
    let expected = step(&mut session, [2, 2], &ids[4..]);
    // Another stream of the same shape, given the states of the first.
    let mut other = Session::new(Arc::clone(&model));
    step(&mut other, [2, 2], &ids[4..]);
    for (name, (dims, elements)) in names.iter().zip(&kept) {
        other.set_state(name, View::f32(dims, elements)).unwrap();
    }
    assert_eq!(other.save(), saved);
    assert_eq!(step(&mut other, [2, 2], &ids[4..]), expected);
    let (dims, elements) = &kept[0];
    assert_eq!(kind(other.set_state("no", View::f32(dims, elements))), MisfitKind::Unknown);
    let short = &elements[1..];
    assert_eq!(kind(other.set_state(&names[0], View::f32(dims, short))), MisfitKind::Shape);
    let ids = vec![0; elements.len()];
    assert_eq!(kind(other.set_state(&names[0], View::i64(dims, &ids))), MisfitKind::Type);
}
