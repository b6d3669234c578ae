//! Training with the quantization in the loop: what its file gives, the same steps with any number of threads and after
//! a break, and sentences for bad data.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use amq_runtime::Isa;
use amqc::calibrate::gather::gather;
use amqc::calibrate::source::Source;
use amqc::eval::perplexity;
use amqc::feed::stream::PortNames;
use amqc::feed::text::{Unit, Vocabulary};
use amqc::loaded::Loaded;
use amqc::open::Opened;
use amqc::options::ConvertOptions;
use amqc::sequence::Calibrated;
use amqc::settings::{Given, parse_activations};
use amqc::tune::{Event, Length, Reading, Rule, Texts, Training, Tuned, Watch, tune};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

/// The shipped language model, what is known of it on some of the shipped text, and texts to train with.
struct Lesson {
    options: ConvertOptions,
    data: Calibrated,
    float: Loaded,
    texts: Texts,
}

fn lesson() -> &'static Lesson {
    static LESSON: OnceLock<Lesson> = OnceLock::new();
    LESSON.get_or_init(|| {
        let model = fixture("lstm/model.onnx");
        let vocabulary = fixture("lstm/vocab.txt");
        let source = Source {
            path: fixture("text/heldout.txt").into(),
            vocabulary: Some((vocabulary.clone().into(), Unit::Word)),
            axis: 0,
            most: Some(1500),
        };
        let flags = Given {
            bits: Some("2".parse().unwrap()),
            activations: Some(parse_activations("2").unwrap()),
            ..Given::default()
        };
        let options = ConvertOptions {
            flags,
            calibration: Some(source.clone()),
            ..ConvertOptions::default()
        };
        let opened = Opened::read(model.as_ref()).unwrap();
        let isa = Isa::detect();
        let float = opened.load(isa).unwrap();
        let moments = gather(&opened, &source, isa, &|_, _| ()).unwrap();
        let data = Calibrated { samples: source.read(&float).unwrap(), moments, isa };
        let vocabulary = Vocabulary::read(vocabulary.as_ref(), Unit::Word).unwrap();
        let mut learned = vocabulary.read_tokens(fixture("text/heldout.txt").as_ref()).unwrap().ids;
        let mut valid = learned.split_off(6000);
        valid.truncate(400);
        Lesson { options, data, float, texts: Texts { learned, valid, classes: vocabulary.len() } }
    })
}

/// Trains for so many steps, of which the loop may be left after `stop`. Gives the outcome, the loss after each step
/// to the bit, and the checkpoint that is written when it is left.
fn train(
    steps: u64,
    rule: Rule,
    resumed: Option<&[u8]>,
    stop: Option<u64>,
) -> (amqc::Result<Tuned>, Vec<(u64, u64)>, Vec<u8>) {
    let Lesson { options, data, float, texts } = lesson();
    let training = Training {
        length: Length::Steps(steps),
        seed: 1,
        rule,
        rate: None,
        reading: Reading { batch: 5, span: 10, share: 0.5 },
        interval: Duration::from_secs(3600),
    };
    let (mut losses, mut checkpoint) = (Vec::new(), Vec::new());
    let reached = std::cell::Cell::new(0);
    let mut tell = |event: &Event| {
        if let Event::Step { step, loss, .. } = event {
            losses.push((*step, loss.to_bits()));
            reached.set(*step);
        }
    };
    let mut keep = |bytes: &[u8]| {
        checkpoint = bytes.to_vec();
        Ok(())
    };
    let mut watch = Watch {
        tell: &mut tell,
        keep: Some(&mut keep),
        stop: &|| stop.is_some_and(|stop| reached.get() >= stop),
    };
    let model = fixture("lstm/model.onnx");
    let done = tune(model.as_ref(), (options, data), float, texts, &training, resumed, &mut watch);
    (done, losses, checkpoint)
}

