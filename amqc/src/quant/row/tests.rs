use super::*;
use crate::quant::tests::Random;

fn row<'a>(weights: &'a [f32], coefficients: &[f64]) -> Row<'a> {
    let mut row = Row {
        weights,
        coefficient_type: CoefficientType::F32,
        planes: coefficients.len(),
        codes: vec![0; weights.len()],
        coefficients: [0.0; MAX_PLANES],
        offset: 0.0,
    };
    row.coefficients[..coefficients.len()].copy_from_slice(coefficients);
    row
}

fn value(code: u8, coefficients: &[f64]) -> f64 {
    let sign = |plane: usize| if code >> plane & 1 == 1 { 1.0 } else { -1.0 };
    coefficients.iter().enumerate().map(|(plane, a)| sign(plane) * a).sum()
}

#[test]
fn assigned_codes_are_the_nearest_of_all() {
    let mut random = Random(1);
    for planes in 1..=MAX_PLANES {
        for case in 0..20 {
            let weights: Vec<f32> = (0..200).map(|_| random.gaussian()).collect();
            let mut coefficients: Vec<f64> =
                (0..planes).map(|_| f64::from(random.gaussian()) / 2.0).collect();
            // Equal and zero coefficients make equal levels.
            if case % 2 == 1 {
                coefficients[planes / 2] = coefficients[0];
                coefficients[planes - 1] = 0.0;
            }
            let mut row = row(&weights, &coefficients);
            row.assign();
            for (&code, &w) in row.codes.iter().zip(&weights) {
                let distance = |code: u8| (value(code, &coefficients) - f64::from(w)).abs();
                let best = (0..1 << planes).map(|code| distance(code as u8)).reduce(f64::min);
                assert!(distance(code) <= best.unwrap() + 1e-12, "{planes} planes, {w}");
            }
        }
    }
}

#[test]
fn ties_go_to_the_upper_level() {
    // Levels -3, -1, 1, 3.
    let mut row = row(&[-2.0, 0.0, -0.0, 2.0, -9.0, 9.0], &[2.0, 1.0]);
    row.assign();
    assert_eq!(row.codes, [0b10, 0b01, 0b01, 0b11, 0b00, 0b11]);
}

#[test]
fn plane_of_coefficient_zero_takes_signs_of_the_residual() {
    let mut row = row(&[1.5, 0.5, -0.5, -1.5], &[1.0, 0.0]);
    row.assign();
    assert_eq!(row.codes, [0b11, 0b01, 0b10, 0b00]);
}

/// Largest product of the residual with a plane, in units of what rounding to f32 can leave.
fn residual_along_planes(row: &Row) -> f64 {
    let product = |plane: usize| -> f64 {
        let along = |(&code, &w): (&u8, &f32)| {
            let residual = f64::from(w) - value(code, row.coefficients());
            if code >> plane & 1 == 1 { residual } else { -residual }
        };
        row.codes.iter().zip(row.weights).map(along).sum()
    };
    let rounding = 1e-7 * (row.codes.len() * row.planes) as f64 * row.coefficients[0].max(1.0);
    (0..row.planes).map(|plane| product(plane).abs() / rounding).fold(0.0, f64::max)
}

#[test]
fn least_squares_leaves_a_residual_orthogonal_to_every_plane() {
    let mut random = Random(2);
    for planes in 1..=MAX_PLANES {
        // Few columns make planes dependent.
        for cols in [1, 2, 3, 7, 64, 300] {
            let weights: Vec<f32> = (0..cols).map(|_| random.gaussian()).collect();
            let mut row = row(&weights, &vec![0.0; planes]);
            for code in &mut row.codes {
                *code = (random.next() >> 20) as u8 & ((1 << planes) - 1) as u8;
            }
            row.least_squares(planes).unwrap();
            assert!(row.coefficients().is_sorted_by(|a, b| a >= b && *b >= 0.0));
            assert!(residual_along_planes(&row) <= 1.0, "{planes} planes, {cols} columns");
        }
    }
}

#[test]
fn alternating_ends_on_least_squares() {
    let mut random = Random(3);
    let weights: Vec<f32> = (0..300).map(|_| random.gaussian()).collect();
    for bits in 1..=MAX_PLANES as u8 {
        for cycles in [0, 1, 2, 5].map(Cycles::Count).into_iter().chain([Cycles::Converge]) {
            let options = Options {
                method: Method::Alternating,
                bits,
                cycles,
                group: 0,
                keeps_sums: false,
                shifts: false,
            };
            let row = Row::fit(&weights, &options, CoefficientType::F32).unwrap();
            assert!(residual_along_planes(&row) <= 1.0, "{bits} bits, {cycles}");
        }
    }
}

#[test]
fn least_squares_gives_equal_planes_one_coefficient() {
    let mut row = row(&[3.0, -1.0, -2.0], &[0.0; 3]);
    // Planes 0 and 1 are alike, plane 2 is their opposite.
    row.codes = vec![0b011, 0b100, 0b100];
    row.least_squares(3).unwrap();
    assert_eq!(row.coefficients(), [2.0, 0.0, 0.0]);
}

#[test]
fn normal_form_keeps_every_value() {
    let coefficients = [0.25, -2.0, 1.0, -0.5];
    let mut row = row(&[0.0; 16], &coefficients);
    row.codes = (0..16).collect();
    let before: Vec<f64> = row.codes.iter().map(|&code| value(code, &coefficients)).collect();
    row.normalise(4);
    assert_eq!(row.coefficients(), [2.0, 1.0, 0.5, 0.25]);
    let after: Vec<f64> = row.codes.iter().map(|&code| value(code, row.coefficients())).collect();
    assert_eq!(before, after);
}

#[test]
fn errors_of_rows_that_keep_their_sums_add_up_to_little() {
    let mut random = Random(4);
    for (method, bits) in [(Method::Uniform, 8), (Method::Best, 5), (Method::Best, 8)] {
        let [mut before, mut after] = [0.0; 2];
        for _ in 0..20 {
            let weights: Vec<f32> = (0..200).map(|_| random.gaussian() + 0.3).collect();
            let fit = |keeps_sums| {
                let options = Options {
                    method,
                    bits,
                    cycles: Cycles::Count(2),
                    group: 0,
                    keeps_sums,
                    shifts: false,
                };
                Row::fit(&weights, &options, CoefficientType::F32).unwrap()
            };
            let (plain, kept) = (fit(false), fit(true));
            let sum = |row: &Row<'_>| row.errors().iter().sum::<f64>().powi(2);
            assert!(kept.error() + MEAN * sum(&kept) <= plain.error() + MEAN * sum(&plain));
            before += sum(&plain);
            after += sum(&kept);
        }
        assert!(after < 0.05 * before, "{method}, {bits} bits: {before} to {after}");
    }
}
