//! Feeding a device's sink. Backpressure is Cap'n Proto's: a push that exceeds the window waits for the device.

use std::time::Duration;

use capnp::capability::Promise;
use qpq_proto::generated::stream_capnp::event_sink;
use qpq_proto::stream::Position;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::service::stream::{Delivery, Heads, Pump, StreamEnd};

/// Runs until the stream ends; answers why, which ends the connection.
pub async fn run(source: Pump, sink: event_sink::Client) -> &'static str {
    let heads = source.heads();
    tokio::select! {
        reason = deliver(source, &sink) => reason,
        reason = beat(&heads, &sink) => reason,
    }
}

async fn deliver(mut source: Pump, sink: &event_sink::Client) -> &'static str {
    // The last notice, which the device may take its time to answer while entries go on.
    let mut notice: Option<Promise<(), capnp::Error>> = None;
    loop {
        let delivery = match source.next().await {
            Ok(delivery) => delivery,
            Err(refusal) => {
                tracing::warn!(%refusal, "a stream cannot be read");
                return "the stream cannot be read now, connect again";
            }
        };
        if !matches!(delivery, Delivery::Entries(_))
            && let Some(notice) = notice.take()
            && notice.await.is_err()
        {
            return SINK_FAILED;
        }
        match delivery {
            Delivery::Entries(entries) => {
                let mut request = sink.push_request();
                let mut list = request.get().init_entries(entries.len() as u32);
                for (index, entry) in (0..).zip(&entries) {
                    entry.write(list.reborrow().get(index));
                }
                if request.send().await.is_err() {
                    return SINK_FAILED;
                }
            }
            Delivery::CaughtUp(subscriptions) => {
                let mut request = sink.caught_up_request();
                request.get().set_subscriptions(subscriptions);
                notice = Some(answered(request.send().promise));
            }
            Delivery::KeyPackagesLow(left) => {
                let mut request = sink.key_packages_low_request();
                request.get().set_left(left);
                notice = Some(answered(request.send().promise));
            }
            Delivery::End(StreamEnd::Replaced) => return "this device has connected again",
        }
    }
}

async fn beat(heads: &Heads, sink: &event_sink::Client) -> &'static str {
    let mut ticks = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let positions = heads.positions();
        let mut request = sink.heartbeat_request();
        Position::write_list(&positions, request.get().init_heads(positions.len() as u32));
        match timeout(PATIENCE, request.send().promise).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return SINK_FAILED,
            Err(_) => return "no answer to a heartbeat",
        }
    }
}

fn answered<T: 'static>(promise: Promise<T, capnp::Error>) -> Promise<(), capnp::Error> {
    Promise::from_future(async move { promise.await.map(|_| ()) })
}

const HEARTBEAT: Duration = Duration::from_secs(20);

/// How long a device may take to answer a heartbeat.
const PATIENCE: Duration = Duration::from_secs(30);

const SINK_FAILED: &str = "the device's sink failed";
