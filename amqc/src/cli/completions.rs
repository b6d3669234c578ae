//! `amqc completions` and `amqc man`: what shells and manuals need, made of the program's own help.

use clap::{Args, Command};
use clap_complete::Shell;

use super::Outcome;
use crate::error::{Error, Result};
use crate::names::no_such;

/// Print the completions of this program for a shell
///
/// Where they go is the shell's to say: bash reads them from
/// ~/.local/share/bash-completion/completions/amqc, fish from ~/.config/fish/completions/amqc.fish, zsh
/// from a file _amqc in a folder of its fpath.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

/// Print a manual page, in roff
///
/// amqc man > amqc.1 is the page of the program, amqc man convert > amqc-convert.1 that of a command.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The command that the page is of [default: the program]
    command: Option<String>,
}

impl Completions {
    /// Of this program.
    pub(super) fn execute(&self, mut program: Command) -> Result<Outcome> {
        let mut script = Vec::new();
        let name = program.get_name().to_owned();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        text(script)
    }
}

impl Man {
    /// A page of this program.
    pub(super) fn execute(&self, mut program: Command) -> Result<Outcome> {
        program.build();
        let page = match &self.command {
            None => program,
            Some(name) => {
                let names: Vec<String> = program
                    .get_subcommands()
                    .map(|command| command.get_name().to_owned())
                    .collect();
                let found = program.find_subcommand(name).cloned();
                let found = found
                    .ok_or_else(|| no_such("command", name, names.iter().map(String::as_str)))?;
                // The build has named it `amqc convert`; the page is `amqc-convert`.
                let display = format!("{}-{name}", program.get_name());
                found.display_name(display)
            }
        };
        let mut roff = Vec::new();
        clap_mangen::Man::new(page)
            .render(&mut roff)
            .map_err(|error| Error::io("the page", error))?;
        text(roff)
    }
}

fn text(bytes: Vec<u8>) -> Result<Outcome> {
    let text = String::from_utf8(bytes).map_err(|error| Error::io("the text", error))?;
    Ok(Outcome::text(text))
}
