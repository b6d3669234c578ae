use std::sync::Mutex;

use super::*;
use crate::random::SplitMix64;

/// Seeded pseudorandom numbers.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        let mut random = SplitMix64(self.0);
        let next = random.next();
        self.0 = random.0;
        next
    }

    /// Uniform in (0, 1).
    fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    pub(super) fn gaussian(&mut self) -> f32 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }

    fn laplacian(&mut self) -> f32 {
        let magnitude = -self.unit().ln();
        if self.next() & 1 == 1 { magnitude as f32 } else { -magnitude as f32 }
    }
}

const TWO_CYCLES: Cycles = Cycles::Count(2);

fn options(method: Method, bits: u8, cycles: Cycles) -> Options {
    Options { method, bits, cycles, group: 0, keeps_sums: false, shifts: false }
}

fn with(weights: &[f32], cols: usize, options: Options) -> QuantizedMatrix {
    quantize(weights, weights.len() / cols, cols, &options, &|_| {})
}

fn decode(matrix: &QuantizedMatrix) -> Vec<f32> {
    let mut out = vec![0.0; matrix.rows * matrix.cols];
    for row in 0..matrix.rows {
        matrix.decode_row(row, &mut out[row * matrix.cols..][..matrix.cols]);
    }
    out
}

/// Rows of 300 Gaussian and of 300 Laplacian weights.
fn samples(rows: usize) -> [Vec<f32>; 2] {
    let mut random = Random(3);
    [
        (0..rows * 300).map(|_| 0.1 * random.gaussian()).collect(),
        (0..rows * 300).map(|_| 0.1 * random.laplacian()).collect(),
    ]
}

/// Least squared error of two codes for one row: the levels are +-u and +-v, so it is 2-means on
/// the magnitudes, whose clusters are a cut of their sorted list.
fn optimum(row: &[f32]) -> f64 {
    let mut magnitudes: Vec<f64> = row.iter().map(|w| f64::from(w.abs())).collect();
    magnitudes.sort_by(f64::total_cmp);
    let spread = |part: &[f64]| {
        let mean = part.iter().sum::<f64>() / part.len().max(1) as f64;
        part.iter().map(|m| (m - mean).powi(2)).sum::<f64>()
    };
    (0..row.len())
        .map(|cut| spread(&magnitudes[..cut]) + spread(&magnitudes[cut..]))
        .fold(f64::INFINITY, f64::min)
}

