//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::TERM_SIGNALS;

use crate::error::{Error, Result};

/// Fails if an output would replace what is also read.
pub(super) fn check_not_read<'a>(
    output: &Path,
    read: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<()> {
    if output.as_os_str() == "-" {
        return Err(Error::usage("- is not written to: a file appears whole or not at all")
            .remedy("name a file; ./- is one of that name"));
    }
    let same = |path: &&PathBuf| same_file(path, output);
    match read.into_iter().find(same) {
        None => Ok(()),
        Some(path) => Err(Error::usage(format!("the output {} is also read", path.display()))
            .remedy("name another output")),
    }
}

/// Whether two names are those of one file: by links of either kind.
fn same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (fs::metadata(a), fs::metadata(b)) {
        use std::os::unix::fs::MetadataExt;
        return (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// What a name stands for once links are followed, whether that is there or not.
fn followed(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    let mut path = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        let Ok(next) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(next);
    }
    path
}

/// Fails if two outputs are one file.
pub(super) fn check_apart(outputs: &[&PathBuf]) -> Result<()> {
    // What is not there yet has a folder and a name.
    let place = |path: &&PathBuf| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_owned();
        (fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()), name)
    };
    let places: Vec<_> = outputs.iter().map(place).collect();
    match (1..places.len()).find(|&at| places[..at].contains(&places[at])) {
        None => Ok(()),
        Some(at) => {
            let path = outputs[at].display();
            Err(Error::usage(format!("{path} is the name of two outputs"))
                .remedy("name another output"))
        }
    }
}

/// Writes the file at `path` by way of a temporary one beside it: written, synced, renamed. On Linux that has no name before
/// it is whole, so that nothing is left of a process that is killed while it writes.
///
/// Nothing is left at `path` if this fails; what was there before stays. A signal that would end
/// the process does so after the temporary file is gone.
pub(super) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<Sink>) -> io::Result<()>,
) -> Result<()> {
    // A link stays a link: what it names is replaced.
    let target = followed(path);
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        return Err(Error::io(path, "it exists and is not a regular file")
            .remedy("name a file that can be replaced"));
    }
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(Error::io(path, format!("there is no directory {}", directory.display()))
            .remedy("create it, or name another output"));
    }
    let guard = SignalGuard::new();
    let written = replace(&target, write).map_err(|error| Error::io(path, error));
    drop(guard);
    written
}

/// Writes bytes as [`write_whole`] does, even where a signal waits that will end the process.
pub(super) fn write_at_the_end(path: &Path, bytes: &[u8]) -> Result<()> {
    let pending = SIGNALS.get().map_or(0, |signals| signals.pending.swap(0, Ordering::SeqCst));
    let written = write_whole(path, |file| file.write_all(bytes));
    if let Some(signals) = SIGNALS.get().filter(|_| pending != 0) {
        signals.pending.store(pending, Ordering::SeqCst);
    }
    written
}

fn replace(
    target: &Path,
    write: impl FnOnce(&mut BufWriter<Sink>) -> io::Result<()>,
) -> io::Result<()> {
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".amqc-").suffix(".tmp");
    // What an ordinary new file gets: the process's mask is applied to it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // The error would name the temporary file, which means nothing to who named another.
    let anonymous = |error: io::Error| io::Error::from(error.kind());
    if let Some(file) = nameless(directory) {
        fill(&file, write)?;
        // Only what is not there can be linked: over what is there, the file needs a name to be moved from.
        if link(&file, target).is_err() {
            let named = builder.make_in(directory, |path| link(&file, path)).map_err(anonymous)?;
            named.persist(target)?;
        }
    } else {
        let temporary = builder.tempfile_in(directory).map_err(anonymous)?;
        fill(temporary.as_file(), write)?;
        temporary.persist(target)?;
    }
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// Writes the contents of a temporary file, to the disk.
fn fill(file: &File, write: impl FnOnce(&mut BufWriter<Sink>) -> io::Result<()>) -> io::Result<()> {
    let mut sink = BufWriter::with_capacity(1 << 20, Sink(file.try_clone()?));
    write(&mut sink)?;
    sink.flush()?;
    file.sync_all()?;
    interrupted()
}

/// A new file that has no name in its folder, so that it is gone when the process is, however that ends; none where the system
/// has no such files.
#[cfg(target_os = "linux")]
fn nameless(directory: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    // What an ordinary new file gets: the process's mask is applied to it.
    let mode = Mode::from_raw_mode(0o666);
    let file = open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode).ok()?;
    let file = File::from(file);
    named(&file).exists().then_some(file)
}

