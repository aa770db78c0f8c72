//! The edge of Playhead, once. Not written yet.
pub mod host;
