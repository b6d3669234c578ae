//! A folder with a small model in it, and the program run there.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use amq_format::graph::{
    Binary, BinaryFunction, DataType, Dim, Gather, Graph, Node, Op, Port, Reduce, ReduceKind,
    Softmax, State, Tensor,
};
use amq_format::{Draft, write};
use amqc::data;
use amqc::tensor::{self, Data};
use tempfile::TempDir;

/// p(next | token), rows by token.
pub(crate) const TABLE: [[f32; 4]; 4] =
    [[0.5, 0.25, 0.125, 0.125], [0.25; 4], [0.125, 0.125, 0.25, 0.5], [0.25; 4]];

/// What a model of bigrams makes of its logits.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    Logits,
    Softmax,
    /// The logits and their mean over the text.
    LookingAhead,
    /// The logits and the number of calls.
    CountingCalls,
}

pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    /// A directory with `m.amq` in it.
    pub(crate) fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.bigrams("m.amq", Ending::Logits, TABLE);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amqc"));
        command.args(args).current_dir(self.0.path()).env_remove("AMQ_ISA").env("COLUMNS", "100");
        command
    }

    pub(crate) fn amqc(&self, args: &[&str]) -> Ran {
        Ran(self.command(args).output().unwrap())
    }

    /// A model of which token follows which, `tokens [seq, batch]` to `logits [seq, batch, 4]` or
    /// to `scores` made of them, with a state that counts calls.
    pub(crate) fn bigrams(&self, name: &str, ending: Ending, table: [[f32; 4]; 4]) {
        let port = |value, data_type: DataType, dims: &[&str]| Port {
            value,
            data_type: data_type as i32,
            dims: dims.iter().map(|d| d.parse().map_or(Dim::named(*d), i64::into)).collect(),
            ..Port::default()
        };
        let tensor = |value, dims: &[u64]| Tensor {
            value,
            data_type: DataType::F32 as i32,
            dims: dims.to_vec(),
            ..Tensor::default()
        };
        let node = |name: &str, inputs: &[u32], output, op| Node {
            name: name.into(),
            inputs: inputs.to_vec(),
            outputs: vec![output],
            version: 1,
            op: Some(op),
            ..Node::default()
        };
        let names = ["", "tokens", "table", "logits", "count", "one", "next", "scores", "mean"];
        let values = match ending {
            Ending::Logits => 7,
            Ending::LookingAhead => 9,
            _ => 8,
        };
        let gather = Op::Gather(Gather { axis: 0 });
        let add = Op::Binary(Binary { function: BinaryFunction::Add as i32 });
        let mut nodes =
            vec![node("lookup", &[2, 1], 3, gather), node("counter", &[4, 5], 6, add.clone())];
        let mean = Reduce { kind: ReduceKind::Mean as i32, axes: vec![0], keep_dims: true };
        nodes.extend(match ending {
            Ending::Logits => vec![],
            Ending::Softmax => {
                vec![node("softmax", &[3], 7, Op::Softmax(Softmax { axis: 2, log: false }))]
            }
            Ending::LookingAhead => {
                vec![node("mean", &[3], 8, Op::Reduce(mean)), node("sum", &[3, 8], 7, add.clone())]
            }
            Ending::CountingCalls => vec![node("sum", &[3, 6], 7, add)],
        });
        let scores = if matches!(ending, Ending::Logits) { 3 } else { 7 };
        let graph = Graph {
            values: names[..values].iter().map(|n| (*n).to_owned()).collect(),
            inputs: vec![port(1, DataType::I64, &["seq", "batch"]), port(4, DataType::F32, &["1"])],
            outputs: vec![
                port(scores, DataType::F32, &["seq", "batch", "4"]),
                port(6, DataType::F32, &["1"]),
            ],
            tensors: vec![tensor(2, &[4, 4]), tensor(5, &[1])],
            nodes,
            states: vec![State { name: "count".into(), input: 4, output: 6, initial: 0 }],
            streams: vec![],
        };
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let logits: Vec<f32> = table.iter().flatten().map(|p| p.ln()).collect();
        let data = vec![bytes(&logits), bytes(&[1.0])];
        self.write(name, write(Draft { graph, data, provenance: None }).unwrap());
    }

    pub(crate) fn npz(&self, name: &str, arrays: &[(&str, &[usize], Data)]) {
        let tensors: Vec<_> = (arrays.iter())
            .map(|(name, dims, data)| {
                ((*name).to_owned(), tensor::Tensor { dims: dims.to_vec(), data: data.clone() })
            })
            .collect();
        data::write_npz(fs::File::create(self.path(name)).unwrap(), &tensors).unwrap();
    }
}

pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.0.status.code(), Some(0), "{}{}", self.stdout(), self.stderr());
        self.stdout()
    }

    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// Fails with this exit code and words that standard error holds.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) {
        let stderr = self.stderr();
        assert_eq!(self.0.status.code(), Some(code), "{stderr}");
        assert!(stderr.starts_with("error: "), "{stderr}");
        assert!(!stderr.contains("panicked") && self.0.stdout.is_empty(), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word:?} is not in: {stderr}");
        }
    }
}
