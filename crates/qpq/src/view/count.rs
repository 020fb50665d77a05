//! Numbers of things.

/// `1 group`, `4,210 groups`: for nouns that take an s.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// 4210 as 4,210.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_nouns_agree() {
        let cases = [
            (0, "0 messages"),
            (1, "1 message"),
            (999, "999 messages"),
            (4210, "4,210 messages"),
            (1_000_000, "1,000,000 messages"),
        ];
        for (number, expected) in cases {
            assert_eq!(counted(number, "message"), expected);
        }
    }
}
