//! The instruction set that models are run with.

use amq_runtime::Isa;

use crate::error::{Error, Result};

/// The instruction set that `AMQ_ISA` asks for, or the fastest of this CPU.
pub(super) fn chosen() -> Result<Isa> {
    let Some(name) = std::env::var_os("AMQ_ISA") else { return Ok(Isa::detect()) };
    let name = name.to_string_lossy();
    match Isa::from_name(&name) {
        Some(isa) if isa.is_available() => Ok(isa),
        found => {
            let why = match found {
                Some(_) => "this CPU does not have it",
                None => "this version has no kernels for it",
            };
            let available = Isa::ALL.into_iter().filter(|isa| isa.is_available());
            let names: Vec<&str> = available.map(Isa::name).collect();
            Err(Error::usage(format!("AMQ_ISA={name}: {why}"))
                .remedy(format!("use one of {}, or leave it unset", names.join(", "))))
        }
    }
}
