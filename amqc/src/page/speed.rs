//! How fast a model is, as a page: each node beside what the machine reaches at most.

use std::fmt::Write;

use super::chart::{Point, roofline};
use super::markup::{self, Table, escape, size};
use crate::bench::Timing;
use crate::profile::NodeTime;
use crate::roofs::Roofs;

/// What the page shows.
#[derive(Clone, Copy, Debug)]
pub struct SpeedPage<'a> {
    /// How long steps of the model took.
    pub timing: &'a Timing,
    /// The same of a model that it was compared with.
    pub against: Option<&'a Timing>,
    /// The instruction set.
    pub isa: &'a str,
    /// Threads that shared the work.
    pub threads: usize,
    /// How long each node took, the slowest first.
    pub nodes: &'a [NodeTime],
    /// What the machine reaches.
    pub roofs: Roofs,
}

/// Nodes that the table lists.
const LISTED: usize = 40;

impl SpeedPage<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let SpeedPage { isa, threads, timing, .. } = self;
        let version = env!("CARGO_PKG_VERSION");
        let mut html = format!(
            "<p class=\"soft\">amqc {version}, {isa}, {threads} thread{}, on seeded inputs</p>\n",
            if *threads == 1 { "" } else { "s" }
        );
        self.facts(&mut html);
        self.roofline(&mut html);
        self.table(&mut html);
        markup::document(&timing.file, &html)
    }

    fn facts(&self, html: &mut String) {
        html.push_str("<div class=\"facts\">\n");
        for timing in [self.timing].into_iter().chain(self.against) {
            let Timing { file, median_us, p99_us, multiplications, .. } = timing;
            let of = match self.against {
                Some(_) => format!(" of {}", escape(file)),
                None => String::new(),
            };
            let _ = writeln!(
                html,
                "<div><b>{median_us:.2} us</b>a step{of}, median; 99% at most {p99_us:.2} us</div>"
            );
            if *multiplications > 0 {
                let rate = *multiplications as f64 / (1e3 * timing.least_us);
                let _ = writeln!(
                    html,
                    "<div><b>{rate:.1}</b>multiplications a nanosecond at best, of {multiplications} a step</div>"
                );
            }
        }
        html.push_str("</div>\n");
    }

    fn roofline(&self, html: &mut String) {
        let products = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let NodeTime { node: name, median_us, share, multiplications, weight_bytes, .. } = node;
            let known = *multiplications > 0 && *weight_bytes > 0 && *median_us > 0.0;
            known.then(|| Point {
                number: index + 1,
                name: name.clone(),
                x: *multiplications as f64 / *weight_bytes as f64,
                y: *multiplications as f64 / (1e3 * median_us),
                share: *share,
            })
        });
        let points: Vec<Point> = products.collect();
        if points.is_empty() {
            return;
        }
        let Roofs { memory, float } = self.roofs;
        html.push_str("<h2>Products under the roofs of this machine</h2>\n");
        let _ = writeln!(
            html,
            "<p class=\"soft\">Each node that multiplies with constant matrices: the more products a byte of weights \
             serves, the farther right; the faster, the higher; the larger, the more of the time it takes. The slanted line \
             is how fast one thread reads weights from memory, {memory:.1} bytes a nanosecond, which weights that stay in caches may pass; the \
             level one what a large product in float reaches here, {float:.1} multiplications a nanosecond, which codes may pass.</p>"
        );
        html.push_str(&roofline(&points, self.roofs));
    }

    fn table(&self, html: &mut String) {
        html.push_str("<h2>Nodes</h2>\n");
        let mut rows = Table::new(&["", "node", "op"], 3);
        rows.columns(&["us", "share", "multiplications", "weights", "a byte", "a nanosecond"]);
        for (index, node) in self.nodes.iter().take(LISTED).enumerate() {
            let NodeTime { node: name, op, median_us, share, multiplications, weight_bytes } = node;
            let mut row = vec![
                (index + 1).to_string(),
                name.clone(),
                (*op).into(),
                format!("{median_us:.2}"),
                format!("{:.1}%", 100.0 * share),
            ];
            row.extend(match *multiplications {
                0 => [const { String::new() }; 4],
                count => [
                    count.to_string(),
                    size(*weight_bytes),
                    format!("{:.1}", count as f64 / (*weight_bytes).max(1) as f64),
                    format!("{:.1}", count as f64 / (1e3 * median_us.max(f64::MIN_POSITIVE))),
                ],
            });
            rows.row(&row);
        }
        html.push_str(&rows.html());
        let rest = self.nodes.len().saturating_sub(LISTED);
        let sum: f64 = self.nodes.iter().map(|node| node.median_us).sum();
        let others = if rest > 0 { format!("{rest} more nodes. ") } else { String::new() };
        let _ = writeln!(
            html,
            "<p class=\"soft\">{others}{sum:.2} us in sum, one node after the other: a step runs some in one pass.</p>"
        );
    }
}
