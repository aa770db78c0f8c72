//! The edge of Playhead, once: routes, rules, batching, caching and admission, for every platform.
//!
//! A shell turns its platform's request into plain data, lets [`door::enter`] judge it, hands what passes to
//! [`Edge::serve`], and sends the answer. When its timer or alarm fires it calls [`Edge::flush`]. It reaches the
//! world only through [`host`], and keeps what must not be lost in one of the forms of [`held`].

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod admission;
pub mod answer;
pub mod config;
pub mod door;
mod edge;
mod flush;
mod heartbeats;
pub mod held;
pub mod host;
mod origin;
pub mod problem;
mod reads;
mod requests;
mod serve;
pub mod token;
mod views;

pub use edge::Edge;
pub use flush::Flushed;
