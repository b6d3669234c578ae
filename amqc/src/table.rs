//! Tables for a terminal.

use std::fmt::Write;

use crate::names::shown;

/// Characters of the widest cell that others are padded to.
const WIDEST: usize = 80;

/// A table in plain text.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    align: Vec<u8>,
}

impl Table {
    /// `align` has an `l` or `r` for each column.
    pub(crate) fn new(header: &[&str], align: &str) -> Table {
        let header = header.iter().map(|&cell| cell.to_owned()).collect();
        Table { rows: vec![header], align: align.into() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| shown(cell).into_owned()).collect());
    }

    /// The rows, two spaces between columns; columns that hold only their header are left out, and a cell of
    /// more than [`WIDEST`] characters pads no other row.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize, from: usize| {
            let cells = self.rows[from..].iter();
            let widths = cells.map(|row| row[column].chars().count());
            widths.filter(|&width| width <= WIDEST).max().unwrap_or(0)
        };
        let filled = |&column: &usize| self.rows[1..].iter().any(|row| !row[column].is_empty());
        let columns = (0..self.align.len()).filter(filled);
        let columns: Vec<_> = columns.map(|column| (column, width(column, 0))).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for &(column, width) in &columns {
                let cell = &row[column];
                let _ = match self.align[column] {
                    b'r' => write!(line, "{cell:>width$}  "),
                    _ => write!(line, "{cell:<width$}  "),
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cell_pads_no_other_row() {
        let mut table = Table::new(&["name", "empty", "bytes"], "llr");
        let long = "n".repeat(WIDEST + 1);
        table.row(vec![long.clone(), String::new(), "1".into()]);
        table.row(vec!["short".into(), String::new(), "22".into()]);
        let text = format!("name   bytes\n{long}      1\nshort     22\n");
        assert_eq!(table.render(), text);
    }
}
