//! Tables for a terminal.

use std::fmt::Write;

use crate::names::shown;

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

    /// The rows, two spaces between columns; columns that hold only their header are left out.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize, from: usize| {
            let cells = self.rows[from..].iter();
            cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let columns: Vec<usize> = (0..self.align.len()).filter(|&c| width(c, 1) > 0).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for &column in &columns {
                let (cell, width) = (&row[column], width(column, 0));
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
