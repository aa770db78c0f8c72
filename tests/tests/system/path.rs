//! Press play on one device, go on at another.

use std::collections::BTreeSet;

use playhead_shared::time::Millis;
use playhead_tests::device::Device;
use playhead_tests::now;
use playhead_tests::play::{DURATION_MS, Play};
use playhead_tests::stage::{Stage, eventually};
use serde_json::{Value, json};

crate::cases![
    a_session_opens_once_and_may_be_repeated,
    own_writes_are_read_back_at_once,
    another_device_goes_on_where_the_first_one_stopped,
    a_device_at_the_other_edge_goes_on_there_too,
    the_newest_position_wins_whatever_is_cached,
    an_unsettled_session_moves_nothing,
    what_was_watched_offers_what_is_next,
    history_is_read_page_by_page,
    an_offline_backlog_comes_in_one_request,
];

fn a_session_opens_once_and_may_be_repeated(stage: &Stage) {
    let (tv, play) = (stage.device("ada", "tv"), Play::new("film"));
    let first = tv.open(&play);
    assert_eq!(first.status, 201, "{}", first.text());
    let body = first.json();
    assert!(body["server_time"].as_u64().unwrap().abs_diff(now().0) < 60_000, "{body}");
    let expected = json!({
        "server_time": body["server_time"], "heartbeat_interval_ms": 30_000, "resume": null,
        "streams": {"limit": 2, "live": 1}, "admission": "admitted",
    });
    assert_eq!(body, expected);
    let again = tv.open(&play);
    assert_eq!((again.status, &again.json()["streams"]["live"]), (200, &json!(1)), "{}", again.text());
    assert_eq!(tv.open(&Play::new("film")).status, 201);
}

fn own_writes_are_read_back_at_once(stage: &Stage) {
    let (tv, play) = (stage.device("ada", "tv"), Play::new("film"));
    tv.open(&play);
    for minutes in [0, 10, 20, 30] {
        let beat = play.beat(if minutes == 0 { "start" } else { "progress" }, minutes * 60_000);
        let answer = tv.beat(std::slice::from_ref(&beat));
        assert_eq!((&answer["ended"], &answer["rejected"]), (&json!([]), &json!([])));
        if minutes > 0 {
            reads_as(&tv, &play, &beat);
        }
    }
}

/// Everything that the device can read is as its last heartbeat said.
fn reads_as(device: &Device, play: &Play, beat: &Value) {
    let point = json!({
        "position_ms": beat["position_ms"], "duration_ms": DURATION_MS, "progress": "in_progress",
        "moved_at": beat["moved_at"], "device": device.viewer.device.as_str(),
    });
    assert_eq!(
        device.read("/v1/resume?titles=film,other"),
        json!({
            "titles": {"film": point, "other": null}, "stale": false,
        })
    );
    let entry = json!({
        "session_id": play.session, "title_id": "film", "series_id": null, "device": device.viewer.device.as_str(),
        "started_at": play.session.birth(), "observed_at": beat["observed_at"], "event": beat["event"],
        "position_ms": beat["position_ms"], "duration_ms": DURATION_MS,
        "watched_ms": beat["watched_ms"], "furthest_ms": beat["furthest_ms"],
    });
    assert_eq!(device.read("/v1/history"), json!({"entries": [entry], "cursor": null, "partial": false}));
    let mut item = point;
    for (name, value) in [("title_id", json!("film")), ("series_id", json!(null)), ("up_next", json!(false))] {
        item[name] = value;
    }
    assert_eq!(device.read("/v1/continue-watching"), json!({"items": [item], "partial": false}));
    let stream = json!({
        "session_id": play.session, "profile": "ada", "device": device.viewer.device.as_str(), "title_id": "film",
        "started_at": play.session.birth(), "playing": beat["playing"],
    });
    assert_eq!(device.read("/v1/streams"), json!({"limit": 2, "streams": [stream], "partial": false}));
}

fn another_device_goes_on_where_the_first_one_stopped(stage: &Stage) {
    let (tv, phone) = (stage.device("ada", "tv"), stage.device("ada", "phone"));
    for (device, other, position) in [(&tv, &phone, 1_234_567), (&phone, &tv, 2_345_678), (&tv, &phone, 600_001)] {
        let play = Play::new("film");
        device.open(&play);
        device.beat(&[play.beat("stop", position)]);
        let resume = other.open(&Play::new("film")).json()["resume"].take();
        assert_eq!((&resume["position_ms"], &resume["progress"]), (&json!(position), &json!("in_progress")));
        assert_eq!(resume["device"], device.viewer.device.as_str());
    }
}

fn a_device_at_the_other_edge_goes_on_there_too(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    let phone = stage.device("ada", "phone").at(&stage.url_of(stage.kind.other()));
    let play = Play::new("film");
    // It reads first, so that its edge holds an answer that will be outdated.
    assert_eq!(phone.resume_point("film"), Value::Null);
    tv.open(&play);
    tv.beat(&[play.beat("start", 0)]);
    eventually("the other edge sees the stream", 10, || (phone.streams().len() == 1).then_some(()));
    tv.beat(&[play.beat("stop", 3_000_000)]);
    let next = Play::new("film");
    eventually("the other edge resumes", 10, || {
        let answer = phone.open(&next).json();
        (answer["resume"]["position_ms"] == 3_000_000 && answer["streams"]["live"] == 1).then_some(())
    });
    phone.beat(&[next.beat("resume", 3_000_000)]);
    for device in [&phone, &tv] {
        eventually("both edges list the one stream", 10, || {
            let streams = device.streams();
            (streams.len() == 1 && streams[0]["device"] == "phone").then_some(())
        });
    }
}

