//! Files: cut into parts that are encrypted here and lie on the server as nothing but bytes under a random id.
//!
//! An upload goes on where the server says it stopped, a download where its temporary file ends. Both survive lost
//! connections and, told to begin again, the end of the process.

mod cipher;
mod media_type;
mod name;
mod source;

mod fetch;
mod partial;
mod upload;
mod watch;

mod calls;
mod client;
mod history;
#[cfg(test)]
mod tests;

pub use calls::{BlobAnswered, Calls};
pub use client::{Destination, Downloaded};
pub use history::Carried;
pub use name::safe_name;
pub use source::Stored;
pub use watch::{Progress, Step};
