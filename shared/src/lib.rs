//! The domain of Playhead, shared by every part: what a heartbeat is, which facts it moves, which of two
//! facts is newer, and what the facts mean to a viewer.
//!
//! No I/O and no clock: time is an argument everywhere. The one idea is in [`register`].

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod heartbeat;
pub mod id;
pub mod moves;
pub mod register;
pub mod rules;
pub mod time;
pub mod title;
pub mod wire;
