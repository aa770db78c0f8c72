//! One edge: its settings, its store and its way to the origin.

use std::cell::Cell;
use std::fmt::Display;
use std::rc::Rc;

use playhead_shared::moves::Viewer;
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;

use crate::config::{Acknowledge, Config};
use crate::held::{Change, Held, Holdings};
use crate::host::Host;
use crate::problem::Problem;

/// Clocks closer than this are as good as the same.
const CLOCK_TOLERANCE_MS: u64 = 2_000;

/// One edge. Shared by all requests of an instance, and by what runs on in the background.
pub struct Edge<H, D> {
    pub(crate) host: H,
    pub(crate) held: D,
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    /// What the origin's clock is ahead of this one, where they disagree.
    origin_ahead_ms: Cell<i64>,
    pub(crate) last_looked: Cell<Millis>,
}

impl<H: Host, D: Held> Edge<H, D> {
    /// An edge over what is held.
    pub fn new(host: H, held: D, config: Config) -> Rc<Self> {
        Rc::new(Self {
            host,
            held,
            config,
            rules: Rules::default(),
            origin_ahead_ms: Cell::new(0),
            last_looked: Cell::new(Millis(0)),
        })
    }

    /// The time, by the origin's clock where this one is plainly off.
    pub(crate) fn now(&self) -> Millis {
        Millis(self.host.now().0.saturating_add_signed(self.origin_ahead_ms.get()))
    }

    /// Compares clocks with an answer of the origin.
    pub(crate) fn heard_time(&self, server_time: Millis) {
        let here = self.host.now();
        let ahead = server_time.0.cast_signed() - here.0.cast_signed();
        let ahead = if ahead.unsigned_abs() > CLOCK_TOLERANCE_MS { ahead } else { 0 };
        if ahead != 0 && self.origin_ahead_ms.get() == 0 {
            self.host.log(&format!("this edge's clock is {ahead} ms behind the origin's: the origin's is used"));
        }
        self.origin_ahead_ms.set(ahead);
    }

    /// What goes wrong here or at the origin is the operator's to read and the device's to try again.
    pub(crate) fn unavailable(&self, error: &impl Display) -> Problem {
        self.host.log(&error.to_string());
        Problem::unavailable()
    }

    /// The viewer's profile and account as this edge holds them.
    pub(crate) async fn holdings(&self, viewer: &Viewer) -> Result<Holdings, Problem> {
        let held = self.held.read(&viewer.account, &viewer.profile).await;
        held.map(Holdings::of).map_err(|error| self.unavailable(&error))
    }

    /// Makes changes durable: here, or where the platform has no disk at the origin.
    pub(crate) async fn merge(&self, changes: Vec<Change>) -> Result<(), Problem> {
        match self.config.acknowledge {
            Acknowledge::Edge => self.held.merge(changes).await.map_err(|error| self.unavailable(&error)),
            Acknowledge::Origin => self.pass_through(changes).await.map_err(|error| self.unavailable(&error)),
        }
    }
}
