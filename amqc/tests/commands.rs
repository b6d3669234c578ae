//! Commands around converting: several models at once, what would become of one, what differs between two files.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;

use serde_json::Value;

mod place;

use place::Place;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

/// Copies of two models and of one that cannot be converted, in the folder `models`.
fn models(place: &Place) {
    fs::create_dir(place.path("models")).unwrap();
    for (name, model) in [("a.onnx", "digits"), ("b.onnx", "exports/gru_cell")] {
        fs::copy(fixture(&format!("{model}/model.onnx")), place.path("models").join(name)).unwrap();
    }
    place.write("models/c.onnx", "no model");
    place.write("models/notes.txt", "no model either");
}

#[test]
fn a_folder_is_converted_model_by_model() {
    let place = Place::new();
    models(&place);
    let ran = place.amqc(&["convert", "models", "-o", "out", "-b", "3"]);
    assert_eq!(ran.0.status.code(), Some(4), "{}", ran.stderr());
    assert!(ran.stderr().contains("error: models/c.onnx: "), "{}", ran.stderr());
    let text = ran.stdout();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, name) in lines.iter().zip(["a", "b"]) {
        assert!(line.starts_with(&format!("models/{name}.onnx -> out/{name}.amq: ")), "{text}");
    }
    let names = |folder: &str| {
        let mut names: Vec<_> = fs::read_dir(place.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("out"), ["a.amq", "b.amq"]);
    // One by one they are the same.
    place.amqc(&["convert", "models/b.onnx", "-b", "3", "-q"]).done();
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert_eq!(read("models/b.amq"), read("out/b.amq"));
    let both = ["convert", "models/b.onnx", "models/c.onnx", "-o", "out", "--json"];
    let ran = place.amqc(&both);
    assert_eq!(ran.0.status.code(), Some(4));
    let json: Value = serde_json::from_str(&ran.stdout()).unwrap();
    assert_eq!(json[0]["output"], "out/b.amq");
    assert_eq!(
        (&json[1]["input"], &json[1]["error"]["exit_code"]),
        (&"models/c.onnx".into(), &4.into())
    );
}

#[test]
fn several_models_need_places_of_their_own() {
    let place = Place::new();
    models(&place);
    fs::create_dir(place.path("empty")).unwrap();
    for (args, words) in [
        (&["convert", "models", "--report", "r.html"][..], &["--report is for one model"][..]),
        (&["convert", "models", "-o", "m.amq"], &["m.amq", "name a folder"]),
        (&["convert", "empty"], &["empty", ".onnx"]),
        (&["convert", "models/a.onnx", "models/a.onnx"], &["models/a.amq", "two outputs"]),
        (&["convert", "models/a.onnx", "--threads", "0"], &["--threads 0"]),
    ] {
        place.amqc(args).fails(2, words);
    }
}

#[test]
fn stages_are_timed_where_that_is_asked_for() {
    let place = Place::new();
    let model = fixture("exports/gru_cell/model.onnx");
    let args = ["convert", &model, "-o", "x.amq", "-v", "--threads", "2"];
    let ran = place.amqc(&args);
    for stage in ["note: read and simplify ", ", plan ", ", fit ", ", write and check "] {
        assert!(ran.stderr().contains(stage), "{stage:?} is not in {}", ran.stderr());
    }
    let json = place.amqc(&[&args[..], &["--json"]].concat()).json();
    let seconds = json["stages"].as_array().unwrap().iter().map(|s| s["seconds"].as_f64().unwrap());
    assert!(seconds.sum::<f64>() <= json["seconds"].as_f64().unwrap(), "{json}");
}

#[test]
fn what_a_user_says_of_a_model_travels_with_it() {
    let place = Place::new();
    let model = fixture("exports/gru_cell/model.onnx");
    let convert =
        |meta: &[&str]| place.amqc(&[&["convert", &model, "-o", "x.amq", "-q"], meta].concat());
    convert(&["--meta", "name=a cell", "--meta", "license=MIT"]).done();
    let text = place.amqc(&["inspect", "x.amq"]).done();
    assert!(text.contains("\nmeta license: MIT\nmeta name: a cell\n"), "{text}");
    let opened = amqc::open::Opened::read(&place.path("x.amq")).unwrap();
    assert_eq!(opened.meta().unwrap()["name"], "a cell");
    convert(&["--meta", "a=b", "--meta", "a=c"]).fails(2, &["--meta a is given twice"]);
    convert(&["--meta", "a"]).fails(2, &["--meta"]);
    let tune = ["tune", &model, "--calib", "x.npz", "--steps", "1", "-b", "2", "-o", "y.amq"];
    let twice = [&tune[..], &["--meta", "a=b", "--meta", "a=c"]].concat();
    place.amqc(&twice).fails(2, &["--meta a is given twice"]);
}

