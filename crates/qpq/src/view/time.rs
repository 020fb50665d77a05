//! Times as people read them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use qpq_client::Timestamp;
use qpq_client::json::time::instant;

/// A clock's zone, read once, so that a whole screen is consistent.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
}

impl Clock {
    /// The zone that the system is set to.
    pub fn system() -> Self {
        Self { zone: TimeZone::system() }
    }

    #[cfg(test)]
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC }
    }

    /// `14:03`
    pub fn time(&self, at: Timestamp) -> String {
        instant(at).to_zoned(self.zone.clone()).strftime("%H:%M").to_string()
    }

    /// The day that a point in time belongs to here.
    pub fn day(&self, at: Timestamp) -> Date {
        instant(at).to_zoned(self.zone.clone()).date()
    }

    pub fn today(&self) -> Date {
        jiff::Timestamp::now().to_zoned(self.zone.clone()).date()
    }

    /// `14:03` for today, otherwise the day.
    pub fn short(&self, at: Timestamp) -> String {
        let today = self.today();
        let day = self.day(at);
        if day == today { self.time(at) } else { day_name(day, today) }
    }
}

/// What stands above the messages of a day: `Today`, `Yesterday`, a weekday within the last week, or the date.
pub fn day_name(day: Date, today: Date) -> String {
    match (today - day).get_days() {
        _ if day > today => day.strftime("%a %-d %b %Y").to_string(),
        _ if day == today => "Today".into(),
        1 if today.yesterday().is_ok_and(|yesterday| yesterday == day) => "Yesterday".into(),
        2..=6 => day.strftime("%A").to_string(),
        _ if day.year() == today.year() => day.strftime("%a %-d %b").to_string(),
        _ => day.strftime("%a %-d %b %Y").to_string(),
    }
}

/// `30 minutes`, `1 day`; the largest unit that fits.
pub fn span(span: std::time::Duration) -> String {
    const UNITS: [(u64, &str); 5] = [(604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let seconds = span.as_secs().max(1);
    let (size, unit) = UNITS.into_iter().find(|(size, _)| seconds.is_multiple_of(*size)).unwrap_or((1, "second"));
    let count = seconds / size;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn days_have_names() {
        let today = date(2026, 3, 4);
        let cases = [
            (date(2026, 3, 4), "Today"),
            (date(2026, 3, 3), "Yesterday"),
            (date(2026, 3, 2), "Monday"),
            (date(2026, 2, 26), "Thursday"),
            (date(2026, 2, 25), "Wed 25 Feb"),
            (date(2025, 12, 31), "Wed 31 Dec 2025"),
            (date(2026, 3, 5), "Thu 5 Mar 2026"),
        ];
        for (day, expected) in cases {
            assert_eq!(day_name(day, today), expected, "{day}");
        }
    }

    #[test]
    fn clocks_show_hours_and_minutes() {
        assert_eq!(Clock::utc().time(Timestamp(1_700_000_000_123)), "22:13");
        assert_eq!(Clock::utc().day(Timestamp(1_700_000_000_123)), date(2023, 11, 14));
    }
}
