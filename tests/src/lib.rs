//! Playhead as a whole, over its real binaries: this library starts and stops them, the tests beside it use them.
//!
//! `cargo xtask test` builds the binaries and names them in the environment (`PLAYHEAD_…`).

pub mod artifact;
pub mod client;
pub mod deployment;
pub mod device;
pub mod edge;
pub mod load;
pub mod origin;
pub mod play;
pub mod registers;
pub mod spin_host;
pub mod stage;
pub mod system;
pub mod token;
pub mod workerd;

use std::time::{SystemTime, UNIX_EPOCH};

use playhead_shared::time::Millis;

pub use playhead_servers::{Cassandra, Front, Redis, Server, free_port};

/// This machine's clock, which the servers under test have, too.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
