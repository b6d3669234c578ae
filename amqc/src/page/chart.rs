//! Charts as inline SVG, readable without scripts.

use std::fmt::Write;

use super::markup::escape;
use crate::histogram::{BINS, Histogram, REACH};
use crate::roofs::Roofs;

/// Width of a chart's drawing, in its own units.
const WIDTH: f64 = 720.0;

/// Horizontal bars on a scale of powers of ten, from `10^low` to 1; each has a name, a value and a text.
pub(super) fn bars(low: i32, rows: &[(String, f64, String)]) -> String {
    const LEFT: f64 = 220.0;
    const RIGHT: f64 = 90.0;
    const STEP: f64 = 20.0;
    const TOP: f64 = 22.0;
    let span = WIDTH - LEFT - RIGHT;
    let height = TOP + STEP * rows.len() as f64 + 6.0;
    let mut svg = open(height, "Relative squared error of each layer's weights");
    for power in low..=0 {
        let x = LEFT + span * f64::from(power - low) / f64::from(-low);
        let bottom = height - 4.0;
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"14\" text-anchor=\"middle\">{}</text>",
            if power == 0 { "1".into() } else { format!("1e{power}") }
        );
    }
    for (index, (name, value, text)) in rows.iter().enumerate() {
        let y = TOP + STEP * index as f64 + 3.0;
        let share = ((value.log10() - f64::from(low)) / f64::from(-low)).clamp(0.0, 1.0);
        let width = span * share;
        let _ = write!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"bar\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"14\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 11.0,
            escape(&short(name)),
            LEFT + width + 5.0,
            y + 11.0,
            escape(text)
        );
    }
    svg + "</svg>\n"
}

/// A name that fits beside a chart.
fn short(name: &str) -> String {
    const MOST: usize = 30;
    match name.chars().count() {
        0..=MOST => name.to_owned(),
        count => format!("..{}", name.chars().skip(count + 2 - MOST).collect::<String>()),
    }
}

/// Decibels of values in the order in which they are computed; each has a name.
pub(super) fn decibels(values: &[(String, f64)]) -> String {
    const LEFT: f64 = 44.0;
    const TOP: f64 = 10.0;
    const HEIGHT: f64 = 220.0;
    const MOST: f64 = 60.0;
    let span = WIDTH - LEFT - 12.0;
    let y = |db: f64| TOP + HEIGHT * (1.0 - db.clamp(0.0, MOST) / MOST);
    let x = |index: usize| LEFT + span * (index as f64 + 0.5) / values.len().max(1) as f64;
    let mut svg = open(TOP + HEIGHT + 24.0, "Signal over noise of each value that differs");
    for db in (0..=60).step_by(10) {
        let at = y(f64::from(db));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{WIDTH}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{db} dB</text>",
            LEFT - 5.0,
            at + 4.0
        );
    }
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(i, (_, db))| format!("{:.1},{:.1}", x(i), y(*db)))
        .collect();
    let _ = write!(svg, "<polyline class=\"line\" points=\"{}\"/>", points.join(" "));
    for (index, (name, db)) in values.iter().enumerate() {
        let _ = write!(
            svg,
            "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}: {db:.1} dB</title></circle>",
            x(index),
            y(*db),
            escape(name)
        );
    }
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"{LEFT}\" y=\"{0}\">first node</text>\
         <text class=\"tick\" x=\"{WIDTH}\" y=\"{0}\" text-anchor=\"end\">last node</text>",
        TOP + HEIGHT + 18.0
    );
    svg + "</svg>\n"
}

/// Weights in bins, and levels as lines over them.
pub(super) fn histogram(histogram: &Histogram) -> String {
    const WIDE: f64 = 340.0;
    const HEIGHT: f64 = 120.0;
    let most = histogram.bins.iter().copied().max().unwrap_or(1).max(1) as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDE} {}\" width=\"{WIDE}\" role=\"img\" \
         aria-label=\"Histogram of weights with their levels\">",
        HEIGHT + 18.0
    );
    let step = WIDE / BINS as f64;
    for (bin, &count) in histogram.bins.iter().enumerate() {
        let height = HEIGHT * count as f64 / most;
        let (x, y) = (step * bin as f64, HEIGHT - height);
        let _ = write!(
            svg,
            "<rect class=\"bin\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{step:.1}\" height=\"{height:.1}\"/>"
        );
    }
    let x = |place: f64| WIDE * (place.clamp(-REACH, REACH) + REACH) / (2.0 * REACH);
    for &level in &histogram.levels {
        let x = x(level);
        let _ = write!(
            svg,
            "<line class=\"level\" x1=\"{x:.1}\" y1=\"0\" x2=\"{x:.1}\" y2=\"{HEIGHT}\"/>"
        );
    }
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"0\" y1=\"{HEIGHT}\" x2=\"{WIDE}\" y2=\"{HEIGHT}\"/>"
    );
    for place in (-3..=3).step_by(1) {
        let x = x(f64::from(place));
        let y = HEIGHT + 14.0;
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{place}</text>"
        );
    }
    svg + "</svg>"
}

