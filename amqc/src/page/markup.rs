//! Tables and texts in HTML.

use std::fmt::Write;

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