/// The origin knows better than the edge, which asked it less than half a minute ago.
fn the_newest_position_wins_whatever_is_cached(stage: &Stage) {
    let here = stage.device("ada", "tv");
    let there = stage.device("ada", "phone").at(&stage.url_of(stage.kind.other()));
    let play = Play::new("film");
    here.beat(&[play.beat("stop", 1_000_000)]);
    assert_eq!(here.resume_point("film")["position_ms"], 1_000_000);
    let later = Play::new("film");
    there.beat(&[later.beat("stop", 2_000_000)]);
    eventually("the origin has it", 10, || {
        (there.history().len() == 2 && in_origin(stage, &there, "film") >= 2).then_some(())
    });
    let fresh = playhead_tests::client::Ask::new("GET", "/v1/resume?titles=film").header("cache-control", "no-cache");
    eventually("a fresh read shows it", 10, || {
        (here.send(fresh.clone()).json()["titles"]["film"]["position_ms"] == 2_000_000).then_some(())
    });
    assert_eq!(here.open(&Play::new("film")).json()["resume"]["position_ms"], 2_000_000);
}

/// How many plays the origin knows of, once it knows the title at all.
fn in_origin(stage: &Stage, device: &Device, title: &str) -> usize {
    let titles = BTreeSet::from([title.to_owned()]);
    let known = playhead_tests::registers::Registers::in_origin(&stage.system.origin, &device.viewer, &titles);
    known.unwrap().len().saturating_sub(1)
}

fn an_unsettled_session_moves_nothing(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    tv.beat(&[Play::new("film").beat("stop", 1_000_000)]);
    let mistap = Play::new("film");
    let zero = playhead_tests::play::with(mistap.beat("start", 0), &json!({"watched_ms": 9_999}));
    tv.beat(&[zero]);
    assert_eq!(tv.resume_point("film")["position_ms"], 1_000_000);
    assert_eq!(tv.history().len(), 2);
}

fn what_was_watched_offers_what_is_next(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    let episode = |title: &str, next: &str| Play {
        series: Some("show".to_owned()),
        next: Some(next.to_owned()),
        ..Play::new(title)
    };
    tv.beat(&[episode("one", "two").beat("stop", DURATION_MS)]);
    let items = tv.continue_watching();
    assert_eq!((items.len(), &items[0]["title_id"], &items[0]["up_next"]), (1, &json!("two"), &json!(true)));
    tv.beat(&[episode("two", "three").beat("pause", 600_000)]);
    let items = tv.continue_watching();
    assert_eq!((items.len(), &items[0]["title_id"], &items[0]["up_next"]), (1, &json!("two"), &json!(false)));
    assert_eq!(tv.resume_point("one")["progress"], "watched");
}

fn history_is_read_page_by_page(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    let start = now().0 - 3_600_000;
    let plays: Vec<Play> = (0..7).map(|n| Play::born(&format!("film-{n}"), Millis(start + n * 60_000))).collect();
    let (settled, held) = plays.split_at(4);
    let stop = |play: &Play| play.beat_at("stop", 600_000, play.session.birth().0 + 30_000);
    tv.beat(&settled.iter().map(stop).collect::<Vec<_>>());
    eventually("the origin has some", 10, || (in_origin(stage, &tv, "film-0") >= 4).then_some(()));
    // The rest stays at the edge meanwhile: progress has half a minute.
    let progress = |play: &Play| play.beat_at("progress", 600_000, play.session.birth().0 + 30_000);
    tv.beat(&held.iter().map(progress).collect::<Vec<_>>());
    let newest_first: Vec<Value> = plays.iter().rev().map(|play| json!(play.session)).collect();
    for limit in [1, 2, 3, 6, 7, 100] {
        let (mut read, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = tv.read(&format!("/v1/history?limit={limit}{cursor}"));
            let entries = page["entries"].as_array().unwrap();
            assert!(entries.len() <= limit, "{page}");
            read.extend(entries.iter().map(|entry| entry["session_id"].clone()));
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(read, newest_first, "limit {limit}");
    }
}

fn an_offline_backlog_comes_in_one_request(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    let play = Play::born("film", now().minus(5 * 3_600_000));
    let beat = |n: u64| play.beat_at("progress", n * 10_000, play.session.birth().0 + n * 30_000);
    let beats: Vec<Value> = (1..=500).map(beat).collect();
    let answer = tv.beat(&beats);
    assert_eq!(answer["ended"], json!([]), "{answer}");
    assert_eq!(tv.history()[0]["position_ms"], 5_000_000);
    assert_eq!(tv.resume_point("film")["position_ms"], 5_000_000);
}
