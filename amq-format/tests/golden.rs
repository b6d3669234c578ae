//! The frozen file of version 1.0: read for ever, and written again byte for byte.
#![allow(unreachable_pub, reason = "shared with the generators")]

mod samples;

use amq_format::graph::{CoefficientType, Op};
use amq_format::{Draft, MultiBitView, TensorView, Validated, spec, write, write_with};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

fn golden() -> Vec<u8> {
    std::fs::read(samples::fixtures("golden").join("v1.0.amq")).expect("the golden file")
}

fn draft_of(file: &[u8], validated: &Validated<'_>) -> Draft {
    let data = validated.sections().iter().filter(|section| section.kind == spec::TENSOR);
    let data = data.map(|s| file[s.offset as usize..][..s.length as usize].to_vec()).collect();
    let provenance = validated.provenance().map(String::from);
    Draft { graph: validated.graph().clone(), data, provenance }
}

#[test]
fn the_frozen_file_is_read_and_written_again() {
    let file = golden();
    let validated = Validated::new(&file).expect("the golden file keeps every rule");
    assert_eq!(validated.version(), (1, 0));
    let draft = draft_of(&file, &validated);
    assert_eq!(draft, samples::golden::draft());
    assert_eq!(write(draft).expect("it is right"), file);
    let root_at = 64 + 64 * validated.sections().len();
    assert_eq!(validated.root_digest(), file[root_at..root_at + 32]);
}

#[test]
fn files_of_products_are_written_again() {
    for (name, draft) in samples::products::all() {
        let path = samples::fixtures("golden").join(format!("products-{name}.amq"));
        let file = std::fs::read(path).expect("a golden file");
        let validated = Validated::new(&file).expect("a golden file keeps every rule");
        assert_eq!(draft_of(&file, &validated), draft, "{name}");
        assert_eq!(write(draft).expect("it is right"), file, "{name}");
    }
}

#[test]
fn it_has_every_operator() {
    let draft = samples::golden::draft();
    let names: BTreeSet<_> =
        draft.graph.nodes.iter().filter_map(|node| node.op.as_ref()).map(|op| op.name()).collect();
    let declared: BTreeSet<_> = Op::NAMES.iter().copied().collect();
    assert_eq!(names, declared);
}

/// Weights computed from the section's bytes as the specification describes them.
fn weights(view: &MultiBitView<'_>, data: &[u8]) -> Vec<f32> {
    let words = (view.rows * view.cols).div_ceil(64);
    let groups = view.cols.div_ceil(view.group);
    let planes = view.bits * words * 8;
    let number = |index: usize| match view.coefficient_type() {
        CoefficientType::F32 => {
            f32::from_le_bytes(data[planes + 4 * index..][..4].try_into().expect("four bytes"))
        }
        CoefficientType::F16 => {
            let bits = u16::from_le_bytes(data[planes + 2 * index..][..2].try_into().expect("two"));
            // Normal and positive, as the samples' are.
            f32::from_bits((u32::from(bits >> 10) + 112) << 23 | u32::from(bits & 0x3ff) << 13)
        }
    };
    let mut weights = Vec::new();
    for row in 0..view.rows {
        for col in 0..view.cols {
            let group = row * groups + col / view.group;
            let terms = (0..view.bits).map(|plane| {
                let bit = row * view.cols + col;
                let sign = if data[plane * words * 8 + bit / 8] >> (bit % 8) & 1 == 1 {
                    1.0
                } else {
                    -1.0
                };
                sign * number(group * view.bits + plane)
            });
            let sum = terms.reduce(|sum, term| sum + term).expect("a plane");
            let offset = view.rows * groups * view.bits + group;
            weights.push(if view.has_offset { sum + number(offset) } else { sum });
        }
    }
    weights
}

