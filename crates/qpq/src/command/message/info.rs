//! `/info`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::json::time::rfc3339;
use crate::view::json::{self, InfoLine};
use crate::view::{message, people};

/// What became of a message: who has it, who has read it, how people reacted.
#[derive(Args)]
pub struct Info {
    /// The conversation (in the REPL the current one), and the message's number.
    #[arg(value_name = "@USER|#GROUP NUMBER", required = true)]
    words: Vec<String>,
}

impl Info {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.client()?;
        let (id, number, _) = super::subject(ctx, &self.words)?;
        let found = client.message(id, number)?;
        let devices = client.devices_of_others(id)?;
        let mut lines = vec![message::row(&found, None, &ctx.output.layout())];
        lines.push(format!("id {}, device {}", found.id, found.device));
        lines.push(format!("sent {}, received {}", rfc3339(found.sent_at), rfc3339(found.received_at)));
        if found.sender.is_self {
            lines.push(delivery(&found.notes, devices));
        }
        if let Some(at) = found.expires_at {
            lines.push(format!("disappears {}", rfc3339(at)));
        }
        let names = |who: &[qpq_client::Contact]| who.iter().map(people::in_sentence).collect::<Vec<_>>().join(" ");
        if !found.notes.read_by.is_empty() {
            lines.push(format!("read by {}", names(&found.notes.read_by)));
        }
        for (emoji, who) in &found.notes.reactions {
            lines.push(format!("{} {}", crate::view::sanitize::name(emoji, 8), names(who)));
        }
        let conversation = ctx.conversation(id)?;
        let line = InfoLine {
            kind: "info",
            devices,
            delivered: found.notes.delivered,
            read: found.notes.read_by.len(),
            message: json::message_line(&found, &conversation),
        };
        ctx.output.show(&line, &lines.join("\n"))
    }
}

/// "delivered to 7 of 8 devices, read by 3"
fn delivery(notes: &qpq_client::Notes, devices: usize) -> String {
    let delivered = notes.delivered.min(devices.max(notes.delivered));
    format!("delivered to {delivered} of {} devices, read by {}", devices.max(delivered), notes.read_by.len())
}
