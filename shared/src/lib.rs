//! The domain of Playhead. Not written yet.
pub mod time;
