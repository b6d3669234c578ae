//! The report as a page: whole, readable without scripts, the same each time.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

fn amqc(folder: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_amqc")).args(args).current_dir(folder).output().unwrap()
}

/// The page of a conversion.
#[track_caller]
fn page(folder: &TempDir, args: &[&str]) -> String {
    let args = [&["convert", "--report", "r.html", "-o", "m.amq"], args].concat();
    let output = amqc(folder, &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(folder.path().join("r.html")).unwrap()
}

/// Every tag that is opened is closed, in order.
#[track_caller]
fn check_tags(html: &str) {
    const EMPTY: [&str; 5] = ["meta", "!DOCTYPE", "br", "hr", "img"];
    let mut open = Vec::new();
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let name = tag.split_whitespace().next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None if tag.ends_with('/') || EMPTY.contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(fixture("text/heldout.txt")).unwrap();
    fs::write(folder.path().join("a.txt"), &text[..4000]).unwrap();
    let (model, vocabulary) = (fixture("gru/model.onnx"), fixture("gru/vocab.txt"));
    let data = ["--calib", "a.txt", "--vocab", &vocabulary, "--unit", "char"];
    let args = [&[&*model, "--target-bits", "3"], &data[..]].concat();
    let html = page(&folder, &args);
    check_tags(&html);
    for word in ["<script", "http", "src=", "href=", "url(", "@import"] {
        assert!(!html.contains(word), "{word}");
    }
    for words in [
        "bits a weight, over the whole file",
        "Answers, beside those of the float model",
        "Error of the weights by layer",
        "Error by node",
        "What bits were chosen from",
        "Weights and their levels",
        "What stayed float",
        "/linear/MatMul",
        "State: <code>h0</code>",
    ] {
        assert!(html.contains(words), "{words:?} is not in the page");
    }
    // As many lines over a histogram as levels.
    let levels = |bits: u32| html.matches("class=\"level\"").count() >= 1 << bits;
    assert!(levels(2), "levels");
    assert_eq!(html, page(&folder, &args), "the page differs");
}

#[test]
fn what_stays_float_says_why_and_names_are_no_tags() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = fs::read(fixture("digits/model.onnx")).unwrap();
    // A name of the same length that would be a tag.
    let (name, tag) = (b"/12/Gemm", b"<i>&\"'>x");
    let places: Vec<usize> =
        model.windows(name.len()).enumerate().filter(|(_, w)| w == name).map(|(i, _)| i).collect();
    assert!(!places.is_empty());
    for at in places {
        model[at..at + tag.len()].copy_from_slice(tag);
    }
    fs::write(folder.path().join("m.onnx"), model).unwrap();
    fs::write(
        folder.path().join("r.yaml"),
        "version: 1\nlayers:\n  - {match: '/14/*', bits: f32}\n",
    )
    .unwrap();
    let html = page(&folder, &["m.onnx", "--recipe", "r.yaml"]);
    check_tags(&html);
    assert!(html.contains("&lt;i&gt;&amp;&quot;'&gt;x") && !html.contains("<i>"));
    assert!(html.contains("asked for") && html.contains("1 channels a group"));
    assert!(html.contains("on seeded inputs"), "what was compared");
}

#[test]
fn a_page_does_not_replace_what_is_read_or_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("digits/model.onnx"), folder.path().join("m.onnx")).unwrap();
    for (args, word) in [
        (["--report", "m.onnx", "-o", "m.amq"], "also read"),
        (["--report", "m.amq", "-o", "m.amq"], "two outputs"),
        (["--report", "./m.amq", "-o", "m.amq"], "two outputs"),
    ] {
        let output = amqc(&folder, &[&["convert", "m.onnx"], &args[..]].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(word), "{message}");
    }
    assert!(!folder.path().join("m.amq").exists());
}

#[test]
fn a_page_of_speed_shows_each_product_and_the_roofs() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("gru/model.onnx");
    let output = amqc(&folder, &["bench", &model, "--html", "r.html", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let html = fs::read_to_string(folder.path().join("r.html")).unwrap();
    check_tags(&html);
    for word in ["<script", "http", "src=", "href=", "url(", "@import", "NaN", "inf"] {
        assert!(!html.contains(word), "{word}");
    }
    // The layer and the output matrix multiply, the table of letters does not.
    assert_eq!(html.matches("<circle").count(), 2);
    assert_eq!(html.matches("class=\"roof\"").count(), 2);
    assert!(html.contains("/linear/MatMul") && html.contains("multiplications a nanosecond"));
    // What is printed is what it is without the page.
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(printed["median_us"].is_number() && printed["nodes"].is_null(), "{printed}");
    // A model is not written over.
    fs::copy(&model, folder.path().join("m.onnx")).unwrap();
    let output = amqc(&folder, &["bench", "m.onnx", "--html", "m.onnx"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read(folder.path().join("m.onnx")).unwrap(), fs::read(&model).unwrap());
}
