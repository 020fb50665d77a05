//! `qpq doctor`

use clap::Args;
use qpq_client::{ConversationId, Trouble};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::Target;
use crate::view::conversation::label;
use crate::view::json::{self, DoctorLine, TroubleLine};
use crate::view::sanitize;

/// Show what is wrong with your conversations, and mend one.
#[derive(Args)]
pub struct Doctor {
    /// Take a fresh start in this conversation; in the REPL the current one if left out.
    #[arg(long, value_name = "@USER|#GROUP", num_args = 0..=1)]
    mend: Option<Option<Target>>,
}

impl Doctor {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        match self.mend {
            None => show(ctx),
            Some(None) => {
                let current = ctx.current()?;
                mend(ctx, current)
            }
            Some(Some(target)) => {
                ctx.connected()?;
                let id = target.resolve(ctx)?;
                mend(ctx, id)
            }
        }
    }
}

fn show(ctx: &mut Ctx) -> Result<(), Failure> {
    let client = ctx.connected()?;
    let (status, troubles) = (client.status()?, client.troubles()?);
    if ctx.output.json {
        for trouble in &troubles {
            ctx.output.line(&json::line(&TroubleLine::of(trouble)))?;
        }
        return ctx.output.line(&json::line(&DoctorLine::of(&status, troubles.len())));
    }
    if !status.online {
        let detail = sanitize::line(&status.detail);
        ctx.output
            .line(&format!("{}: {detail}; what you write is kept and sent later", ctx.output.theme.alarm("offline")))?;
    }
    if status.waiting > 0 {
        ctx.output.line(&format!("{} to be sent or done, as soon as it can be", status.waiting))?;
    }
    for trouble in &troubles {
        ctx.output.line(&sentence(trouble))?;
    }
    if troubles.is_empty() {
        ctx.output.line(&ctx.output.theme.good("all conversations are in order"))?;
    }
    Ok(())
}

fn sentence(trouble: &Trouble) -> String {
    let mut parts = Vec::new();
    if let Some(reason) = &trouble.mending {
        parts.push(format!("this device is coming back into it, because {}", sanitize::line(reason)));
    }
    if let Some(obstacle) = &trouble.obstacle {
        parts.push(format!("the last attempt failed: {}", sanitize::line(obstacle)));
    }
    if trouble.unreadable > 0 {
        parts.push(format!("{} that could not be read are kept", count(trouble.unreadable)));
    }
    format!("{}: {}", label(&trouble.conversation), parts.join("; "))
}

fn count(messages: usize) -> String {
    if messages == 1 { "1 message".into() } else { format!("{messages} messages") }
}

fn mend(ctx: &mut Ctx, id: ConversationId) -> Result<(), Failure> {
    let client = ctx.connected()?;
    let wish = client.mend(id)?;
    super::group::carried_out(ctx, wish)?;
    let conversation = ctx.conversation(id)?;
    let text = format!("{}: a fresh start; everything from here on can be read", label(&conversation));
    let line = TroubleLine::mended(&conversation);
    ctx.output.show(&line, &text)
}
