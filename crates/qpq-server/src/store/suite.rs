//! The conformance suite: one function per promise of [`Store`], and a world that opens the implementation under test.
//! A second implementation runs the same functions.

mod accounts;
mod blobs;
mod groups;
mod keys;
mod logs;
mod world;
