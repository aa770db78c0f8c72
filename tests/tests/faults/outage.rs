//! The origin is away: playing goes on, and afterwards nothing tells that it was.

use std::collections::BTreeSet;
use std::time::Duration;

use playhead_shared::moves::Command;
use playhead_shared::time::Millis;
use playhead_tests::client::Ask;
use playhead_tests::device::{Device, beats};
use playhead_tests::edge::{Kind, Settings};
use playhead_tests::now;
use playhead_tests::play::Play;
use playhead_tests::registers::Registers;
use playhead_tests::stage::eventually;
use playhead_tests::system::System;
use serde_json::{Value, json};

crate::cases![
    an_outage_leaves_no_trace,
    a_hanging_origin_holds_nothing_up,
    without_a_disk_the_origin_acknowledges,
    without_a_disk_commands_wait_for_the_origin,
];

/// The design says 500 ms; a busy machine may take longer, but nobody waits for a timeout of seconds.
const AT_ONCE: Duration = Duration::from_secs(3);

fn an_outage_leaves_no_trace(kind: Kind) {
    let mut system = System::start(&[kind]).unwrap();
    let url = system.edge(kind).unwrap().url();
    let device = |account: &str| Device::new(&url, account, "ada", "tv", 2).unwrap();
    let (calm, stormy) = (device("calm"), device("stormy"));
    let (requests, commands) = what_a_viewer_does();
    let titles: BTreeSet<String> = (0..4).map(|n| format!("film-{n}")).collect();
    let all: Vec<Value> = requests.concat();
    let expected = Registers::of(&calm.viewer, &all, &commands).unwrap();
    let deliver = |device: &Device, from: usize, to: usize| {
        requests[from..to].iter().for_each(|beats| drop(device.beat(beats)));
    };
    let command = |device: &Device| {
        for (command, at) in &commands {
            let Command::Hide(title, to) = command else { continue };
            device.set(title.as_str(), "hidden", *to, *at);
        }
    };

    deliver(&calm, 0, requests.len());
    command(&calm);
    deliver(&stormy, 0, 2);
    system.origin.kill().unwrap();
    plays_on_alone(&stormy);
    deliver(&stormy, 2, requests.len() - 2);
    command(&stormy);
    // What waits for the origin outlives the edge, too.
    system.edge_mut(kind).unwrap().kill().unwrap();
    system.edge_mut(kind).unwrap().restart().unwrap();
    let stormy = stormy.at(&url);
    deliver(&stormy, requests.len() - 2, requests.len());
    knows_its_own(&stormy);
    system.origin.restart().unwrap();

    for device in [&calm, &stormy] {
        let registers = || Registers::in_origin(&system.origin, &device.viewer, &titles).unwrap();
        eventually("all that was pending has drained", 60, || (registers() == expected).then_some(()));
    }
    eventually("reads are whole again", 30, || {
        let whole = |path: &str, member: &str| stormy.read(path)[member] == json!(false);
        (whole("/v1/resume?titles=film-0,unheard-of", "stale") && whole("/v1/history", "partial")).then_some(())
    });
}

/// Requests of heartbeats of several plays, and commands: all in the past, ending in the middle of something.
fn what_a_viewer_does() -> (Vec<Vec<Value>>, Vec<(Command, u64)>) {
    let start = now().0 - 3_600_000;
    let request = |n: u64| {
        let play = Play::born(&format!("film-{}", n % 4), Millis(start + n * 300_000));
        let beat = |m: u64, event: &str| play.beat_at(event, (n + m) * 300_000, play.session.birth().0 + m * 20_000);
        vec![beat(1, "start"), beat(2, "progress"), beat(3, "pause"), beat(4, "resume"), beat(5, "stop")]
    };
    let hide = |title: &str, to: bool, at: u64| (Command::Hide(title.parse().unwrap(), to), start + at);
    let commands = vec![hide("film-1", true, 3_000_000), hide("film-2", true, 1_000), hide("film-2", false, 2_000)];
    ((0..8).map(request).collect(), commands)
}

/// The device opens, plays and reads while there is no origin.
fn plays_on_alone(device: &Device) {
    let play = Play::new("alone");
    let opened = device.open(&play);
    println!("admission without an origin took {:?}", opened.took);
    assert_eq!((opened.status, &opened.json()["admission"]), (201, &json!("unverified")), "{}", opened.text());
    assert!(opened.took < AT_ONCE, "it took {:?}", opened.took);
    assert_eq!(device.open(&play).status, 200);
    knows_its_own(device);
    let streams = device.read("/v1/streams");
    assert_eq!(streams["partial"], true);
    let listed = streams["streams"].as_array().unwrap();
    assert!(listed.iter().any(|stream| stream["session_id"] == json!(play.session)), "{streams}");
    device.end(play.session);
    assert!(!device.streams().iter().any(|stream| stream["session_id"] == json!(play.session)));
}

