//! A bar that shows how far something is, where someone looks.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, if that is a terminal.
pub(super) struct Bar(ProgressBar);

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
        Bar(bar)
    }

    /// What is told how much is done, of how much.
    pub(super) fn show(&self) -> impl Fn(&str, usize, usize) + Sync + '_ {
        |what, done, total| {
            self.0.set_length(total as u64);
            self.0.set_position(done as u64);
            self.0.set_message(what.to_owned());
        }
    }

    /// Lets a line be written where it stands.
    pub(super) fn pause(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
