//! Feeding a device's sink. Backpressure is Cap'n Proto's: a push that exceeds the window waits for the device.

use std::collections::VecDeque;
use std::time::Duration;

use capnp::capability::Promise;
use qpq_proto::generated::stream_capnp::event_sink;
use qpq_proto::stream::Position;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::connection::{Connection, SignsOfLife};
use crate::service::stream::{Delivery, Pump, StreamEnd};

/// Runs until the stream ends; answers why, which ends the connection. `in_push`: whether the device understands that a push
/// is the last one for now.
pub async fn run(source: Pump, sink: event_sink::Client, in_push: bool, connection: &Connection) -> &'static str {
    let (heads, signs_of_life) = (source.heads(), connection.signs_of_life());
    tokio::select! {
        reason = deliver(source, &sink, in_push, connection) => reason,
        reason = beat(&sink, || heads.positions(), &RHYTHM) => reason,
        reason = listen(&signs_of_life, &RHYTHM) => reason,
    }
}

async fn deliver(mut source: Pump, sink: &event_sink::Client, in_push: bool, connection: &Connection) -> &'static str {
    // Oldest first. The device may take its time to answer them while entries go on.
    let mut notices: VecDeque<Promise<(), capnp::Error>> = VecDeque::new();
    loop {
        let delivery = match source.next().await {
            Ok(delivery) => delivery,
            Err(refusal) => {
                tracing::warn!(%refusal, "a stream cannot be read");
                return "the stream cannot be read now, connect again";
            }
        };
        let is_notice = match &delivery {
            Delivery::Entries { caught_up, .. } => caught_up.is_some() && !in_push,
            _ => true,
        };
        if is_notice
            && notices.len() == UNANSWERED_NOTICES
            && let Some(oldest) = notices.pop_front()
            && oldest.await.is_err()
        {
            return SINK_FAILED;
        }
        match delivery {
            Delivery::Entries { entries, caught_up } => {
                let mut request = sink.push_request();
                if in_push {
                    request.get().set_caught_up(caught_up.unwrap_or(0));
                }
                let mut list = request.get().init_entries(entries.len() as u32);
                for (index, entry) in (0..).zip(&entries) {
                    let (builder, echo) = (list.reborrow().get(index), connection.echoes().borrow_mut().take(entry));
                    match echo {
                        Some(hash) => entry.write_echo(builder, hash),
                        None => entry.write(builder),
                    }
                }
                if request.send().await.is_err() {
                    return SINK_FAILED;
                }
                if let Some(subscriptions) = caught_up.filter(|_| !in_push) {
                    notices.push_back(tell_caught_up(sink, subscriptions));
                }
            }
            Delivery::CaughtUp(subscriptions) => notices.push_back(tell_caught_up(sink, subscriptions)),
            Delivery::KeyPackagesLow(left) => {
                let mut request = sink.key_packages_low_request();
                request.get().set_left(left);
                notices.push_back(answered(request.send().promise));
            }
            Delivery::Whisper(whisper) => {
                let mut request = sink.whisper_request();
                request.get().set_group(&whisper.group.0);
                request.get().set_payload(&whisper.payload);
                notices.push_back(answered(request.send().promise));
            }
            Delivery::End(StreamEnd::Replaced) => return "this device has connected again",
        }
    }
}

fn tell_caught_up(sink: &event_sink::Client, subscriptions: u32) -> Promise<(), capnp::Error> {
    let mut request = sink.caught_up_request();
    request.get().set_subscriptions(subscriptions);
    answered(request.send().promise)
}

/// Ends when a device answers no heartbeat although its packets come.
async fn beat(sink: &event_sink::Client, heads: impl Fn() -> Vec<Position>, rhythm: &Rhythm) -> &'static str {
    let mut ticks = interval_at(Instant::now() + rhythm.heartbeat, rhythm.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let positions = heads();
        let mut request = sink.heartbeat_request();
        Position::write_list(&positions, request.get().init_heads(positions.len() as u32));
        match timeout(rhythm.patience, request.send().promise).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return SINK_FAILED,
            Err(_) => return UNANSWERED,
        }
    }
}

/// Ends when no packet has come for a while. What waits to be sent does not put it off, as it does QUIC's idle timeout.
async fn listen(signs_of_life: &SignsOfLife, rhythm: &Rhythm) -> &'static str {
    let mut looks = interval_at(Instant::now() + rhythm.look, rhythm.look);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard, mut silent) = (signs_of_life(), 0);
    while silent < rhythm.silent_looks {
        looks.tick().await;
        let now = signs_of_life();
        silent = if now == heard { silent + 1 } else { 0 };
        heard = now;
    }
    SILENT
}

fn answered<T: 'static>(promise: Promise<T, capnp::Error>) -> Promise<(), capnp::Error> {
    Promise::from_future(async move { promise.await.map(|_| ()) })
}

/// How a device that is gone is found out about.
struct Rhythm {
    heartbeat: Duration,
    /// How long a device may take to answer one: on a slow connection it waits behind what is being pushed.
    patience: Duration,
    look: Duration,
    /// So many looks in a row at which nothing was heard of it.
    silent_looks: u32,
}

/// Clients keep themselves alive every 15 s, so 20 s without a packet are the end, also for one whose address has changed
/// and who has to speak first.
const RHYTHM: Rhythm = Rhythm {
    heartbeat: Duration::from_secs(20),
    patience: Duration::from_secs(30),
    look: Duration::from_secs(5),
    silent_looks: 4,
};

/// Notices that a device may leave unanswered before the next one waits: more than it ever lets gather.
const UNANSWERED_NOTICES: usize = 32;

const UNANSWERED: &str = "no answer to a heartbeat";

const SILENT: &str = "nothing was heard of the device";

const SINK_FAILED: &str = "the device's sink failed";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Answers so many heartbeats, and then none.
    struct Device(Cell<u32>);

    impl event_sink::Server for Device {
        async fn heartbeat(
            self: Rc<Self>,
            _: event_sink::HeartbeatParams,
            _: event_sink::HeartbeatResults,
        ) -> Result<(), capnp::Error> {
            match self.0.get().checked_sub(1) {
                Some(left) => self.0.set(left),
                None => std::future::pending().await,
            }
            Ok(())
        }
    }

    const SHORT: Duration = Duration::from_millis(20);

    const QUICK: Rhythm = Rhythm { heartbeat: SHORT, patience: Duration::from_secs(1), look: SHORT, silent_looks: 3 };

    fn end(future: impl Future<Output = &'static str>) -> &'static str {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    #[test]
    fn a_device_that_does_not_answer_heartbeats_loses_its_stream() {
        for answers in [0, 3] {
            let device = Rc::new(Device(Cell::new(answers)));
            let sink = || capnp_rpc::new_client_from_rc::<event_sink::Client, _>(device.clone());
            assert_eq!(end(async { beat(&sink(), Vec::new, &QUICK).await }), UNANSWERED);
            assert_eq!(device.0.get(), 0, "as long as it answers it stays");
        }
    }

    #[test]
    fn a_device_that_nothing_is_heard_of_loses_its_stream() {
        let heard = Rc::new(Cell::new(0));
        let signs_of_life: SignsOfLife = {
            let heard = heard.clone();
            Rc::new(move || {
                heard.set(heard.get() + 1);
                heard.get().min(10)
            })
        };
        assert_eq!(end(async { listen(&signs_of_life, &QUICK).await }), SILENT);
        assert_eq!(heard.get(), 10 + u64::from(QUICK.silent_looks), "as long as something is heard it stays");
    }
}