fn knows_its_own(device: &Device) {
    let resume = device.send(Ask::new("GET", "/v1/resume?titles=film-1").header("cache-control", "no-cache")).json();
    assert_eq!((&resume["stale"], resume["titles"]["film-1"].is_object()), (&json!(true), true), "{resume}");
    let history = device.read("/v1/history");
    assert_eq!((&history["partial"], history["entries"].as_array().unwrap().len() >= 2), (&json!(true), true));
    let list = device.read("/v1/continue-watching");
    assert_eq!(list["partial"], true, "{list}");
}

/// It takes connections and answers nothing, which is worse than being away.
fn a_hanging_origin_holds_nothing_up(kind: Kind) {
    let system = System::start(&[kind]).unwrap();
    let tv = Device::new(&system.edge(kind).unwrap().url(), "account", "ada", "tv", 1).unwrap();
    let first = Play::new("film");
    tv.beat(&[first.beat("stop", 600_000)]);
    system.origin.freeze().unwrap();
    let play = Play::new("film");
    let opened = tv.open(&play);
    println!("admission with a hanging origin took {:?}", opened.took);
    let answer = opened.json();
    assert_eq!((opened.status, &answer["admission"]), (201, &json!("unverified")), "{answer}");
    assert_eq!(answer["resume"]["position_ms"], 600_000);
    assert!(opened.took < AT_ONCE, "it took {:?}", opened.took);
    for position in [601_000, 602_000, 603_000] {
        let answer = tv.send(beats(&[play.beat("pause", position)]));
        assert_eq!(answer.status, 202);
        assert!(answer.took < AT_ONCE, "it took {:?}", answer.took);
    }
    assert_eq!(tv.read("/v1/resume?titles=film,other")["stale"], true);
    assert_eq!(tv.resume_point("film")["position_ms"], 603_000);
    system.origin.thaw().unwrap();
    eventually("the origin hears of it", 60, || {
        let titles = ["film".to_owned()].into();
        let known = Registers::in_origin(&system.origin, &tv.viewer, &titles).unwrap();
        (known.len() == 3).then_some(())
    });
}

fn without_a_disk_the_origin_acknowledges(kind: Kind) {
    let settings = Settings { acknowledge: "origin".to_owned(), ..Settings::default() };
    let mut system = System::with_settings(&[kind], &settings).unwrap();
    let tv = Device::new(&system.edge(kind).unwrap().url(), "account", "ada", "tv", 2).unwrap();
    let play = Play::new("film");
    let beat = play.beat("progress", 600_000);
    tv.beat(std::slice::from_ref(&beat));
    // Progress has half a minute elsewhere: here it is in the origin when the device hears of it.
    let titles = ["film".to_owned()].into();
    let expected = Registers::of(&tv.viewer, &[beat], &[]).unwrap();
    assert_eq!(Registers::in_origin(&system.origin, &tv.viewer, &titles).unwrap(), expected);
    assert_eq!(tv.resume_point("film")["position_ms"], 600_000);
    system.origin.kill().unwrap();
    let refused = tv.send(beats(&[play.beat("progress", 660_000)]));
    assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"), "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
    system.origin.restart().unwrap();
    tv.beat(&[play.beat("progress", 660_000)]);
    // Nor is it read from an answer that the edge got before.
    assert_eq!(tv.resume_point("film")["position_ms"], 660_000);
}

fn without_a_disk_commands_wait_for_the_origin(kind: Kind) {
    let settings = Settings { acknowledge: "origin".to_owned(), ..Settings::default() };
    let mut system = System::with_settings(&[kind], &settings).unwrap();
    let tv = Device::new(&system.edge(kind).unwrap().url(), "account", "ada", "tv", 2).unwrap();
    tv.set("film", "watched", true, now().0);
    system.edge_mut(kind).unwrap().kill().unwrap();
    let known = Registers::in_origin(&system.origin, &tv.viewer, &["film".to_owned()].into()).unwrap();
    assert_eq!(known.len(), 1, "the command was acknowledged by the edge alone");
}
