//! A bar that shows how far something is, where someone looks.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, if that is a terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    /// Elsewhere, when a line was written last.
    lines: Option<Mutex<Instant>>,
}

/// How often a line is written.
const LINES: Duration = Duration::from_secs(30);

impl Bar {
    /// A new one; none if `quiet`.
    pub(super) fn new(quiet: bool) -> Bar {
        let bar = match quiet || !std::io::stderr().is_terminal() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new(0),
        };
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Bar { bar, lines: None }
    }

    /// The same; where standard error is no terminal, a line each half minute.
    pub(super) fn with_lines(quiet: bool) -> Bar {
        let silent = quiet || std::io::stderr().is_terminal();
        Bar { lines: (!silent).then(|| Mutex::new(Instant::now())), ..Bar::new(quiet) }
    }

    /// What is told how much is done, of how much.
    pub(super) fn show(&self) -> impl Fn(&str, usize, usize) + Sync + '_ {
        |what, done, total| {
            self.bar.set_length(total as u64);
            self.bar.set_position(done as u64);
            self.bar.set_message(what.to_owned());
            // Whoever comes while another writes has nothing to add.
            if let Some(Ok(mut last)) = self.lines.as_ref().map(Mutex::try_lock)
                && last.elapsed() >= LINES
            {
                *last = Instant::now();
                let _ = writeln!(std::io::stderr(), "{what}: {done} of {total}");
            }
        }
    }

    /// Lets a line be written where it stands.
    pub(super) fn pause(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
