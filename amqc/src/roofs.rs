//! What a machine reaches at most, beside which the figures of a model's nodes are seen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amq_format::graph::{DataType, Dim, Graph, Linear, Node, Op, Port, Tensor};
use amq_format::{Draft, Validated};
use amq_runtime::{Isa, LoadOptions, View};
use serde::Serialize;

use crate::bench::Read;
use crate::error::{Error, Result};
use crate::threads::Threads;

/// Bytes that no cache holds.
const UNCACHED: u64 = 256 << 20;
/// Rows and columns of the product in float.
const SIZE: usize = 512;
/// Vectors that it meets at once.
const VECTORS: usize = 64;
const MEASURING: Duration = Duration::from_millis(100);

/// What a machine reaches at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Roofs {
    /// Bytes of weights a nanosecond that one thread reads from memory.
    pub memory: f64,
    /// Multiplications a nanosecond of a large product in float, of many vectors at once.
    pub float: f64,
}

impl Roofs {
    /// Measures them, with this instruction set and these threads.
    ///
    /// # Errors
    /// An instruction set that this CPU lacks.
    pub fn measure(isa: Isa, threads: &Threads) -> Result<Roofs> {
        let mut memory = Read::new(UNCACHED);
        (0..3).for_each(|_| memory.once());
        let memory = UNCACHED as f64 / memory.nanoseconds();
        Ok(Roofs {
            memory,
            float: float(isa, threads).map_err(|error| Error::unsupported(error.to_string()))?,
        })
    }
}

/// Multiplications a nanosecond of a product in float.
fn float(isa: Isa, threads: &Threads) -> std::result::Result<f64, amq_runtime::Error> {
    let dims = |vectors: usize| [vectors, SIZE].map(|size| Dim::from(size as i64)).to_vec();
    let port = |value| Port {
        value,
        data_type: DataType::F32 as i32,
        dims: dims(VECTORS),
        ..Port::default()
    };
    let weights = Tensor {
        value: 2,
        data_type: DataType::F32 as i32,
        dims: vec![SIZE as u64; 2],
        ..Tensor::default()
    };
    let product = Node {
        inputs: vec![1, 2],
        outputs: vec![3],
        op: Some(Op::Linear(Linear::default())),
        ..Node::default()
    };
    let graph = Graph {
        values: ["", "x", "w", "y"].map(Into::into).to_vec(),
        inputs: vec![port(1)],
        outputs: vec![port(3)],
        tensors: vec![weights],
        nodes: vec![product],
        ..Graph::default()
    };
    let data = vec![1f32.to_le_bytes().repeat(SIZE * SIZE)];
    let bytes = amq_format::encode(Draft { graph, data, provenance: None })?;
    let options = LoadOptions { isa, ..LoadOptions::default() };
    let model = threads.load(&Validated::new(&bytes)?, &options)?;
    let mut session = threads.session(Arc::new(model));
    let x = vec![1f32; VECTORS * SIZE];
    let (start, mut least) = (Instant::now(), Duration::MAX);
    while least == Duration::MAX || start.elapsed() < MEASURING {
        let start = Instant::now();
        session.run(&[("x", View::f32(&[VECTORS, SIZE], &x))])?;
        least = least.min(start.elapsed());
    }
    Ok((VECTORS * SIZE * SIZE) as f64 / least.as_nanos() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roofs_are_measured_with_any_instruction_set() {
        for isa in [Isa::Scalar, Isa::detect()] {
            let Roofs { memory, float } = Roofs::measure(isa, &Threads::default()).unwrap();
            assert!(memory.is_finite() && memory > 0.0 && float.is_finite() && float > 0.0);
        }
    }
}