/// Gives a file without a name one.
#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    Ok(linkat(CWD, named(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// What the system calls an open file.
#[cfg(target_os = "linux")]
fn named(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> Option<File> {
    None
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The file being written. It refuses to go on once a signal has asked the process to end.
#[derive(Debug)]
pub(super) struct Sink(File);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        interrupted()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Seek for Sink {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// Signals that would end the process: while a file is being written they wait.
struct Signals {
    idle: Arc<AtomicBool>,
    pending: Arc<AtomicUsize>,
}

#[cfg(unix)]
const HANGUP: &[i32] = &[signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const HANGUP: &[i32] = &[];

static SIGNALS: OnceLock<Signals> = OnceLock::new();

fn signals() -> &'static Signals {
    SIGNALS.get_or_init(|| {
        let signals = Signals { idle: Arc::default(), pending: Arc::default() };
        for &signal in TERM_SIGNALS.iter().chain(HANGUP) {
            // A signal that cannot be caught keeps its default, which is no worse than before.
            let idle = signals.idle.clone();
            if signal_hook::flag::register_conditional_default(signal, idle).is_ok() {
                let (pending, number) = (signals.pending.clone(), signal as usize);
                let _ = signal_hook::flag::register_usize(signal, pending, number);
            }
        }
        signals
    })
}

fn interrupted() -> io::Result<()> {
    match SIGNALS.get().map(|signals| signals.pending.load(Ordering::SeqCst)) {
        None | Some(0) => Ok(()),
        Some(_) => Err(io::Error::other("interrupted")),
    }
}

/// While there is one, signals that would end the process wait until none is left.
pub(super) struct SignalGuard;

/// How many guards there are.
static GUARDS: AtomicUsize = AtomicUsize::new(0);

impl SignalGuard {
    pub(super) fn new() -> SignalGuard {
        GUARDS.fetch_add(1, Ordering::SeqCst);
        signals().idle.store(false, Ordering::SeqCst);
        SignalGuard
    }

    /// Whether a signal waits.
    pub(super) fn pending(&self) -> bool {
        interrupted().is_err()
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        if GUARDS.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        let signals = signals();
        signals.idle.store(true, Ordering::SeqCst);
        let pending = signals.pending.swap(0, Ordering::SeqCst);
        if pending != 0 {
            let _ = signal_hook::low_level::emulate_default_handler(pending as i32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn an_existing_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "old and longer").unwrap();
        write_whole(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "old").unwrap();
        let failed = write_whole(&path, |file| {
            file.write_all(&vec![7; 3 << 20])?;
            Err(io::Error::other("disk full"))
        });
        let message = failed.unwrap_err().to_string();
        assert!(message.contains("disk full") && message.contains(&*path.to_string_lossy()));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write_whole(directory.path(), |_| Ok(())).is_err());
        assert!(write_whole(&directory.path().join("no/such"), |_| Ok(())).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_files_get_the_usual_mode() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("a"), directory.path().join("b"));
        File::create(&file).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let usual = fs::metadata(&file).unwrap().permissions().mode();
        write_whole(&link, |out| out.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // Of what is not there yet too.
        let (later, dangling) = (directory.path().join("c"), directory.path().join("d"));
        std::os::unix::fs::symlink("c", &dangling).unwrap();
        write_whole(&dangling, |out| out.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&dangling).unwrap().is_symlink());
        assert_eq!(fs::read(&later).unwrap(), b"new");
        // Links of both kinds are seen.
        let hard = directory.path().join("e");
        fs::hard_link(&file, &hard).unwrap();
        for output in [&hard, &link] {
            assert!(check_not_read(output, [&file]).is_err());
        }
        assert!(check_not_read(&later, [&file]).is_ok());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode(), usual);
    }

    #[cfg(unix)]
    #[test]
    fn a_signal_ends_the_process_and_leaves_nothing() {
        use signal_hook::consts::SIGTERM;
        use std::os::unix::process::ExitStatusExt;
        const CHILD: &str = "AMQC_TEST_WRITES_IN";
        if let Some(directory) = std::env::var_os(CHILD) {
            let _ = write_whole(&Path::new(&directory).join("a"), |file| {
                file.write_all(b"half")?;
                file.flush()?;
                let names = usize::from(nameless(directory.as_ref()).is_none());
                assert_eq!(fs::read_dir(&directory)?.count(), names, "the temporary file");
                signal_hook::low_level::raise(SIGTERM)?;
                file.write_all(b"and half")
            });
            unreachable!("the signal ends this process");
        }
        let directory = tempfile::tempdir().unwrap();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::output::tests::a_signal_ends_the_process_and_leaves_nothing"])
            .env(CHILD, directory.path())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(SIGTERM));
        assert_eq!(names(directory.path()), [""; 0]);
    }
}
