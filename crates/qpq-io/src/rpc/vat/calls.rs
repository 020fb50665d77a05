//! Which calls are open on a connection.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};

use capnp::capability::Promise;
use capnp_rpc::rpc_capnp::{call, message, message_target, payload, promised_answer, return_};
use futures::FutureExt;

/// Calls that a peer may have open on one connection: asked, and not answered or not yet forgotten by the caller (who holds
/// results or a pipeline). One more is refused as `overloaded`, without being looked at.
pub const MAX_OPEN_CALLS: usize = 256;

/// Refused calls that the caller has not acknowledged. A peer that goes on in spite of them loses the connection.
const MAX_REFUSED: usize = 64 * MAX_OPEN_CALLS;

/// Messages that the other end has caused, besides answers, and that are waiting to be written. Who causes more and does not
/// read them loses the connection.
const MAX_REACTIONS: usize = 4096;

/// Capabilities in one message; ours have one at most.
const MAX_CAPABILITIES: u32 = 64;

/// The calls of one connection that come from the other end.
#[derive(Default)]
pub(super) struct Calls {
    open: RefCell<HashMap<u32, Progress>>,
    refused: RefCell<HashSet<u32>>,
    /// Answers that are waiting to be written, oldest first: a peer that does not read must not pile them up.
    unwritten: RefCell<Unwritten>,
    /// Other messages that do.
    reactions: RefCell<Unwritten>,
    draining: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Running,
    Answered,
}

/// What an outgoing answer says about its call.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    question: u32,
    /// Whether the call stays open until the caller has finished with the results. Without capabilities in them there
    /// is nothing to finish, and the caller does not have to say so.
    expects_finish: bool,
}

impl Answer {
    pub(super) fn of(answer: return_::Reader<'_>) -> Self {
        Self { question: answer.get_answer_id(), expects_finish: !answer.get_no_finish_needed() }
    }
}

/// What to do with an incoming message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// Answer this question with this refusal, and forget it.
    Refuse(u32, Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    TooManyCalls,
    /// It builds on the result of a call that was refused.
    AfterRefused,
    ShuttingDown,
}

impl Calls {
    /// Takes note of a message from the other end.
    pub(super) fn incoming(&self, message: message::Reader<'_>) -> capnp::Result<Verdict> {
        if self.reactions.borrow_mut().count() > MAX_REACTIONS {
            return Err(capnp::Error::failed("the other end does not read what it causes".into()));
        }
        let question = match message.which() {
            Ok(message::Bootstrap(bootstrap)) => bootstrap?.get_question_id(),
            Ok(message::Call(call)) => {
                let call = call?;
                check_capabilities(call.get_params()?)?;
                let question = call.get_question_id();
                if self.refused.borrow().contains(&pipelined_on(call)?.unwrap_or(question)) {
                    return self.refuse(question, Refusal::AfterRefused);
                }
                question
            }
            Ok(message::Finish(finish)) => {
                let question = finish?.get_question_id();
                self.open.borrow_mut().remove(&question);
                self.refused.borrow_mut().remove(&question);
                return Ok(Verdict::Pass);
            }
            Ok(message::Return(answer)) => {
                match answer?.which() {
                    Ok(return_::Results(results)) => check_capabilities(results?)?,
                    Ok(return_::Exception(_) | return_::Canceled(())) => {}
                    _ => return Err(senseless()),
                }
                return Ok(Verdict::Pass);
            }
            Ok(
                message::Resolve(_)
                | message::Release(_)
                | message::Disembargo(_)
                | message::Unimplemented(_)
                | message::Abort(_),
            ) => return Ok(Verdict::Pass),
            // capnp-rpc would send them back as unimplemented, however large they are.
            _ => return Err(senseless()),
        };
        if self.draining.get() {
            return self.refuse(question, Refusal::ShuttingDown);
        }
        if self.count() >= MAX_OPEN_CALLS {
            return self.refuse(question, Refusal::TooManyCalls);
        }
        self.open.borrow_mut().insert(question, Progress::Running);
        Ok(Verdict::Pass)
    }

