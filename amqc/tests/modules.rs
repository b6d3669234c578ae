//! How the crates' own files depend on each other: no two import each other in a loop, and none is
//! long.
//!
//! A file is a module, and imports another where it names a path of it, in `use` or elsewhere:
//! `crate::a::b::Item`, `super::Item`, or `child::Item` in the parent of `child`. A name that a
//! module has from elsewhere (`use`) is an import of the file that it comes from. A re-export
//! (`pub use`) is no import: parents that only declare and re-export are in no loop. What is compiled
//! for tests alone does not count.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FilePath, PathBuf};
use std::{fs, iter};

const CRATES: [&str; 4] = ["amq-format", "amq-runtime", "amq-runtime-c", "amqc"];

/// Most lines of a file that is neither a table nor a test.
const LINES: usize = 500;

/// Files that are long because they list things.
const TABLES: [&str; 0] = [];

/// Segments of a path of modules and items, from the crate's root.
type Path = Vec<String>;

#[derive(Default)]
struct Module {
    /// Where the file lies, from its crate's `src`.
    file: String,
    /// What it imports.
    imports: Vec<Path>,
    /// Where names that it imports or re-exports come from.
    names: BTreeMap<String, Path>,
    /// Modules of which it re-exports everything.
    globs: Vec<Path>,
    /// Names of its items.
    items: BTreeSet<String>,
}

#[test]
fn no_files_import_each_other_in_a_loop() {
    let loops: Vec<String> = CRATES.iter().flat_map(|name| loops(name, &modules(name))).collect();
    assert!(loops.is_empty(), "files that import each other:\n{}", loops.join("\n"));
}

#[test]
fn no_file_is_long() {
    let mut long = Vec::new();
    for name in CRATES {
        for file in sources(&source(name)) {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            let table = TABLES.iter().any(|table| file.ends_with(table));
            if lines > LINES && !table && !is_test(&file) {
                long.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "files of more than {LINES} lines:\n{}", long.join("\n"));
}

/// The check itself finds what it should.
#[test]
fn loops_are_found_through_re_exports() {
    let found = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        loops("x", &parse(files))
    };
    let parent = ("a/mod.rs", "mod b; mod c; pub(crate) use b::{B, other as O}; pub use c::*;");
    // b takes C, and c takes what b exports as O, both by their parent.
    let b = ("a/b.rs", "use super::{C as D, c}; pub struct B; pub fn other() {}");
    let round = ("a/c.rs", "pub struct C; fn f() { crate::a::O() }");
    assert_eq!(found(&[parent, b, round]), ["x:\n    a/b.rs -> a/c.rs\n    a/c.rs -> a/b.rs"]);
    // Only in a comment, a text, and for tests.
    let text = r#"// super::B
        pub struct C; const T: &str = "super::b::B"; const Q: char = '"';
        #[cfg(test)] fn t() { use super::B; { B } } #[cfg(test)] use crate::a::B;"#;
    assert!(found(&[parent, b, ("a/c.rs", text)]).is_empty());
    // A parent that uses its children is one of the loop.
    let parent = ("a.rs", "mod b; struct A; fn f() { b::g() }");
    let loops = found(&[parent, ("a/b.rs", "use crate::a::A; fn g() {}")]);
    assert_eq!(loops, ["x:\n    a.rs -> a/b.rs\n    a/b.rs -> a.rs"]);
}

fn source(name: &str) -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src")
}

/// All source files under a folder, in order.
fn sources(folder: &FilePath) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let each = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    };
    let files = entries.into_iter().flat_map(each);
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn is_test(file: &FilePath) -> bool {
    file.iter().any(|part| part == "tests" || part == "tests.rs" || part == "testing.rs")
}

/// A crate's modules by their paths.
fn modules(name: &str) -> BTreeMap<Path, Module> {
    let root = source(name);
    let files = sources(&root).into_iter().filter(|file| !is_test(file));
    parse(files.map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        (file.strip_prefix(&root).unwrap().display().to_string(), text)
    }))
}