/// Training is worth something, and the file predicts a text as training said it would.
#[test]
fn a_student_is_better_than_what_it_began_with() {
    let (tuned, losses, _) = train(60, Rule::Adam, None, None);
    let tuned = tuned.unwrap();
    assert_eq!(losses.len(), 60);
    assert!(tuned.perplexity < 0.995 * tuned.before, "{} {}", tuned.perplexity, tuned.before);
    let file = Opened::of_bytes("m.amq".as_ref(), &tuned.compiled.bytes);
    let loaded = file.load(Isa::detect()).unwrap();
    let Texts { valid, classes, .. } = &lesson().texts;
    let found = perplexity(&loaded, *classes, valid, PortNames::default()).unwrap().perplexity;
    assert_eq!(found, tuned.perplexity);
}

#[test]
fn neither_threads_nor_a_break_change_a_bit() {
    for rule in [Rule::Adam, Rule::Sgd] {
        let (whole, losses, _) = train(7, rule, None, None);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let (threaded, of_threads, _) = pool.install(|| train(7, rule, None, None));
        assert_eq!(losses, of_threads);
        let (left, before, checkpoint) = train(7, rule, None, Some(4));
        assert!(left.is_err());
        let (resumed, after, _) = train(7, rule, Some(&checkpoint), None);
        assert_eq!(losses, [before, after].concat());
        let bytes = |tuned: amqc::Result<Tuned>| tuned.unwrap().compiled.bytes;
        let whole = bytes(whole);
        assert!(whole == bytes(threaded) && whole == bytes(resumed));
    }
}

#[test]
fn checkpoints_are_checked() {
    let (_, _, mut checkpoint) = train(7, Rule::Adam, None, Some(1));
    let message = |bytes: &[u8], steps| {
        train(steps, Rule::Adam, Some(bytes), None).0.unwrap_err().to_string()
    };
    assert!(message(&checkpoint, 8).contains("of another training"));
    assert!(message(&checkpoint[..checkpoint.len() - 1], 7).contains("damaged"));
    assert!(message(b"nothing of the kind, whatever it is", 7).contains("no checkpoint"));
    let middle = checkpoint.len() / 2;
    checkpoint[middle] ^= 1;
    assert!(message(&checkpoint, 7).contains("damaged"));
}

fn amqc(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amqc"));
    command.args(args).current_dir(folder).output().unwrap()
}

#[test]
fn bad_data_get_a_sentence_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (model, vocabulary) = (fixture("lstm/model.onnx"), fixture("lstm/vocab.txt"));
    fs::write(folder.path().join("short.txt"), "i hope so .\n".repeat(9)).unwrap();
    fs::write(folder.path().join("empty.txt"), "").unwrap();
    fs::write(folder.path().join("three.txt"), "a\nb\n<unk>\n").unwrap();
    let text = fixture("text/heldout.txt");
    let refused = |args: &[&str], code: i32, what: &str| {
        let all = [&["tune", &model, "-o", "o.amq", "--steps", "2"], args].concat();
        let output = amqc(folder.path(), &all);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?} {error}");
        assert!(error.contains(what), "{error}");
        assert!(!folder.path().join("o.amq").exists());
    };
    refused(&["--text", &text], 2, "--vocab");
    refused(&["--text", "short.txt", "--vocab", &vocabulary], 4, "too");
    refused(&["--text", "empty.txt", "--vocab", &vocabulary], 4, "too few tokens");
    refused(&["--text", &text, "--vocab", "three.txt"], 4, "3 entries");
    refused(&["--text", &text, "--vocab", &vocabulary, "--rate", "0"], 2, "above 0");
    refused(&["--text", &text, "--vocab", &vocabulary, "--distill", "2"], 2, "from 0 to 1");
    refused(&["--text", &text, "--vocab", &vocabulary, "--checkpoint", "o.amq"], 2, "two outputs");
    refused(&["--text", &text, "--vocab", &vocabulary, "--resume", "none"], 5, "none");
}
