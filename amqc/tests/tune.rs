//! Training with the quantization in the loop: what its file gives, the same steps with any number of threads and after
//! a break, and sentences for bad data.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use amq_format::graph::DataType;
use amq_runtime::Isa;
use amqc::calibrate::gather::gather;
use amqc::calibrate::samples::Samples;
use amqc::calibrate::source::Source;
use amqc::data::{read_npy, read_npz, write_npy, write_npz};
use amqc::eval::perplexity;
use amqc::feed::stream::PortNames;
use amqc::feed::text::{Unit, Vocabulary};
use amqc::loaded::Loaded;
use amqc::open::Opened;
use amqc::options::ConvertOptions;
use amqc::sequence::Calibrated;
use amqc::settings::{Given, parse_activations};
use amqc::tensor::{Data, Tensor, views};
use amqc::tune::{
    Arrays, Event, Figure, Group, Length, Matter, Passed, Reading, Rule, Texts, Training, Tuned,
    Watch, tune,
};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

/// The shipped language model, what is known of it on some of the shipped text, and texts to train with.
struct Lesson {
    model: String,
    options: ConvertOptions,
    data: Calibrated,
    float: Loaded,
    matter: Matter,
    /// Whether it is learned so.
    by_block: bool,
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
        let matter = Matter::Text(Texts { learned, valid, classes: vocabulary.len() });
        Lesson { model, options, data, float, matter, by_block: false }
    })
}

/// The shipped convolutional net, with so many of its images.
fn images(most: usize, by_block: bool) -> Lesson {
    let model = fixture("digits/model.onnx");
    let source = Source {
        path: fixture("digits/images.npz").into(),
        vocabulary: None,
        axis: 0,
        most: Some(most),
    };
    let (options, isa) = (lesson().options.clone(), Isa::detect());
    let opened = Opened::read(model.as_ref()).unwrap();
    let float = opened.load(isa).unwrap();
    let moments = gather(&opened, &source, isa, &|_, _| ()).unwrap();
    let samples = source.read(&float).unwrap();
    let Samples::Arrays { files, axis } = samples.clone() else { panic!("images are arrays") };
    let learned = files.into_iter().map(|inputs| Group { inputs, labels: None }).collect();
    let matter = Matter::Arrays(Arrays { learned, valid: Vec::new(), axis });
    let data = Calibrated { samples, moments, isa };
    Lesson { model, options, data, float, matter, by_block }
}

/// The shipped language model, with tokens as steps of sequences of so many.
fn steps(learned: &[usize], valid: usize) -> Lesson {
    let Lesson { model, options, data, matter, .. } = lesson();
    let Matter::Text(texts) = matter else { panic!("a text is learned") };
    let mut tokens = texts.learned.as_slice();
    let mut group = |count: usize| {
        let data = Data::I64(tokens.split_off(..count).unwrap().to_vec());
        let inputs = vec![("tokens".to_owned(), Tensor { dims: vec![count, 1], data })];
        Group { inputs, labels: None }
    };
    let learned = learned.iter().map(|&count| group(count)).collect();
    let matter = Matter::Arrays(Arrays { learned, valid: vec![group(valid)], axis: 0 });
    let float = Opened::read(model.as_ref()).unwrap().load(data.isa).unwrap();
    let (samples, moments) = (data.samples.clone(), data.moments.clone());
    let data = Calibrated { samples, moments, isa: data.isa };
    let (model, options) = (model.clone(), options.clone());
    Lesson { model, options, data, float, matter, by_block: false }
}

fn training(steps: u64, rule: Rule, by_block: bool) -> Training {
    Training {
        length: Length::Steps(steps),
        seed: 1,
        rule,
        rate: Some(if rule == Rule::Adam { 0.003 } else { 20.0 }),
        decay: 0.02,
        reading: Reading { batch: 5, span: 10, share: 0.5, dropout: 0.1 },
        by_block,
        interval: Duration::from_secs(3600),
    }
}

/// The outcome, the loss after each step to the bit, and the checkpoint that is written when training is left.
type Trained = (amqc::Result<Tuned>, Vec<(u64, u64)>, Vec<u8>);

/// Trains for so many steps, of which the loop may be left after `stop`.
fn train(
    lesson: &Lesson,
    steps: u64,
    rule: Rule,
    resumed: Option<&[u8]>,
    stop: Option<u64>,
) -> Trained {
    train_as(lesson, &training(steps, rule, lesson.by_block), resumed, stop).0
}

