//! How far values are from their reference.

use crate::tensor::{Data, Tensor};

/// Sums over pairs of a value and its reference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    /// Largest difference; infinite where only one of the two is a number.
    pub max_abs: f64,
    signal: f64,
    noise: f64,
}

impl Distance {
    /// How far a tensor is from its reference; `None` if their types or shapes differ.
    pub fn of(reference: &Tensor, found: &Tensor) -> Option<Distance> {
        if reference.data.data_type() != found.data.data_type() || reference.dims != found.dims {
            return None;
        }
        let mut distance = Distance::default();
        if let (Data::F32(reference), Data::F32(found)) = (&reference.data, &found.data) {
            distance.add_floats(reference, found);
        }
        let integers = |tensor: &Tensor| tensor.data.integers().unwrap_or_default();
        for (x, y) in integers(reference).into_iter().zip(integers(found)) {
            distance.add(x as f64, (i128::from(y) - i128::from(x)) as f64);
        }
        Some(distance)
    }

    /// Adds a difference from a reference.
    pub fn add(&mut self, reference: f64, error: f64) {
        self.max_abs = self.max_abs.max(error.abs());
        self.signal += reference * reference;
        self.noise += error * error;
    }

    /// Adds as many values as there are references.
    pub fn add_floats(&mut self, reference: &[f32], found: &[f32]) {
        for (&x, &y) in reference.iter().zip(found) {
            match x == y || (x.is_nan() && y.is_nan()) {
                true => self.add(if x.is_finite() { x.into() } else { 0.0 }, 0.0),
                false if (x - y).is_finite() => self.add(x.into(), f64::from(y) - f64::from(x)),
                false => self.add(0.0, f64::INFINITY),
            }
        }
    }

    /// Adds the sums of another.
    pub fn join(&mut self, other: &Distance) {
        self.max_abs = self.max_abs.max(other.max_abs);
        self.signal += other.signal;
        self.noise += other.noise;
    }

    /// `10 log10(sum of squares / sum of squared differences)`; infinite where nothing differs.
    pub fn snr_db(&self) -> f64 {
        match self.noise {
            0.0 => f64::INFINITY,
            noise => 10.0 * (self.signal / noise).log10(),
        }
    }

    /// Sum of squared differences over sum of squares.
    pub fn noise(&self) -> f64 {
        if self.noise == 0.0 { 0.0 } else { self.noise / self.signal }
    }
}
