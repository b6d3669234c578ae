//! The `amqc` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    ExitCode::from(amqc::cli::main(std::env::args_os(), &mut stdout, &mut stderr))
}
