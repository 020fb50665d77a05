//! The REPL at a terminal.
//!
//! The history of typed lines stays in memory: written to the profile's directory it would be plaintext beside an
//! encrypted database.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use qpq_client::{Client, Error};
use reedline::{
    ColumnarMenu, EditCommand, Emacs, ExternalPrinter, KeyCode, KeyModifiers, MenuBuilder as _, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, default_emacs_keybindings,
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::complete::ChatCompleter;
use super::feed::Feed;
use super::highlight::ChatHighlighter;
use super::hint::ChatHinter;
use super::printer::Printer;
use super::prompt::ChatPrompt;
use super::session::Session;
use super::shared::Shared;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::wait::Wait;

/// Reads until `/quit`, Ctrl-D, or a signal.
pub fn run(ctx: &mut Ctx, client: &Client, shared: Arc<Shared>, first: Option<&str>) -> Result<(), Failure> {
    ctx.signals.listen();
    ctx.begin();
    ctx.connect_within(PATIENCE)?;
    ctx.signals.forget_interrupt();
    ctx.session = Some(Session::new(Arc::clone(&shared), true));
    welcome(ctx, client, first)?;
    let mut editor = editor(ctx, &shared);
    let external = ExternalPrinter::new(0);
    let repaint = editor.repaint_signal();
    let printer = Printer::Editor(external.sender(), Box::new(move || repaint.request_repaint()));
    let feed = Feed::start(client, &shared, &ctx.output, printer)?;
    let mut editor = editor.with_external_printer(external);
    let outcome = read(ctx, client, &mut editor, &feed);
    // Without its receiver the event thread cannot be stuck, and does not acknowledge what was not shown.
    drop(editor);
    let printed = feed.finish();
    outcome.and(goodbye(ctx, client)).and(printed)
}

fn welcome(ctx: &mut Ctx, client: &Client, first: Option<&str>) -> Result<(), Failure> {
    if let Some(line) = first {
        return super::execute(ctx, line);
    }
    let me = client.whoami()?;
    let status = client.status()?;
    let theme = ctx.output.theme;
    ctx.output.line(&format!("{} — /help shows what there is, Ctrl-D leaves", theme.bold(&format!("@{}", me.name))))?;
    if !status.online {
        let detail = crate::view::sanitize::line(&status.detail);
        ctx.output.line(&theme.event(&format!("— offline: {detail}; what you write goes out later —")))?;
    }
    if status.conversations == 0 {
        return ctx.output.line("begin with /dm @somebody, or with /create-group NAME @somebody");
    }
    super::execute(ctx, "/list")
}

fn read(ctx: &mut Ctx, client: &Client, editor: &mut Reedline, feed: &Feed) -> Result<(), Failure> {
    let Some(shared) = ctx.session.as_ref().map(|session| Arc::clone(&session.shared)) else { return Ok(()) };
    let prompt = ChatPrompt::new(shared);
    while !feed.has_ended() {
        if let Some(session) = &mut ctx.session {
            super::refresh(client, session)?;
            if let Some(draft) = session.draft.take() {
                editor.run_edit_commands(&[EditCommand::InsertString(draft)]);
            }
        }
        match editor.read_line(&prompt) {
            Ok(Signal::Success(line)) => perform(ctx, &prompt, &line)?,
            Ok(Signal::CtrlC) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(Failure::Refused(format!("the terminal cannot be read: {error}"))),
        }
        if ctx.session.as_ref().is_some_and(|session| session.quit) {
            return Ok(());
        }
    }
    Ok(())
}

/// One line; what goes wrong is told, and the REPL goes on.
fn perform(ctx: &mut Ctx, prompt: &ChatPrompt, line: &str) -> Result<(), Failure> {
    let is_text = !line.starts_with('/') || line.starts_with("//");
    let rows = if is_text { rows(line, prompt.width(), ctx.output.width()) } else { None };
    if let Some(session) = &mut ctx.session {
        session.typed_rows = rows;
    }
    match super::execute(ctx, line) {
        Err(failure) if failure.is_closed_pipe() => Err(failure),
        Err(failure) => {
            let text = failure.text().unwrap_or_default();
            ctx.output.line(&ctx.output.theme.alarm(&text))
        }
        Ok(()) => Ok(()),
    }
}

/// How many rows the typed line takes on the screen; unknown when that depends on how the terminal wraps.
fn rows(line: &str, prompt: usize, width: usize) -> Option<usize> {
    let is_simple = line.chars().all(|c| c.width() == Some(1));
    let cells = prompt + line.width();
    let knows_escapes = env::var_os("TERM").is_some_and(|term| term != "dumb");
    (is_simple && knows_escapes && !cells.is_multiple_of(width)).then_some(cells / width + 1)
}

fn editor(ctx: &Ctx, shared: &Arc<Shared>) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let menu = || MENU.to_owned();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(menu()), ReedlineEvent::MenuNext]),
    );
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, ReedlineEvent::Edit(vec![EditCommand::InsertNewline]));
    Reedline::create()
        .with_ansi_colors(ctx.output.theme.is_coloured())
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_completer(Box::new(ChatCompleter::new(Arc::clone(shared))))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU))))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_highlighter(Box::new(ChatHighlighter::new(Arc::clone(shared))))
        .with_hinter(Box::new(ChatHinter::default()))
        .with_break_signal(ctx.signals.editor_flag())
        .with_poll_interval(POLL)
        .use_bracketed_paste(true)
}

/// Gives what has just been written a moment to go out.
fn goodbye(ctx: &mut Ctx, client: &Client) -> Result<(), Failure> {
    if client.status()?.waiting == 0 {
        return Ok(());
    }
    let wait = Wait { what: "sending", timeout: PATIENCE, output: &ctx.output, signals: &ctx.signals };
    match wait.run(|slice| client.wait_settled(slice)) {
        Ok(()) => Ok(()),
        Err(Error::Offline(_) | Error::TimedOut(_)) => {
            let waiting = client.status()?.waiting;
            ctx.output.note(&format!("{waiting} still to be sent: stored, and goes out with the next connection"));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

const MENU: &str = "completion";
/// Nobody wants to wait longer for a server that does not answer: it comes when it comes.
const PATIENCE: Duration = Duration::from_secs(3);
/// How soon an arriving message appears.
const POLL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_rows_are_known_for_simple_lines_only() {
        if env::var_os("TERM").is_none_or(|term| term == "dumb") {
            return;
        }
        assert_eq!(rows("hello", 6, 80), Some(1));
        assert_eq!(rows(&"x".repeat(80), 6, 80), Some(2));
        assert_eq!(rows(&"x".repeat(74), 6, 80), None);
        assert_eq!(rows("漢字", 6, 80), None);
        assert_eq!(rows("two\nlines", 6, 80), None);
    }
}
