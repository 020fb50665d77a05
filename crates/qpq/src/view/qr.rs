//! QR codes in a terminal: two rows of modules in each line of half blocks.

use qrcode::{EcLevel, QrCode};

/// The code, or nothing when the text is too long for one. Drawn light on dark with a quiet zone, so that cameras read it whatever
/// the colours of the terminal are.
pub fn draw(text: &str) -> String {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else { return String::new() };
    let width = code.width() as isize;
    let dark = |x: isize, y: isize| {
        (0..width).contains(&x) && (0..width).contains(&y) && code[(x as usize, y as usize)] == qrcode::Color::Dark
    };
    let mut lines = Vec::new();
    for y in (-QUIET..width + QUIET).step_by(2) {
        let line: String = (-QUIET..width + QUIET)
            .map(|x| match (dark(x, y), dark(x, y + 1)) {
                (false, false) => '█',
                (false, true) => '▀',
                (true, false) => '▄',
                (true, true) => ' ',
            })
            .collect();
        lines.push(line);
    }
    lines.join("\n")
}

/// Modules around the code.
const QUIET: isize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_link_fits_a_terminal() {
        let link = format!("qpq:contact?server=chat.example.org:7000&user=somebody&id={}", "ab".repeat(32));
        let code = draw(&link);
        let widths: Vec<usize> = code.lines().map(|line| line.chars().count()).collect();
        assert!(widths.len() <= 36 && widths.iter().all(|width| *width == widths[0] && *width <= 72), "{widths:?}");
        assert!(code.lines().next().is_some_and(|line| line.chars().all(|c| c == '█')), "a quiet zone");
        assert_eq!(draw(&"x".repeat(5000)), "");
    }
}