    /// Takes note of an answer of ours that has been queued; `written` resolves when it has left.
    pub(super) fn answered(&self, answer: Answer, written: Promise<(), capnp::Error>) {
        let mut open = self.open.borrow_mut();
        if !answer.expects_finish {
            open.remove(&answer.question);
        } else if let Some(progress) = open.get_mut(&answer.question) {
            *progress = Progress::Answered;
        }
        self.unwritten.borrow_mut().0.push_back(written);
    }

    /// Takes note of another message of ours that has been queued because of one from the other end.
    pub(super) fn reacted(&self, written: Promise<(), capnp::Error>) {
        self.reactions.borrow_mut().0.push_back(written);
    }

    /// From now on, refuse new calls.
    pub(super) fn drain(&self) {
        self.draining.set(true);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether new calls are refused and all the others have been answered.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.get()
            && self.unwritten() == 0
            && self.open.borrow().values().all(|progress| *progress == Progress::Answered)
    }

    fn count(&self) -> usize {
        self.unwritten().max(self.open.borrow().len())
    }

    fn unwritten(&self) -> usize {
        self.unwritten.borrow_mut().count()
    }

    fn refuse(&self, question: u32, refusal: Refusal) -> capnp::Result<Verdict> {
        let mut refused = self.refused.borrow_mut();
        if refused.len() >= MAX_REFUSED {
            return Err(capnp::Error::failed("too many calls after refusals".into()));
        }
        refused.insert(question);
        Ok(Verdict::Refuse(question, refusal))
    }
}

/// Messages that have been queued, oldest first.
#[derive(Default)]
struct Unwritten(VecDeque<Promise<(), capnp::Error>>);

impl Unwritten {
    fn count(&mut self) -> usize {
        // They are written in order, and only while the system is polled: no need to be woken for it.
        while let Some(oldest) = self.0.front_mut() {
            if oldest.now_or_never().is_none() {
                break;
            }
            self.0.pop_front();
        }
        self.0.len()
    }
}

/// Each capability is answered with a message when it is dropped.
fn check_capabilities(payload: payload::Reader<'_>) -> capnp::Result<()> {
    if payload.get_cap_table()?.len() > MAX_CAPABILITIES {
        return Err(capnp::Error::failed("too many capabilities in one message".into()));
    }
    Ok(())
}

fn senseless() -> capnp::Error {
    capnp::Error::failed("a message of a kind that this protocol does not have".into())
}