/// The modules of files, given by their names from `src`.
fn parse(files: impl Iterator<Item = (String, String)>) -> BTreeMap<Path, Module> {
    let mut texts = BTreeMap::new();
    // What `main.rs` imports comes from the library.
    for (file, text) in files.filter(|(file, _)| file != "main.rs") {
        let mut path: Path = file.trim_end_matches(".rs").split('/').map(String::from).collect();
        if path == ["lib"] || path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        texts.insert(path, (file, tokens(&text)));
    }
    let paths: BTreeSet<Path> = texts.keys().cloned().collect();
    let module = |(path, (file, tokens)): (Path, (String, Vec<String>))| {
        let module = read(file, &path, &tokens, &paths);
        (path, module)
    };
    texts.into_iter().map(module).collect()
}

/// Words and signs of a source text without comments, literals and what is for tests alone.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or(' ');
    let mut tokens: Vec<String> = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        match chars[i] {
            '/' if at(i + 1) == '/' => i += chars[i..].iter().take_while(|&&c| c != '\n').count(),
            '"' => {
                i += 1;
                while i < chars.len() && chars[i] != '"' {
                    i += if chars[i] == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            '\'' if at(i + 1) == '\\' => i += 4,
            '\'' if at(i + 2) == '\'' => i += 3,
            c if c.is_alphanumeric() || c == '_' => {
                let rest = chars[i..].iter();
                let word: String = rest.take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                i += word.chars().count();
                tokens.push(word);
            }
            ':' if at(i + 1) == ':' => {
                tokens.push("::".into());
                i += 2;
            }
            c => {
                tokens.extend((!c.is_whitespace()).then(|| c.to_string()));
                i += 1;
            }
        }
    }
    let mut kept = Vec::new();
    let mut rest = &tokens[..];
    while let Some(first) = rest.first() {
        match rest.get(..7) {
            Some(attribute) if attribute.concat() == "#[cfg(test)]" => {
                rest = after_item(&rest[7..])
            }
            _ => {
                kept.push(first.clone());
                rest = &rest[1..];
            }
        }
    }
    kept
}

/// What follows an item: its `;`, or the brackets that close its body.
fn after_item(tokens: &[String]) -> &[String] {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (token == ";" || token == "}") {
            return &tokens[i + 1..];
        }
    }
    &[]
}

fn read(file: String, path: &Path, tokens: &[String], modules: &BTreeSet<Path>) -> Module {
    let mut module = Module { file, ..Module::default() };
    let kinds = ["struct", "enum", "trait", "type", "fn", "const", "static", "union"];
    for pair in tokens.windows(2).filter(|pair| kinds.contains(&pair[0].as_str())) {
        module.items.insert(pair[1].clone());
    }
    let mut i = 0;
    while i < tokens.len() {
        let is_path = tokens.get(i + 1).is_some_and(|next| next == "::");
        let inner = i > 0 && tokens[i - 1] == "::";
        let Some(start) = start(path, &tokens[i], modules).filter(|_| is_path && !inner) else {
            i += 1;
            continue;
        };
        let mut found = Vec::new();
        let mut rest = &tokens[i + 1..];
        names(start, &mut rest, &mut found);
        // `pub use`, or `pub(..) use`
        let exported = i > 1 && tokens[i - 1] == "use" && ["pub", ")"].contains(&&*tokens[i - 2]);
        for (name, target) in found {
            match name.as_str() {
                "*" if exported => module.globs.push(target.clone()),
                _ => drop(module.names.insert(name, target.clone())),
            }
            if !exported {
                module.imports.push(target);
            }
        }
        i = tokens.len() - rest.len();
    }
    module
}

