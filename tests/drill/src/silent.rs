//! A device that crashes, watched by another of its account: its stream is gone when its lease has run out.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use playhead_tests::device::Device;
use playhead_tests::play::Play;

/// How long a stream lasts after the last that was heard of it.
const LEASE: Duration = Duration::from_secs(90);
/// What a busy machine may add, and the edge's 15 s after which a lease is handed in.
const GRACE: Duration = Duration::from_secs(20);

/// The crashed device, and the one that watches it.
pub(crate) struct Silent {
    play: Play,
    crashed: Device,
    watching: Device,
    last_heard: Instant,
}

impl Silent {
    pub(crate) fn new(url: &str) -> Result<Silent> {
        let device = |name| Device::new(url, "drill-silent", "ada", name, 4);
        let (play, crashed) = (Play::new("film-0"), device("tv")?);
        let silent = Silent { play, watching: device("phone")?, crashed, last_heard: Instant::now() };
        silent.crashed.open(&silent.play);
        Ok(silent)
    }

    /// Is heard once more, for the last time, when all is well; from then on it is silent.
    pub(crate) fn last_beat(&mut self) {
        self.crashed.beat(&[self.play.beat("resume", 600_000)]);
        self.last_heard = Instant::now();
    }

    /// Waits until its stream is gone, and says how long after its last beat that was. Where leases were lost, or collect
    /// was away, nothing expires for one lease's length.
    pub(crate) fn gone_after(&self, disturbed: Instant) -> Result<Duration> {
        let latest = self.last_heard.max(disturbed) + LEASE + GRACE;
        ensure!(self.is_listed(), "the stream of a device that was just heard of is not listed");
        while self.is_listed() {
            ensure!(Instant::now() < latest, "the stream of a crashed device is not gone");
            std::thread::sleep(Duration::from_millis(500));
        }
        let after = self.last_heard.elapsed();
        ensure!(
            after + Duration::from_secs(3) > LEASE,
            "the stream of a silent device was gone after {after:?} already"
        );
        Ok(after)
    }

    fn is_listed(&self) -> bool {
        let id = self.play.session.to_string();
        self.watching.streams().iter().any(|stream| stream["session_id"] == id.as_str())
    }
}