/// The same by trying every pair of planes with its best coefficients.
fn optimum_by_force(row: &[f32]) -> f64 {
    let n = row.len();
    let plane = |bits: usize| -> Vec<f64> {
        (0..n).map(|col| if bits >> col & 1 == 1 { 1.0 } else { -1.0 }).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let w: Vec<f64> = row.iter().map(|&w| f64::from(w)).collect();
    let mut best = f64::INFINITY;
    for p in (0..1 << n).map(plane) {
        for q in (0..1 << n).map(plane) {
            let (n, pq, pw, qw) = (n as f64, dot(&p, &q), dot(&p, &w), dot(&q, &w));
            let determinant = n * n - pq * pq;
            let explained = if determinant == 0.0 {
                pw * pw / n
            } else {
                (n * pw * pw - 2.0 * pq * pw * qw + n * qw * qw) / determinant
            };
            best = best.min(dot(&w, &w) - explained);
        }
    }
    best
}

fn squared(row: &[f32]) -> f64 {
    row.iter().map(|&w| f64::from(w).powi(2)).sum()
}

#[test]
fn options_are_parsed_as_they_are_shown() {
    for method in Method::ALL {
        assert_eq!(method.to_string().parse(), Ok(method));
    }
    let error = "Greedy".parse::<Method>().unwrap_err().to_string();
    assert!(error.contains("\"Greedy\"") && error.contains("refined"), "{error}");
    for (text, cycles) in [("0", Cycles::Count(0)), ("7", Cycles::Count(7))] {
        assert_eq!(text.parse(), Ok(cycles));
        assert_eq!(cycles.to_string(), text);
    }
    assert_eq!(Cycles::Converge.to_string().parse(), Ok(Cycles::Converge));
    for text in ["", "-1", "2.5", "forever", "5000000000"] {
        assert!(text.parse::<Cycles>().is_err(), "{text}");
    }
}

#[test]
fn uniform_follows_its_formula() {
    let [gaussian, _] = samples(4);
    // From there on they may be shifted.
    for bits in 1..AFFINE_BITS {
        let decoded = decode(&with(&gaussian, 300, options(Method::Uniform, bits, TWO_CYCLES)));
        let steps = f64::from((1_u32 << bits) - 1);
        let mut off = 0;
        for (row, decoded) in gaussian.chunks(300).zip(decoded.chunks(300)) {
            let largest = row.iter().fold(0.0, |m: f64, w| m.max(f64::from(w.abs())));
            for (&w, &d) in row.iter().zip(decoded) {
                let x = f64::from(w) / largest;
                let q = 2.0 * ((steps * (x + 1.0) / 2.0).round() / steps - 0.5);
                // Rounded coefficients move levels a little, and few weights across a threshold.
                off += usize::from((f64::from(d) - largest * q).abs() > 2e-3 * largest);
            }
        }
        assert!(off <= 12, "{bits} bits: {off} weights");
    }
}

#[test]
fn balanced_fills_levels_equally_in_order() {
    let weights = [0.1, -8.0, 0.2, 0.7, -0.3, 0.3, 0.05, -0.1];
    let matrix = with(&weights, 8, options(Method::Balanced, 2, TWO_CYCLES));
    let third = 8.0 / 3.0;
    let levels = [1.0, -3.0, 1.0, 3.0, -3.0, 3.0, -1.0, -1.0].map(|level| level * third);
    for (decoded, level) in decode(&matrix).into_iter().zip(levels) {
        assert!((decoded - level).abs() < 1e-2, "{decoded} {level}");
    }
}

#[test]
fn balanced_keeps_equal_weights_in_the_bin_of_their_middle() {
    let matrix = with(&[0.5, 2.0, 0.5, 0.5, -1.0], 5, options(Method::Balanced, 3, TWO_CYCLES));
    let decoded = decode(&matrix);
    // They are the middle three of five: the fifth of eight levels, -2 to 2.
    for col in [0, 2, 3] {
        assert!((decoded[col] - 2.0 / 7.0).abs() < 1e-3, "{decoded:?}");
    }
}

#[test]
fn greedy_and_refined_follow_their_formulas() {
    let weights = [4.0, 1.0, -2.0, -1.0];
    let greedy = with(&weights, 4, options(Method::Greedy, 2, TWO_CYCLES));
    // |w| has mean 2 and leaves 2, -1, 0, 1, whose magnitudes have mean 1.
    assert_eq!(greedy.coefficients, [2.0, 1.0]);
    assert_eq!(greedy.planes, [0b0011, 0b1101]);
    assert_eq!(decode(&greedy), [3.0, 1.0, -1.0, -1.0]);
    assert_eq!(greedy.relative_mse(&weights), 2.0 / 22.0);

    let refined = with(&weights, 4, options(Method::Refined, 2, TWO_CYCLES));
    // [[4, -2], [-2, 4]] a = [8, 0].
    assert_eq!(refined.planes, [0b0011, 0b1101]);
    assert!((refined.coefficients[0] - 8.0 / 3.0).abs() < 1e-3);
    assert!((refined.coefficients[1] - 4.0 / 3.0).abs() < 1e-3);
}

#[test]
fn one_plane_has_the_closed_form() {
    let [gaussian, _] = samples(20);
    for method in [Method::Greedy, Method::Refined, Method::Alternating, Method::Best] {
        let matrix = with(&gaussian, 300, options(method, 1, Cycles::Converge));
        let mut left = squared(&gaussian);
        for (&a, weights) in matrix.coefficients.iter().zip(gaussian.chunks(300)) {
            let mean = weights.iter().map(|w| f64::from(w.abs())).sum::<f64>() / 300.0;
            assert!((f64::from(a) / mean - 1.0).abs() < 1e-3, "{method}");
            left -= 300.0 * mean * mean;
        }
        let decoded = decode(&matrix);
        assert!(decoded.iter().zip(&gaussian).all(|(d, w)| (*d >= 0.0) == (*w >= 0.0)));
        let expected = left / squared(&gaussian);
        assert!((matrix.relative_mse(&gaussian) - expected).abs() < 1e-6, "{method}");
    }
}

#[test]
fn two_planes_come_near_the_optimum_and_never_below() {
    let mut random = Random(4);
    for cols in 1..=6 {
        for _ in 0..8 {
            let row: Vec<f32> = (0..cols).map(|_| random.laplacian()).collect();
            let best = optimum_by_force(&row);
            assert!((optimum(&row) - best).abs() <= 1e-9 * squared(&row), "{row:?}");
            for method in Method::ALL {
                let matrix = with(&row, cols, options(method, 2, Cycles::Converge));
                let error = matrix.relative_mse(&row) * squared(&row);
                assert!(error >= best - 1e-7 * squared(&row), "{method} {row:?}");
            }
        }
    }
    for weights in samples(100) {
        let best = weights.chunks(300).map(optimum).sum::<f64>() / squared(&weights);
        let matrix = with(&weights, 300, options(Method::Alternating, 2, Cycles::Converge));
        let reached = matrix.relative_mse(&weights);
        assert!((1.0..1.005).contains(&(reached / best)), "{reached} {best}");
    }
}

#[test]
fn the_best_is_the_optimum_of_two_planes() {
    let mut random = Random(8);
    for cols in 1..=6 {
        let row: Vec<f32> = (0..cols).map(|_| random.laplacian()).collect();
        let error = with(&row, cols, options(Method::Best, 2, TWO_CYCLES)).relative_mse(&row);
        // Rounding the coefficients to f16 costs a little.
        assert!(error <= optimum_by_force(&row) / squared(&row) + 1e-6, "{row:?}: {error}");
    }
    for weights in samples(30) {
        let best = weights.chunks(300).map(optimum).sum::<f64>() / squared(&weights);
        let reached =
            with(&weights, 300, options(Method::Best, 2, TWO_CYCLES)).relative_mse(&weights);
        assert!((1.0..1.0001).contains(&(reached / best)), "{reached} {best}");
    }
}

#[test]
fn the_best_is_no_worse_than_any_other_row_by_row() {
    let mut random = Random(9);
    let mixture: Vec<f32> = (0..30 * 300)
        .map(|i| random.gaussian() * if i % 17 == 0 { 9.0 } else { 0.1 })
        .chain((0..300).map(|i| i as f32 / 299.0 - 0.5))
        .collect();
    for weights in samples(30).into_iter().chain([mixture]) {
        for bits in 1..=MAX_BITS {
            let error = |row: &[f32], method| {
                with(row, 300, options(method, bits, TWO_CYCLES)).relative_mse(row)
            };
            for row in weights.chunks(300) {
                let best = error(row, Method::Best);
                // Sums in another order, and f16; offsets that are not worth their bytes.
                let limit = best * if bits < AFFINE_BITS { 1.0 - 1e-3 } else { 0.999 * WORTH };
                assert!(error(row, Method::Uniform) >= limit, "uniform, {bits} bits");
            }
            for method in Method::ALL {
                assert!(
                    error(&weights, method) >= error(&weights, Method::Best) * 0.999 * WORTH,
                    "{method}, {bits} bits"
                );
            }
        }
    }
}

#[test]
fn converged_codes_are_the_nearest() {
    // Many, so that some lie between a threshold and the one of unrounded coefficients.
    let [gaussian, _] = samples(100);
    let matrix = with(&gaussian, 300, options(Method::Alternating, 3, Cycles::Converge));
    let decoded = decode(&matrix);
    for (col, (&w, &d)) in gaussian.iter().zip(&decoded).enumerate() {
        let a = &matrix.coefficients[col / 300 * 3..][..3];
        let levels = (0..8).map(|code| {
            let sign = |plane: i32| if code >> plane & 1 == 1 { 1.0 } else { -1.0 };
            sign(0) * a[0] + sign(1) * a[1] + sign(2) * a[2]
        });
        let best = levels.map(|level| (w - level).abs()).reduce(f32::min).unwrap();
        assert!((w - d).abs() <= best + 1e-6);
    }
}

#[test]
fn more_planes_and_more_cycles_leave_less() {
    for weights in samples(30) {
        for method in [Method::Uniform, Method::Greedy, Method::Refined, Method::Alternating] {
            let errors: Vec<f64> = (1..=MAX_BITS)
                .map(|bits| with(&weights, 300, options(method, bits, TWO_CYCLES)))
                .map(|matrix| matrix.relative_mse(&weights))
                .collect();
            assert!(errors.is_sorted_by(|a, b| a > b), "{method} {errors:?}");
        }
        for bits in 2..=5 {
            let errors: Vec<f64> = (0..6)
                .map(Cycles::Count)
                .chain([Cycles::Converge])
                .map(|cycles| with(&weights, 300, options(Method::Alternating, bits, cycles)))
                .map(|matrix| matrix.relative_mse(&weights))
                .collect();
            assert!(errors.is_sorted_by(|a, b| a > b), "{bits} bits {errors:?}");
        }
    }
}

#[test]
fn methods_rank_as_published() {
    for weights in samples(30) {
        for bits in 2..=4 {
            let error = |method| {
                with(&weights, 300, options(method, bits, TWO_CYCLES)).relative_mse(&weights)
            };
            assert!(error(Method::Alternating) < error(Method::Refined), "{bits} bits");
            assert!(error(Method::Refined) < error(Method::Greedy), "{bits} bits");
            assert!(error(Method::Uniform) < error(Method::Balanced), "{bits} bits");
        }
    }
}

#[test]
fn scaled_and_negated_weights_give_scaled_and_negated_results() {
    // 256 columns fill the balanced bins without a rest, so that none sits on a threshold.
    let mut random = Random(7);
    let weights: Vec<f32> = (0..10 * 256).map(|_| random.gaussian()).collect();
    for method in Method::ALL {
        for bits in [1, 2, 3] {
            for factor in [8.0, 0.5, -1.0] {
                let options = options(method, bits, TWO_CYCLES);
                let times = |values: &[f32]| values.iter().map(|v| v * factor).collect::<Vec<_>>();
                let expected = times(&decode(&with(&weights, 256, options)));
                let found = decode(&with(&times(&weights), 256, options));
                assert!(found == expected, "{method}, {bits} bits, times {factor}");
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    let [_, laplacian] = samples(50);
    let with_threads = |threads, weights: &[f32]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| with(weights, 300, options(Method::Alternating, 3, Cycles::Converge)))
    };
    let mut wide = laplacian.clone();
    wide[40 * 300] = 1e9;
    for weights in [laplacian, wide] {
        let one = with_threads(1, &weights);
        assert_eq!(one, with_threads(2, &weights));
        assert_eq!(one, with_threads(7, &weights));
    }
}

#[test]
fn progress_counts_rows() {
    let seen = |weights: &[f32]| {
        let seen = Mutex::new(Vec::new());
        let options = options(Method::Greedy, 2, TWO_CYCLES);
        quantize(weights, 50, 1, &options, &|done| seen.lock().unwrap().push(done));
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        seen
    };
    assert!(seen(&[1.0; 50]).into_iter().eq(1..=50));
    // A second attempt counts from 1 again.
    let mut wide = seen(&[1e9; 50]);
    wide.dedup();
    assert!(wide.into_iter().eq(1..=50));
}

#[test]
fn coefficients_are_f16_where_their_range_allows() {
    let narrow = 2.0_f32.powi(-14);
    for (rows, expected) in [
        (vec![0.0, 0.0], CoefficientType::F16),
        (vec![0.0, 1.0], CoefficientType::F16),
        (vec![65504.0, narrow], CoefficientType::F16),
        (vec![-narrow, 0.0], CoefficientType::F16),
        (vec![1.0, 65505.0], CoefficientType::F32),
        (vec![1.0, narrow.next_down()], CoefficientType::F32),
        (vec![1e-9, 0.0], CoefficientType::F32),
        (vec![3e38, 0.0], CoefficientType::F32),
    ] {
        for method in [Method::Greedy, Method::Refined, Method::Alternating, Method::Best] {
            let matrix = with(&rows, 1, options(method, 1, TWO_CYCLES));
            assert_eq!(matrix.coefficient_type, expected, "{method} {rows:?}");
            assert_eq!(decode(&matrix), rows);
        }
    }
    let [gaussian, _] = samples(5);
    for method in Method::ALL {
        let matrix = with(&gaussian, 300, options(method, 4, TWO_CYCLES));
        assert_eq!(matrix.coefficient_type, CoefficientType::F16);
        assert!(matrix.coefficients.iter().all(|&a| half::f16::from_f32(a).to_f32() == a));
    }
}

#[test]
fn odd_rows_give_sound_matrices() {
    let mut random = Random(5);
    let mixed: Vec<f32> = (0..70).map(|_| random.laplacian()).collect();
    let scaled = |scale: f32| mixed.iter().map(|w| w * scale).collect::<Vec<f32>>();
    let denormal = f32::from_bits(1);
    for (cols, weights) in [
        (70, vec![0.0; 140]),
        (70, vec![-0.0; 70]),
        (70, vec![0.3; 70]),
        (70, vec![-0.3; 70]),
        (1, mixed.clone()),
        (2, mixed.clone()),
        (3, mixed[..69].to_vec()),
        (64, mixed[..64].to_vec()),
        (65, mixed[..65].to_vec()),
        (35, [vec![0.0; 35], mixed[..35].to_vec()].concat()),
        (70, scaled(1e30)),
        (70, scaled(1e-30)),
        (70, scaled(1e-43)),
        (3, vec![denormal, 0.0, -denormal]),
        (4, vec![f32::MAX, -f32::MAX, f32::MAX, 0.0]),
        (2, vec![f32::MAX, denormal]),
        (7, (0..7).map(|i| (i % 3) as f32 - 1.0).collect()),
    ] {
        for method in Method::ALL {
            for bits in 1..=MAX_BITS {
                for cycles in [Cycles::Count(0), TWO_CYCLES, Cycles::Converge] {
                    let matrix = with(&weights, cols, options(method, bits, cycles));
                    let what = format!("{method} {bits} {cycles} {weights:?}");
                    let size = matrix.rows * cols;
                    let tail =
                        u64::MAX.checked_shl(size as u32 % 64).filter(|_| !size.is_multiple_of(64));
                    let last =
                        matrix.planes.chunks(size.div_ceil(64)).map(|plane| *plane.last().unwrap());
                    assert!(last.into_iter().all(|word| word & tail.unwrap_or(0) == 0), "{what}");
                    for a in matrix.coefficients.chunks(usize::from(bits)) {
                        assert!(a.is_sorted_by(|a, b| a >= b && *b >= 0.0), "{what}");
                        assert!(a[0].is_finite(), "{what}");
                    }
                    let error = matrix.relative_mse(&weights);
                    assert!(!error.is_nan() && error >= 0.0, "{what}");
                    if matches!(method, Method::Refined | Method::Alternating) {
                        assert!(error <= 1.001, "{what}: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn constant_rows_and_small_rows_are_nearly_exact() {
    for (cols, weights) in [(90, vec![0.3; 90]), (1, vec![0.7, -20.0]), (2, vec![0.5, -0.1])] {
        for method in [Method::Greedy, Method::Refined, Method::Alternating, Method::Best] {
            let matrix = with(&weights, cols, options(method, 4, TWO_CYCLES));
            assert!(matrix.relative_mse(&weights) < 1e-6, "{method} {weights:?}");
        }
    }
}

#[test]
fn zero_weights_have_zero_error_and_positive_codes() {
    let matrix = with(&[0.0; 65], 65, options(Method::Alternating, 2, TWO_CYCLES));
    assert_eq!(matrix.relative_mse(&[0.0; 65]), 0.0);
    assert_eq!(matrix.planes, [u64::MAX, 1, u64::MAX, 1]);
    assert_eq!(matrix.coefficients, [0.0, 0.0]);
}

#[test]
fn weights_that_are_not_finite_show_in_the_error() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for method in Method::ALL {
            for bits in [1, 2, 5] {
                let weights = [1.0, odd, -0.5, 0.25];
                let matrix = with(&weights, 2, options(method, bits, Cycles::Converge));
                assert!(!matrix.relative_mse(&weights).is_finite(), "{method} {bits} {odd}");
            }
        }
    }
}

/// Errors are differences of sums: of the first row, which three planes and an offset give exactly, they come out below 0, and a
/// fit that waits for gains would never end. The second makes coefficients f32: rounded to f16 they are not exact.
#[test]
fn a_row_that_is_met_exactly_ends_the_fit() {
    let row = [
        [0.807_007, -0.664_485_4, 0.002_942_175_4, 0.238_374_11],
        [-0.059_153_717, 1.088_668_1, 7.096_515e22, 0.781_424_64],
    ]
    .concat();
    for method in Method::ALL {
        for (bits, shifts) in (1..=8).flat_map(|bits| [(bits, false), (bits, true)]) {
            let options = Options { shifts, ..options(method, bits, TWO_CYCLES) };
            let matrix = with(&row, 4, options);
            assert!(matrix.relative_mse(&row).is_finite(), "{method:?} {bits} {shifts}");
        }
    }
}

#[test]
fn empty_matrices_are_harmless() {
    for method in Method::ALL {
        let options = options(method, 2, TWO_CYCLES);
        for (rows, cols) in [(0, 0), (0, 5), (5, 0)] {
            let matrix = quantize(&[], rows, cols, &options, &|_| {});
            assert_eq!(matrix.relative_mse(&[]), 0.0);
            assert!(matrix.planes.is_empty());
            assert_eq!(matrix.coefficients, vec![0.0; 2 * rows]);
        }
    }
}

#[test]
fn sections_hold_planes_then_coefficients() {
    let mut random = Random(6);
    let small: Vec<f32> = (0..3 * 70).map(|_| random.gaussian()).collect();
    let large: Vec<f32> = small.iter().map(|w| w * 1e9).collect();
    for (weights, coefficient_type, size) in
        [(small, CoefficientType::F16, 2), (large, CoefficientType::F32, 4)]
    {
        let matrix = with(&weights, 70, options(Method::Alternating, 2, TWO_CYCLES));
        assert_eq!(matrix.coefficient_type, coefficient_type);
        let bytes = matrix.section_bytes();
        let expected = amq_format::multi_bit_bytes(3, 70, 2, 1, size as u64, false);
        assert_eq!(Some(bytes.len() as u64), expected);
        let (planes, coefficients) = bytes.split_at(2 * 4 * 8);
        assert_eq!(coefficients.len(), 3 * 2 * size);
        let decoded = decode(&matrix);
        for (index, &d) in decoded.iter().enumerate() {
            let row = index / 70;
            let value: f32 = (0..2)
                .map(|plane| {
                    let at = (row * 2 + plane) * size;
                    let a = match size {
                        2 => half::f16::from_le_bytes([coefficients[at], coefficients[at + 1]])
                            .to_f32(),
                        _ => f32::from_le_bytes(coefficients[at..at + 4].try_into().unwrap()),
                    };
                    // Little-endian words: bit i of a plane is bit i % 8 of byte i / 8.
                    let byte = planes[plane * 32 + index / 8];
                    if byte >> (index % 8) & 1 == 1 { a } else { -a }
                })
                .sum();
            assert_eq!(value, d);
        }
    }
}

#[test]
fn zeros_stay_zeros_among_many_levels() {
    let mut random = Random(7);
    for scale in [1.0, 1e-3, 1e-6, 3e4, 1e9] {
        for (least, largest) in [(-1.0, 1.0), (0.0, 1.0), (-1.0, 0.3)] {
            // Three of four are zeros, as in a bank of filters.
            let mut weight = |i: usize| match i % 4 {
                0 => random.gaussian().clamp(least, largest) * scale,
                _ => 0.0,
            };
            let weights: Vec<f32> = (0..4 * 64).map(&mut weight).collect();
            for method in [Method::Uniform, Method::Best] {
                for bits in AFFINE_BITS..=MAX_BITS {
                    let matrix = with(&weights, 64, options(method, bits, TWO_CYCLES));
                    let decoded = decode(&matrix);
                    for (row, w) in weights.chunks(64).enumerate() {
                        let d = &decoded[row * 64..][..64];
                        let zeros = w.iter().zip(d).filter(|(w, _)| **w == 0.0);
                        let same = method == Method::Uniform;
                        assert!(!same || zeros.clone().all(|(_, d)| *d == 0.0), "{d:?}");
                    }
                    // Of equal steps the ends are met, and no weight is further than one from a level.
                    let steps = f64::from((1u32 << bits) - 1);
                    let reach = f64::from(largest - least) * f64::from(scale) * 4.0;
                    for (w, d) in weights.iter().zip(&decoded) {
                        let error = f64::from((w - d).abs());
                        assert!(error <= reach / steps, "{method} {bits}: {w} {d}");
                    }
                    let size = if matrix.coefficient_type == CoefficientType::F16 { 2 } else { 4 };
                    let offset = matrix.offsets.is_some();
                    let bytes =
                        amq_format::multi_bit_bytes(4, 64, bits.into(), 1, size, offset).unwrap();
                    assert_eq!(matrix.section_bytes().len() as u64, bytes);
                }
            }
        }
    }
}

/// The least error of two levels: every cut of the sorted row is tried.
fn two_levels(row: &[f32]) -> f64 {
    let mut sorted: Vec<f64> = row.iter().map(|&w| w.into()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let error = |part: &[f64]| {
        let mean = part.iter().sum::<f64>() / part.len().max(1) as f64;
        part.iter().map(|w| (w - mean).powi(2)).sum::<f64>()
    };
    let cuts = (0..sorted.len()).map(|cut| error(&sorted[..cut]) + error(&sorted[cut..]));
    cuts.fold(f64::INFINITY, f64::min)
}

#[test]
fn few_levels_are_shifted_where_that_leaves_less() {
    let mut random = Random(14);
    let shifted = |bits| Options { shifts: true, ..options(Method::Best, bits, TWO_CYCLES) };
    let rows: Vec<Vec<f32>> = (0..40)
        .map(|_| (0..100).map(|_| random.gaussian().abs().powi(2) - 0.3).collect())
        .collect();
    for bits in 1..AFFINE_BITS {
        let (mut plain, mut found, mut least) = (0.0, 0.0, 0.0);
        for row in &rows {
            let matrix = with(row, 100, shifted(bits));
            let errors = decode(&matrix).into_iter().zip(row).map(|(d, w)| f64::from(w - d));
            found += errors.map(|e| e * e).sum::<f64>();
            plain += with(row, 100, options(Method::Best, bits, TWO_CYCLES)).relative_mse(row)
                * squared(row);
            least += two_levels(row);
        }
        assert!(found < 0.8 * plain, "{bits} bits: {found} {plain}");
        assert!(bits > 1 || (1.0 - 1e-6..1.02).contains(&(found / least)), "{found} {least}");
    }
    // What has no middle of its own gets none, nor does any other method.
    let even: Vec<f32> = (0..100).map(|i| i as f32 - 49.5).collect();
    assert_eq!(with(&even, 100, shifted(2)).offsets, None);
    // Sums of energies stay energies.
    let energies: Vec<f32> = rows[0].iter().map(|w| w.max(0.0)).collect();
    for bits in 1..AFFINE_BITS {
        let matrix = with(&energies, 100, shifted(bits));
        let zeros = decode(&matrix).into_iter().zip(&energies).filter(|(_, w)| **w == 0.0);
        assert!(zeros.clone().count() > 30 && zeros.clone().all(|(d, _)| d >= 0.0), "{bits} bits");
    }
    for method in Method::ALL.into_iter().filter(|&method| method != Method::Best) {
        if method != Method::Calibrated {
            let options = Options { shifts: true, ..options(method, 3, TWO_CYCLES) };
            assert_eq!(with(&rows[0], 100, options).offsets, None, "{method}");
        }
    }
}

/// A second moment of vectors whose elements depend on each other.
pub(super) fn moment(random: &mut Random, columns: usize, count: usize) -> Vec<f64> {
    let mut h = vec![0.0; columns * columns];
    for _ in 0..count {
        let shared = f64::from(random.gaussian());
        let x: Vec<f64> = (0..columns).map(|_| shared + f64::from(random.gaussian())).collect();
        for (row, a) in h.chunks_exact_mut(columns).zip(&x) {
            row.iter_mut().zip(&x).for_each(|(h, b)| *h += a * b / count as f64);
        }
    }
    h
}

#[test]
fn calibrated_codes_leave_less_in_the_products() {
    let (rows, cols) = (8, 48);
    let mut random = Random(10);
    // Those of the second group are larger.
    let weights: Vec<f32> = (0..rows * cols)
        .map(|i| if i % cols < 32 { random.gaussian() } else { 2.0 * random.gaussian() })
        .collect();
    let h = moment(&mut random, cols, 400);
    let error = |matrix: &QuantizedMatrix| -> f64 {
        let errors: Vec<f64> =
            decode(matrix).iter().zip(&weights).map(|(d, w)| f64::from(d - w)).collect();
        let of_row = |e: &[f64]| -> f64 {
            (0..cols)
                .flat_map(|i| (0..cols).map(move |j| (i, j)))
                .map(|(i, j)| e[i] * h[i * cols + j] * e[j])
                .sum()
        };
        errors.chunks(cols).map(of_row).sum()
    };
    for (bits, group) in (1..=MAX_BITS).flat_map(|bits| [(bits, 0), (bits, 32)]) {
        let options = |method| Options { group, ..options(method, bits, TWO_CYCLES) };
        let plain = with(&weights, cols, options(Method::Best));
        let moments = [
            Moment { rows: vec![0, 2, 4, 6], all: h.clone(), halves: None },
            Moment { rows: vec![1, 3, 5], all: h.clone(), halves: Some([h.clone(), h.clone()]) },
        ];
        let fitted =
            quantize_for(&weights, rows, cols, &options(Method::Calibrated), &moments, &|_| {});
        let (plain_error, fitted_error) = (error(&plain), error(&fitted));
        assert!(
            fitted_error < 0.9 * plain_error,
            "{bits} bits, {group}: {fitted_error} {plain_error}"
        );
        let of_rows = Options { group: 0, ..options(Method::Calibrated) };
        let of_rows = quantize_for(&weights, rows, cols, &of_rows, &moments, &|_| {});
        // From 6 bits on coefficients are those of the weights alone.
        assert!(bits > 5 || group == 0 || fitted_error < error(&of_rows), "{bits} bits");
        // The last row meets nothing.
        if plain.offsets.is_none() {
            assert_eq!(decode(&fitted)[7 * cols..], decode(&plain)[7 * cols..]);
        }
    }
}

#[test]
fn moments_that_say_nothing_change_nothing() {
    let mut random = Random(11);
    let weights: Vec<f32> = (0..3 * 20).map(|_| random.gaussian()).collect();
    let plain = with(&weights, 20, options(Method::Best, 2, TWO_CYCLES));
    for all in [vec![0.0; 400], vec![f64::NAN; 400]] {
        let moment = Moment { rows: vec![0, 1, 2], all, halves: None };
        let options = options(Method::Calibrated, 2, TWO_CYCLES);
        assert_eq!(quantize_for(&weights, 3, 20, &options, &[moment], &|_| {}), plain);
    }
    // Fewer vectors than columns: a singular moment.
    let h = moment(&mut random, 20, 3);
    let moment = Moment { rows: vec![0, 1, 2], all: h.clone(), halves: Some([h.clone(), h]) };
    let options = options(Method::Calibrated, 2, TWO_CYCLES);
    let fitted = quantize_for(&weights, 3, 20, &options, &[moment], &|_| {});
    assert!(fitted.relative_mse(&weights) < 1.0);
}

/// Each group of columns is coded as if it stood alone, and a file says so.
#[test]
fn groups_are_matrices_of_their_own() {
    let mut random = Random(12);
    let (rows, cols, group) = (3, 80, 32);
    let weights: Vec<f32> =
        (0..rows * cols).map(|i| random.gaussian() * (1 + i % cols / group) as f32).collect();
    for (method, bits) in
        [(Method::Alternating, 2), (Method::Best, 3), (Method::Uniform, 5), (Method::Greedy, 1)]
    {
        let options = Options { group, ..options(method, bits, TWO_CYCLES) };
        let matrix = with(&weights, cols, options);
        assert_eq!(matrix.groups(), 3);
        let decoded = decode(&matrix);
        for first in (0..cols).step_by(group) {
            let columns = first..(first + group).min(cols);
            let part = |all: &[f32]| -> Vec<f32> {
                all.chunks(cols).flat_map(|row| &row[columns.clone()]).copied().collect()
            };
            // Offsets stand in all of a matrix or in none.
            if bits < AFFINE_BITS {
                let alone = with(&part(&weights), columns.len(), Options { group: 0, ..options });
                assert_eq!(part(&decoded), decode(&alone), "{method} {first}");
            }
        }
        let size = if matrix.coefficient_type == CoefficientType::F16 { 2 } else { 4 };
        let offset = matrix.offsets.is_some();
        let bytes = amq_format::multi_bit_bytes(3, 80, bits.into(), 3, size, offset).unwrap();
        assert_eq!(matrix.section_bytes().len() as u64, bytes);
        let error = matrix.relative_mse(&weights);
        assert!(
            error < with(&weights, cols, Options { group: 0, ..options }).relative_mse(&weights)
        );
    }
}