/// A node's products: where they stand under the roofs.
pub(super) struct Point {
    /// Its number in the table.
    pub(super) number: usize,
    pub(super) name: String,
    /// Multiplications a byte of weights.
    pub(super) x: f64,
    /// Multiplications a nanosecond.
    pub(super) y: f64,
    /// Of the time.
    pub(super) share: f64,
}

/// Points on scales of powers of ten, under what the machine reaches at most: a slanted line for the weights that are read from
/// memory, and a level one for products in float.
pub(super) fn roofline(points: &[Point], Roofs { memory, float }: Roofs) -> String {
    const LEFT: f64 = 60.0;
    const RIGHT: f64 = 30.0;
    const TOP: f64 = 10.0;
    const HEIGHT: f64 = 320.0;
    /// What is added to the radius of a point that takes all the time.
    const LARGEST: f64 = 26.0;
    let [x_low, x_high] = powers(points.iter().map(|point| point.x));
    let [y_low, y_high] = powers(points.iter().map(|point| point.y).chain([float]));
    let x = |value: f64| {
        let share = (value.log10() - f64::from(x_low)) / f64::from(x_high - x_low);
        LEFT + (WIDTH - LEFT - RIGHT) * share.clamp(0.0, 1.0)
    };
    let y = |value: f64| {
        let share = (value.log10() - f64::from(y_low)) / f64::from(y_high - y_low);
        TOP + HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    };
    let mut svg =
        open(TOP + HEIGHT + 40.0, "Speed of each node's products under the roofs of the machine");
    let tick = |power: i32| match power {
        -2..=4 => format!("{}", 10f64.powi(power)),
        _ => format!("1e{power}"),
    };
    let (right, bottom) = (WIDTH - RIGHT, TOP + HEIGHT);
    for power in x_low..=x_high {
        let at = x(10f64.powi(power));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            tick(power)
        );
    }
    for power in y_low..=y_high {
        let at = y(10f64.powi(power));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            tick(power)
        );
    }
    let (least, most) = (10f64.powi(x_low), 10f64.powi(x_high));
    // The slanted one enters and leaves where it meets the edges of the drawing.
    let inside = [10f64.powi(y_low) / memory, 10f64.powi(y_high) / memory];
    let slanted = inside.map(|x| x.clamp(least, most)).map(|x| (x, x * memory));
    for (text, ends) in [
        ("weights read from memory", slanted),
        ("a large product in float", [(least, float), (most, float)]),
    ] {
        let [(x1, y1), (x2, y2)] = ends.map(|(a, b)| (x(a), y(b)));
        let _ = write!(
            svg,
            "<line class=\"roof\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\">\
             <title>{text}</title></line>"
        );
    }
    for Point { number, name, x: across, y: up, share } in points {
        let (cx, cy) = (x(*across), y(*up));
        let radius = 3.0 + LARGEST * share.clamp(0.0, 1.0).sqrt();
        let _ = write!(
            svg,
            "<circle class=\"bin\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"{radius:.1}\"><title>{}</title></circle>\
             <text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{number}</text>",
            escape(name),
            cx + radius + 2.0,
            cy + 4.0
        );
    }
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"{right}\" y=\"{}\" text-anchor=\"end\">multiplications a byte of weights; \
         upwards: multiplications a nanosecond</text>",
        bottom + 34.0
    );
    svg + "</svg>\n"
}

/// Powers of ten, two at least, between which all values are.
fn powers(values: impl Iterator<Item = f64>) -> [i32; 2] {
    let logarithms: Vec<f64> = values.map(f64::log10).collect();
    let least = logarithms.iter().copied().fold(f64::INFINITY, f64::min).floor() as i32;
    let most = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil() as i32;
    [least, most.max(least + 1)]
}

fn open(height: f64, label: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"{label}\">"
    )
}
