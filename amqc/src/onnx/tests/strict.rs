//! No operator ignores what it does not know: an attribute, an input or an output that is used.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::*;
use crate::error::ErrorKind;
use crate::onnx::registry;

/// What `fixtures/generate/node.py` packs.
#[derive(Clone, PartialEq, Message)]
struct Cases {
    #[prost(message, repeated, tag = "1")]
    cases: Vec<Case>,
}

#[derive(Clone, PartialEq, Message)]
struct Case {
    #[prost(bytes = "bytes", tag = "2")]
    model: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    inputs: Vec<Bytes>,
}

/// Models of one node that are read, by its operator: the standard's cases as they stand, with all
/// inputs but the first made constant, or with all.
fn models() -> BTreeMap<String, Build> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/node/cases.zip");
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut packed = Vec::new();
    archive.by_name("cases.pb").unwrap().read_to_end(&mut packed).unwrap();
    let mut models = BTreeMap::new();
    for case in Cases::decode(packed.as_slice()).unwrap().cases {
        let model = ModelProto::decode(case.model.clone()).unwrap();
        let Some([node]) = model.graph.as_ref().map(|graph| graph.node.as_slice()) else {
            continue;
        };
        let op = node.op_type.clone();
        if models.contains_key(&op) || case.inputs.iter().any(Bytes::is_empty) {
            continue;
        }
        let forms = [case.inputs.len(), 1, 0].map(|kept| {
            let mut build = Build { model: model.clone() };
            let graph = build.graph();
            let names = graph.input.iter().map(|input| input.name.clone());
            let constants = names.zip(case.inputs.iter().cloned()).skip(kept);
            let constant =
                |(name, tensor)| TensorProto { name, ..TensorProto::decode(tensor).unwrap() };
            graph.initializer = constants.map(constant).collect();
            build
        });
        models.extend(forms.into_iter().find(|form| form.import().is_ok()).map(|form| (op, form)));
    }
    models
}

/// Operators of the registry that no case of one node shows.
const WITHOUT_A_CASE: &[&str] = &[
    "ConcatFromSequence",
    "GlobalLpPool",
    "Optional",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SequenceMap",
    "SplitToSequence",
];

#[test]
fn what_an_operator_does_not_know_is_refused() {
    let models = models();
    let unknown: BTreeSet<&str> =
        registry::names().filter(|op| !models.contains_key(*op)).collect();
    assert_eq!(unknown.into_iter().collect::<Vec<_>>(), WITHOUT_A_CASE);
    let mut wrong = Vec::new();
    for (op, model) in &models {
        let mut refused = |what: &str, change: &dyn Fn(&mut GraphProto)| {
            let mut changed = model.clone();
            change(changed.graph());
            match changed.import() {
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                // Of what may be any number of inputs or outputs some are then missing.
                Err(error) if error.to_string().contains("is missing") => {}
                Err(error) if error.to_string().contains("outputs") => {}
                Err(error) => wrong.push(format!("{op} with {what}: {error}")),
                Ok(_) => wrong.push(format!("{op} with {what} is read")),
            }
        };
        refused("an attribute", &|graph| {
            graph.node[0].attribute.push(attribute("unknown", &A::I(1)));
        });
        refused("an input", &|graph| {
            graph.initializer.push(f32s("unknown", &[1], &[1.0]));
            graph.node[0].input.resize(20, String::new());
            graph.node[0].input.push("unknown".into());
        });
        refused("an output", &|graph| {
            graph.node[0].output.resize(20, String::new());
            graph.node[0].output.push("unknown".into());
            graph.output.push(ValueInfoProto { name: "unknown".into(), r#type: None });
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
