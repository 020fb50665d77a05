//! What kind of file it is: by what it begins with, and by its name when that tells nothing.

/// A media type (RFC 6838); `application/octet-stream` when nobody knows.
pub fn of(name: &str, beginning: &[u8]) -> &'static str {
    if let Some(kind) = infer::get(beginning) {
        return kind.mime_type();
    }
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    EXTENSIONS.iter().find(|(known, _)| *known == extension).map_or(UNKNOWN, |(_, media_type)| media_type)
}

/// How much of a file is looked at.
pub const BEGINNING: usize = 8192;

const UNKNOWN: &str = "application/octet-stream";

/// What has no magic number: text of all kinds.
const EXTENSIONS: &[(&str, &str)] = &[
    ("txt", "text/plain"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("ics", "text/calendar"),
    ("vcf", "text/vcard"),
    ("xml", "application/xml"),
    ("json", "application/json"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("toml", "application/toml"),
    ("svg", "image/svg+xml"),
    ("eml", "message/rfc822"),
    ("tex", "text/x-tex"),
    ("rs", "text/x-rust"),
    ("py", "text/x-python"),
    ("c", "text/x-c"),
    ("h", "text/x-c"),
    ("sh", "application/x-sh"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_more_than_the_name() {
        let cases: [(&str, &[u8], &str); 7] = [
            ("a.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
            ("a", b"%PDF-1.7", "application/pdf"),
            ("a.TXT", b"hello", "text/plain"),
            ("a.tar.json", b"{}", "application/json"),
            ("a.unknown", b"hello", UNKNOWN),
            ("json", b"", UNKNOWN),
            ("", b"", UNKNOWN),
        ];
        for (name, beginning, expected) in cases {
            assert_eq!(of(name, beginning), expected, "{name}");
        }
    }
}
