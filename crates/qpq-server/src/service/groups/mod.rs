//! Groups: public MLS state, commits, messages. Who may do what is decided in `qpq-trust`; which commit wins, in the store.

mod cache;
mod commit;
mod create;
mod leave;
mod post;
pub(in crate::service) mod public;
mod rejoin;
mod replay;
mod snapshots;
mod tree;
mod welcomes;

pub use cache::Groups;
