//! Delivered once, twice, backwards, or to two edges at once: the same registers, byte for byte.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use playhead_shared::moves::{Command, Viewer};
use playhead_shared::time::Millis;
use playhead_tests::device::Device;
use playhead_tests::now;
use playhead_tests::play::{DURATION_MS, Play, with};
use playhead_tests::registers::Registers;
use playhead_tests::stage::Stage;
use serde_json::{Value, json};

crate::cases![the_order_of_delivery_leaves_no_trace];

const SESSIONS: usize = 8;
const BEATS: u64 = 24;
const TITLES: usize = 4;

/// Something that a device sends by a request of its own.
#[derive(Clone, Debug)]
enum Sent {
    Beats(Vec<Value>),
    Command(Command, u64),
}

fn the_order_of_delivery_leaves_no_trace(stage: &Stage) {
    // Each way in an account of its own: what a register says does not depend on whose it is.
    let device = || stage.stranger().device("ada", "tv");
    let sent = random_history(4_711, now());
    let ways: [(&str, Device); 4] =
        [("in order", device()), ("twice", device()), ("in reverse", device()), ("split", device())];
    let backwards: Vec<Sent> = sent.iter().rev().map(reversed).collect();
    for (way, device) in &ways {
        match *way {
            "twice" => deliver(device, &[sent.clone(), sent.clone()].concat()),
            "in reverse" => deliver(device, &backwards),
            "split" => {
                let elsewhere = device.at(&stage.url_of(stage.kind.other()));
                let half = |odd: usize| sent.iter().skip(odd).step_by(2).cloned().collect::<Vec<_>>();
                // Some of it arrives at both.
                let (here, there) = (half(0), [half(1), sent[..sent.len() / 4].to_vec()].concat());
                thread::scope(|scope| {
                    scope.spawn(|| deliver(device, &here));
                    scope.spawn(|| deliver(&elsewhere, &there));
                });
            }
            _ => deliver(device, &sent),
        }
    }
    let titles: BTreeSet<String> = (0..TITLES).map(title).collect();
    let expected = expected(&ways[0].1.viewer, &sent);
    assert!(expected.len() >= SESSIONS + 2 * TITLES, "{} registers", expected.len());
    for (way, device) in &ways {
        let registers = || Registers::in_origin(&stage.system.origin, &device.viewer, &titles).unwrap();
        // Mere progress has half a minute.
        let deadline = Instant::now() + Duration::from_secs(60);
        while registers() != expected {
            assert!(Instant::now() < deadline, "{way}: {}", registers().beside(&expected));
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn title(n: usize) -> String {
    format!("film-{n}")
}

/// Several sessions of a few titles, and a viewer's commands among them: random, but the same for the same seed.
fn random_history(seed: u64, now: Millis) -> Vec<Sent> {
    let mut random = fastrand::Rng::with_seed(seed);
    let start = now.0 - 5 * 3_600_000;
    let mut sent = Vec::new();
    for n in 0..SESSIONS {
        let play = Play::born(&title(n % TITLES), Millis(start + n as u64 * 600_000));
        let mut at = play.session.birth().0;
        let mut position = random.u64(0..DURATION_MS / 2);
        let mut beats = Vec::new();
        for _ in 0..BEATS {
            at += random.u64(1..40_000);
            let moved = random.bool();
            position = if moved { random.u64(0..=DURATION_MS) } else { position };
            let event =
                *random.choice(["start", "progress", "pause", "resume", "seek", "progress", "stop"].iter()).unwrap();
            let furthest = random.u64(0..=DURATION_MS);
            let more = json!({
                "furthest_ms": furthest, "watched_ms": random.u64(0..60_000),
                "moved_at": if moved { at } else { at - random.u64(0..20_000).min(at - play.session.birth().0) },
            });
            beats.push(with(play.beat_at(event, position, at), &more));
        }
        let mut rest = beats.as_slice();
        while !rest.is_empty() {
            let (some, others) = rest.split_at(random.usize(1..=rest.len().min(9)));
            sent.push(Sent::Beats(some.to_vec()));
            rest = others;
        }
        for _ in 0..3 {
            let title = title(random.usize(0..TITLES)).parse().unwrap();
            let observed_at = start + random.u64(0..5 * 3_600_000);
            let (to, watched) = (random.bool(), random.bool());
            let command = if watched { Command::MarkWatched(title, to) } else { Command::Hide(title, to) };
            sent.push(Sent::Command(command, observed_at));
        }
    }
    random.shuffle(&mut sent);
    sent
}

fn reversed(sent: &Sent) -> Sent {
    match sent {
        Sent::Beats(beats) => Sent::Beats(beats.iter().rev().cloned().collect()),
        command => command.clone(),
    }
}

fn deliver(device: &Device, sent: &[Sent]) {
    for one in sent {
        match one {
            Sent::Beats(beats) => drop(device.beat(beats)),
            Sent::Command(Command::MarkWatched(title, to), at) => device.set(title.as_str(), "watched", *to, *at),
            Sent::Command(Command::Hide(title, to), at) => device.set(title.as_str(), "hidden", *to, *at),
            Sent::Command(other, _) => panic!("{other:?} is not delivered here"),
        }
    }
}

fn expected(viewer: &Viewer, sent: &[Sent]) -> Registers {
    let (mut beats, mut commands) = (Vec::new(), Vec::new());
    for one in sent {
        match one {
            Sent::Beats(some) => beats.extend(some.iter().cloned()),
            Sent::Command(command, at) => commands.push((command.clone(), *at)),
        }
    }
    Registers::of(viewer, &beats, &commands).unwrap()
}
