//! Recurrent layers in a graph: shape rule, weights and kernel. What a layer computes is in
//! `recurrent`.

use amq_format::graph::{Cell, DataType, Dim, Recurrent};
use alloc::vec::Vec;

use crate::error::{Fault, ensure, fault};
use crate::infer::{Fact, Facts, same};

pub(super) fn rule(op: &Recurrent, inputs: &Facts<'_>) -> Result<Vec<Fact>, Fault> {
    let lstm = op.cell() == Cell::Lstm;
    inputs.count(3, if lstm { 8 } else { 6 })?;
    let size = |size: u64| i64::try_from(size).map(Dim::from).map_err(|_| fault!("{size} units"));
    let hidden = size(op.hidden_size)?;
    let directions = Dim::from(op.direction().count() as i64);
    let rows = hidden.mul(&Dim::from(op.cell().gates() as i64))?;
    let x = inputs.f32(0)?;
    x.rank("X", 3)?;
    let (steps, batch, width) = (&x.dims[0], &x.dims[1], &x.dims[2]);
    let two = Dim::from(2);
    let states = [&directions, batch, &hidden];
    let parts: [(usize, &str, &[&Dim]); 6] = [
        (1, "W", &[&directions, &rows, width]),
        (2, "R", &[&directions, &rows, &hidden]),
        (3, "B", &[&directions, &rows.mul(&two)?]),
        (5, "initial_h", &states),
        (6, "initial_c", &states),
        (7, "P", &[&directions, &hidden.mul(&Dim::from(3))?]),
    ];
    for (i, name, expected) in parts {
        if i < 3 || inputs.optional(i).is_some() {
            let part = inputs.f32(i)?;
            part.rank(name, expected.len())?;
            for (axis, (found, expected)) in part.dims.iter().zip(expected).enumerate() {
                same(&alloc::format!("axis {axis} of {name}"), found, expected)?;
            }
        }
    }
    if let Some(lens) = inputs.optional(4) {
        let found = lens.data_type.name();
        ensure!(lens.data_type == DataType::I32, "sequence_lens is {found}, it must be i32");
        lens.rank("sequence_lens", 1)?;
        same("the size of sequence_lens", &lens.dims[0], batch)?;
    }
    let states = Vec::from(states.map(Dim::clone));
    let y = Vec::from([steps, &directions, batch, &hidden].map(Dim::clone));
    let mut outputs = Vec::from([Fact::f32(y), Fact::f32(states.clone())]);
    if lstm {
        outputs.push(Fact::f32(states));
    }
    Ok(outputs)
}
