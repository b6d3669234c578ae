//! Files that break a rule are refused by that rule, quickly.
#![allow(unreachable_pub, reason = "shared with the generators")]

mod samples;

use amq_format::graph::{DataType, Graph, Node, Op, Port, State, Stream, Unary, UnaryFunction};
use amq_format::{Draft, Error, Limits, Rule, Validated, write};
use prost::Message;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Far above what these files take on a busy machine, and far below what quadratic time takes.
const LONG: Duration = Duration::from_secs(60);

fn refused_by(error: &Error) -> &'static str {
    match error {
        Error::Limit { limit, .. } => limit,
        other => other.rule().expect("a rule").code(),
    }
}

#[test]
fn each_file_is_refused_by_its_rule() {
    let mut wrong = Vec::new();
    for file in samples::hostile::all() {
        let before = Instant::now();
        match Validated::new(&file.bytes) {
            Err(error) if refused_by(&error) == file.refused_by => {
                let text = error.to_string();
                assert!(!text.contains("Some(") && !text.contains("None"), "{text}");
            }
            Err(error) => wrong.push(format!("{}: {error}", file.file_name())),
            Ok(_) => wrong.push(format!("{} was read", file.file_name())),
        }
        assert!(before.elapsed() < LONG, "{} is slow", file.file_name());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// An empty node is damage; one with an unknown field may have an operator of a later version.
#[test]
fn operators_of_later_versions_are_told_from_damage() {
    for file in samples::hostile::all().iter().filter(|file| file.refused_by == "G7") {
        let error = Validated::new(&file.bytes).expect_err("no known operator");
        let newer = matches!(error, Error::Unsupported { .. });
        assert_eq!(newer, file.what == "operator-of-the-future", "{error}");
    }
}

/// Encoders differ on whether -0 is a default: neither a draft nor a file has it.
#[test]
fn parameters_are_not_minus_zero() {
    let draft = |alpha| {
        let mut b = samples::Builder::new();
        b.input("x", DataType::F32, &samples::sizes([1]));
        let affine = Unary { alpha, ..samples::unary(UnaryFunction::Affine) };
        b.node("", &["x"], &["y"], Op::Unary(affine));
        b.output("y", DataType::F32, &samples::sizes([1]));
        b.draft()
    };
    assert_eq!(refused_by(&write(draft(-0.0)).expect_err("-0")), "G11");
    let mut graph = draft(-1.0).graph.encode_to_vec();
    let one = graph.windows(4).position(|bytes| bytes == (-1f32).to_le_bytes()).expect("alpha");
    graph[one..one + 4].copy_from_slice(&(-0f32).to_le_bytes());
    let file = samples::hostile::file_of(&graph);
    assert_eq!(refused_by(&Validated::new(&file).expect_err("-0")), "G2");
}

#[test]
fn files_are_what_the_generator_makes() {
    let mut expected = BTreeSet::new();
    for file in samples::hostile::all() {
        let path = samples::fixtures("hostile").join(file.file_name());
        assert_eq!(std::fs::read(&path).expect("a file"), file.bytes, "{}", path.display());
        assert!(expected.insert(file.file_name()), "{} is there twice", file.file_name());
    }
    let found = std::fs::read_dir(samples::fixtures("hostile")).expect("a folder");
    for entry in found {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(!name.ends_with(".amq") || expected.contains(&name), "{name} has no maker");
    }
}

#[test]
fn each_rule_has_a_hostile_file_and_stands_in_the_specification() {
    let tested: BTreeSet<_> = samples::hostile::all().iter().map(|file| file.refused_by).collect();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format.md");
    let specification = std::fs::read_to_string(path).expect("the specification");
    let listed: Vec<_> = specification.lines().filter(|line| line.starts_with("- **")).collect();
    let expected: Vec<_> =
        Rule::ALL.iter().map(|rule| format!("- **{rule}** {}.", rule.text())).collect();
    let listed: Vec<_> = listed
        .into_iter()
        .filter(|line| line.as_bytes().get(5).is_some_and(u8::is_ascii_digit))
        .collect();
    assert_eq!(listed, expected);
    for rule in Rule::ALL {
        assert!(tested.contains(rule.code()), "no file breaks {rule}");
    }
}

#[test]
fn each_limit_is_kept() {
    let file = write(samples::golden::draft()).expect("the draft is right");
    type Lower = fn(&mut Limits);
    let lowered: [(&str, Lower); 9] = [
        ("file_bytes", |limits| limits.file_bytes = 1000),
        ("sections", |limits| limits.sections = 3),
        ("graph_bytes", |limits| limits.graph_bytes = 100),
        ("graph_memory", |limits| limits.graph_memory = 1000),
        ("values", |limits| limits.values = 10),
        ("nodes", |limits| limits.nodes = 5),
        ("name_bytes", |limits| limits.name_bytes = 3),
        ("elements", |limits| limits.elements = 20),
        ("provenance_bytes", |limits| limits.provenance_bytes = 8),
    ];
    for (name, lower) in lowered {
        let mut limits = Limits::default();
        lower(&mut limits);
        let error = Validated::with_limits(&file, &limits).expect_err(name);
        assert_eq!(refused_by(&error), name);
    }
}

/// Empty messages take two bytes each in the file and far more in memory.
#[test]
fn small_messages_in_great_number_stop_at_a_limit() {
    let many_dims = Port { dims: vec![Default::default(); 2_000_000], ..Port::default() };
    let bodies = Node { bodies: vec![Graph::default(); 1_000_000], ..Node::default() };
    let numbers = Node { inputs: vec![1; 8_000_000], ..Node::default() };
    for (limit, graph) in [
        ("nodes", Graph { nodes: vec![Node::default(); 1_000_000], ..Graph::default() }),
        ("values", Graph { values: vec![String::new(); 1_000_000], ..Graph::default() }),
        ("graph_memory", Graph { inputs: vec![many_dims], ..Graph::default() }),
        ("graph_memory", Graph { nodes: vec![bodies], ..Graph::default() }),
        ("graph_memory", Graph { nodes: vec![numbers], ..Graph::default() }),
    ] {
        let file = samples::hostile::file_of(&graph.encode_to_vec());
        let before = Instant::now();
        let error = Validated::new(&file).expect_err(limit);
        assert_eq!(refused_by(&error), limit);
        assert!(before.elapsed() < LONG, "{limit} took long");
    }
}

/// States join inputs to outputs, names are unique.
fn large_graph(count: u32) -> Draft {
    let mut b = samples::Builder::new();
    let graph = &mut b.graph;
    graph.values.extend((0..3 * count).map(|i| format!("v{i}")));
    let port = |value| Port { value, dims: vec![1.into()], ..Port::default() };
    for input in 1..=count {
        let (middle, output) = (count + input, 2 * count + input);
        graph.inputs.push(port(input));
        graph.outputs.push(port(output));
        for (from, to) in [(input, middle), (middle, output)] {
            let op = Some(Op::Unary(samples::unary(UnaryFunction::Neg)));
            let (inputs, outputs) = (vec![from], vec![to]);
            graph.nodes.push(Node { inputs, outputs, version: 1, op, ..Node::default() });
        }
        let name = graph.values[input as usize].clone();
        graph.states.push(State { name, input, output, initial: 0 });
        graph.streams.push(Stream { value: output, ..Stream::default() });
    }
    b.draft()
}

/// Nothing may be looked for one by one: eight times the graph takes about eight times the time, and
/// not 64 times. The shortest of some times counts: another process only adds to them.
#[test]
fn a_large_graph_is_read_in_time() {
    let mut times = [Duration::MAX; 2];
    let linear = (0..10).any(|_| {
        for (count, shortest) in [3_000, 24_000].into_iter().zip(&mut times) {
            let draft = large_graph(count);
            let before = Instant::now();
            write(draft).expect("the graph is right");
            *shortest = before.elapsed().min(*shortest);
        }
        times[1] < 16 * times[0]
    });
    assert!(linear, "{times:?}");
}
