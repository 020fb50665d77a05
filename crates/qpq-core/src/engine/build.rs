//! From wishes to MLS operations and requests.

use std::time::Duration;

use qpq_proto::content::{Content, WelcomeBundle};
use qpq_proto::groups::{Commit, GroupKind, GroupState, NewGroup, Post, SealedWelcome, Who};
use qpq_proto::ids::{ContentHash, Epoch, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_trust::group as trust_group;
use qpq_trust::suite::Suite;
use tls_codec::Serialize as _;

use super::annotate::{about, content_of};
use super::claims::{Newcomer, Newcomers};
use super::commands::{kind_of, random};
use super::ctx::Ctx;
use super::drive::Progress;
use crate::crypto::{envelope, group_name};
use crate::error::Error;
use crate::mls::commit::{Built, Changes, build};
use crate::mls::{Provider, group, welcome};
use crate::request::{Purpose, Request};
use crate::store::rows::{GroupRow, OwnRow, PendingCommit, Row as _, WishKind, WishRef, WishRow};
use crate::view::{ConversationId, ConversationState};

impl Ctx<'_> {
    /// Makes a group and adds its first members in the same request.
    pub(super) fn start_group(
        &mut self,
        wish: &WishRow,
        reference: WishRef,
        suite: u16,
        name: &str,
        members: &[IdentityId],
    ) -> Result<Progress, Error> {
        // The other devices of this identity are in from the beginning.
        let mut members = members.to_vec();
        if self.has_siblings()? {
            members.push(self.account.identity);
        }
        let claims = self.claim(reference, suite, &members)?;
        if !claims.is_empty() {
            return Ok(Progress::InFlight(claims));
        }
        let newcomers = match self.newcomers(wish, reference, &members, suite)? {
            Newcomers::All(newcomers) => newcomers,
            Newcomers::Not(progress) => return Ok(progress),
        };
        let id = match wish.conversation {
            ConversationId::Group(group) => group,
            ConversationId::Direct(_) => GroupId(random()?),
        };
        let kind = kind_of(wish.conversation);
        let name_key = random()?;
        let state = GroupState {
            kind,
            admins: match kind {
                GroupKind::Group => vec![self.account.identity],
                GroupKind::Direct => vec![],
            },
            add: Who::Members,
            remove: Who::Admins,
            rename: Who::Members,
            name: if name.is_empty() { vec![] } else { group_name::seal_name(&name_key, id, name)? },
            name_key: vec![],
            expires_after: None,
        };
        let provider = Provider::new(self.crypto, &mut *self.store);
        let mut mls = group::create(&provider, &self.myself, id, Suite::try_from(suite)?, &state)?;
        let (group_info, ratchet_tree) = group::public_state(&provider, &self.myself, &mls)?;
        let mut row = GroupRow {
            group: id,
            conversation: wish.conversation,
            kind,
            name: name.to_owned(),
            name_key,
            suite,
            state: ConversationState::Starting,
            cursor: Seq(0),
            pending: None,
            wait_for: Epoch(0),
            leaving: vec![],
            awaiting: vec![],
            joined_by: None,
            expires_after: None,
            joined: Epoch(0),
            was_in: false,
            refreshed: self.now,
        };
        let first = if newcomers.is_empty() {
            None
        } else {
            let changes = Changes {
                add: newcomers.iter().map(|newcomer| newcomer.package.clone()).collect(),
                ..Changes::default()
            };
            let built = build(&provider, &self.myself, &mut mls, changes)?;
            Some(self.commit_request(&row, Epoch(0), built, &newcomers)?)
        };
        let hash = first.as_ref().map(|first| ContentHash::of(&first.commit));
        let request = Request::Create(NewGroup { group_info, ratchet_tree, first });
        let request = self.request(request, Purpose::Create { wish: reference, group: id })?;
        row.pending = hash.map(|hash| PendingCommit { hash, request, wish: reference, accepted: None });
        row.save(self.store)?;
        self.keep_mls(id, mls);
        if matches!(wish.conversation, ConversationId::Group(_)) {
            let mut conversation = self.conversation(wish.conversation)?;
            conversation.group = Some(id);
            conversation.save(self.store)?;
        }
        Ok(Progress::InFlight(vec![request]))
    }

    /// Encrypts a message for the current epoch.
    pub(super) fn post(&mut self, row: GroupRow, reference: WishRef, message: MessageId) -> Result<Progress, Error> {
        match self.store.message(row.conversation, self.account.identity, message)? {
            Some(mut stored) => {
                let expires_after = row.expires_after.map(Duration::from_millis);
                let mut content = content_of(&stored)?;
                if content.expires_after != expires_after {
                    content.expires_after = expires_after;
                    stored.content = content.encode();
                    self.store.update_message(&stored)?;
                }
                self.post_content(&row, reference, message, &stored.content, expires_after)
            }
            None => Ok(Progress::Done),
        }
    }

    /// Encrypts something that is not for people.
    pub(super) fn tell(&mut self, row: GroupRow, reference: WishRef, content: &[u8]) -> Result<Progress, Error> {
        self.post_content(&row, reference, MessageId(random()?), content, None)
    }

    pub(super) fn post_content(
        &mut self,
        row: &GroupRow,
        reference: WishRef,
        message: MessageId,
        content: &[u8],
        expires_after: Option<Duration>,
    ) -> Result<Progress, Error> {
        let mut mls = self.take_mls(row.group)?;
        let provider = Provider::new(self.crypto, &mut *self.store);
        let message_out = mls.create_message(&provider, &self.myself, content).map_err(Error::mls)?;
        let payload = message_out.tls_serialize_detached().map_err(Error::mls)?;
        let epoch = group::epoch(&mls);
        self.keep_mls(row.group, mls);
        let hash = ContentHash::of(&payload);
        let (blobs, about) =
            Content::decode(content).map(|content| (content.blobs(), about(&content.body))).unwrap_or_default();
        let expires_at = expires_after.map(|after| self.there(self.now).after(after));
        let request = Request::Post { group: row.group, post: Post { epoch, payload, expires_at, blobs } };
        let request = self.request(request, Purpose::Post { wish: reference, group: row.group, hash })?;
        OwnRow { hash, message, wish: reference, request, accepted: None, about }.save(self.store)?;
        Ok(Progress::InFlight(vec![request]))
    }

    /// Signs the wish to leave.
    pub(super) fn leave(&mut self, row: GroupRow, reference: WishRef) -> Result<Progress, Error> {
        let mut mls = self.take_mls(row.group)?;
        let provider = Provider::new(self.crypto, &mut *self.store);
        let proposal = mls.leave_group(&provider, &self.myself).map_err(Error::mls)?;
        let proposal = proposal.tls_serialize_detached().map_err(Error::mls)?;
        let epoch = group::epoch(&mls);
        // Only the server's log decides: the proposal must not stay in the group and block its messages.
        mls.clear_pending_proposals(openmls::prelude::OpenMlsProvider::storage(&provider))?;
        self.keep_mls(row.group, mls);
        let request = Request::Leave { group: row.group, epoch, proposal };
        let request = self.request(request, Purpose::Leave { wish: reference, group: row.group })?;
        Ok(Progress::InFlight(vec![request]))
    }

    /// Builds the commit that carries out a change of the group.
    pub(super) fn commit(&mut self, mut row: GroupRow, wish: &WishRow, reference: WishRef) -> Result<Progress, Error> {
        let mls = self.take_mls(row.group)?;
        let plan = self.plan(&row, wish, reference, &mls);
        self.keep_mls(row.group, mls);
        let (changes, newcomers) = match plan? {
            Plan::Progress(progress) => return Ok(progress),
            Plan::Commit(changes, newcomers) => (changes, newcomers),
        };
        let mut mls = self.take_mls(row.group)?;
        let epoch = group::epoch(&mls);
        let provider = Provider::new(self.crypto, &mut *self.store);
        let built = build(&provider, &self.myself, &mut mls, changes)?;
        if is_on(Mutation::MergeEarly) {
            mls.merge_pending_commit(&provider).map_err(Error::mls)?;
        }
        self.keep_mls(row.group, mls);
        let commit = self.commit_request(&row, epoch, built, &newcomers)?;
        let hash = ContentHash::of(&commit.commit);
        let request = Request::Commit { group: row.group, commit };
        let request = self.request(request, Purpose::Commit { wish: reference, group: row.group })?;
        row.pending = Some(PendingCommit { hash, request, wish: reference, accepted: None });
        row.save(self.store)?;
        Ok(Progress::InFlight(vec![request]))
    }

    fn plan(
        &mut self,
        row: &GroupRow,
        wish: &WishRow,
        reference: WishRef,
        mls: &openmls::group::MlsGroup,
    ) -> Result<Plan, Error> {
        let state = trust_group::state(mls.public_group())?;
        let changes = match &wish.kind {
            WishKind::Add { who } => {
                let members: Vec<_> = group::leaves(mls).into_iter().map(|(_, leaf)| leaf.id.identity).collect();
                let missing: Vec<_> = who.iter().copied().filter(|who| !members.contains(who)).collect();
                let claims = self.claim(reference, row.suite, &missing)?;
                if !claims.is_empty() {
                    return Ok(Plan::Progress(Progress::InFlight(claims)));
                }
                let newcomers = match self.newcomers(wish, reference, &missing, row.suite)? {
                    Newcomers::All(newcomers) if newcomers.is_empty() => return Ok(Plan::Progress(Progress::Done)),
                    Newcomers::All(newcomers) => newcomers,
                    Newcomers::Not(progress) => return Ok(Plan::Progress(progress)),
                };
                let add = newcomers.iter().map(|newcomer| newcomer.package.clone()).collect();
                return Ok(Plan::Commit(Changes { add, ..Changes::default() }, newcomers));
            }
            WishKind::RemoveOwn { devices } => {
                let me = (self.account.identity, self.account.device);
                let is_meant = |leaf: &qpq_trust::credential::Leaf| {
                    leaf.id.identity == me.0 && leaf.id.device != me.1 && devices.contains(&leaf.id.device)
                };
                let remove = group::leaves(mls).into_iter().filter(|(_, leaf)| is_meant(leaf)).map(|(index, _)| index);
                Changes { remove: remove.collect(), ..Changes::default() }
            }
            WishKind::Remove { who } => Changes { remove: group::leaves_of(mls, *who), ..Changes::default() },
            WishKind::RemoveLeavers => {
                let leaving = |leaf: &qpq_trust::credential::Leaf| row.leaving.contains(&leaf.id.device);
                let remove = group::leaves(mls).into_iter().filter(|(_, leaf)| leaving(leaf)).map(|(index, _)| index);
                Changes { remove: remove.collect(), ..Changes::default() }
            }
            WishKind::Rename { name } if is_called(row, &state, name) => return Ok(Plan::Progress(Progress::Done)),
            WishKind::Rename { name } => {
                let key = random()?;
                let exporter = group::name_key_exporter(&Provider::new(self.crypto, &mut *self.store), mls)?;
                let state = GroupState {
                    name: group_name::seal_name(&key, row.group, name)?,
                    name_key: group_name::wrap_key(&exporter, row.group, &key)?,
                    ..state
                };
                Changes { state: Some(state), ..Changes::default() }
            }
            WishKind::SetAdmin { who, is_admin } => {
                let mut admins = state.admins.clone();
                admins.retain(|admin| admin != who);
                if *is_admin {
                    admins.push(*who);
                    admins.sort_unstable();
                }
                if admins == state.admins {
                    return Ok(Plan::Progress(Progress::Done));
                }
                Changes { state: Some(GroupState { admins, ..state }), ..Changes::default() }
            }
            WishKind::SetExpiry { after } => {
                let expires_after = after.map(Duration::from_millis);
                if expires_after == state.expires_after {
                    return Ok(Plan::Progress(Progress::Done));
                }
                Changes { state: Some(GroupState { expires_after, ..state }), ..Changes::default() }
            }
            WishKind::UpdateKey => Changes { refresh: true, ..Changes::default() },
            WishKind::Start { .. }
            | WishKind::Send { .. }
            | WishKind::Leave
            | WishKind::Rejoin
            | WishKind::Annotate { .. }
            | WishKind::Receipt { .. }
            | WishKind::Tell { .. } => {
                return Ok(Plan::Progress(Progress::Done));
            }
        };
        let removes =
            matches!(wish.kind, WishKind::Remove { .. } | WishKind::RemoveLeavers | WishKind::RemoveOwn { .. });
        if removes && changes.remove.is_empty() {
            return Ok(Plan::Progress(Progress::Done));
        }
        Ok(Plan::Commit(changes, vec![]))
    }

    /// A commit as it is submitted, with a sealed Welcome for every newcomer.
    fn commit_request(
        &mut self,
        row: &GroupRow,
        epoch: Epoch,
        built: Built,
        newcomers: &[Newcomer],
    ) -> Result<Commit, Error> {
        let shares = built.welcome.as_deref().map(welcome::split).transpose()?.unwrap_or_default();
        let mut welcomes = Vec::with_capacity(newcomers.len());
        for newcomer in newcomers {
            let share = shares
                .iter()
                .find(|share| share.reference == newcomer.reference)
                .ok_or_else(|| Error::Mls("a newcomer without a Welcome".into()))?;
            let mut bundle = WelcomeBundle {
                group: row.group,
                epoch: Epoch(epoch.0 + 1),
                welcome: share.welcome.clone(),
                name_key: row.name_key,
                sender: self.account.device,
                signature: [0; 64],
            };
            bundle.signature = self.myself.sign_bytes(&bundle.signed_bytes());
            let envelope =
                envelope::seal(newcomer.device, &newcomer.envelope_key, &bundle.encode()).map_err(Error::mls)?;
            welcomes.push(SealedWelcome { device: newcomer.device, envelope });
        }
        Ok(Commit {
            expected_epoch: epoch,
            commit: built.commit,
            group_info: built.group_info,
            welcomes,
            leaving: vec![],
        })
    }
}

/// Whether the group has this name: not what this device remembers, but what can be read.
fn is_called(row: &GroupRow, state: &GroupState, name: &str) -> bool {
    group_name::open_name(&row.name_key, row.group, &state.name).is_ok_and(|known| known == name)
}

enum Plan {
    Progress(Progress),
    Commit(Changes, Vec<Newcomer>),
}
