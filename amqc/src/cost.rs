//! What coded activations cost: an estimate of the time of a convolution, in times of float.
//!
//! Of a window, each bit looks up (8 bits) or counts (codes) all its columns; sums end with each pixel,
//! which costs most where channels are few; and each pixel is coded once for all rows and taps. The three
//! terms fit what convolutions take with AVX2, the instruction set that most CPUs have and on which
//! codes gain least, to a quarter (docs/performance.md, "What codes cost in convolutions").

use amq_format::graph::{Activations, Op};

use crate::ir::Module;
use crate::plan::{Choice, Plan};
use crate::weights::Weight;

/// From which estimate on a user is told: below, it may be wrong.
const TOLD: f64 = 1.25;

/// A convolution's shape, as its time depends on it.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Rows that share a pixel: output channels of a group.
    rows: f64,
    /// Pixels of a window.
    taps: f64,
    /// Channels of a group.
    channels: f64,
}

/// Convolutions that take longer than in float, each with the estimate of how many times as long.
pub(crate) fn slower_than_float(module: &Module, plan: &Plan) -> Vec<(String, f64)> {
    let coded = plan.matrices.iter().filter_map(|planned| {
        let Choice::Codes { fit, activations, .. } = &planned.choice else { return None };
        let times = times_of_float(shape(module, &planned.weight)?, fit.bits, *activations);
        (times >= TOLD).then(|| (planned.weight.name.clone(), times))
    });
    coded.collect()
}

/// The shape, if the matrix is that of a convolution.
fn shape(module: &Module, weight: &Weight) -> Option<Shape> {
    let Some(Op::Conv(conv)) = &module.node(&weight.place).op else { return None };
    let channels = *module.constants.get(&weight.value)?.dims.last()?;
    Some(Shape {
        rows: weight.rows as f64 / conv.groups.max(1) as f64,
        taps: weight.cols as f64 / channels.max(1) as f64,
        channels: channels as f64,
    })
}

/// Time in times of float's.
fn times_of_float(shape: Shape, bits: u8, activations: Activations) -> f64 {
    let Shape { rows, taps, channels } = shape;
    let bits = f64::from(bits);
    let integers = bits * (0.15 + 7.0 / channels) + 65.0 / (rows * taps);
    match (activations, activations.codes()) {
        (Activations::F32, _) => 1.0,
        (Activations::Int16, _) => 2.0 * integers,
        (_, Some(codes)) => {
            let codes = codes as f64;
            bits * codes * (0.105 + 13.0 / channels) + (35.0 + 40.0 * codes) / (rows * taps)
        }
        (_, None) => integers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::tests::Build;
    use crate::options::ConvertOptions;
    use crate::passes;
    use crate::settings::Given;
    use crate::weights::Weights;

    /// Measured with AVX2 (docs/performance.md): output channels, taps, channels, bits, activations, times.
    const MEASURED: [(usize, usize, usize, u8, Activations, f64); 44] = [
        (256, 9, 256, 1, Activations::Int8, 0.20),
        (256, 9, 256, 2, Activations::Int8, 0.36),
        (256, 9, 256, 3, Activations::Int8, 0.56),
        (256, 9, 256, 4, Activations::Int8, 0.70),
        (256, 9, 256, 6, Activations::Int8, 1.13),
        (256, 9, 256, 8, Activations::Int8, 1.50),
        (256, 9, 256, 8, Activations::Int16, 3.00),
        (256, 9, 256, 2, Activations::Codes1, 0.36),
        (256, 9, 256, 2, Activations::Codes2, 0.67),
        (256, 9, 256, 2, Activations::Codes3, 0.95),
        (256, 9, 256, 4, Activations::Codes2, 1.32),
        (64, 9, 64, 1, Activations::Int8, 0.41),
        (64, 9, 64, 2, Activations::Int8, 0.63),
        (64, 9, 64, 3, Activations::Int8, 0.83),
        (64, 9, 64, 4, Activations::Int8, 1.05),
        (64, 9, 64, 6, Activations::Int8, 1.85),
        (64, 9, 64, 8, Activations::Int8, 2.37),
        (64, 9, 64, 8, Activations::Int16, 4.62),
        (64, 9, 64, 2, Activations::Codes1, 0.78),
        (64, 9, 64, 2, Activations::Codes2, 1.44),
        (64, 9, 64, 2, Activations::Codes3, 1.89),
        (64, 9, 64, 4, Activations::Codes2, 2.50),
        (32, 9, 32, 1, Activations::Int8, 0.67),
        (32, 9, 32, 2, Activations::Int8, 0.90),
        (32, 9, 32, 3, Activations::Int8, 1.16),
        (32, 9, 32, 4, Activations::Int8, 1.39),
        (32, 9, 32, 6, Activations::Int8, 2.51),
        (32, 9, 32, 8, Activations::Int8, 3.22),
        (32, 9, 32, 8, Activations::Int16, 6.03),
        (32, 9, 32, 2, Activations::Codes1, 1.51),
        (32, 9, 32, 2, Activations::Codes2, 2.95),
        (32, 9, 32, 2, Activations::Codes3, 4.04),
        (32, 9, 32, 4, Activations::Codes2, 4.71),
        (128, 1, 128, 1, Activations::Int8, 0.68),
        (128, 1, 128, 2, Activations::Int8, 0.84),
        (128, 1, 128, 3, Activations::Int8, 1.00),
        (128, 1, 128, 4, Activations::Int8, 1.16),
        (128, 1, 128, 6, Activations::Int8, 1.90),
        (128, 1, 128, 8, Activations::Int8, 2.29),
        (128, 1, 128, 8, Activations::Int16, 4.46),
        (128, 1, 128, 2, Activations::Codes1, 0.98),
        (128, 1, 128, 2, Activations::Codes2, 1.70),
        (128, 1, 128, 2, Activations::Codes3, 2.49),
        (128, 1, 128, 4, Activations::Codes2, 2.45),
    ];

    /// What a user is told of a convolution of 64 channels.
    fn told(activations: Activations) -> Vec<String> {
        let build = Build::new(13).input("x", "1 64 6 6").weight("w", &[64, 64, 3, 3]);
        let mut module = build.node("Conv", "x w", "y").output("y").import().unwrap();
        passes::run(&mut module).unwrap();
        let flags = Given { activations: Some(activations), ..Given::default() };
        let options = ConvertOptions { flags, ..ConvertOptions::default() };
        let weights = Weights::find(&module).unwrap();
        let plan = Plan::new(&module, &weights, options.resolver().unwrap()).unwrap();
        slower_than_float(&module, &plan).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_is_slower_than_float_is_told_by_name() {
        assert_eq!(told(Activations::Codes3).len(), 1);
        assert!(told(Activations::Int8).is_empty());
        assert!(told(Activations::F32).is_empty());
    }

    #[test]
    fn estimates_are_what_was_measured_to_a_quarter() {
        for (rows, taps, channels, bits, activations, measured) in MEASURED {
            let [rows, taps, channels] = [rows, taps, channels].map(|size| size as f64);
            let estimate = times_of_float(Shape { rows, taps, channels }, bits, activations);
            let off = (estimate / measured).max(measured / estimate);
            assert!(off <= 1.25, "{rows} {taps} {channels} {bits} {activations:?}: {estimate}");
        }
    }
}
