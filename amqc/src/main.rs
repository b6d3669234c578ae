//! The `amqc` command.

fn main() {}