#[test]
fn two_files_are_told_apart() {
    let place = Place::new();
    let model = fixture("digits/model.onnx");
    for (name, bits) in [("a.amq", "2"), ("b.amq", "2"), ("c.amq", "3")] {
        place.amqc(&["convert", &model, "-o", name, "-b", bits, "-q"]).done();
    }
    assert_eq!(place.amqc(&["diff", "a.amq", "b.amq"]).done(), "a.amq and b.amq are the same\n");
    let ran = place.amqc(&["diff", "a.amq", "c.amq"]);
    assert_eq!(ran.0.status.code(), Some(1), "{}", ran.stderr());
    insta::with_settings!({filters => vec![(r"[0-9a-f]{64}", "DIGEST")]}, {
        insta::assert_snapshot!(ran.stdout());
    });
    let json: Value =
        serde_json::from_str(&place.amqc(&["diff", "a.amq", "c.amq", "--json"]).stdout()).unwrap();
    let layers = json["layers"].as_array().unwrap();
    let gemm = layers.iter().find(|layer| layer["name"] == "/14/Gemm").unwrap();
    let bits = gemm["changes"].as_array().unwrap().iter().find(|change| change["what"] == "bits");
    assert_eq!((&bits.unwrap()["a"], &bits.unwrap()["b"]), (&"2".into(), &"3".into()));
    // Other models share nothing.
    let other = place.amqc(&["diff", "a.amq", "m.amq"]).stdout();
    assert!(other.ends_with("they come from different models\n"), "{other}");
    let json: Value =
        serde_json::from_str(&place.amqc(&["diff", "a.amq", "m.amq", "--json"]).stdout()).unwrap();
    assert!(
        json["layers"].as_array().unwrap().iter().any(|layer| layer["only_in"] == "b"),
        "{json}"
    );
    place.amqc(&["diff", "a.amq", &model]).fails(2, &["not an .amq file", "verify"]);
}

#[test]
fn a_doctor_tells_what_convert_would_do() {
    let place = Place::new();
    let model = fixture("digits/model.onnx");
    let json = place.amqc(&["doctor", &model, "-b", "3", "--json"]).json();
    let args = ["convert", &model, "-b", "3", "-o", "x.amq", "--method", "greedy", "--json"];
    let converted = place.amqc(&args).json();
    // Provenance, which tells errors, takes nearly as many bytes.
    let bytes = |json: &Value| json["bytes_out"].as_f64().unwrap();
    assert!((bytes(&json) / bytes(&converted) - 1.0).abs() < 0.01, "{json}");
    let layers = |json: &Value| -> Vec<(Value, Value)> {
        let layers = json["layers"].as_array().unwrap().iter();
        layers.map(|layer| (layer["name"].clone(), layer["bytes_after"].clone())).collect()
    };
    assert_eq!(layers(&json), layers(&converted));
    assert!(json["speed"]["ratio"].as_f64().unwrap() > 0.0, "{json}");
    assert_eq!(place.names(), ["m.amq", "x.amq"]);
    let text = place.amqc(&["doctor", &fixture("lstm/model.onnx")]).done();
    for words in [
        "/rnn/LSTM.R",
        "size: 2585373 -> ",
        "speed: a call of tokens [16, 1] takes ",
        "advice: next: ",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    // A stream that is not carried is told, as is what cannot be read.
    let text = place.amqc(&["doctor", &fixture("exports/gru_batch_first/model.onnx")]).done();
    assert!(text.contains("advice: a recurrent layer starts each call anew"), "{text}");
    // A direction that reads backward has nothing to carry.
    let both = fixture("exports/gru_2_layers_bidirectional/model.onnx");
    let text = place.amqc(&["doctor", &both]).done();
    assert!(!text.contains("starts each call anew"), "{text}");
    place.amqc(&["doctor", "m.amq"]).fails(2, &["amqc inspect"]);
}

#[test]
fn completions_and_pages_name_every_command() {
    let place = Place::new();
    let help = place.amqc(&["--help"]).done();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert!(commands.len() > 10 && commands.contains(&"completions"), "{commands:?}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.amqc(&["completions", shell]).done();
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
        assert!(script.contains("max-loss"), "{shell}");
    }
    let page = place.amqc(&["man"]).done();
    assert!(page.contains(".TH amqc 1") && page.contains("amqc\\-convert"), "{page}");
    let page = place.amqc(&["man", "convert"]).done();
    assert!(page.contains(".TH amqc-convert 1") && page.contains("target\\-bits"), "{page}");
    place.amqc(&["man", "covert"]).fails(2, &["did you mean \"convert\""]);
}
