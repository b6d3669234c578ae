//! Whatever the bytes, an error; whatever the draft, the same contents again.
#![allow(unreachable_pub, reason = "shared with the generators")]

mod samples;

use amq_format::graph::*;
use amq_format::{Draft, TensorView, Validated, multi_bit_bytes, write};
use proptest::collection::vec;
use proptest::prelude::*;
use samples::{Builder, hostile, named, unary};

/// A chain of products and functions, each weight plain or multi-bit.
fn drafts() -> impl Strategy<Value = Draft> {
    let layer = (1..6u64, 0..9u32, any::<bool>(), any::<bool>(), any::<bool>());
    (1..200u64, vec(layer, 1..4), proptest::option::of(".{0,20}")).prop_map(
        |(mut cols, layers, provenance)| {
            let mut b = Builder::new();
            b.input("x", DataType::F32, &[named("n"), (cols as i64).into()]);
            let mut x = String::from("x");
            for (i, (rows, bits, wide, offset, grouped)) in layers.into_iter().enumerate() {
                let (w, y) = (format!("w{i}"), format!("y{i}"));
                let activations = if bits == 0 {
                    b.f32s(&w, &[rows, cols], (0..rows * cols).map(|i| i as f32));
                    Activations::F32
                } else {
                    let group = if grouped && cols > 32 { 32 } else { 0 };
                    let coefficients = i32::from(wide);
                    let coding = MultiBit { bits, rows, group, coefficients, offset };
                    b.multi_bit(&w, &[rows, cols], coding);
                    if bits > 4 { Activations::Int8 } else { Activations::Codes3 }
                };
                let linear = Linear { activations: activations as i32 };
                b.node(&format!("linear{i}"), &[&x, &w], &[&y], Op::Linear(linear));
                x = format!("z{i}");
                b.node("", &[&y], &[&x], Op::Unary(unary(UnaryFunction::Tanh)));
                cols = rows;
            }
            b.output(&x, DataType::F32, &[named("n"), (cols as i64).into()]);
            Draft { provenance, ..b.draft() }
        },
    )
}

proptest! {
    #[test]
    fn drafts_are_read_as_they_were_written(draft in drafts()) {
        let file = write(draft.clone()).unwrap();
        prop_assert_eq!(&write(draft.clone()).unwrap(), &file);
        let read = Validated::new(&file).unwrap();
        prop_assert_eq!(read.graph(), &draft.graph);
        prop_assert_eq!(read.provenance(), draft.provenance.as_deref());
        for (index, data) in draft.data.iter().enumerate() {
            match read.tensor(index) {
                TensorView::Plain(view) => prop_assert_eq!(view.bytes, data.as_slice()),
                TensorView::MultiBit(view) => {
                    let size = match view.coefficient_type() {
                        CoefficientType::F16 => 2,
                        CoefficientType::F32 => 4,
                    };
                    let (rows, cols, groups) =
                        (view.rows as u64, view.cols as u64, view.groups() as u64);
                    let bits = view.bits as u32;
                    let bytes = multi_bit_bytes(rows, cols, bits, groups, size, view.has_offset);
                    prop_assert_eq!(bytes, Some(data.len() as u64));
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(Validated::new(&bytes).is_err());
        prop_assert!(Validated::new(&hostile::file_of(&bytes)).is_err());
    }

    /// A graph with a few bytes changed, in a file that is right around it.
    #[test]
    fn no_changed_graph_panics(
        edits in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let draft = samples::golden::draft();
        let mut graph = prost::Message::encode_to_vec(&draft.graph);
        for (index, byte) in edits {
            let at = index.index(graph.len());
            graph[at] = byte;
        }
        let file = hostile::file_with_graph(&draft, &graph);
        if let Ok(read) = Validated::new(&file) {
            prop_assert_eq!(prost::Message::encode_to_vec(read.graph()), graph);
        }
    }

    #[test]
    fn sizes_never_overflow_silently(
        rows in any::<u64>(), cols in any::<u64>(), bits in 1..=8u32, groups in any::<u64>(),
    ) {
        let exact = (u128::from(rows) * u128::from(cols)).div_ceil(64) * u128::from(bits);
        let exact = exact.checked_mul(8);
        let numbers = u128::from(rows).checked_mul(u128::from(groups) * u128::from(bits) * 4);
        let exact = exact.zip(numbers).and_then(|(a, b)| a.checked_add(b));
        let expected = exact.and_then(|bytes| u64::try_from(bytes).ok());
        prop_assert_eq!(multi_bit_bytes(rows, cols, bits, groups, 4, false), expected);
    }
}
