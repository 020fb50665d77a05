//! The same steps with OpenMLS alone.

use anyhow::Result;
use openmls::prelude::LeafNodeParameters;
use openmls::prelude::tls_codec::Serialize as _;
use openmls_traits::OpenMlsProvider as _;

use super::Work;
use crate::bench::mls::Device;
use crate::bench::probe::process_seconds;

/// A creator and somebody who joins, in memory. What the wire has to carry is what came and went, once. OpenMLS encrypts paths
/// on several threads, so that the time of all of them is what counts.
pub fn without_us(packages: &[Vec<u8>]) -> Result<[Work; 4]> {
    let (alice, bob) = (Device::new()?, Device::new()?);
    let package = bob.package(true)?.tls_serialize_detached()?;
    let sum = |parts: &[usize]| parts.iter().sum::<usize>() as f64;

    let begin = process_seconds();
    let mut group = alice.group()?;
    let checked = packages.iter().map(|package| alice.checked(package)).collect::<Result<Vec<_>>>()?;
    let (commit, welcome, _) = group.add_members_without_update(&alice.provider, &alice.signer, &checked)?;
    group.merge_pending_commit(&alice.provider)?;
    let (commit, welcome) = (commit.tls_serialize_detached()?, welcome.tls_serialize_detached()?);
    let tree = group.export_ratchet_tree().tls_serialize_detached()?;
    let info = group.export_group_info(alice.provider.crypto(), &alice.signer, false)?.tls_serialize_detached()?;
    let client = (process_seconds() - begin) * 1000.0;
    let claimed = packages.iter().map(Vec::len).sum();
    let bytes = sum(&[claimed, commit.len(), welcome.len(), tree.len(), info.len()]);
    let create = Work { client, server: 0.0, bytes };

    let begin = process_seconds();
    let update = group.self_update(&alice.provider, &alice.signer, LeafNodeParameters::default())?;
    let commit = update.into_commit().tls_serialize_detached()?;
    group.merge_pending_commit(&alice.provider)?;
    let info = group.export_group_info(alice.provider.crypto(), &alice.signer, false)?.tls_serialize_detached()?;
    let client = (process_seconds() - begin) * 1000.0;
    let update = Work { client, server: 0.0, bytes: sum(&[commit.len(), info.len()]) };

    let begin = process_seconds();
    let checked = alice.checked(&package)?;
    let (commit, welcome, _) = group.add_members_without_update(&alice.provider, &alice.signer, &[checked])?;
    group.merge_pending_commit(&alice.provider)?;
    let (commit, welcome) = (commit.tls_serialize_detached()?, welcome.tls_serialize_detached()?);
    let info = group.export_group_info(alice.provider.crypto(), &alice.signer, false)?.tls_serialize_detached()?;
    let client = (process_seconds() - begin) * 1000.0;
    let bytes = sum(&[package.len(), commit.len(), welcome.len(), info.len()]);
    let add = Work { client, server: 0.0, bytes };

    let tree = group.export_ratchet_tree().tls_serialize_detached()?;
    let begin = process_seconds();
    bob.join(&welcome, &tree)?;
    let client = (process_seconds() - begin) * 1000.0;
    let join = Work { client, server: 0.0, bytes: sum(&[welcome.len(), tree.len()]) };
    Ok([create, update, add, join])
}
