//! The program as users and scripts meet it: exit codes, messages, JSON keys and files.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use amq_format::graph::DataType;
use amq_runtime::Isa;
use amqc::data;
use amqc::tensor::{self, Data};

mod place;

use place::{Ending, Place, Ran, TABLE};

#[test]
fn what_the_command_line_gets_wrong_is_exit_code_2() {
    let place = Place::new();
    place.write("m.onnx", "");
    place.write("r.yaml", "version: 1\nbit: 2\n");
    for (args, words) in [
        (&["covert", "m.onnx"][..], &["covert", "convert"][..]),
        (&["convert"], &["MODEL.onnx"]),
        (&["convert", "m.onnx", "-b", "9"], &["9", "f32"]),
        (&["convert", "m.onnx", "-b", "5", "-a", "2"], &["no kernel", "= help:"]),
        (&["convert", "m.onnx", "-b", "f32", "-a", "int8"], &["-a int8"]),
        (&["convert", "m.onnx", "-b", "f32", "--method", "greedy"], &["--method greedy"]),
        (&["convert", "m.onnx", "-b", "f32", "--cycles", "3"], &["--cycles 3"]),
        (&["convert", "m.onnx", "--method", "greedy", "--cycles", "3"], &["--cycles 3", "greedy"]),
        (&["convert", "m.onnx", "--method", "greeedy"], &["greeedy", "greedy"]),
        (&["convert", "m.onnx", "--cycles", "x"], &["converge"]),
        (&["inspect", "m.onnx", "-b", "3"], &["settings", "--stage", "= help:"]),
        (&["convert", "m.onnx", "--state", "h"], &["--state"]),
        (&["convert", "m.onnx", "-o", "./m.onnx"], &["also read"]),
        (&["convert", "m.onnx", "--recipe", "r.yaml"], &["r.yaml:2:1: ", "bit"]),
        (&["run", "m.amq"], &["--outputs", "--output-dir"]),
        (&["run", "m.amq", "--outputs", "o.npz"], &["\"tokens\" is not given", "[seq, batch]"]),
        (&["run", "m.amq", "--outputs", "o.npz", "--threads", "0"], &["--threads 0"]),
        (&["verify", "m.amq", "--max-error", "1"], &["--against"]),
        (&["eval", "m.amq"], &["--text"]),
        (&["eval", "m.amq", "--text", "t"], &["--vocab"]),
        (&["verify", "m.amq", "--against", "m.amq", "--dim", "sequ=3"], &["did you mean \"seq\""]),
        (&["bench", "m.amq", "--dim", "sequ=3"], &["\"sequ\"", "did you mean \"seq\""]),
        (&["bench", "m.amq", "--dim", "seq=0"], &["seq=0"]),
    ] {
        place.amqc(args).fails(2, words);
    }
    assert_eq!(place.names(), ["m.amq", "m.onnx", "r.yaml"]);
}

#[test]
fn what_is_read_is_never_replaced() {
    let place = Place::new();
    place.npz(
        "i.npz",
        &[("tokens", &[1, 1], Data::I64(vec![0])), ("count", &[1], Data::F32(vec![0.0]))],
    );
    let before: Vec<_> = ["m.amq", "i.npz"].map(|name| fs::read(place.path(name)).unwrap()).into();
    for output in ["m.amq", "i.npz", "./i.npz"] {
        let args = ["run", "m.amq", "--inputs", "i.npz", "--outputs", output];
        place.amqc(&args).fails(2, &["is also read", "= help:"]);
    }
    let array = tensor::Tensor { dims: vec![1, 1], data: Data::I64(vec![0]) };
    data::write_npy(fs::File::create(place.path("logits.npy")).unwrap(), &array).unwrap();
    let args = ["run", "m.amq", "--input", "tokens=logits.npy", "--output-dir", "."];
    place.amqc(&args).fails(2, &["logits.npy is also read"]);
    for (name, before) in ["m.amq", "i.npz"].iter().zip(before) {
        assert_eq!(fs::read(place.path(name)).unwrap(), before);
    }
    assert_eq!(place.names(), ["i.npz", "logits.npy", "m.amq"]);
    let args = ["run", "m.amq", "--inputs", "i.npz", "--outputs", "no/such/o.npz"];
    place.amqc(&args).fails(5, &["there is no directory", "no/such", "= help:"]);
}

