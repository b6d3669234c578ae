//! The discrete Fourier transform.

use alloc::boxed::Box;
use alloc::vec::Vec;

use amq_format::graph::Fourier;

use crate::call::{Call, Kernel, Memory};
use crate::compute::{Computation, Compute, Shapes, keeps_nothing};
use crate::error::{Fault, fault};

/// A real and an imaginary part.
type Complex = [f32; 2];

impl Compute for Fourier {
    keeps_nothing!();

    fn computation(&self, _: &Self::Kept, shapes: &Shapes<'_>) -> Result<Computation, Fault> {
        let (x, y) = (shapes.input(0)?, shapes.output()?);
        let rank = x.dims.len();
        let points = self.points.first().and_then(|points| points.as_size());
        let points = points.and_then(|points| usize::try_from(points).ok());
        let points = points.ok_or_else(|| fault!("the number of points is not known"))?;
        let mut roots = Vec::new();
        let room = roots.try_reserve_exact(points);
        room.map_err(|_| fault!("{points} points are too many"))?;
        let sign = if self.inverse { 1.0 } else { -1.0 };
        roots.extend((0..points).map(|k| {
            let angle = 2.0 * core::f64::consts::PI * k as f64 / points as f64;
            [libm::cos(angle) as f32, (sign * libm::sin(angle)) as f32]
        }));
        Ok(Computation::Kernel(Box::new(Transform {
            given: x.dims[rank - 2],
            parts: x.dims[rank - 1],
            kept: y.dims[rank - 2],
            roots,
            divisor: if self.inverse { points as f32 } else { 1.0 },
        })))
    }
}

struct Transform {
    /// Points of x, and parts of each: real, or real and imaginary.
    given: usize,
    parts: usize,
    /// Points of y.
    kept: usize,
    /// `e^(-2 pi i k / n)`, for the inverse its conjugate.
    roots: Vec<Complex>,
    divisor: f32,
}

impl Kernel for Transform {
    fn reserve(&self, memory: &mut Memory) {
        memory.scratch.budget.grow(&mut memory.work, 4 * self.roots.len(), 0.0);
    }

    fn run(&self, call: &mut Call<'_>) -> Result<(), Fault> {
        let (x, y) = (call.inputs.f32(0)?, call.outputs.f32()?);
        let points = self.roots.len();
        let work = call.memory.work[..4 * points].as_chunks_mut().0;
        let (from, to) = work.split_at_mut(points);
        if y.is_empty() {
            return Ok(());
        }
        let vector = self.given * self.parts;
        for (i, y) in y.chunks_exact_mut(2 * self.kept).enumerate() {
            from.fill([0.0; 2]);
            let x = x[i * vector..][..vector].chunks_exact(self.parts);
            for (to, x) in from.iter_mut().zip(x) {
                *to = [x[0], x.get(1).copied().unwrap_or(0.0)];
            }
            self.transform(from, 1, to);
            for (y, value) in y.as_chunks_mut().0.iter_mut().zip(&*to) {
                *y = value.map(|part| part / self.divisor);
            }
        }
        Ok(())
    }
}

fn product(a: Complex, b: Complex) -> Complex {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

impl Transform {
    /// Transforms every `stride`-th of x, as many as y has, by halves while there are halves.
    fn transform(&self, x: &[Complex], stride: usize, y: &mut [Complex]) {
        let n = y.len();
        let root = |k: usize| self.roots[k % n * (self.roots.len() / n)];
        if n.is_multiple_of(2) {
            let (even, odd) = y.split_at_mut(n / 2);
            self.transform(x, 2 * stride, even);
            self.transform(&x[stride..], 2 * stride, odd);
            for (k, (a, b)) in even.iter_mut().zip(odd).enumerate() {
                let turned = product(root(k), *b);
                *b = [a[0] - turned[0], a[1] - turned[1]];
                *a = [a[0] + turned[0], a[1] + turned[1]];
            }
            return;
        }
        for (k, y) in y.iter_mut().enumerate() {
            *y = (0..n).fold([0.0; 2], |sum, j| {
                let term = product(root(j * k), x[j * stride]);
                [sum[0] + term[0], sum[1] + term[1]]
            });
        }
    }
}