/// The same by any training. Gives also what blocks came to.
fn train_as(
    lesson: &Lesson,
    training: &Training,
    resumed: Option<&[u8]>,
    stop: Option<u64>,
) -> (Trained, Vec<Passed>) {
    let Lesson { model, options, data, float, matter, .. } = lesson;
    let (mut losses, mut checkpoint, mut passed) = (Vec::new(), Vec::new(), Vec::new());
    let reached = std::cell::Cell::new(0);
    let mut tell = |event: &Event| {
        if let Event::Step { step, loss, .. } = event {
            losses.push((*step, loss.to_bits()));
            reached.set(*step);
        }
        if let Event::Valid { block: Some(block), .. } = event {
            passed.push(*block);
        }
    };
    let mut keep = |bytes: &[u8]| {
        checkpoint = bytes.to_vec();
        Ok(())
    };
    let mut watch = Watch {
        fitting: &|_, _, _| (),
        tell: &mut tell,
        keep: Some(&mut keep),
        stop: &|| stop.is_some_and(|stop| reached.get() >= stop),
    };
    let done = tune(model.as_ref(), (options, data), float, matter, training, resumed, &mut watch);
    ((done, losses, checkpoint), passed)
}

/// Training is worth something, and the file predicts a text as training said it would.
#[test]
fn a_student_is_better_than_what_it_began_with() {
    let (tuned, losses, _) = train(lesson(), 60, Rule::Adam, None, None);
    let tuned = tuned.unwrap();
    assert_eq!(losses.len(), 60);
    let (Figure::Perplexity(before), Figure::Perplexity(after)) = (tuned.before, tuned.figure)
    else {
        panic!("a text has a perplexity")
    };
    assert!(after < 0.995 * before, "{after} {before}");
    let file = Opened::of_bytes("m.amq".as_ref(), &tuned.compiled.bytes);
    let loaded = file.load(Isa::detect()).unwrap();
    let Matter::Text(Texts { valid, classes, .. }) = &lesson().matter else {
        panic!("a text is learned")
    };
    let found = perplexity(&loaded, *classes, valid, PortNames::default()).unwrap().perplexity;
    assert_eq!(found, after);
}

#[test]
fn neither_threads_nor_a_break_change_a_bit() {
    let (text, steps) = (lesson(), steps(&[333, 25], 30));
    let [at_once, by_block] = [false, true].map(|by_block| images(64, by_block));
    let of_arrays = [(&at_once, Rule::Adam), (&by_block, Rule::Adam), (&steps, Rule::Adam)];
    for (lesson, rule) in [(text, Rule::Adam), (text, Rule::Sgd)].into_iter().chain(of_arrays) {
        let (whole, losses, _) = train(lesson, 7, rule, None, None);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let (threaded, of_threads, _) = pool.install(|| train(lesson, 7, rule, None, None));
        assert_eq!(losses, of_threads);
        let (left, before, checkpoint) = train(lesson, 7, rule, None, Some(4));
        assert!(left.is_err());
        let (resumed, after, _) = train(lesson, 7, rule, Some(&checkpoint), None);
        assert_eq!(losses, [before, after].concat());
        let bytes = |tuned: amqc::Result<Tuned>| tuned.unwrap().compiled.bytes;
        let whole = bytes(whole);
        assert!(whole == bytes(threaded) && whole == bytes(resumed));
    }
}

/// Each block comes nearer to the float model or stays as it was, and the whole is nearer, on images that were not
/// learned.
#[test]
fn blocks_are_learned_one_after_the_other() {
    let lesson = images(360, true);
    let reading = Reading { batch: 21, span: 1, share: 0.0, dropout: 0.0 };
    let training = Training { decay: 0.0, reading, ..training(300, Rule::Adam, true) };
    let ((tuned, ..), passed) = train_as(&lesson, &training, None, None);
    let tuned = tuned.unwrap();
    let Figure::Decibels(before) = tuned.before else { panic!("outputs are compared") };
    let Figure::Decibels(after) = tuned.figure else { panic!("outputs are compared") };
    assert!(after > before + 0.4, "{after} {before}");
    let numbers: Vec<_> = passed.iter().map(|passed| (passed.block, passed.blocks)).collect();
    assert_eq!(numbers, [1, 2, 3].map(|block| (block, 3)));
    assert!(passed.iter().all(|passed| passed.after < 0.95 * passed.before), "{passed:?}");
}