/// The question whose promised result a call is made on.
fn pipelined_on(call: call::Reader<'_>) -> capnp::Result<Option<u32>> {
    match call.get_target()?.which()? {
        message_target::PromisedAnswer(answer) => {
            let answer: promised_answer::Reader<'_> = answer?;
            Ok(Some(answer.get_question_id()))
        }
        message_target::ImportedCap(_) => Ok(None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use capnp::message::Builder;

    use super::*;

    fn incoming(calls: &Calls, fill: impl FnOnce(message::Builder<'_>)) -> Verdict {
        outcome(calls, fill).unwrap()
    }

    fn outcome(calls: &Calls, fill: impl FnOnce(message::Builder<'_>)) -> capnp::Result<Verdict> {
        let mut builder = Builder::new_default();
        fill(builder.init_root());
        calls.incoming(builder.get_root_as_reader().unwrap())
    }

    fn call(calls: &Calls, question: u32) -> Verdict {
        incoming(calls, |m| {
            let mut call = m.init_call();
            call.set_question_id(question);
            call.init_target().set_imported_cap(0);
        })
    }

    fn pipelined(calls: &Calls, question: u32, on: u32) -> Verdict {
        incoming(calls, |m| {
            let mut call = m.init_call();
            call.set_question_id(question);
            call.init_target().init_promised_answer().set_question_id(on);
        })
    }

    fn finish(calls: &Calls, question: u32) {
        incoming(calls, |m| m.init_finish().set_question_id(question));
    }

    fn full() -> Calls {
        let calls = Calls::default();
        for question in 0..MAX_OPEN_CALLS as u32 {
            assert_eq!(call(&calls, question), Verdict::Pass);
        }
        calls
    }

    #[test]
    fn too_many_are_refused_until_one_is_finished() {
        let calls = full();
        assert_eq!(call(&calls, 1000), Verdict::Refuse(1000, Refusal::TooManyCalls));
        finish(&calls, 7);
        assert_eq!(pipelined(&calls, 1001, 1000), Verdict::Refuse(1001, Refusal::AfterRefused));
        assert_eq!(pipelined(&calls, 1002, 1001), Verdict::Refuse(1002, Refusal::AfterRefused));
        finish(&calls, 1000);
        assert_eq!(call(&calls, 1000), Verdict::Pass);
        assert_eq!(call(&calls, 1003), Verdict::Refuse(1003, Refusal::TooManyCalls));
    }

    #[test]
    fn answers_that_nobody_reads_count() {
        let calls = full();
        let mut written = Vec::new();
        for question in 0..MAX_OPEN_CALLS as u32 {
            let (done, promise) = futures::channel::oneshot::channel::<()>();
            written.push(done);
            let promise = Promise::from_future(promise.map(|_| Ok(())));
            calls.answered(answer(question, true), promise);
            finish(&calls, question);
        }
        assert!(matches!(call(&calls, 1000), Verdict::Refuse(..)));
        drop(written);
        assert_eq!(call(&calls, 1001), Verdict::Pass);
    }

    #[test]
    fn answers_without_capabilities_need_no_finish() {
        let calls = full();
        calls.answered(answer(1, true), Promise::ok(()));
        assert!(matches!(call(&calls, 1000), Verdict::Refuse(..)));
        calls.answered(answer(2, false), Promise::ok(()));
        assert_eq!(call(&calls, 1001), Verdict::Pass);
    }

    #[test]
    fn what_would_only_be_echoed_ends_the_connection() {
        let calls = Calls::default();
        let refused: [fn(message::Builder<'_>); 5] = [
            |m| m.init_join().set_question_id(1),
            |m| m.init_provide().set_question_id(1),
            |m| m.init_accept().set_question_id(1),
            |m| m.init_return().set_results_sent_elsewhere(()),
            |m| m.init_return().set_take_from_other_question(1),
        ];
        for fill in refused {
            assert!(outcome(&calls, fill).is_err());
        }
        assert_eq!(incoming(&calls, |m| m.init_release().set_id(1)), Verdict::Pass);
        assert_eq!(incoming(&calls, |m| m.init_return().set_canceled(())), Verdict::Pass);
    }

    #[test]
    fn a_message_has_few_capabilities() {
        for (count, is_fine) in [(MAX_CAPABILITIES, true), (MAX_CAPABILITIES + 1, false)] {
            let of_a_call = outcome(&Calls::default(), |m| {
                let mut call = m.init_call();
                call.reborrow().init_target().set_imported_cap(0);
                call.init_params().init_cap_table(count);
            });
            let of_an_answer = outcome(&Calls::default(), |m| {
                m.init_return().init_results().init_cap_table(count);
            });
            assert_eq!((of_a_call.is_ok(), of_an_answer.is_ok()), (is_fine, is_fine));
        }
    }

    #[test]
    fn who_causes_messages_and_reads_none_is_left() {
        let calls = Calls::default();
        let release = || outcome(&calls, |m| m.init_release().set_id(1));
        let mut written = VecDeque::new();
        for _ in 0..=MAX_REACTIONS {
            assert!(release().is_ok());
            let (done, promise) = futures::channel::oneshot::channel::<()>();
            written.push_back(done);
            calls.reacted(Promise::from_future(promise.map(|_| Ok(()))));
        }
        assert!(release().is_err());
        written.pop_front();
        assert!(release().is_ok());
    }

    #[test]
    fn draining_waits_for_running_calls_only() {
        let calls = Calls::default();
        call(&calls, 1);
        call(&calls, 2);
        calls.answered(answer(1, true), Promise::ok(()));
        assert!(!calls.is_drained());
        calls.drain();
        assert!(!calls.is_drained());
        assert_eq!(call(&calls, 3), Verdict::Refuse(3, Refusal::ShuttingDown));
        calls.answered(answer(2, true), Promise::ok(()));
        assert!(calls.is_drained());
    }

    fn answer(question: u32, expects_finish: bool) -> Answer {
        Answer { question, expects_finish }
    }
}
