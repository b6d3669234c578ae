//! Where answers and files cannot go, or come from nowhere: devices, pipes and links.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with the shipped convolutional net in it, `m.onnx`, and its `m.amq`.
fn place() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/digits/model.onnx");
    fs::copy(model, folder.path().join("m.onnx")).unwrap();
    fails(amqc(folder.path(), &["convert", "m.onnx", "-q"]), 0, &[]);
    folder
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amqc"));
    command.args(args).current_dir(folder).env_remove("AMQ_ISA");
    command
}

fn amqc(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

#[track_caller]
fn fails(output: Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in: {stderr}");
    }
}

/// It ends as a program does that the signal ends, without a word.
#[test]
fn a_pipe_that_nobody_reads_ends_quietly() {
    let folder = place();
    for args in [&["inspect", "m.amq"][..], &["inspect", "m.amq", "--json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(folder.path(), args).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_is_lost_is_an_error() {
    let folder = place();
    for args in [&["inspect", "m.amq"][..], &["inspect", "m.amq", "--json"], &["--version"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(folder.path(), args).stdout(full).output().unwrap();
        fails(output, 5, &["error: standard output"]);
        let closed = format!("{} {} >&-", env!("CARGO_BIN_EXE_amqc"), args.join(" "));
        let output = Command::new("sh").args(["-c", &closed]).current_dir(folder.path()).output();
        fails(output.unwrap(), 5, &["error: standard output"]);
        // Who does not want it says so.
        let unwanted = command(folder.path(), args).stdout(Stdio::null()).status().unwrap();
        assert_eq!(unwanted.code(), Some(0), "{args:?}");
    }
    // Where there is nothing to say, nothing is lost.
    let quiet = format!("{} convert m.onnx -q -o q.amq >&-", env!("CARGO_BIN_EXE_amqc"));
    let status = Command::new("sh").args(["-c", &quiet]).current_dir(folder.path()).status();
    assert_eq!(status.unwrap().code(), Some(0));
    assert!(folder.path().join("q.amq").exists());
}

/// An output that is another name of an input is refused; a link to a file that is not there stays a link.
#[test]
fn links_of_both_kinds_are_seen() {
    let folder = place();
    let path = |name: &str| folder.path().join(name);
    let before = fs::read(path("m.onnx")).unwrap();
    fs::hard_link(path("m.onnx"), path("hard.amq")).unwrap();
    symlink("m.onnx", path("soft.amq")).unwrap();
    for output in ["hard.amq", "soft.amq", "m.onnx", "./m.onnx"] {
        fails(amqc(folder.path(), &["convert", "m.onnx", "-o", output]), 2, &["is also read"]);
        assert_eq!(fs::read(path("m.onnx")).unwrap(), before);
    }
    symlink("later.amq", path("dangling.amq")).unwrap();
    fails(amqc(folder.path(), &["convert", "m.onnx", "-q", "-o", "dangling.amq"]), 0, &[]);
    assert!(fs::symlink_metadata(path("dangling.amq")).unwrap().is_symlink());
    fails(amqc(folder.path(), &["inspect", "later.amq"]), 0, &[]);
}

/// What has no end is not waited for.
#[cfg(target_os = "linux")]
#[test]
fn devices_and_pipes_are_no_models() {
    let folder = place();
    symlink("/dev/zero", folder.path().join("zero.amq")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe.amq")).status().unwrap().success());
    let ordinary = "it is not an ordinary file";
    for model in ["/dev/zero", "zero.amq", "pipe.amq"] {
        for command in ["inspect", "convert", "verify", "bench"] {
            fails(amqc(folder.path(), &[command, model]), 5, &[model, ordinary]);
        }
    }
    let tune = ["tune", "m.onnx", "--calib", "/dev/zero", "--steps", "1", "-o", "o.amq"];
    fails(amqc(folder.path(), &[&tune[..], &["--resume", "/dev/full"]].concat()), 5, &[ordinary]);
    fails(amqc(folder.path(), &tune), 2, &["/dev/zero"]);
    let recipe = ["convert", "m.onnx", "--recipe", "/dev/zero", "-o", "o.amq"];
    fails(amqc(folder.path(), &recipe), 4, &["more than 1048576 bytes"]);
    let run = ["run", "m.amq", "--outputs", "o.npz", "--inputs", "/dev/zero"];
    fails(amqc(folder.path(), &run), 4, &["/dev/zero"]);
    fails(amqc(folder.path(), &["convert", "m.onnx", "-o", "/dev/null"]), 5, &["not a regular"]);
    assert!(!folder.path().join("o.amq").exists() && !folder.path().join("o.npz").exists());
}

/// Four mebibytes of zeros in a file of less than 200 bytes.
fn small_that_stands_for_large() -> Vec<u8> {
    let field = |tag: u8, content: &[u8]| [&[tag << 3 | 2, content.len() as u8], content].concat();
    let size = field(7, &[128, 128, 64]);
    let shape = field(5, &[field(8, b"s"), field(1, &[1]), vec![0x10, 7], size].concat());
    let zeros = [field(1, b"s"), field(2, b"z"), field(4, b"ConstantOfShape")].concat();
    let cumulative = [field(1, b"z"), field(1, b"k"), field(2, b"y"), field(4, b"CumSum")].concat();
    let axis = field(5, &[field(8, b"k"), vec![0x10, 7], field(7, &[0])].concat());
    let nodes = [field(1, &zeros), field(1, &cumulative)].concat();
    let output = field(12, &field(1, b"y"));
    let graph = field(7, &[nodes, shape, axis, output].concat());
    [vec![0x08, 8], graph, field(8, &[0x10, 13])].concat()
}

/// A service lowers what a model may take: constants as they are read, and what is computed of them.
#[test]
fn what_constants_take_is_bounded_by_a_flag() {
    let folder = place();
    let path = |name: &str| folder.path().join(name);
    let convert = |model: &str, most: &str| {
        amqc(folder.path(), &["convert", model, "-q", "-o", "o.amq", "--max-constants", most])
    };
    let bytes = "the model's constants take more than 1000 bytes";
    fails(convert("m.onnx", "1000"), 3, &[bytes, "--max-constants"]);
    assert!(!path("o.amq").exists());
    fails(convert("m.onnx", "1MiB"), 0, &[]);
    fails(convert("m.onnx", "much"), 2, &["--max-constants"]);
    let inspect = ["inspect", "m.onnx", "--max-constants", "1000"];
    let output = amqc(folder.path(), &inspect);
    assert!(String::from_utf8(output.stdout).unwrap().contains(bytes));
    fs::write(path("small.onnx"), small_that_stands_for_large()).unwrap();
    fails(convert("small.onnx", "8GiB"), 0, &[]);
    let large = fs::metadata(path("o.amq")).unwrap().len();
    fails(convert("small.onnx", "1MB"), 0, &[]);
    let small = fs::metadata(path("o.amq")).unwrap().len();
    assert!(large > 4 << 20 && small < 4 << 10, "{large} {small}");
    let mut file = Vec::new();
    File::open(path("o.amq")).unwrap().read_to_end(&mut file).unwrap();
    assert!(amq_runtime::Model::load(&file).is_ok());
}