#[test]
fn damaged_and_missing_files_have_their_own_exit_codes() {
    let place = Place::new();
    let good = fs::read(place.path("m.amq")).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    place.write("bad.amq", bad);
    place.write("cut.amq", &good[..good.len() - 1]);
    place.write("empty.amq", "");
    place.write("x.npz", "not an archive");
    place.write("zip.onnx", b"PK\x03\x04 and so on");
    place.amqc(&["convert", "zip.onnx"]).fails(4, &["zip archive", "torch.onnx.export"]);
    for file in ["bad.amq", "cut.amq", "empty.amq"] {
        for command in ["verify", "inspect", "bench"] {
            place.amqc(&[command, file]).fails(4, &[file]);
        }
    }
    place.amqc(&["verify", "x.npz"]).fails(4, &["x.npz"]);
    let run = ["run", "m.amq", "--outputs", "o.npz", "--inputs", "x.npz"];
    place.amqc(&run).fails(4, &["x.npz"]);
    place.amqc(&["verify", "none.amq"]).fails(5, &["none.amq"]);
    place.amqc(&["inspect", "none.onnx"]).fails(5, &["none.onnx"]);
    place.amqc(&["eval", "m.amq", "--text", "t", "--vocab", "v"]).fails(5, &["v"]);
}

/// A field of bytes of a protobuf message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// An ONNX model of nodes that read `x`.
fn onnx(operators: &[&str]) -> Vec<u8> {
    let node = |(i, op): (usize, &&str)| {
        let output = field(2, format!("y{i}").as_bytes());
        field(1, &[field(1, b"x"), output, field(4, op.as_bytes())].concat())
    };
    let nodes: Vec<u8> = operators.iter().enumerate().flat_map(node).collect();
    let shape = field(2, &field(1, &field(2, b"n")));
    let tensor = field(1, &[vec![0x08, 1], shape].concat());
    let input = field(11, &[field(1, b"x"), field(2, &tensor)].concat());
    let graph = field(7, &[nodes, input, field(12, &field(1, b"y0"))].concat());
    [vec![0x08, 8], graph, field(8, &[0x10, 13])].concat()
}

#[test]
fn a_refusal_lists_what_is_missing_and_leaves_nothing() {
    let place = Place::new();
    place.write("x.onnx", onnx(&["Fancy", "Relu", "Odd", "Fancy"]));
    let lists = ["x.onnx: 2 things", "Fancy: the", "\"Fancy_0\", \"Fancy_3\"", "Odd: the", "help"];
    place.amqc(&["convert", "x.onnx"]).fails(3, &lists);
    let ran = place.amqc(&["convert", "x.onnx", "--json"]);
    let failed: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    assert_eq!(failed["error"]["exit_code"], 3);
    assert_eq!(failed["error"]["missing"][0]["what"], "Fancy");
    assert_eq!(failed["error"]["missing"][0]["places"][1], "Fancy_3");
    assert_eq!(ran.0.status.code(), Some(3));
    // Beforehand, and without failing.
    let text = place.amqc(&["inspect", "x.onnx"]).done();
    assert!(lists.iter().all(|words| text.contains(words)), "{text}");
    let json = place.amqc(&["inspect", "x.onnx", "--json"]).json();
    assert_eq!(json["error"]["missing"], failed["error"]["missing"]);
    assert_eq!(place.names(), ["m.amq", "x.onnx"]);
}

#[test]
fn a_name_forges_no_line() {
    let place = Place::new();
    place.write("x.onnx", onnx(&["Relu"]));
    let mut model = fs::read(place.path("x.onnx")).unwrap();
    // The name of the dimension, in as many bytes.
    let at = model.windows(3).position(|bytes| bytes == [0x12, 1, b'n']).unwrap();
    model[at + 2] = b'\n';
    place.write("x.onnx", model);
    let text = place.amqc(&["inspect", "x.onnx"]).done();
    assert!(text.contains("\ninput: x: f32 [\\n]\n"), "{text}");
}

