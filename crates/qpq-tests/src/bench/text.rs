//! Texts as people write them: an index of words has much more to do with them than with one letter again and again, or much
//! less.

/// Words in an order that depends on the number, which comes first; exactly so many bytes.
pub fn text(number: u32, length: usize) -> String {
    let mut text = number.to_string();
    let mut place = number as usize;
    while text.len() < length {
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(' ');
        text.push_str(WORDS[(place >> 33) % WORDS.len()]);
    }
    text.truncate(length);
    text
}

const WORDS: [&str; 40] = [
    "tomorrow", "train", "the", "meeting", "at", "with", "bread", "garden", "we", "call", "green", "letter", "of",
    "window", "music", "and", "seven", "to", "in", "is", "you", "that", "it", "for", "was", "on", "are", "as", "his",
    "they", "station", "evening", "because", "nobody", "remember", "question", "weather", "quickly", "children",
    "holiday",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_length_and_differ() {
        assert_eq!(text(7, 1024).len(), 1024);
        assert_eq!(text(7, 1024), text(7, 1024));
        assert_ne!(text(7, 1024)[8..], text(8, 1024)[8..]);
    }
}