#[test]
fn tensors_are_what_their_bytes_say() {
    let file = golden();
    let validated = Validated::new(&file).expect("the golden file keeps every rule");
    let draft = draft_of(&file, &validated);
    let (mut coded, mut grouped) = (0, 0);
    for (index, data) in draft.data.iter().enumerate() {
        match validated.tensor(index) {
            TensorView::Plain(view) => {
                assert_eq!(view.bytes, data);
                let read: Vec<u8> = view
                    .f32s()
                    .flat_map(f32::to_le_bytes)
                    .chain(view.i64s().flat_map(i64::to_le_bytes))
                    .chain(view.i32s().flat_map(i32::to_le_bytes))
                    .chain(view.i16s().flat_map(i16::to_le_bytes))
                    .chain(view.u16s().flat_map(u16::to_le_bytes))
                    .chain(view.u32s().flat_map(u32::to_le_bytes))
                    .chain(view.u64s().flat_map(u64::to_le_bytes))
                    .collect();
                assert!(view.data_type.size() == 1 || read == *data);
            }
            TensorView::MultiBit(view) => {
                let expected = weights(&view, data);
                let mut decoded = vec![0.0; view.cols];
                for (row, expected) in expected.chunks(view.cols).enumerate() {
                    view.decode_row(row, &mut decoded);
                    assert_eq!(decoded, expected);
                }
                coded += 1;
                grouped += usize::from(view.groups() > 1);
            }
        }
    }
    assert_eq!((coded, grouped), (8, 1));
}

/// Digests of weights, which a reader in another language compares with its own.
#[test]
fn weights_decode_to_the_stored_digests() {
    let golden = std::fs::read_dir(samples::fixtures("golden")).expect("the folder");
    let mut paths: Vec<_> = golden.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "amq"));
    paths.sort();
    paths.push(samples::fixtures("lstm").join("model.amq"));
    let mut lines = String::new();
    for path in paths {
        let file = std::fs::read(&path).expect("a file");
        let validated = Validated::new(&file).expect("it keeps every rule");
        let graph = validated.graph();
        let names: Vec<_> = path.iter().rev().take(2).map(|name| name.to_string_lossy()).collect();
        for (index, tensor) in graph.tensors.iter().enumerate() {
            let TensorView::MultiBit(view) = validated.tensor(index) else { continue };
            let mut digest = Sha256::new();
            let mut row = vec![0.0; view.cols];
            for number in 0..view.rows {
                view.decode_row(number, &mut row);
                row.iter().for_each(|weight| digest.update(weight.to_le_bytes()));
            }
            let value = &graph.values[tensor.value as usize];
            lines += &format!("{}/{} {value} ", names[1], names[0]);
            digest.finalize().iter().for_each(|byte| lines += &format!("{byte:02x}"));
            lines.push('\n');
        }
    }
    let stored = samples::fixtures("golden").join("weights.txt");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&stored, &lines).expect("a file that can be written");
    }
    assert_eq!(std::fs::read_to_string(&stored).expect("the digests"), lines);
}

#[test]
fn no_beginning_of_the_file_is_a_file() {
    let file = golden();
    for length in 0..file.len() {
        assert!(Validated::new(&file[..length]).is_err(), "{length} bytes were read");
    }
}

#[test]
fn no_changed_byte_goes_unseen() {
    let file = golden();
    let mut changed = file.clone();
    for index in 0..file.len() {
        for mask in [1 << (index % 8), 0xff] {
            changed[index] = file[index] ^ mask;
            assert!(Validated::new(&changed).is_err(), "byte {index} with {mask:#x} was read");
        }
        changed[index] = file[index];
    }
}

#[test]
fn unknown_ancillary_sections_are_kept() {
    let extra: [(u32, &[u8]); 2] = [(900, b"of a later version"), (77, b"")];
    let file = write_with(samples::golden::draft(), &extra).expect("the draft is right");
    let validated = Validated::new(&file).expect("unknown ancillary sections are skipped");
    assert_eq!(validated.unknown_sections().collect::<Vec<_>>(), extra);
    assert_eq!(draft_of(&file, &validated), samples::golden::draft());
}

#[test]
fn what_a_reader_would_refuse_is_not_written() {
    let mut draft = samples::golden::draft();
    draft.data.pop();
    assert!(write(draft).is_err());
    let mut draft = samples::golden::draft();
    draft.graph.nodes.reverse();
    assert!(write(draft).is_err());
}
