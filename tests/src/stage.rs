//! What the cases of a suite stand on: a system that many share, an account for each, and patience with a limit.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::device::Device;
use crate::edge::Kind;
use crate::system::System;

/// One case's view of a system: its own account at one of the edges.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What runs.
    pub system: Arc<System>,
    /// The edge that the case is about.
    pub kind: Kind,
    account: String,
}

/// What came of starting it: tried once, so that what cannot start fails every case at once.
static SHARED: Mutex<Option<Result<Arc<System>, String>>> = Mutex::new(None);

impl Stage {
    /// A stage at an edge of `system`, for an account that nobody else has.
    pub fn new(system: Arc<System>, kind: Kind) -> Stage {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let account = format!("account-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Stage { system, kind, account }
    }

    /// A stage on the one system, with an edge of each kind, that all cases share which break nothing.
    ///
    /// # Panics
    /// If the system cannot be started.
    pub fn shared(kind: Kind) -> Stage {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let started = shared.get_or_insert_with(|| match System::start(&Kind::BOTH) {
            Ok(system) => Ok(Arc::new(system)),
            Err(error) => Err(format!("{error:#}")),
        });
        let system = started.as_ref().unwrap_or_else(|error| panic!("{error}"));
        Stage::new(Arc::clone(system), kind)
    }

    /// Ends the shared system, if it was ever started, and shows what it has printed if a case has failed.
    pub fn end_shared(failed: bool) {
        let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Ok(system)) = shared.filter(|_| failed) {
            eprintln!("{}", system.last_words());
        }
    }

    /// The URL of the edge that the case is about.
    ///
    /// # Panics
    /// If the system has none of that kind.
    pub fn url(&self) -> String {
        self.url_of(self.kind)
    }

    /// The URL of any of its edges.
    ///
    /// # Panics
    /// If the system has none of that kind.
    pub fn url_of(&self, kind: Kind) -> String {
        self.system.edge(kind).unwrap_or_else(|error| panic!("{error:#}")).url()
    }

    /// A device of this stage's account, which may have two streams at once.
    pub fn device(&self, profile: &str, device: &str) -> Device {
        self.limited(profile, device, 2)
    }

    /// A device of this stage's account, which may have `streams`.
    ///
    /// # Panics
    /// If the names are none.
    pub fn limited(&self, profile: &str, device: &str, streams: u32) -> Device {
        Device::new(&self.url(), &self.account, profile, device, streams).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Another account at the same edge.
    pub fn stranger(&self) -> Stage {
        Stage::new(Arc::clone(&self.system), self.kind)
    }
}

/// Asks again until there is something, for `seconds` at most.
///
/// # Panics
/// If there is nothing by then.
pub fn eventually<T>(what: &str, seconds: u64, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        sleep(Duration::from_millis(50));
    }
}
