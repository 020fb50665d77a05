//! The commands: one file each, with its arguments, its help (the doc comments) and what it does.
//!
//! The same [`Command`] is parsed from the command line and from the lines of the REPL.

mod block;
mod change_password;
mod completions;
mod contact;
mod delete_account;
mod demo;
mod devices;
mod doctor;
mod download;
mod export;
pub mod group;
mod help;
mod history;
mod link;
mod list;
mod login;
mod man;
mod message;
mod recover;
mod recovery;
mod recv;
mod register;
mod repl;
mod requests;
pub mod send;
mod send_file;
mod settings;
mod status;
mod sync;
mod trust;
mod unlink;
mod verify;
mod whoami;

mod dm;
mod join;
mod quit;
mod search;
mod switch;

use std::process::ExitCode;

use clap::Subcommand;

use crate::args::Cli;
use crate::context::Ctx;
use crate::exit::{self, Failure};

pub use link::go_on as go_on_with_history;

/// Everything that `qpq` can do.
#[derive(Subcommand)]
pub enum Command {
    Demo(demo::Demo),
    Repl(repl::Repl),
    Register(register::Register),
    Login(login::Login),
    Whoami(whoami::Whoami),
    Send(send::Send),
    SendFile(send_file::SendFile),
    Download(download::Download),
    Recv(recv::Recv),
    #[command(subcommand)]
    Group(group::Command),
    List(list::List),
    History(history::History),
    Sync(sync::Sync),
    Verify(verify::Verify),
    Trust(trust::Trust),
    Status(status::Status),
    Contact(contact::Contact),
    Export(export::Export),
    Man(man::Man),
    Reply(message::reply::Reply),
    React(message::react::React),
    Edit(message::edit::Edit),
    Delete(message::delete::Delete),
    Info(message::info::Info),
    Requests(requests::Requests),
    Accept(requests::Accept),
    Block(block::Block),
    Unblock(block::Unblock),
    Mute(settings::Mute),
    TypingNotify(settings::TypingNotify),
    Disappear(settings::Disappear),
    Doctor(doctor::Doctor),
    Devices(devices::Devices),
    Link(link::Link),
    Unlink(unlink::Unlink),
    ChangePassword(change_password::ChangePassword),
    Recovery(recovery::Recovery),
    Recover(recover::Recover),
    DeleteAccount(delete_account::DeleteAccount),
    Completions(completions::Completions),
    Help(help::Help),
    // Only meaningful where there is a current conversation.
    #[command(hide = true)]
    Dm(dm::Dm),
    #[command(hide = true)]
    Join(join::Join),
    #[command(hide = true)]
    Switch(switch::Switch),
    #[command(hide = true)]
    Search(search::Search),
    #[command(hide = true)]
    Quit(quit::Quit),
}

impl Command {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        match self {
            Self::Demo(command) => command.run(ctx),
            Self::Repl(command) => command.run(ctx),
            Self::Register(command) => command.run(ctx),
            Self::Login(command) => command.run(ctx),
            Self::Whoami(command) => command.run(ctx),
            Self::Send(command) => command.run(ctx),
            Self::SendFile(command) => command.run(ctx),
            Self::Download(command) => command.run(ctx),
            Self::Recv(command) => command.run(ctx),
            Self::Group(command) => command.run(ctx),
            Self::List(command) => command.run(ctx),
            Self::History(command) => command.run(ctx),
            Self::Sync(command) => command.run(ctx),
            Self::Verify(command) => command.run(ctx),
            Self::Trust(command) => command.run(ctx),
            Self::Status(command) => command.run(ctx),
            Self::Contact(command) => command.run(ctx),
            Self::Export(command) => command.run(ctx),
            Self::Man(command) => command.run(ctx),
            Self::Reply(command) => command.run(ctx),
            Self::React(command) => command.run(ctx),
            Self::Edit(command) => command.run(ctx),
            Self::Delete(command) => command.run(ctx),
            Self::Info(command) => command.run(ctx),
            Self::Requests(command) => command.run(ctx),
            Self::Accept(command) => command.run(ctx),
            Self::Block(command) => command.run(ctx),
            Self::Unblock(command) => command.run(ctx),
            Self::Mute(command) => command.run(ctx),
            Self::TypingNotify(command) => command.run(ctx),
            Self::Disappear(command) => command.run(ctx),
            Self::Doctor(command) => command.run(ctx),
            Self::Devices(command) => command.run(ctx),
            Self::Link(command) => command.run(ctx),
            Self::Unlink(command) => command.run(ctx),
            Self::ChangePassword(command) => command.run(ctx),
            Self::Recovery(command) => command.run(ctx),
            Self::Recover(command) => command.run(ctx),
            Self::DeleteAccount(command) => command.run(ctx),
            Self::Completions(command) => command.run(ctx),
            Self::Help(command) => command.run(ctx),
            Self::Dm(command) => command.run(ctx),
            Self::Join(command) => command.run(ctx),
            Self::Switch(command) => command.run(ctx),
            Self::Search(command) => command.run(ctx),
            Self::Quit(command) => command.run(ctx),
        }
    }
}

/// Runs a command from the command line to its end.
pub fn execute(cli: Cli) -> ExitCode {
    let mut ctx = Ctx::new(cli.global);
    let outcome = cli.command.run(&mut ctx);
    let code = exit::conclude(outcome);
    ctx.close();
    code
}

/// For commands that need the REPL's state.
fn repl_only(name: &str) -> Failure {
    Failure::Usage(format!("`{name}` is a command of the REPL; start it with `qpq repl`"))
}
