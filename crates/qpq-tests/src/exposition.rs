//! The Prometheus text format, version 0.0.4, read more strictly than collectors do: whatever is unusual is an error.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

/// A metric with all its samples.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// With the suffix that histograms add.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// All families by name.
pub type Families = BTreeMap<String, Family>;

/// Reads a whole answer.
///
/// # Errors
/// Anything that is not in the format, out of place, said twice, or does not add up.
pub fn parse(text: &str) -> Result<Families> {
    ensure!(text.ends_with('\n'), "the last line has no end");
    let (mut families, mut current) = (Families::new(), None::<(String, Family)>);
    let mut seen = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let context = || format!("line {number}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            if let Some((name, family)) = current.take() {
                finish(&mut families, name, family)?;
            }
            let (name, help) = rest.split_once(' ').with_context(context)?;
            ensure!(is_name(name) && !families.contains_key(name) && !help.is_empty(), context());
            current = Some((name.to_owned(), Family { help: help.to_owned(), ..Family::default() }));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, family) = current.as_mut().with_context(context)?;
            let kind = rest.strip_prefix(&**name).and_then(|kind| kind.strip_prefix(' ')).with_context(context)?;
            ensure!(["counter", "gauge", "histogram"].contains(&kind) && family.kind.is_empty(), context());
            kind.clone_into(&mut family.kind);
        } else {
            let sample = sample(line).with_context(context)?;
            let (name, family) = current.as_mut().with_context(context)?;
            let suffix = sample.name.strip_prefix(&**name).with_context(context)?;
            let allowed: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            ensure!(allowed.contains(&suffix), context());
            ensure!(seen.insert((sample.name.clone(), sample.labels.clone())), "twice: {}", context());
            family.samples.push(sample);
        }
    }
    if let Some((name, family)) = current {
        finish(&mut families, name, family)?;
    }
    Ok(families)
}

fn finish(families: &mut Families, name: String, family: Family) -> Result<()> {
    ensure!(!family.kind.is_empty() && !family.samples.is_empty(), "{name} has no type or no samples");
    match family.kind.as_str() {
        "counter" => {
            let is_good = |sample: &Sample| sample.value >= 0.0 && sample.value.is_finite();
            ensure!(family.samples.iter().all(is_good), "{name} is negative");
        }
        "histogram" => check_histogram(&name, &family)?,
        _ => {}
    }
    families.insert(name, family);
    Ok(())
}

/// Buckets grow, end with all, and agree with the count.
fn check_histogram(name: &str, family: &Family) -> Result<()> {
    let mut series: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    let (mut counts, mut sums) = (BTreeMap::new(), BTreeSet::new());
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        match sample.name.strip_prefix(name) {
            Some("_bucket") => {
                let bound = labels.remove("le").with_context(|| format!("{name}: a bucket without bound"))?;
                series.entry(labels).or_default().push((value(&bound)?, sample.value));
            }
            Some("_count") => drop(counts.insert(labels, sample.value)),
            _ => drop(sums.insert(labels)),
        }
    }
    ensure!(series.len() == counts.len() && counts.len() == sums.len(), "{name}: series are incomplete");
    for (labels, buckets) in series {
        let grows = buckets.is_sorted_by(|(one, fewer), (other, more)| one < other && fewer <= more);
        let last = buckets.last().map(|(bound, count)| (*bound, *count));
        ensure!(grows && last == counts.get(&labels).map(|count| (f64::INFINITY, *count)), "{name}{labels:?}");
    }
    Ok(())
}

fn sample(line: &str) -> Result<Sample> {
    let end = line.find(['{', ' ']).context("no value")?;
    let (name, mut rest) = line.split_at(end);
    ensure!(is_name(name), "not a name");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").context("not a label")?;
            let (text, after) = quoted(after)?;
            ensure!(is_name(label) && labels.insert(label.to_owned(), text).is_none(), "label {label}");
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}').context("labels have no end")?;
                    break;
                }
            }
        }
    }
    let number = rest.strip_prefix(' ').context("no space before the value")?;
    Ok(Sample { name: name.to_owned(), labels, value: value(number)? })
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> Result<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                Some((_, 'n')) => value.push('\n'),
                _ => bail!("a bad escape"),
            },
            other => value.push(other),
        }
    }
    bail!("no closing quote")
}

fn value(text: &str) -> Result<f64> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ => {
            ensure!(
                text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E')),
                "a number"
            );
            Ok(text.parse()?)
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_read() {
        let text = "# HELP a_total How many.\n# TYPE a_total counter\na_total{k=\"x\\\"y\",l=\"\"} 3\na_total{k=\"z\"} 0.5\n\
                    # HELP h Long.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1e-3\nh_count 2\n";
        let families = parse(text).unwrap();
        assert_eq!(families["a_total"].samples[0].labels["k"], "x\"y");
        assert_eq!(families["h"].samples[2].value, 0.001);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let head = "# HELP a Text.\n# TYPE a gauge\n";
        for body in
            ["a 1", "b 1\n", "a\n", "a x\n", "a{k=1} 1\n", "a{k=\"1\" 1\n", "a 1\na 2\n", "a  1\n", "", "a 1 2\n"]
        {
            assert!(parse(&format!("{head}{body}")).is_err(), "{body}");
        }
        let head = "# HELP h Text.\n# TYPE h histogram\n";
        for body in [
            "h 1\n",
            "h_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
            "h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
            "h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2\n",
            "h_bucket{le=\"+Inf\"} 1\nh_count 1\n",
        ] {
            assert!(parse(&format!("{head}{body}")).is_err(), "{body}");
        }
        assert!(parse("a 1\n").is_err(), "without a type");
        assert!(parse("# HELP c_total T.\n# TYPE c_total counter\nc_total -1\n").is_err());
    }
}
