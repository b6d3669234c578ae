//! Pages, tables and texts in HTML.

use std::fmt::Write;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5d6b7a; --line: #d8dee5; --back: #ffffff;
  --mark: #2b6cb0; --level: #d9480f; --warn: #fff4e5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #9aa7b4; --line: #35414d;
  --back: #141a20; --mark: #63a4e8; --level: #ff9d5c; --warn: #3a2a12; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 1040px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { text-align: right; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } .l { text-align: left; }
td.text { white-space: normal; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1rem 0; }
.facts b { display: block; font-size: 1.35rem; font-weight: 600; }
.warning { background: var(--warn); padding: .6rem .9rem; border-radius: 6px; white-space: pre-line; }
.cells { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1.2rem 1.6rem; }
figure { margin: 0; } figcaption { font-size: 13px; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); } .tick { fill: var(--soft); }
.name { fill: var(--ink); } .bar, .bin { fill: var(--mark); } .bin { opacity: .75; }
.level { stroke: var(--level); stroke-width: 1.5; } .line { fill: none; stroke: var(--line); }
.dot { fill: var(--mark); } .roof { stroke: var(--level); stroke-width: 1.5; fill: none; }
";

/// A page: its title, which is its heading too, and what stands below.
pub(super) fn document(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

/// A table of which the first columns hold texts.
pub(super) struct Table {
    header: Vec<String>,
    texts: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(header: &[&str], texts: usize) -> Table {
        let header = header.iter().map(|&cell| cell.to_owned()).collect();
        Table { header, texts, rows: Vec::new() }
    }

    pub(super) fn columns(&mut self, names: &[&str]) {
        self.header.extend(names.iter().map(|&name| name.to_owned()));
    }

    pub(super) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn html(&self) -> String {
        let used = |column: &usize| self.rows.iter().any(|row| !row[*column].is_empty());
        let columns: Vec<usize> = (0..self.header.len()).filter(used).collect();
        let mut html = String::from("<div class=\"wide\"><table>\n<tr>");
        let class = |column: usize| if column < self.texts { " class=\"l\"" } else { "" };
        for &column in &columns {
            let _ = write!(html, "<th{}>{}</th>", class(column), escape(&self.header[column]));
        }
        html.push_str("</tr>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for &column in &columns {
                let class = if column < self.texts { " class=\"l text\"" } else { "" };
                let _ = write!(html, "<td{class}>{}</td>", escape(&row[column]));
            }
            html.push_str("</tr>\n");
        }
        html + "</table></div>\n"
    }
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.2} MB", bytes as f64 / 1e6),
    }
}

/// A difference as people read it.
pub(super) fn number(difference: f64) -> String {
    match difference {
        0.001..1e6 => format!("{difference:.3}"),
        _ => format!("{difference:.1e}"),
    }
}

/// Text as HTML shows it: names in a file may hold anything.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}
