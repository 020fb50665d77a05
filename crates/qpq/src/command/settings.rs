//! `/mute`, `/typing-notify`, `/disappear`: how a conversation behaves.

use std::time::Duration;

use clap::{Args, ValueEnum};
use qpq_client::ConversationId;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::Target;
use crate::view::json::{self, SettingLine};
use crate::view::{conversation, time};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// No signals for a conversation, and no part in what is counted as unread; `off` takes it back.
#[derive(Args)]
pub struct Mute {
    /// The conversation (in the REPL the current one), and `on` or `off`.
    #[arg(value_name = "@USER|#GROUP on|off")]
    words: Vec<String>,
}

impl Mute {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let (id, rest) = subject(ctx, &self.words)?;
        let is_muted = match rest {
            [] => true,
            [one] => Switch::from_str(one, true).map_err(|_| Failure::Usage("on or off?".into()))? == Switch::On,
            _ => return Err(Failure::Usage("on or off?".into())),
        };
        ctx.client()?.mute(id, is_muted)?;
        let muted = ctx.conversation(id)?;
        let label = conversation::label(&muted);
        let said = if is_muted {
            format!("{label} is muted; /mute off takes it back")
        } else {
            format!("{label} is heard again")
        };
        ctx.output.show(&json::conversation(&muted), &said)
    }
}

/// Whether others see that you are typing, and get receipts from you. Without a word: how it is.
#[derive(Args)]
pub struct TypingNotify {
    switch: Option<Switch>,
}

impl TypingNotify {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.client()?;
        if let Some(switch) = self.switch {
            client.tell_others(switch == Switch::On)?;
        }
        let on = client.tells_others()?;
        let said = match on {
            true => "others see when you are typing, and when you have received and read something",
            false => "others do not see when you are typing, and get no receipts",
        };
        ctx.output.show(&SettingLine { kind: "typing_notify", on }, said)
    }
}

/// How long messages stay from now on, for all members: 30m, 1h, 1d, 7d, or off. Without a time: how it is.
#[derive(Args)]
pub struct Disappear {
    /// The conversation (in the REPL the current one), and the time.
    #[arg(value_name = "@USER|#GROUP TIME|off")]
    words: Vec<String>,
}

impl Disappear {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (id, rest) = subject(ctx, &self.words)?;
        let after = match rest {
            [] => return show(ctx, id),
            [one] if one == "off" => None,
            [one] => Some(period(one).map_err(Failure::Usage)?),
            _ => return Err(Failure::Usage(WANTED.into())),
        };
        let wish = client.set_expiry(id, after)?;
        super::group::carried_out(ctx, wish)?;
        show(ctx, id)
    }
}

fn show(ctx: &mut Ctx, id: ConversationId) -> Result<(), Failure> {
    let shown = ctx.conversation(id)?;
    let label = conversation::label(&shown);
    let said = match shown.expires_after {
        Some(after) => format!("messages in {label} disappear after {}", time::span(after)),
        None => format!("messages in {label} stay"),
    };
    ctx.output.show(&json::conversation(&shown), &said)
}

fn subject<'a>(ctx: &mut Ctx, words: &'a [String]) -> Result<(ConversationId, &'a [String]), Failure> {
    match words.split_first() {
        Some((first, rest)) if first.starts_with(['@', '#']) => {
            let target: Target = first.parse().map_err(Failure::Usage)?;
            Ok((target.existing(ctx)?, rest))
        }
        _ => Ok((ctx.current()?, words)),
    }
}

/// `30s`, `30m`, `1h`, `1d`, `4w`
fn period(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| WANTED.to_owned())?;
    let seconds = match unit {
        "s" => Some(number),
        "m" | "min" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        "d" => number.checked_mul(86_400),
        "w" => number.checked_mul(604_800),
        _ => None,
    };
    match seconds {
        Some(seconds) if (1..=366 * 86_400).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(WANTED.into()),
    }
}

const WANTED: &str = "a time between a second and a year is needed, such as 30m, 1h, 1d or 7d; or off";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_units() {
        let cases = [
            ("30m", Some(1800)),
            ("1h", Some(3600)),
            ("7d", Some(604_800)),
            ("5", None),
            ("0s", None),
            ("900d", None),
            ("d", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(period(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
