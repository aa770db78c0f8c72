//! Several devices that play at once, and remember what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use playhead_shared::register::{Fact, Session};
use playhead_shared::wire::{What, WireEntry};
use serde_json::Value;

use crate::device::Device;
use crate::now;
use crate::origin::Origin;
use crate::play::Play;
use crate::stage::eventually;

/// A session has so many requests; the next ones are of a new session.
const REQUESTS: u64 = 25;
const BEATS: u64 = 3;
/// The n-th heartbeat of a session stands at n of these.
const STEP_MS: u64 = 1_000;
/// Between a device's requests, so that many cases can run on few cores.
const PAUSE: Duration = Duration::from_millis(5);

/// One session, as its device knows it.
#[derive(Debug)]
pub struct Told {
    device: Device,
    play: Play,
    /// The last heartbeat that was answered 202: its number and when it was observed.
    acknowledged: (u64, u64),
    /// The last one that was sent, answered or not.
    sent: u64,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(Vec<Told>, u64)>>,
}

impl Load {
    /// Plays on all devices at once, until told to end, or until an edge does not answer any more.
    pub fn start(devices: &[Device]) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let play = |device: &Device| {
            let (device, over) = (device.at(device.base()), Arc::clone(&over));
            thread::spawn(move || play_until(&device, &over))
        };
        Load { threads: devices.iter().map(play).collect(), over }
    }

    /// Waits for all devices to stop: what each was told, and how many requests had no good answer.
    ///
    /// # Panics
    /// If hardly any was ever sent.
    pub fn end(self) -> (Vec<Told>, u64) {
        self.over.store(true, Ordering::Relaxed);
        let (mut told, mut failed) = (Vec::new(), 0);
        for thread in self.threads {
            let (of_device, failures) = thread.join().unwrap();
            told.extend(of_device);
            failed += failures;
        }
        assert!(told.len() >= 4, "only {} sessions were acknowledged", told.len());
        (told, failed)
    }
}

/// Devices of several accounts; the first two watch as one profile.
///
/// # Panics
/// Never: the names are good ones.
pub fn devices(url: &str) -> Vec<Device> {
    let device = |n: usize| {
        let account = format!("account-{}", n.max(1));
        Device::new(url, &account, "ada", &format!("device-{n}"), 9).unwrap()
    };
    (0..6).map(device).collect()
}

fn play_until(device: &Device, over: &AtomicBool) -> (Vec<Told>, u64) {
    let mut told = Vec::new();
    loop {
        let mut session = Told { device: device.clone(), play: Play::new("film"), acknowledged: (0, 0), sent: 0 };
        session.play.title = format!("film-{}", told.len());
        let mut last_at = session.play.session.birth().0;
        for request in 0..REQUESTS {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let beats: Vec<Value> = (0..BEATS)
                .map(|_| {
                    session.sent += 1;
                    last_at = now().0.max(last_at + 1);
                    let event = if request % 6 == 5 { "pause" } else { "progress" };
                    session.play.beat_at(event, session.sent * STEP_MS, last_at)
                })
                .collect();
            let taken = (device.try_beat(&beats).ok())
                .filter(|answer| answer.status == 202 && answer.json()["accepted"] == BEATS);
            if taken.is_none() {
                keep(&mut told, session);
                return (told, 1);
            }
            session.acknowledged = (session.sent, last_at);
            thread::sleep(PAUSE);
        }
        keep(&mut told, session);
        if over.load(Ordering::Relaxed) {
            return (told, 0);
        }
    }
}

/// A session of which nothing was acknowledged need not be anywhere.
fn keep(told: &mut Vec<Told>, session: Told) {
    if session.acknowledged.0 > 0 {
        told.push(session);
    }
}

/// Every heartbeat that was answered 202 is in the history that the edge tells.
///
/// # Panics
/// If one is not.
pub fn all_told_at_edge(told: &[Told]) {
    for session in told {
        let mut at = String::new();
        let entry = loop {
            let page = session.device.at(session.device.base()).read(&format!("/v1/history?limit=100{at}"));
            let entries = page["entries"].as_array().unwrap();
            let id = Value::from(session.play.session.to_string());
            if let Some(entry) = entries.iter().find(|entry| entry["session_id"] == id) {
                break entry.clone();
            }
            let cursor = page["cursor"].as_str();
            at = format!("&cursor={}", cursor.unwrap_or_else(|| panic!("{session:?} is not in the edge's history")));
        };
        let found = (entry["position_ms"].as_u64().unwrap(), entry["observed_at"].as_u64().unwrap());
        session.check(found, "the edge");
    }
}

/// Every heartbeat that was answered 202 is in the origin, once all that is pending has had its time.
///
/// # Panics
/// If one is not.
pub fn all_told_in_origin(origin: &Origin, told: &[Told]) {
    for session in told {
        let mut missing = String::new();
        eventually(&format!("{session:?} in the origin"), 60, || {
            missing = session.missing_in_origin(origin)?;
            missing.is_empty().then_some(())
        });
    }
}

impl Told {
    fn missing_in_origin(&self, origin: &Origin) -> Option<String> {
        let what = What::History { limit: 10_000, before: None };
        let answer = origin.read(&self.device.viewer, what).ok()?;
        let fact = Fact::Session(self.device.viewer.profile.clone(), self.play.session);
        let wire = |wire: WireEntry| playhead_shared::register::Entry::try_from(wire).ok();
        let entry = answer.registers.into_iter().filter_map(wire).find(|entry| entry.fact == fact)?;
        let session: Session = entry.register.value().ok()?;
        let found = (session.position_ms, entry.register.stamp().millis().0);
        if found.0 < self.acknowledged.0 * STEP_MS {
            return Some(format!("{found:?}"));
        }
        self.check(found, "the origin");
        Some(String::new())
    }

    /// It is one of the heartbeats that were sent, and none before the last that was acknowledged.
    fn check(&self, (position_ms, observed_at): (u64, u64), by: &str) {
        let number = position_ms / STEP_MS;
        assert!(
            (self.acknowledged.0..=self.sent).contains(&number) && observed_at >= self.acknowledged.1,
            "{by} knows of heartbeat {number} at {observed_at}, the device was told otherwise: {self:?}"
        );
    }
}
