//! What the fuzz targets share: valid things to start from, and the product's sources that belong to no library.

pub mod edits;
pub mod history;
pub mod members;

// The product's own sources: these modules are private, belong to a program, or sit in a crate whose other half is C.
#[path = "../../crates/qpq-server/src/config/mod.rs"]
pub mod config;
#[path = "../../crates/qpq-io/src/rpc/frame.rs"]
pub mod frame;
#[path = "../../crates/qpq/src/view/sanitize.rs"]
pub mod sanitize;
#[path = "../../crates/qpq-io/src/rpc/vat/mod.rs"]
pub mod vat;
#[path = "../../crates/qpq/src/view/wrap.rs"]
pub mod wrap;

// The engine's simulation, which makes real logs to feed to it.
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../crates/qpq-core/src/engine/tests/delivery.rs"]
pub mod delivery;
pub use qpq_core::{account, engine, link, request, store, view};
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../crates/qpq-core/src/engine/tests/world.rs"]
pub mod world;
