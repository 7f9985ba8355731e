//! Tables that are read in a terminal and in Markdown alike.

/// Rows of cells under a head; the first columns are to the left, the others right.
pub struct Table {
    rows: Vec<Vec<String>>,
    left: usize,
}

impl Table {
    /// A table with these column heads, the first of them to the left.
    pub fn new(head: &[&str]) -> Table {
        Table::with_left(1, head)
    }

    /// A table with these column heads, `left` of them to the left.
    pub fn with_left(left: usize, head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()], left }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as Markdown, its columns aligned.
    pub fn render(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| self.rows.iter().map(|row| cell(row, column).chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0).max(3)).collect();
        let mut out = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            out.push_str(&line(row, &widths, self.left));
            if number == 0 {
                out.push_str(&rule(&widths, self.left));
            }
        }
        out
    }
}

fn cell(row: &[String], column: usize) -> &str {
    row.get(column).map_or("", String::as_str)
}

fn line(row: &[String], widths: &[usize], left: usize) -> String {
    let cells = widths.iter().enumerate().map(|(column, &width)| match column < left {
        true => format!(" {:<width$} |", cell(row, column)),
        false => format!(" {:>width$} |", cell(row, column)),
    });
    ["|".to_owned()].into_iter().chain(cells).chain(["\n".to_owned()]).collect()
}

fn rule(widths: &[usize], left: usize) -> String {
    let cells = widths.iter().enumerate().map(|(column, &width)| match column < left {
        true => format!("{}|", "-".repeat(width + 2)),
        false => format!("{}:|", "-".repeat(width + 1)),
    });
    ["|".to_owned()].into_iter().chain(cells).chain(["\n".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["who", "MB/s"]);
        table.row(vec!["starling".into(), "1000".into()]);
        assert_eq!(table.render(), "| who      | MB/s |\n|----------|-----:|\n| starling | 1000 |\n");
    }
}