#[test]
fn an_instruction_set_is_never_replaced_by_another() {
    let place = Place::new();
    let help = place.amqc(&["--help"]).done();
    for isa in Isa::ALL {
        assert!(help.contains(isa.name()), "{isa}");
    }
    for name in ["", "AVX2", "neon"] {
        let output = place.command(&["inspect", "m.amq"]).env("AMQ_ISA", name).output().unwrap();
        Ran(output).fails(2, &[&format!("AMQ_ISA={name}"), "scalar"]);
    }
    let mut bench = place.command(&["bench", "m.amq", "--json"]);
    assert_eq!(Ran(bench.env("AMQ_ISA", "scalar").output().unwrap()).json()["isa"], "scalar");
}

#[test]
fn perplexity_is_that_of_the_table() {
    let place = Place::new();
    place.bigrams("softmax.amq", Ending::Softmax, TABLE);
    place.write("v.txt", "a\nb\n<eos>\n<unk>");
    // Repeated, to take more than one piece.
    place.write("t.txt", "a b\na a\nzebra ".repeat(30));
    let ids: Vec<usize> = [0, 1, 2, 0, 0, 2, 3].repeat(30);
    let losses = ids.windows(2).map(|pair| -f64::from(TABLE[pair[0]][pair[1]]).ln());
    let expected = (losses.sum::<f64>() / 209.0).exp();
    for model in ["m.amq", "softmax.amq"] {
        let args = ["eval", model, "--text", "t.txt", "--vocab", "v.txt"];
        let json = place.amqc(&[&args[..], &["--json"]].concat()).json();
        assert_eq!(json["predicted"], 209);
        assert_eq!(json["unknown"], 30);
        let found = json["perplexity"].as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 1e-5, "{model}: {found}, expected {expected}");
        let shown = place.amqc(&args).done();
        assert_eq!(
            shown,
            format!("perplexity {expected:.2} (209 tokens predicted, 30 read as <unk>)\n")
        );
    }
}

#[test]
fn a_text_that_is_mostly_unknown_is_a_warning() {
    let place = Place::new();
    place.write("v.txt", "a\nb\n<eos>\n<unk>");
    for (text, expected) in [("x y z a", true), ("a b x a", false)] {
        place.write("t.txt", text);
        let ran = place.amqc(&["eval", "m.amq", "--text", "t.txt", "--vocab", "v.txt"]);
        assert_eq!(ran.stderr().contains("warning: most of the text"), expected, "{text}");
        ran.done();
    }
}

#[test]
fn a_perplexity_that_means_nothing_is_an_error() {
    let place = Place::new();
    place.write("v.txt", "a\nb\n<eos>\n<unk>");
    place.write("t.txt", "a b\na a\nb ".repeat(30));
    for (ending, word) in
        [(Ending::LookingAhead, "tokens that follow"), (Ending::CountingCalls, "no state carries")]
    {
        place.bigrams("x.amq", ending, TABLE);
        let args = ["eval", "x.amq", "--text", "t.txt", "--vocab", "v.txt"];
        place.amqc(&args).fails(3, &["x.amq", word, "= help:"]);
    }
}

#[test]
fn texts_and_vocabularies_that_do_not_fit_are_errors() {
    let place = Place::new();
    place.write("t.txt", "a b\nzebra\n");
    place.write("long.txt", "a\nb\n<eos>\n<unk>\nc\n");
    place.write("strict.txt", "a\nb\n<eos>\nc\n");
    let eval = |vocab| place.amqc(&["eval", "m.amq", "--text", "t.txt", "--vocab", vocab]);
    eval("long.txt").fails(4, &["5 entries", "logits"]);
    eval("strict.txt").fails(4, &["t.txt:2", "\"zebra\""]);
}

