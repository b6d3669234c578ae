//! How far values are from their reference.

use crate::tensor::{Data, Tensor};

/// Sums over pairs of a value and its reference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    /// Largest difference; infinite where only one of the two is a number.
    pub max_abs: f64,
    /// Values that are no numbers in either.
    pub not_numbers: usize,
    signal: f64,
    noise: f64,
    sum: f64,
    count: usize,
}

/// Of the signal, the least that is taken for more than rounding about its mean.
const LEAST_VARIANCE: f64 = 1e-9;

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
        self.sum += reference;
        self.count += 1;
    }

    /// Adds as many values as there are references.
    pub fn add_floats(&mut self, reference: &[f32], found: &[f32]) {
        for (&x, &y) in reference.iter().zip(found) {
            self.not_numbers += usize::from(x.is_nan() && y.is_nan());
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
        self.not_numbers += other.not_numbers;
        self.signal += other.signal;
        self.noise += other.noise;
        self.sum += other.sum;
        self.count += other.count;
    }

    /// Sum of squares about the mean: what a constant answer would leave. Of what hardly varies, the sum of squares.
    fn variation(&self) -> f64 {
        let about_mean = self.signal - self.sum * self.sum / self.count.max(1) as f64;
        if about_mean > LEAST_VARIANCE * self.signal { about_mean } else { self.signal }
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The mean square of the references about their mean, or about 0 where they hardly vary.
    pub(crate) fn energy(&self) -> f64 {
        self.variation() / self.count.max(1) as f64
    }

    /// As [`snr_db`](Distance::snr_db), of the signal about its mean: below 0 a constant would be nearer.
    pub fn snr_about_mean_db(&self) -> f64 {
        match self.noise {
            0.0 => f64::INFINITY,
            noise => 10.0 * (self.variation() / noise).log10(),
        }
    }

    /// `10 log10(sum of squares / sum of squared differences)`; infinite where nothing differs.
    pub fn snr_db(&self) -> f64 {
        match self.noise {
            0.0 => f64::INFINITY,
            noise => 10.0 * (self.signal / noise).log10(),
        }
    }

    /// Sum of squared differences over sum of squares about the mean.
    pub fn noise(&self) -> f64 {
        if self.noise == 0.0 { 0.0 } else { self.noise / self.variation() }
    }
}
