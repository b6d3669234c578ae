//! Tries what is mutated at random on every target, in processes of their own: a panic, an abort, an input that takes too
//! long or too much memory ends a process, is kept in `found/`, and the next begins.
//!
//! `run SECONDS SEED [TARGET..]`, `one TARGET FILE`, `shrink SECONDS SEED BYTES TARGET`: see `README.md`.

mod memory;

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use amq_fuzz::random::{Random, hash};
use amq_fuzz::seeds::{LONGEST, corpus, dictionary, seeds};
use amq_fuzz::targets::{TARGETS, Target};
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static MEMORY: memory::Counting = memory::Counting;

/// Seconds of the processor that one input may take.
const LONG: u64 = 60;
/// Inputs that new ones are made of, at most.
const POOL: usize = 4096;
/// Files of a corpus, at most.
const FILES: usize = 64;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match args[..] {
        ["run", seconds, seed, ref names @ ..] => run(number(seconds), number(seed), names),
        ["work", name, seconds, seed, state] => {
            work(target(name), number(seconds), number(seed), Path::new(state));
            ExitCode::SUCCESS
        }
        ["one", name, file] => {
            let bytes = fs::read(file).expect("the input");
            println!("{:016x}", (target(name).run)(&bytes));
            ExitCode::SUCCESS
        }
        ["shrink", seconds, seed, bytes, name] => {
            shrink(target(name), number(seconds), number(seed), number(bytes) as usize);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!(
                "run SECONDS SEED [TARGET..] | one TARGET FILE | shrink SECONDS SEED BYTES TARGET"
            );
            ExitCode::from(2)
        }
    }
}

fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).expect("the name of a target")
}

/// What a process tells of itself in a file, which outlives it: inputs, fates, the longest microseconds, the most bytes, and
/// the input that it works on.
struct State(File);

const NUMBERS: usize = 4;

impl State {
    fn write(&self, numbers: [u64; NUMBERS], input: &[u8]) {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        bytes.extend((input.len() as u64).to_le_bytes());
        bytes.extend(input);
        self.0.write_all_at(&bytes, 0).expect("the state is written");
    }

    fn read(path: &Path) -> ([u64; NUMBERS], Vec<u8>) {
        let bytes = fs::read(path).unwrap_or_default();
        let number = |i: usize| {
            bytes
                .get(8 * i..8 * i + 8)
                .map_or(0, |b| u64::from_le_bytes(b.try_into().expect("8 bytes")))
        };
        let begin = 8 * (NUMBERS + 1);
        let input = bytes.get(begin..begin + number(NUMBERS) as usize).unwrap_or_default();
        (std::array::from_fn(number), input.to_vec())
    }
}

/// Seconds that this process has had of processors.
fn processor() -> u64 {
    clock_gettime(ClockId::ProcessCPUTime).tv_sec as u64
}

static BEGUN: AtomicU64 = AtomicU64::new(u64::MAX);

/// Tries inputs of one target for so long.
fn work(target: Target, seconds: u64, seed: u64, state: &Path) {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if processor().saturating_sub(BEGUN.load(Relaxed)) > LONG {
                eprintln!("an input took more than {LONG} s of the processor");
                std::process::exit(3);
            }
        }
    });
    let state = State(File::create(state).expect("a file for the state"));
    let (mut numbers, begin) = ([0; NUMBERS], Instant::now());
    let mut pool = Pool::new(target, true);
    let mut random = Random(seed ^ hash(target.name.as_bytes()));
    let mut first = 0;
    while begin.elapsed().as_secs() < seconds {
        // Each of those that are there comes as it is, first.
        let input = match pool.inputs.get(first) {
            Some(input) if first < pool.given => input.clone(),
            _ => pool.next(&mut random),
        };
        first += 1;
        state.write(numbers, &input);
        BEGUN.store(processor(), Relaxed);
        memory::begin();
        let before = Instant::now();
        let fate = catch_unwind(|| (target.run)(&input)).unwrap_or_else(|_| std::process::exit(2));
        let taken = memory::most();
        numbers[0] += 1;
        numbers[2] = numbers[2].max(before.elapsed().as_micros() as u64);
        numbers[3] = numbers[3].max(taken);
        if taken > target.memory {
            eprintln!("an input took {taken} bytes of memory");
            state.write(numbers, &input);
            std::process::exit(4);
        }
        pool.met(fate, input);
        numbers[1] = pool.fates.len() as u64;
    }
    state.write(numbers, &[]);
}

/// Inputs that new ones are made of: those that were given, and the shortest of each fate.
struct Pool {
    target: Target,
    words: Vec<Vec<u8>>,
    inputs: Vec<Vec<u8>>,
    given: usize,
    fates: HashMap<u64, usize>,
}

