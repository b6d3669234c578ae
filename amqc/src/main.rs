//! The `amqc` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut stdout, mut stderr) = (anstream::stdout(), anstream::stderr());
    ExitCode::from(amqc::cli::main(std::env::args_os(), &mut stdout, &mut stderr))
}