/// Steps of a sequence are run in pieces, and come from what was before them.
#[test]
fn states_go_from_piece_to_piece() {
    let lesson = steps(&[20], 57);
    let (tuned, losses, _) = train(&lesson, 2, Rule::Adam, None, None);
    let tuned = tuned.unwrap();
    let Figure::Decibels(found) = tuned.figure else { panic!("outputs are compared") };
    // The same in one call.
    let student = Opened::of_bytes("m.amq".as_ref(), &tuned.compiled.bytes);
    let student = student.load(Isa::detect()).unwrap();
    let Matter::Arrays(Arrays { valid, .. }) = &lesson.matter else { panic!("arrays are learned") };
    let outputs = |loaded: &Loaded| -> Vec<Vec<f32>> {
        let mut session = loaded.session();
        let given = session.run(&views(&valid[0].inputs)).unwrap();
        let of = |port: &amq_format::graph::Port| {
            given.get(loaded.name(port.value)).unwrap().as_f32().unwrap().to_vec()
        };
        loaded.outputs().filter(|port| port.data_type() == DataType::F32).map(of).collect()
    };
    let (found_all, expected_all) = (outputs(&student), outputs(&lesson.float));
    let ratios = found_all.iter().zip(&expected_all).map(|(y, t)| {
        let squares = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>();
        let noise = squares(&mut y.iter().zip(t).map(|(y, t)| f64::from(*y) - f64::from(*t)));
        let mean = t.iter().map(|&t| f64::from(t)).sum::<f64>() / t.len() as f64;
        noise / squares(&mut t.iter().map(|&t| f64::from(t) - mean))
    });
    let ratios: Vec<f64> = ratios.collect();
    let expected = -10.0 * (ratios.iter().sum::<f64>() / ratios.len() as f64).log10();
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    // The second piece is another lesson where a sequence begins with it.
    let (_, apart, _) = train(&steps(&[10, 10], 57), 2, Rule::Adam, None, None);
    assert_ne!(losses[1], apart[1]);
}

#[test]
fn checkpoints_are_checked() {
    let (_, _, mut checkpoint) = train(lesson(), 7, Rule::Adam, None, Some(1));
    let message = |bytes: &[u8], steps| {
        train(lesson(), steps, Rule::Adam, Some(bytes), None).0.unwrap_err().to_string()
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
    refused(&["--text", "empty.txt", "--vocab", &vocabulary], 4, "2 tokens or more");
    refused(&["--text", &text, "--vocab", &vocabulary, "-b", "f32"], 2, "no weight");
    refused(&["--text", &text, "--vocab", "three.txt"], 4, "3 entries");
    refused(&["--text", &text, "--vocab", &vocabulary, "--rate", "0"], 2, "above 0");
    refused(&["--text", &text, "--vocab", &vocabulary, "--distill", "2"], 2, "from 0 to 1");
    refused(&["--text", &text, "--vocab", &vocabulary, "--decay", "2"], 2, "from 0 to 1");
    for share in ["1", "0.99999999"] {
        refused(&["--text", &text, "--vocab", &vocabulary, "--dropout", share], 2, "below 1");
    }
    refused(&["--text", &text, "--vocab", &vocabulary, "--checkpoint", "o.amq"], 2, "two outputs");
    refused(&["--text", &text, "--vocab", &vocabulary, "--resume", "none"], 5, "none");
}

#[test]
fn what_is_not_learned_by_block_is_refused() {
    let Lesson { model, options, data, matter, .. } = lesson();
    let again = |matter: &Matter| Lesson {
        model: model.clone(),
        options: options.clone(),
        data: Calibrated {
            samples: data.samples.clone(),
            moments: data.moments.clone(),
            isa: data.isa,
        },
        float: Opened::read(model.as_ref()).unwrap().load(data.isa).unwrap(),
        matter: matter.clone(),
        by_block: true,
    };
    let mut labelled = images(64, true);
    if let Matter::Arrays(Arrays { learned, .. }) = &mut labelled.matter {
        learned[0].labels = Some(vec![0; learned[0].samples(0)]);
    }
    for (lesson, what) in [
        (again(matter), "a text is not learned block by block"),
        (again(&steps(&[333], 30).matter), "states are not carried"),
        (labelled, "has no labels"),
    ] {
        let error = train(&lesson, 2, Rule::Adam, None, None).0.unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("leave --by-block out"), "{error}");
    }
}

