//! The origin: takes what the edges hold, keeps it, and answers for it.
//!
//! One binary, three roles that meet only in the stores: [`collect`] takes batches and admissions, [`process`]
//! turns signals into events and does what can wait, [`provide`] answers reads.

pub mod clock;
pub mod collect;
pub mod config;
pub mod http;
pub mod process;
pub mod provide;
mod run;
pub mod signal;
pub mod store;
pub mod streams;
pub mod taking;

pub use run::run;
