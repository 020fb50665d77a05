//! Columns for lists. Cells are sanitized by whoever fills them.

use unicode_width::UnicodeWidthStr as _;

use super::sanitize::shorten;
use super::style::Theme;
use super::wrap::{pad, pad_left};

/// Rows under dim headings; the last column takes what is left of the width.
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A heading that begins with `>` aligns its column on the right.
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn render(&self, theme: Theme, width: usize) -> String {
        let widths = self.widths(width);
        let headings: Vec<String> = self.headings.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
        let mut lines = vec![theme.dim(&self.line(&headings, &widths))];
        lines.extend(self.rows.iter().map(|row| self.line(row, &widths)));
        lines.join("\n")
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let columns = cells.iter().zip(widths).zip(&self.headings).map(|((cell, width), heading)| {
            let cell = shorten(cell, *width);
            if heading.starts_with('>') { pad_left(&cell, *width) } else { pad(&cell, *width) }
        });
        columns.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }

    fn widths(&self, total: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|h| h.trim_start_matches('>').width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let before_last: usize = widths.iter().rev().skip(1).map(|width| width + GAP.len()).sum();
        if let Some(last) = widths.last_mut() {
            *last = (*last).min(total.saturating_sub(before_last).max(NARROWEST));
        }
        widths
    }
}

/// Lines of `name: value`, aligned.
pub fn fields(theme: Theme, fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("{}{GAP}{value}", theme.dim(&pad(name, width)));
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}

const GAP: &str = "  ";
const NARROWEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_width_and_the_last_one_is_cut() {
        let mut table = Table::new(&[">#", "name", "last"]);
        table.row(["1".into(), "漢字".into(), "a rather long message".into()]);
        table.row(["12".into(), "bob".into(), String::new()]);
        assert_eq!(table.render(Theme::PLAIN, 24), " #  name  last\n 1  漢字  a rather long…\n12  bob");
    }

    #[test]
    fn field_names_are_aligned() {
        let text = fields(Theme::PLAIN, &[("name", "a".into()), ("identity", "b".into())]);
        assert_eq!(text, "name      a\nidentity  b");
    }
}