impl Pool {
    fn new(target: Target, fixtures: bool) -> Pool {
        let (inputs, words) = (seeds(target.name, fixtures), dictionary(target.name));
        Pool { target, words, given: inputs.len(), inputs, fates: HashMap::new() }
    }

    fn next(&self, random: &mut Random) -> Vec<u8> {
        let words: Vec<&[u8]> = self.words.iter().map(Vec::as_slice).collect();
        let mut pick = || &self.inputs[random.below(self.inputs.len())];
        let (one, other) = (pick(), pick());
        let mut input = (self.target.mutate)(one, other, &words, random);
        while random.one_in(2) {
            input = (self.target.mutate)(&input, other, &words, random);
        }
        input.truncate(LONGEST);
        input
    }

    fn met(&mut self, fate: u64, input: Vec<u8>) {
        match self.fates.get(&fate) {
            None if self.inputs.len() < POOL => {
                self.fates.insert(fate, self.inputs.len());
                self.inputs.push(input);
            }
            Some(&at) if input.len() < self.inputs[at].len() => self.inputs[at] = input,
            _ => {}
        }
    }
}

/// Tries all targets, or those named, each for its share of the time.
fn run(seconds: u64, seed: u64, names: &[&str]) -> ExitCode {
    let chosen: Vec<Target> =
        TARGETS.into_iter().filter(|t| names.is_empty() || names.contains(&t.name)).collect();
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    let (mut inputs, mut faults) = (0, 0);
    println!("seed {seed}");
    for target in &chosen {
        let share = Duration::from_secs(seconds) / chosen.len() as u32;
        let (begin, mut sum, mut bad) = (Instant::now(), [0; NUMBERS], 0);
        for turn in 0.. {
            let left = share.saturating_sub(begin.elapsed()).as_secs_f64().round() as u64;
            if left == 0 {
                break;
            }
            let state = folder.path().join("state");
            let path = |path: &PathBuf| path.display().to_string();
            let status = Command::new(std::env::current_exe().expect("this program"))
                .args(["work", target.name, &left.to_string()])
                .args([(seed + 1_000_003 * turn).to_string(), path(&state)])
                .env("RAYON_NUM_THREADS", "1")
                .status()
                .expect("this program runs");
            let (numbers, input) = State::read(&state);
            sum[0] += numbers[0];
            (1..NUMBERS).for_each(|i| sum[i] = sum[i].max(numbers[i]));
            if !status.success() {
                bad += 1;
                fs::create_dir_all(&found).expect("a folder for what is found");
                let name = format!("{}-{:016x}", target.name, hash(&input));
                fs::write(found.join(&name), input).expect("what is found is kept");
                println!("FAULT {}: {status}, found/{name}", target.name);
            }
        }
        let [count, fates, longest, most] = sum;
        println!(
            "{}: {count} inputs, {fates} fates, {:.0} s, the longest {:.3} s, the most {:.1} MiB, {bad} faults",
            target.name,
            begin.elapsed().as_secs_f64(),
            longest as f64 / 1e6,
            most as f64 / f64::from(1 << 20),
        );
        inputs += count;
        faults += bad;
    }
    println!("{inputs} inputs, {faults} faults");
    ExitCode::from(u8::from(faults > 0))
}

/// Writes the corpus of a target anew: shortest inputs of fates that were found, as many as so many bytes hold.
fn shrink(target: Target, seconds: u64, seed: u64, bytes: usize) {
    let (begin, mut random) = (Instant::now(), Random(seed));
    let mut pool = Pool::new(target, true);
    let mut first = 0;
    while begin.elapsed().as_secs() < seconds || first < pool.given {
        let input = match pool.inputs.get(first) {
            Some(input) if first < pool.given => input.clone(),
            _ => pool.next(&mut random),
        };
        first += 1;
        pool.met((target.run)(&input), input);
    }
    let folder = corpus(target.name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for the corpus");
    let mut kept: Vec<&Vec<u8>> = pool.fates.values().map(|&at| &pool.inputs[at]).collect();
    // Any of them, but none that takes the room of many.
    kept.retain(|input| input.len() <= bytes / 16);
    kept.sort_by_key(|input| hash(input));
    let (mut left, mut count) = (bytes, 0);
    for input in kept.into_iter().take(FILES) {
        let Some(rest) = left.checked_sub(input.len()) else { continue };
        left = rest;
        count += 1;
        fs::write(folder.join(format!("{:016x}", hash(input))), input).expect("an input is kept");
    }
    println!("{}: {count} of {} fates, {} bytes", target.name, pool.fates.len(), bytes - left);
}
