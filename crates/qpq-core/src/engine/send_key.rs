//! Messages that their author names, so that one that is sent again after a crash is the same one.

use hkdf::Hkdf;
use qpq_proto::ids::MessageId;
use sha2::Sha256;

use crate::error::Error;
use crate::store::rows::{AccountRow, conversation_key};
use crate::view::ConversationId;

/// The message that `key` stands for in a conversation. Derived from a secret of the device: nobody else can tell which
/// id comes next, and take it first.
pub fn message_id(account: &AccountRow, conversation: ConversationId, key: &str) -> Result<MessageId, Error> {
    if key.is_empty() || key.len() > LONGEST {
        return Err(Error::BadInput(format!("the key of a message has 1 to {LONGEST} bytes")));
    }
    let mut id = [0; 16];
    let place = conversation_key(conversation);
    let derived = Hkdf::<Sha256>::new(Some(DOMAIN), &account.device_key)
        .expand_multi_info(&[&(place.len() as u64).to_be_bytes(), &place, key.as_bytes()], &mut id);
    derived.map_err(|_| Error::BadInput("no message id can be derived".into()))?;
    Ok(MessageId(id))
}

const DOMAIN: &[u8] = b"qpq message key 1";
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use qpq_proto::ids::GroupId;

    use super::*;

    #[test]
    fn a_key_stands_for_one_message_of_one_device_in_one_conversation() {
        let account = |name: &str| crate::account::generate(&name.parse().expect("a name"), "laptop").expect("keys");
        let (alice, bob) = (account("alice"), account("bob"));
        let (here, there) = (ConversationId::Group(GroupId([1; 16])), ConversationId::Group(GroupId([2; 16])));
        let id = |account, place, key| message_id(account, place, key).expect("a key");
        let first = id(&alice, here, "1");
        assert_eq!(first, id(&alice, here, "1"));
        for other in [id(&alice, here, "2"), id(&alice, there, "1"), id(&bob, here, "1")] {
            assert_ne!(first, other);
        }
        assert!(message_id(&alice, here, "").is_err() && message_id(&alice, here, &"k".repeat(257)).is_err());
    }
}
