//! `qpq link`

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use qpq_client::json::{DeviceLinkedLine, LinkCodeLine, LinkCompareLine, LinkedLine};
use qpq_client::{Carried, Client, Error, LINK_PATIENCE, Linking, PendingLink};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::output::bar::Bar;
use crate::password;
use crate::view::count::counted;
use crate::view::{json, qr, sanitize};

/// What the new device waits for.
const OTHER: &str = "waiting for the other device";
/// What the other one waits for; the new device answers by itself.
const NEWCOMER: &str = "waiting for the new device";

/// Make this a further device of your account; or, with a code, take in a further one.
///
/// On the new device, in a directory without a profile: shows a code, and waits until another device of yours has taken it
/// in. On that one: `qpq link CODE`, or /link CODE in the REPL. Both show a number, to be compared before anything happens.
#[derive(Args)]
pub struct Link {
    /// The code that the new device shows.
    #[arg(value_name = "CODE")]
    code: Vec<String>,
    /// Do not ask whether the numbers are the same: for scripts that compare them otherwise.
    #[arg(long)]
    yes: bool,
    /// With the code: the new device gets the messages that are here. Asked on a terminal.
    #[arg(long, overrides_with = "no_history")]
    history: bool,
    /// With the code: the new device begins without earlier messages.
    #[arg(long)]
    no_history: bool,
    /// What the new device is to be called [default: the machine's name].
    #[arg(long, value_name = "NAME")]
    device_name: Option<String>,
}

impl Link {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let code = self.code.concat();
        let history = match (self.history, self.no_history) {
            (false, false) => None,
            (wanted, _) => Some(wanted),
        };
        match (ctx.session.is_some(), code.as_str()) {
            (true, "") => {
                Err(Failure::Usage("the new device shows a code after `qpq link`: type it here as /link CODE".into()))
            }
            (true, "yes" | "no") => answer(ctx, code == "yes", history),
            (true, _) => offered_in_repl(ctx, &code, self.yes, history),
            (false, "") => become_one(ctx, self.yes, self.device_name.as_deref()),
            (false, _) => take_in(ctx, &code, self.yes, history),
        }
    }
}

/// The new device.
fn become_one(ctx: &mut Ctx, yes: bool, device_name: Option<&str>) -> Result<(), Failure> {
    let options = ctx.options()?;
    if Client::exists(&options.home) {
        let home = options.home.display();
        return Err(Failure::Refused(format!(
            "there is a profile in {home} already. To take in another device, type the code that it shows: `qpq link \
             CODE`. To make this a new device, choose another directory with --home"
        )));
    }
    let password = password::for_new_profile(&ctx.global)?;
    let linking = ctx.ask(|_| Linking::begin(&options, device_name))?;
    let code = linking.code();
    if ctx.output.json {
        ctx.output.line(&json::line(&LinkCodeLine::of(&linking)))?;
    } else {
        if ctx.output.is_terminal {
            ctx.output.line(&qr::draw(&linking.link()))?;
        }
        ctx.output.line(&format!(
            "on a device that you have, type within ten minutes:\n\n    /link {code}\n\n(or `qpq link CODE` there, outside of the REPL)"
        ))?;
    }
    let hello = ctx.ask_for(OTHER, |_| linking.wait(LINK_PATIENCE, &|| false))?;
    let introduced = ctx.ask(|_| linking.introduce(&hello))?;
    let text = format!(
        "this becomes a device of @{} if the other one shows the same number:\n\n    {}\n",
        introduced.name(),
        introduced.comparison()
    );
    ctx.output.show(&LinkCompareLine::of_host(&introduced), &text)?;
    // Without a person here, the one at the other device decides alone: it is they who carried the code.
    if !yes && io::stdin().is_terminal() && !ctx.output.json && !confirmed("does the other device show it? [yes/no] ")?
    {
        return Err(Failure::Refused(
            "nothing was linked. Say no on the other device, too; somebody may stand between the two".into(),
        ));
    }
    let approval = ctx.ask_for(OTHER, |_| introduced.wait(LINK_PATIENCE, &|| false))?;
    let client = ctx.ask(|_| introduced.accept(&approval, &password))?;
    ctx.adopt(client.clone());
    ctx.begin();
    let settled = ctx.wait("coming into your groups", |slice| client.wait_settled(slice));
    match settled {
        Ok(()) | Err(Failure::Client(Error::Offline(_) | Error::TimedOut(_))) => {}
        Err(failure) => return Err(failure),
    }
    let Carried { messages, failed: unread, .. } = carry(ctx, &client, true)?;
    let line = LinkedLine::of(&client, messages, unread)?;
    let (name, groups, failed) = (&line.name, line.groups, line.failed);
    let text = format!(
        "@{name}: {} joined, {} transferred, {failed} failed",
        counted(groups as u64, "group"),
        counted(messages, "message")
    );
    ctx.output.show(&line, &text)
}

/// The device that takes in another one, from the command line.
fn take_in(ctx: &mut Ctx, code: &str, yes: bool, history: Option<bool>) -> Result<(), Failure> {
    let client = ctx.connected()?;
    let pending = ctx.ask_for(NEWCOMER, |timeout| client.link_offered(code, timeout)).map_err(silent)?;
    show(ctx, &pending)?;
    if !yes && !confirmed("does the new device show the same number? [yes/no] ")? {
        return Err(rejected());
    }
    let history = match history {
        Some(history) => history,
        None if yes || !is_with_person(ctx) => false,
        None => !declined("shall it get the messages that are here? [YES/no] ")?,
    };
    approve(ctx, &pending, history)
}