/// Where a path that begins with a word starts from, if it is one of this crate.
fn start(module: &Path, word: &str, modules: &BTreeSet<Path>) -> Option<Path> {
    match word {
        "crate" => Some(Path::new()),
        "self" => Some(module.clone()),
        "super" => Some(module[..module.len().checked_sub(1)?].to_vec()),
        child => {
            let path = [module.as_slice(), &[child.to_owned()]].concat();
            modules.contains(&path).then_some(path)
        }
    }
}

/// Reads what follows the beginning of a path, up to its end or through its braces; each name that
/// it brings with the whole path.
fn names(start: Path, rest: &mut &[String], found: &mut Vec<(String, Path)>) {
    let mut path = start;
    while rest.first().is_some_and(|token| token == "::") {
        let Some(next) = rest.get(1) else { break };
        *rest = &rest[2..];
        match next.as_str() {
            "super" => drop(path.pop()),
            "*" => return found.push(("*".into(), path)),
            "{" => {
                while let Some(token) = rest.first().cloned() {
                    *rest = &rest[1..];
                    match token.as_str() {
                        "}" => return,
                        "," => {}
                        "self" => {
                            found.push((path.last().cloned().unwrap_or_default(), path.clone()))
                        }
                        "*" => found.push(("*".into(), path.clone())),
                        name => {
                            let inner = [path.as_slice(), &[name.to_owned()]].concat();
                            names(inner, rest, found);
                        }
                    }
                }
                return;
            }
            name if name.chars().all(|c| c.is_alphanumeric() || c == '_') => path.push(name.into()),
            _ => break,
        }
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if let [word, other, ..] = *rest
        && word == "as"
    {
        name.clone_from(other);
        *rest = &rest[2..];
    }
    found.push((name, path));
}

/// The module that an item at a path comes from.
fn origin(path: &[String], modules: &BTreeMap<Path, Module>, depth: usize) -> Path {
    let mut at = Path::new();
    for (i, name) in path.iter().enumerate() {
        let child = [at.as_slice(), iter::once(name.clone()).collect::<Path>().as_slice()].concat();
        if modules.contains_key(&child) {
            at = child;
            continue;
        }
        let Some(module) = modules.get(&at).filter(|_| depth < 8) else {
            return at;
        };
        if let Some(target) = module.names.get(name) {
            let target = [target.as_slice(), &path[i + 1..]].concat();
            return origin(&target, modules, depth + 1);
        }
        let within =
            |glob: &Path| origin(&[glob.as_slice(), &path[i..]].concat(), modules, depth + 1);
        let has = |at: &Path| modules.get(at).is_some_and(|module| module.items.contains(name));
        let others = module.globs.iter().map(within);
        return if has(&at) { at } else { others.into_iter().find(has).unwrap_or(at) };
    }
    at
}

/// Each set of files that all import each other, directly or not, with the imports among them.
fn loops(name: &str, modules: &BTreeMap<Path, Module>) -> Vec<String> {
    let mut imports: BTreeMap<&Path, BTreeSet<Path>> = BTreeMap::new();
    for (path, module) in modules {
        let targets = module.imports.iter().map(|target| origin(target, modules, 0));
        imports.insert(path, targets.filter(|target| target != path).collect());
    }
    let mut reached = imports.clone();
    for via in modules.keys() {
        let further = reached[via].clone();
        for targets in reached.values_mut().filter(|targets| targets.contains(via)) {
            targets.extend(further.iter().cloned());
        }
    }
    let mut loops = BTreeSet::new();
    for path in modules.keys().filter(|path| reached[path].contains(*path)) {
        let together: BTreeSet<&Path> = modules
            .keys()
            .filter(|other| reached[path].contains(*other) && reached[other].contains(path))
            .collect();
        let file = |path: &Path| &modules[path].file;
        let edges = together.iter().flat_map(|from| {
            let targets = imports[*from].iter().filter(|to| together.contains(to));
            targets.map(move |to| format!("    {} -> {}", file(from), file(to)))
        });
        loops.insert(format!("{name}:\n{}", edges.collect::<Vec<_>>().join("\n")));
    }
    loops.into_iter().collect()
}
