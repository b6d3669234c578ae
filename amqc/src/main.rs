//! The `amqc` command.

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut open, mut stderr) = (anstream::stdout(), anstream::stderr());
    let stdout: &mut dyn Write = if closed::found() { &mut Closed } else { &mut open };
    ExitCode::from(amqc::cli::main(std::env::args_os(), stdout, &mut stderr))
}

/// Standard output that was closed before the program began: nothing can be written to it.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("it is closed"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the program was started with standard output closed. Before `main`, Rust puts /dev/null in its place, which
/// takes an answer and loses it; so this looks earlier.
#[cfg(target_os = "linux")]
mod closed {
    use std::sync::atomic::{AtomicBool, Ordering};

    static CLOSED: AtomicBool = AtomicBool::new(false);

    // SAFETY: the C library calls each function of this section once, before `main`. The arguments that it gives may
    // be ignored, and the function needs nothing that is not there yet: a system call and an atomic.
    #[allow(unsafe_code, reason = "an attribute of the linker")]
    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        let flags = rustix::io::fcntl_getfd(rustix::stdio::stdout());
        CLOSED.store(flags.is_err(), Ordering::Relaxed);
    }

    pub(super) fn found() -> bool {
        CLOSED.load(Ordering::Relaxed)
    }
}

#[cfg(not(target_os = "linux"))]
mod closed {
    pub(super) fn found() -> bool {
        false
    }
}
