//! A simulated viewer: what somebody with two devices does, one thing after another, from a seed.

use std::time::{Duration, Instant};

use fastrand::Rng;
use playhead_shared::id::SessionId;
use playhead_shared::time::Millis;
use playhead_tests::now;

use crate::catalogue::{TITLES, Title, titled};
use crate::ledger::{Beat, Command, Fate, Ledger, Wish};

/// Everybody's limit.
pub(crate) const STREAMS: u32 = 4;

/// Somebody with two devices. Their clock never shows the same time twice, so that it is clear what is newest.
#[derive(Debug)]
pub(crate) struct Viewer {
    number: usize,
    rng: Rng,
    last_at: u64,
    /// What is on.
    play: Option<Play>,
    /// What was on last.
    last_title: Option<&'static Title>,
    /// Which device is in use.
    in_hand: usize,
    pub(crate) devices: [Device; 2],
    pub(crate) ledger: Ledger,
    /// Indices into the ledger: what no edge has acknowledged yet.
    pub(crate) commands: Vec<usize>,
}

/// One of the two devices.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    /// Indices into the ledger: what no edge has acknowledged yet.
    pub(crate) outbox: Vec<usize>,
    /// A play whose admission has to be asked for.
    pub(crate) to_open: Option<(SessionId, &'static Title)>,
    /// Without a network until then.
    pub(crate) offline_until: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Play {
    session: SessionId,
    title: &'static Title,
    device: usize,
    playing: bool,
    moved_at: u64,
    position_ms: u64,
    watched_ms: u64,
    furthest_ms: u64,
}

impl Viewer {
    pub(crate) fn new(seed: u64, number: usize) -> Self {
        let device = |name: &str| Device {
            name: format!("{name}-{number}"),
            outbox: Vec::new(),
            to_open: None,
            offline_until: None,
        };
        Self {
            number,
            // Seeds that differ by one make generators that begin alike.
            rng: Rng::with_seed(Rng::with_seed(seed ^ (number as u64) << 20).u64(..)),
            last_at: 0,
            play: None,
            last_title: None,
            in_hand: 0,
            devices: [device("tv"), device("phone")],
            ledger: Ledger::default(),
            commands: Vec::new(),
        }
    }

    /// How long until the next thing happens: a device's 30 s, in fast motion.
    pub(crate) fn pause(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(0.5 + self.rng.f64())
    }

    /// Does one thing. What is to be said of it lies in the outboxes afterwards.
    pub(crate) fn act(&mut self) {
        let Some(play) = self.play.clone() else { return self.begin() };
        let roll = self.rng.u32(..1000);
        match (play.playing, roll) {
            (true, ..600) => self.go_on("progress", true),
            (true, ..690) => self.go_on("pause", false),
            (true, ..750) => self.seek(),
            (true, ..840) => self.go_on("stop", false),
            (true, ..890) => self.switch_device(&play),
            (true, ..925) => {
                let away = Duration::from_millis(self.rng.u64(3_000..15_000));
                self.devices[play.device].offline_until = Some(Instant::now() + away);
            }
            (true, ..931) => self.crash(play.device),
            (false, ..500) => self.say("resume", |play| play.playing = true),
            (false, ..750) => self.say("progress", |_| ()),
            (false, ..930) => self.say("stop", |_| ()),
            _ => self.wish(),
        }
    }

    /// The last thing that somebody does.
    pub(crate) fn finish(&mut self) {
        if self.play.as_ref().is_some_and(|play| play.playing) {
            self.go_on("stop", false);
        }
    }

    /// Sends some of what was acknowledged once more, as a retry does whose answer was lost.
    pub(crate) fn repeat(&mut self, of: &[usize]) -> Vec<usize> {
        if self.rng.u32(..100) < 3 { of.to_vec() } else { Vec::new() }
    }

    /// The later half of a pause before the next attempt.
    pub(crate) fn jittered(&mut self, pause: Duration) -> Duration {
        pause.mul_f64(0.5 + self.rng.f64() / 2.0)
    }

    fn begin(&mut self) {
        let binge = self.last_title.and_then(|title| title.next.as_deref()).and_then(titled);
        let again = self.last_title.filter(|_| self.rng.u32(..10) < 3);
        // Everybody has favourites, so that titles are met again.
        let favourite = self.number * 31 + self.rng.usize(..12) * 17;
        let any = if self.rng.bool() { favourite % TITLES.len() } else { self.rng.usize(..TITLES.len()) };
        let title = binge.filter(|_| self.rng.u32(..10) < 6).or(again).unwrap_or(&TITLES[any]);
        let resume = (self.ledger.beats.iter().rev()).find(|beat| beat.title.id == title.id && beat.watched_ms > 0);
        let position = resume.map_or(0, |beat| beat.position_ms);
        let position =
            if title.duration_ms.is_some_and(|duration| position + 60_000 >= duration) { 0 } else { position };
        self.open(title, position);
    }

    fn open(&mut self, title: &'static Title, position_ms: u64) {
        let at = self.clock();
        let session = SessionId::of_birth(Millis(at), self.rng.u64(..));
        let play = Play {
            session,
            title,
            device: self.in_hand,
            playing: true,
            moved_at: at,
            position_ms,
            watched_ms: 0,
            furthest_ms: 0,
        };
        self.devices[self.in_hand].to_open = Some((session, title));
        (self.play, self.last_title) = (Some(play), Some(title));
        self.say("start", |_| ());
    }

    /// Has played on, and then does something; at the end of the title there is nothing but to stop.
    fn go_on(&mut self, event: &'static str, playing: bool) {
        let played = self.rng.u64(5_000..400_000);
        let at = self.clock();
        let Some(play) = &mut self.play else { return };
        let left = play.title.duration_ms.map_or(u64::MAX, |duration| duration - play.position_ms);
        let played = played.min(left);
        play.position_ms += played;
        play.watched_ms += played;
        play.furthest_ms = play.furthest_ms.max(play.position_ms);
        (play.moved_at, play.playing) = (at, playing);
        let event = if played == left { "stop" } else { event };
        self.tell(event, at);
    }

    fn seek(&mut self) {
        let at = self.clock();
        let Some(play) = &mut self.play else { return };
        let Some(duration) = play.title.duration_ms else { return };
        play.position_ms = self.rng.u64(..duration);
        play.moved_at = at;
        self.tell("seek", at);
    }

    /// Goes on where they are, on the other device; the first may say something yet, or never again.
    fn switch_device(&mut self, play: &Play) {
        match self.rng.u32(..3) {
            0 => self.go_on("stop", false),
            1 => self.go_on("pause", false),
            _ => {}
        }
        self.in_hand = 1 - self.in_hand;
        let left = play.title.duration_ms.is_none_or(|duration| play.position_ms < duration);
        self.open(play.title, if left { play.position_ms } else { 0 });
    }

    /// The device falls silent, and what it had not sent is gone.
    fn crash(&mut self, device: usize) {
        self.devices[device].outbox.clear();
        self.devices[device].to_open = None;
        self.commands.clear();
        self.play = None;
    }

    fn wish(&mut self) {
        let Some(title) = self.last_title else { return };
        let of_before = |rng: &mut Rng, ledger: &Ledger| ledger.beats[rng.usize(..ledger.beats.len())].clone();
        let before = of_before(&mut self.rng, &self.ledger);
        let title = if self.rng.bool() { title } else { before.title };
        let wish = match self.rng.u32(..10) {
            0..=2 => Wish::Watched(title, self.rng.u32(..3) > 0),
            3..=5 => Wish::Hidden(title, self.rng.u32(..3) > 0),
            6..=7 => Wish::Forget(title),
            _ => Wish::Delete(before.session),
        };
        let observed_at = self.clock();
        self.commands.push(self.ledger.commands.len());
        self.ledger.commands.push(Command { wish, observed_at, fate: Fate::Unsent });
    }

    /// Says something at which the position did not move.
    fn say(&mut self, event: &'static str, change: impl FnOnce(&mut Play)) {
        let at = self.clock();
        if let Some(play) = &mut self.play {
            change(play);
            self.tell(event, at);
        }
    }

    fn tell(&mut self, event: &'static str, observed_at: u64) {
        let Some(play) = &mut self.play else { return };
        play.playing &= event != "stop";
        let beat = Beat {
            session: play.session,
            title: play.title,
            device: self.devices[play.device].name.clone(),
            event,
            playing: play.playing,
            observed_at,
            moved_at: play.moved_at,
            position_ms: play.position_ms,
            watched_ms: play.watched_ms,
            furthest_ms: play.furthest_ms,
            fate: Fate::Unsent,
        };
        self.devices[play.device].outbox.push(self.ledger.beats.len());
        self.ledger.beats.push(beat);
        if event == "stop" {
            self.play = None;
        }
    }

    fn clock(&mut self) -> u64 {
        self.last_at = now().0.max(self.last_at + 1);
        self.last_at
    }
}