/// The shipped digits: images and labels to learn in `a.npz` and `a.npy`, others to choose by in `v.npz`.
fn digits() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
    let arrays = read_npz(fixture("digits/images.npz").as_ref(), |_| Ok(())).unwrap();
    let (name, images) = arrays.into_iter().next().unwrap();
    let images = images.into_tensor(&name, DataType::F32).unwrap();
    for (to, items) in [("a.npz", 0..240), ("v.npz", 240..360)] {
        write_npz(file(to), &[(name.clone(), images.slice(0, items))]).unwrap();
    }
    let labels = read_npy(fixture("digits/labels.npy").as_ref()).unwrap();
    let labels = labels.into_tensor("labels", DataType::I64).unwrap();
    write_npy(file("a.npy"), &labels.slice(0, 0..240)).unwrap();
    let next: Vec<i64> = labels.data.integers().unwrap().iter().map(|y| (y + 1) % 10).collect();
    let next = Tensor { dims: vec![360], data: Data::I64(next) };
    write_npy(file("next.npy"), &next.slice(0, 0..240)).unwrap();
    // One alone, which two steps would hardly meet.
    let mut wrong = labels.slice(0, 0..240).data.integers().unwrap();
    wrong[0] = 10;
    let wrong = Tensor { dims: vec![240], data: Data::I64(wrong) };
    write_npy(file("ten.npy"), &wrong).unwrap();
    write_npy(file("few.npy"), &labels.slice(0, 0..239)).unwrap();
    folder
}

/// A convolutional net learns what the float model says, and comes nearer to it on images that it did not learn: what
/// verify finds there is what was printed.
#[test]
fn samples_bring_a_net_nearer_to_its_float_model() {
    let folder = digits();
    let model = fixture("digits/model.onnx");
    let run = |args: &[&str]| {
        let output = amqc(folder.path(), args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let tune = ["tune", &model, "--calib", "a.npz", "-b", "2", "-a", "2", "-q", "--json"];
    let more = ["--valid", "v.npz", "--steps", "100", "--rate", "0.012", "-o", "t.amq"];
    let tuned = run(&[&tune[..], &more[..]].concat());
    let [before, after] = ["before", "snr_db"].map(|name| tuned[name].as_f64().unwrap());
    assert!(after > before + 0.4, "{before} {after}");
    let found = run(&["verify", "t.amq", "--against", &model, "--inputs", "v.npz", "--json"]);
    let found = found["outputs"][0]["snr_about_mean_db"].as_f64().unwrap();
    assert!((found - after).abs() < 0.01, "{found} {after}");
}

/// Labels are learned, though the float model says otherwise: each is the next digit.
#[test]
fn labels_are_learned() {
    let folder = digits();
    let model = fixture("digits/model.onnx");
    let args = ["--calib", "a.npz", "--labels", "next.npy", "--distill", "0", "--steps", "60"];
    let begin = ["tune", &model, "-b", "2", "--meta", "name=next digits", "-o", "t.amq"];
    let output = amqc(folder.path(), &[&begin, &args[..]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let losses: Vec<f64> = (told.lines())
        .filter_map(|line| line.split_once("(loss ")?.1.split_once(')')?.0.parse().ok())
        .collect();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(losses.len() == 13 && last < 0.5 * first, "{losses:?}");
    let meta = Opened::read(&folder.path().join("t.amq")).unwrap().meta().unwrap();
    assert_eq!(meta["name"], "next digits");
}

#[test]
fn bad_samples_get_a_sentence_and_no_file() {
    let folder = digits();
    let model = fixture("digits/model.onnx");
    let refused = |args: &[&str], code: i32, what: &str| {
        let begin = ["tune", &model, "-o", "o.amq", "--steps", "2"];
        let output = amqc(folder.path(), &[&begin, args].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?} {error}");
        assert!(error.contains(what), "{error}");
        assert!(!folder.path().join("o.amq").exists());
    };
    refused(&[], 2, "--calib");
    refused(&["--calib", "a.npz", "--labels", "ten.npy"], 4, "10 classes");
    refused(&["--calib", "a.npz", "--dropout", "0.1"], 2, "--dropout");
    refused(&["--calib", "a.npz", "--rule", "sgd", "--decay", "0.1"], 2, "--decay has no meaning");
    refused(&["--calib", "a.npz", "--labels", "few.npy"], 4, "239 labels for 240 samples");
    refused(&["--calib", "a.npz", "--labels", "a.npy", "--valid", "v.npz"], 2, "--valid");
    refused(&["--calib", "a.npz", "--text", "v.npz", "--vocab", "a.npy"], 2, "--text");
    refused(&["--calib", "a.npz", "-b", "f32"], 2, "no weight");
    let labels = ["--calib", "a.npz", "--labels", "a.npy", "--by-block"];
    refused(&labels, 2, "cannot be used with '--by-block'");
}
