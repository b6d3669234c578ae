//! The examples of docs/errors.md are what the program says.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_page_shows_what_errors_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.onnx", "images.npz", "labels.npy"] {
        fs::copy(root.join("fixtures/digits").join(name), folder.path().join(name)).unwrap();
    }
    let page = fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let examples: Vec<&str> = page.split("\n    $ amqc ").skip(1).collect();
    assert!(examples.len() > 3);
    for example in examples {
        let (arguments, told) = example.split_once('\n').unwrap();
        let told: Vec<&str> = told.lines().map_while(|line| line.strip_prefix("    ")).collect();
        let done = Command::new(env!("CARGO_BIN_EXE_amqc"))
            .args(arguments.split(' '))
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        let code = done.status.code().unwrap();
        let said = format!("{said}[exit {code}]");
        assert_eq!(said.lines().collect::<Vec<_>>(), told, "amqc {arguments}");
        assert!(done.stdout.is_empty(), "amqc {arguments}");
    }
}
