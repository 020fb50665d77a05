//! Application messages: opaque to the server but for the group and epoch that they name.

use openmls::framing::ContentType;
use openmls::prelude::{MlsMessageBodyIn, MlsMessageIn, ProtocolMessage};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{Post, PostOutcome};
use qpq_proto::ids::{ContentHash, GroupId};
use qpq_proto::limits;
use tls_codec::DeserializeBytes as _;

use crate::service::stream::mailbox::Whisper;
use crate::service::{Caller, Service, blobs, refuse};
use crate::store::group::{NewPost, PostResult};

impl Service {
    /// Appends a message to the group's log. Repeating it gives the same answer.
    pub async fn post(&self, caller: &Caller, id: GroupId, post: Post) -> Result<PostOutcome, Refusal> {
        let bytes = post.payload.len() as u64;
        let outcome = self.try_post(caller, id, post).await;
        let label = match &outcome {
            Ok(PostOutcome::Accepted(_)) => {
                self.metrics.posted_bytes.inc_by(bytes);
                "accepted"
            }
            Ok(PostOutcome::StaleEpoch(_)) => "stale_epoch",
            Err(_) => "refused",
        };
        self.metrics.posts.with_label_values(&[label]).inc();
        outcome
    }

    /// Passes a whisper on to the members' devices that are online; nothing of it is kept.
    pub fn whisper(&self, caller: &Caller, group: GroupId, payload: &[u8]) -> Result<(), Refusal> {
        if payload.len() > limits::WHISPER {
            return Err(refuse::too_large("whisper", limits::WHISPER));
        }
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        let whisper = Whisper { group, payload: payload.into() };
        if self.hub.whisper(caller.device, &whisper) { Ok(()) } else { Err(refuse::no_such_group()) }
    }

    async fn try_post(&self, caller: &Caller, id: GroupId, post: Post) -> Result<PostOutcome, Refusal> {
        let most = self.options.limits.max_message.0;
        if post.payload.len() > most {
            return Err(refuse::too_large("limits.max_message", most));
        }
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        check_header(id, &post)?;
        let now = self.clock.now();
        let new = NewPost {
            group: id,
            sender: caller.device,
            epoch: post.epoch,
            hash: ContentHash::of(&post.payload),
            payload: post.payload,
            expires: post.expires_at,
            blobs: post.blobs.into_iter().map(blobs::name).collect(),
            blobs_until: self.blobs_until(now, post.expires_at),
        };
        match self.store.post(new, now).await? {
            PostResult::Accepted(seq) => Ok(PostOutcome::Accepted(seq)),
            PostResult::StaleEpoch(head) => Ok(PostOutcome::StaleEpoch(head)),
            PostResult::NotMember => Err(refuse::no_such_group()),
            PostResult::BlobMissing => {
                Err(Refusal::new(Code::NotFound, "the file is not on the server any more; send it again"))
            }
            PostResult::Quota(limit) => Err(refuse::quota(limit)),
        }
    }
}

/// The ciphertext is for this group and epoch, and no handshake: those come as commits.
fn check_header(id: GroupId, post: &Post) -> Result<(), Refusal> {
    let invalid = || Refusal::new(Code::Invalid, "not an application message of this group and epoch");
    let message = MlsMessageIn::tls_deserialize_exact_bytes(&post.payload).map_err(|_| invalid())?;
    let MlsMessageBodyIn::PrivateMessage(message) = message.extract() else {
        return Err(invalid());
    };
    let message = ProtocolMessage::from(message);
    let fits = message.group_id().as_slice() == id.0
        && message.epoch().as_u64() == post.epoch.0
        && message.content_type() == ContentType::Application;
    if fits { Ok(()) } else { Err(invalid()) }
}
