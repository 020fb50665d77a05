//! Text of others on its way to the terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qpq_fuzz::{sanitize, wrap};
use unicode_width::UnicodeWidthStr as _;

fuzz_target!(|input: (u8, &str)| {
    let (width, input) = (usize::from(input.0), input.1);
    let text = sanitize::text(input);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}']));
    assert_eq!(sanitize::text(&text), text, "harmless text stays as it is");
    assert!(!sanitize::line(input).contains('\n'));
    assert!(sanitize::name(input, width.max(1)).width() <= width.max(1));
    for line in text.lines() {
        let lines = wrap::wrap(line, width);
        assert!(!lines.is_empty());
    }
});