#[test]
fn accuracy_counts_the_largest_scores() {
    let place = Place::new();
    // 130 items of one token each: more than two batches, the last of them short.
    let tokens: Vec<i64> = (0..130).map(|i| [0, 2][i % 2]).collect();
    let labels: Vec<i64> = (0..130).map(|i| if i < 13 { 1 } else { [0, 3][i % 2] }).collect();
    place.npz("i.npz", &[("tokens", &[130, 1], Data::I64(tokens))]);
    let tensor = tensor::Tensor { dims: vec![130], data: Data::I64(labels) };
    data::write_npy(fs::File::create(place.path("l.npy")).unwrap(), &tensor).unwrap();
    let args = ["eval", "m.amq", "--inputs", "i.npz", "--labels", "l.npy"];
    let json = place.amqc(&[&args[..], &["--json"]].concat()).json();
    assert_eq!((&json["accuracy"], &json["predicted"]), (&0.9.into(), &130.into()));
    // 58 of 65 and 59 of 65 choices are right, and the label 1 is never chosen.
    let f1 = (116.0 / 123.0 + 118.0 / 124.0) / 3.0;
    assert!((json["macro_f1"].as_f64().unwrap() - f1).abs() < 1e-12, "{json}");
    assert_eq!(place.amqc(&args).done(), "accuracy 90.00%, macro F1 0.6316 (130 items)\n");
}

#[test]
fn outputs_are_written_as_archives_and_as_single_files() {
    let place = Place::new();
    place.npz("i.npz", &[("tokens", &[2, 1], Data::I32(vec![0, 2]))]);
    let args = ["run", "m.amq", "--inputs", "i.npz", "--outputs", "o.npz", "--output-dir", "d"];
    assert_eq!(place.amqc(&args).done(), "");
    let outputs = data::read_npz(&place.path("o.npz"), |_| Ok(())).unwrap();
    let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["logits", "next"]);
    let expected: Vec<f32> = [TABLE[0], TABLE[2]].iter().flatten().map(|p| p.ln()).collect();
    for array in [outputs[0].1.clone(), data::read_npy(&place.path("d/logits.npy")).unwrap()] {
        let tensor = array.into_tensor("logits", DataType::F32).unwrap();
        assert_eq!(
            tensor,
            tensor::Tensor { dims: vec![2, 1, 4], data: Data::F32(expected.clone()) }
        );
    }
    let next = || {
        let array = data::read_npy(&place.path("d/next.npy")).unwrap();
        array.into_tensor("next", DataType::F32).unwrap().data
    };
    assert_eq!(next(), Data::F32(vec![1.0]), "a state that is not given starts from zeros");
    let count = ("count", &[1][..], Data::F32(vec![41.0]));
    place.npz("i.npz", &[("tokens", &[1, 1], Data::I64(vec![0])), count]);
    place.amqc(&args).done();
    assert_eq!(next(), Data::F32(vec![42.0]), "a state that is given is taken");
}

#[test]
fn inputs_that_do_not_fit_are_errors_and_leave_nothing() {
    let place = Place::new();
    let run = |name: &str, dims: &[usize], data: Data| {
        place.npz("i.npz", &[(name, dims, data)]);
        place.amqc(&["run", "m.amq", "--inputs", "i.npz", "--outputs", "o.npz"])
    };
    run("token", &[1, 1], Data::I64(vec![0])).fails(4, &["\"token\"", "mean \"tokens\""]);
    run("tokens", &[1, 1], Data::F32(vec![0.0])).fails(4, &["tokens", "int64", "float32"]);
    run("tokens", &[1], Data::I64(vec![0])).fails(4, &["m.amq", "tokens"]);
    run("tokens", &[1, 1], Data::I64(vec![4])).fails(4, &["m.amq"]);
    assert_eq!(place.names(), ["i.npz", "m.amq"]);
}

#[test]
fn output_that_cannot_be_written_is_exit_code_5() {
    let place = Place::new();
    place.npz("i.npz", &[("tokens", &[1, 1], Data::I64(vec![0]))]);
    let run = |out| place.amqc(&["run", "m.amq", "--inputs", "i.npz", "--outputs", out]);
    run("no/such/o.npz").fails(5, &["no/such/o.npz"]);
    run(".").fails(5, &["not a regular file"]);
    assert_eq!(place.names(), ["i.npz", "m.amq"]);
}

