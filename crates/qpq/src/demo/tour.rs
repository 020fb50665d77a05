//! The demo without a terminal: plays by itself, prints what each side sees, and checks every step.

use qpq_client::{ConversationId, EventKind, MessageId, Suite, Trust};

use super::bot::{self, Answer};
use super::side::{PATIENCE, Side, StepLine};
use super::world::World;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::safety_number;

/// The participants, and where the tour is.
struct Tour<'a> {
    ctx: &'a Ctx,
    step: usize,
    you: Side,
    echo: Side,
    carol: Side,
}

pub fn run(ctx: &Ctx, world: &World) -> Result<(), Failure> {
    headline(ctx, 1, &format!("a server on {}, certificate {}", world.address(), world.fingerprint()))?;
    headline(ctx, 2, "three people register: only a proof of the password leaves the device")?;
    let join = |name| {
        let side = Side::new(name, world.register(name)?)?;
        side.say(ctx, &format!("has identity {}…", side.identity.short()))?;
        Ok::<_, Failure>(side)
    };
    let mut tour = Tour { ctx, step: 2, you: join("you")?, echo: join("echo")?, carol: join("carol")? };
    let outcome = tour.play();
    for side in [tour.you, tour.echo, tour.carol] {
        side.client.close();
    }
    outcome?;
    ctx.output.show(&StepLine { kind: "done", side: None, text: "everything worked" }, "everything worked")
}

impl Tour<'_> {
    fn play(&mut self) -> Result<(), Failure> {
        self.direct_messages()?;
        let group = self.group_of_three()?;
        self.rename(group)?;
        self.safety_number()
    }

    fn direct_messages(&mut self) -> Result<(), Failure> {
        self.next("a direct message, and the answer")?;
        let ctx = self.ctx;
        let echo = self.you.find("echo")?;
        let conversation = self.you.client.direct(echo.identity)?;
        send(ctx, &self.you, conversation, HELLO)?;
        let arrived = self.echo.expect_text(ctx, HELLO)?;
        let Answer::Say(answer) = bot::answer(HELLO, self.you.name) else {
            return Err(Failure::Refused("it did not work: the bot has nothing to say".into()));
        };
        let back = arrived.conversation.map_or(ConversationId::Direct(self.you.identity), |place| place.id);
        send(ctx, &self.echo, back, &answer)?;
        self.you.expect_text(ctx, &answer)?;
        Ok(())
    }

    fn group_of_three(&mut self) -> Result<ConversationId, Failure> {
        self.next("a group of three, with post-quantum hybrid keys")?;
        let ctx = self.ctx;
        let members = [self.you.find("echo")?.identity, self.you.find("carol")?.identity];
        let (group, wish) = self.you.client.create_group("tour", &members, Suite::Hybrid)?;
        self.you.client.wait(wish, PATIENCE)?;
        self.you.say(ctx, "makes the group #tour")?;
        for side in [&mut self.echo, &mut self.carol] {
            side.expect(ctx, "that it was added", |event| matches!(event.kind, EventKind::Joined { .. }))?;
        }
        send(ctx, &self.you, group, WELCOME)?;
        self.echo.expect_text(ctx, WELCOME)?;
        let arrived = self.carol.expect_text(ctx, WELCOME)?;
        let there = arrived.conversation.map_or(group, |place| place.id);
        send(ctx, &self.carol, there, THANKS)?;
        self.you.expect_text(ctx, THANKS)?;
        self.echo.expect_text(ctx, THANKS)?;
        let info = self.you.client.group_info(group)?;
        check(info.members.len() == 3 && info.suite == Suite::Hybrid, "three members and the hybrid suite")?;
        self.you.say(ctx, &format!("reads the suite: {}", info.suite.description()))?;
        Ok(group)
    }

    fn rename(&mut self, group: ConversationId) -> Result<(), Failure> {
        self.next("a new name, which the server cannot read")?;
        let ctx = self.ctx;
        let wish = self.you.client.rename(group, NEW_NAME)?;
        self.you.client.wait(wish, PATIENCE)?;
        self.you.say(ctx, &format!("renames the group to #{NEW_NAME}"))?;
        for side in [&mut self.echo, &mut self.carol] {
            side.expect(
                ctx,
                "the new name",
                |event| matches!(&event.kind, EventKind::Renamed { name, .. } if name == NEW_NAME),
            )?;
            let titles = side.client.conversations()?;
            check(titles.iter().any(|one| one.title == NEW_NAME), "the new name in the list")?;
        }
        Ok(())
    }

    fn safety_number(&mut self) -> Result<(), Failure> {
        self.next("the safety number: both sides read the same 60 digits")?;
        let ctx = self.ctx;
        let yours = self.you.client.safety_number(self.echo.identity)?;
        let theirs = self.echo.client.safety_number(self.you.identity)?;
        for (side, number) in [(&self.you, &yours), (&self.echo, &theirs)] {
            for line in safety_number::lines(number) {
                side.say(ctx, &format!("reads {line}"))?;
            }
        }
        check(yours == theirs, "the same number on both sides")?;
        self.you.client.set_trust(self.echo.identity, Trust::Verified)?;
        check(self.you.find("echo")?.trust == Trust::Verified, "a verified contact")?;
        self.you.say(ctx, "marks @echo as verified")
    }

    fn next(&mut self, text: &str) -> Result<(), Failure> {
        if self.ctx.signals.ended() {
            return Err(Failure::Refused("the tour was interrupted".into()));
        }
        self.step += 1;
        headline(self.ctx, self.step, text)
    }
}

fn headline(ctx: &Ctx, step: usize, text: &str) -> Result<(), Failure> {
    let line = ctx.output.theme.bold(&format!("{step}. {text}"));
    ctx.output.show(&StepLine { kind: "step", side: None, text }, &line)
}

fn send(ctx: &Ctx, side: &Side, to: ConversationId, text: &str) -> Result<MessageId, Failure> {
    let message = side.client.send_text(to, text)?;
    side.client.wait_sent(message, PATIENCE)?;
    side.say(ctx, &format!("sends {text}"))?;
    Ok(message)
}

fn check(holds: bool, what: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Refused(format!("it did not work: expected {what}"))) }
}

const HELLO: &str = "hello";
const WELCOME: &str = "welcome, both of you";
const THANKS: &str = "thanks for having me";
const NEW_NAME: &str = "three musketeers";