/// The same in the REPL: first the number, and then /link yes.
fn offered_in_repl(ctx: &mut Ctx, code: &str, yes: bool, history: Option<bool>) -> Result<(), Failure> {
    let client = ctx.client()?;
    let pending = ctx.ask_for(NEWCOMER, |timeout| client.link_offered(code, timeout)).map_err(silent)?;
    show(ctx, &pending)?;
    if yes {
        return approve(ctx, &pending, history.unwrap_or(false));
    }
    ctx.output.say(
        "if the new device shows the same number: /link yes --history, so that it gets the messages that are here, or \
         /link yes --no-history; otherwise /link no",
    )?;
    if let Some(session) = &mut ctx.session {
        session.pending_link = Some(pending);
    }
    Ok(())
}

fn answer(ctx: &mut Ctx, yes: bool, history: Option<bool>) -> Result<(), Failure> {
    let pending = ctx.session.as_mut().and_then(|session| session.pending_link.take());
    let pending = pending.ok_or_else(|| Failure::Refused("no device waits to be linked: /link CODE first".into()))?;
    let history = history.unwrap_or_else(|| is_with_person(ctx));
    if yes { approve(ctx, &pending, history) } else { Err(rejected()) }
}

fn show(ctx: &Ctx, pending: &PendingLink) -> Result<(), Failure> {
    let (number, device) = (pending.comparison(), sanitize::line(pending.device_name()));
    let text = format!("the new device is called {device}, and must show this number:\n\n    {number}\n");
    ctx.output.show(&LinkCompareLine::of_newcomer(pending), &text)
}

fn approve(ctx: &mut Ctx, pending: &PendingLink, history: bool) -> Result<(), Failure> {
    let client = ctx.client()?;
    ctx.ask(|timeout| client.link_approve(pending, history, timeout))?;
    let text = format!("{} is a device of yours now", sanitize::line(pending.device_name()));
    ctx.output.show(&DeviceLinkedLine::of(pending, history), &text)?;
    if history {
        let Carried { failed, .. } = carry(ctx, &client, true)?;
        if failed > 0 {
            ctx.output.note("the server does not take the history; the new device begins without earlier messages");
        }
    }
    Ok(())
}

/// Carries the histories that are on their way, to or from this device. What cannot be carried now is carried later.
fn carry(ctx: &Ctx, client: &Client, awaits: bool) -> Result<Carried, Failure> {
    let mut bar = Bar::new(&ctx.output, &ctx.signals, "history");
    let outcome = client.carry_histories(awaits, ctx.whole_timeout(), &mut |progress| bar.show(progress));
    drop(bar);
    if ctx.session.is_some() {
        ctx.signals.forget_interrupt();
    }
    match outcome {
        Ok(carried) => Ok(carried),
        Err(Error::Offline(_) | Error::TimedOut(_) | Error::Stopped) => {
            let text = "the history is not complete yet; the next command that connects goes on with it";
            if awaits {
                ctx.output.note(text);
            } else {
                ctx.output.detail(text);
            }
            Ok(Carried::default())
        }
        // What was asked now does not fail because of it.
        Err(error) if !awaits => {
            ctx.output.note(&format!(
                "the history of another device cannot be carried: {}",
                sanitize::line(&error.to_string())
            ));
            Ok(Carried::default())
        }
        Err(error) => Err(error.into()),
    }
}

/// Goes on with what an earlier command has begun.
pub fn go_on(ctx: &Ctx, client: &Client) -> Result<(), Failure> {
    if client.offline().is_some() || !client.has_history_under_way()? {
        return Ok(());
    }
    let Carried { received, messages, failed, .. } = carry(ctx, client, false)?;
    if received + failed > 0 {
        let messages = counted(messages, "message");
        ctx.output.note(&format!("the history of your other device: {messages} transferred, {failed} failed"));
    }
    Ok(())
}

fn is_with_person(ctx: &Ctx) -> bool {
    !ctx.output.json && io::stdin().is_terminal()
}

/// It is not the server that was too slow.
fn silent(failure: Failure) -> Failure {
    match failure {
        Failure::Client(Error::TimedOut(_)) => Failure::Refused(
            "the new device does not answer; begin again there with `qpq link`, and leave it running".into(),
        ),
        other => other,
    }
}

/// Only a plain no.
fn declined(question: &str) -> Result<bool, Failure> {
    Ok(matches!(answered(question)?.as_str(), "n" | "no"))
}

fn rejected() -> Failure {
    Failure::Refused(
        "nothing was linked. If the numbers were different, somebody may stand between the two devices: make another code"
            .into(),
    )
}

/// A line of standard input; the end of it is no yes.
pub fn confirmed(question: &str) -> Result<bool, Failure> {
    Ok(matches!(answered(question)?.as_str(), "y" | "yes"))
}

fn answered(question: &str) -> Result<String, Failure> {
    let mut error = io::stderr();
    // A question that cannot be shown is answered with no.
    let _ = write!(error, "{question}").and_then(|()| error.flush());
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::Refused(format!("cannot read standard input: {error}")))?;
    Ok(line.trim().to_lowercase())
}
