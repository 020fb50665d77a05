//! Commands about one message, which is named by the number that stands beside it.

pub mod delete;
pub mod edit;
pub mod info;
pub mod react;
pub mod reply;

use qpq_client::{ConversationId, Error, WishId};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::Target;
use crate::view::json::{self, ChangeLine};

/// The message that the words name, and the other words: `[@USER|#GROUP] NUMBER …`. In the REPL it is in the current
/// conversation unless the first word names another one.
fn subject(ctx: &mut Ctx, words: &[String]) -> Result<(ConversationId, u64, String), Failure> {
    let (id, words) = match words.split_first() {
        Some((first, rest)) if first.starts_with(['@', '#']) => {
            let target: Target = first.parse().map_err(Failure::Usage)?;
            (target.existing(ctx)?, rest)
        }
        _ => (ctx.current()?, words),
    };
    let rest = words.join(" ");
    let (number, text) = rest.split_once(char::is_whitespace).unwrap_or((&rest, ""));
    let number = number.parse().map_err(|_| Failure::Usage(WANTED.into()))?;
    Ok((id, number, text.to_owned()))
}

/// What is left of the words has to be a text.
fn text(text: String) -> Result<String, Failure> {
    if text.trim().is_empty() { Err(Error::BadInput("there is no text".into()).into()) } else { Ok(text) }
}

/// Waits until the server has it, and says what was done.
fn done(
    ctx: &mut Ctx,
    wish: Option<WishId>,
    kind: &'static str,
    (id, number): (ConversationId, u64),
    said: &str,
) -> Result<(), Failure> {
    if let Some(wish) = wish {
        super::group::carried_out(ctx, wish)?;
    }
    let message = ctx.client()?.message(id, number)?;
    let conversation = json::address(&ctx.conversation(id)?);
    ctx.output.show(&ChangeLine { kind, id: message.id.to_string(), number, conversation }, said)
}

const WANTED: &str = "say which message: the number that stands beside it";