#[test]
fn verify_tells_files_apart() {
    let place = Place::new();
    let mut other = TABLE;
    other[1] = [0.5, 0.25, 0.125, 0.125];
    place.bigrams("other.amq", Ending::Logits, other);
    assert_eq!(place.amqc(&["verify", "m.amq"]).done(), "m.amq: ok\n");
    let json = place.amqc(&["verify", "m.amq", "--against", "m.amq", "--json"]).json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["outputs"][0]["name"], "logits");
    assert_eq!(json["outputs"][0]["max_abs"], 0.0);
    assert_eq!(json["outputs"][0]["snr_db"], serde_json::Value::Null);
    place.npz("i.npz", &[("tokens", &[1, 1], Data::I64(vec![1]))]);
    let args = ["verify", "other.amq", "--against", "m.amq", "--inputs", "i.npz", "--json"];
    let differs = |limits: &[&str]| place.amqc(&[&args[..], limits].concat());
    let json = differs(&["--max-error", "0.7"]).json();
    let error = json["outputs"][0]["max_abs"].as_f64().unwrap();
    assert!((error - 2f64.ln()).abs() < 1e-6, "{error}");
    for limits in [["--max-error", "0.69"], ["--min-snr", "60"]] {
        let ran = differs(&limits);
        assert_eq!(ran.0.status.code(), Some(1), "{limits:?} {}", ran.stderr());
        assert!(ran.stdout().contains("\"ok\": false"));
    }
}

#[test]
fn bench_measures_both_models() {
    let place = Place::new();
    place.bigrams("softmax.amq", Ending::Softmax, TABLE);
    let args = [
        "bench",
        "m.amq",
        "--against",
        "softmax.amq",
        "--dim",
        "seq=4",
        "--threads",
        "2",
        "--json",
    ];
    let json = place.amqc(&args).json();
    for key in ["median_us", "p99_us", "least_us", "read_us", "ratio", "least_ratio"] {
        assert!(json[key].as_f64().unwrap() > 0.0, "{json}");
    }
    assert_eq!(json["threads"], 2);
    assert!(json["multiplications"].is_u64() && json["weight_bytes"].is_u64(), "{json}");
    let median = |timing: &serde_json::Value| timing["median_us"].as_f64().unwrap();
    let expected = median(&json["against"]) / median(&json);
    // Numbers in JSON may lose their last bit when they are read.
    assert!((json["ratio"].as_f64().unwrap() / expected - 1.0).abs() < 1e-12, "{json}");
    let cold = place.amqc(&["bench", "m.amq", "--cold", "--json"]).json();
    assert!(cold["steps"].as_u64().unwrap() > 0 && cold["least_us"].as_f64().unwrap() > 0.0);
    // Its weights are floats.
    assert_eq!(cold["quantization"], 0.0);
}

#[test]
fn inspect_shows_what_a_file_holds() {
    let place = Place::new();
    insta::assert_snapshot!(place.amqc(&["inspect", "m.amq"]).done());
    insta::assert_json_snapshot!(place.amqc(&["inspect", "m.amq", "--json"]).json());
    let text = place.amqc(&["inspect", "m.amq", "--target", "small"]).done();
    assert!(text.contains("small device, one stream: "), "{text}");
    let json = place.amqc(&["inspect", "m.amq", "--target", "small", "--json"]).json();
    let size = fs::metadata(place.path("m.amq")).unwrap().len();
    assert_eq!(json["small"]["flash"], size);
}

#[test]
fn help_is_short_and_complete() {
    let place = Place::new();
    insta::assert_snapshot!(place.amqc(&["convert", "-h"]).done());
    insta::assert_snapshot!(place.amqc(&["-h"]).done());
    for command in ["inspect", "run", "verify", "sensitivity", "eval", "bench"] {
        insta::assert_snapshot!(format!("help_{command}"), place.amqc(&[command, "-h"]).done());
    }
}
