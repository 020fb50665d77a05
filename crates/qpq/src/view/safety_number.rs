//! The safety number as two people read it to each other.

/// Twelve groups of five digits become three lines of four groups; anything else stays one line.
pub fn lines(number: &str) -> Vec<String> {
    let digits = digits(number);
    let groups: Vec<&str> = (0..digits.len()).step_by(5).filter_map(|at| digits.get(at..at + 5)).collect();
    if groups.len() != 12 || digits.len() != 60 {
        return vec![number.to_owned()];
    }
    groups.chunks(4).map(|line| line.join(" ")).collect()
}

/// The digits alone, for a QR code: both sides draw the same one.
pub fn digits(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_groups_a_line() {
        let number: String = (10_000..10_012).map(|group| format!("{group} ")).collect();
        assert_eq!(lines(&number), ["10000 10001 10002 10003", "10004 10005 10006 10007", "10008 10009 10010 10011"]);
        assert_eq!(lines("123"), ["123"]);
    }
}
