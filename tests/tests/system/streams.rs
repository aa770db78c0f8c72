//! Who may play: the stream limit, eviction, and what an ended session is told.

use playhead_tests::play::Play;
use playhead_tests::stage::{Stage, eventually};
use serde_json::{Value, json};

crate::cases![
    at_the_limit_the_streams_in_the_way_are_named,
    a_stop_makes_room_at_once,
    a_stop_at_the_other_edge_makes_room,
    an_evicted_stream_is_told_and_its_heartbeats_count,
    an_eviction_at_the_other_edge_is_told,
    a_stream_is_ended_from_elsewhere,
    a_device_ends_its_own_stream,
    a_younger_session_of_the_device_replaces_the_older,
    incognito_leaves_nothing_but_a_stream,
];

fn told(session: &Play, reason: &str, by: &str) -> Value {
    json!([{"session_id": session.session, "reason": reason, "by": by}])
}

fn at_the_limit_the_streams_in_the_way_are_named(stage: &Stage) {
    let (tv, pad) = (stage.limited("ada", "tv", 1), stage.limited("ada", "pad", 1));
    let phone = stage.limited("ben", "phone", 1);
    let (first, second) = (Play::new("film"), Play::new("other"));
    assert_eq!(tv.open(&first).json()["streams"], json!({"limit": 1, "live": 1}));
    tv.beat(&[first.beat("start", 0)]);
    for (device, title) in [(&pad, Some("film")), (&phone, None)] {
        let refused = device.open(&second);
        assert_eq!((refused.status, refused.code()), (409, "stream_limit".to_owned()), "{}", refused.text());
        let mut conflict = json!({
            "session_id": first.session, "profile": "ada", "device": "tv", "playing": true,
            "started_at": first.session.birth(),
        });
        if let Some(title) = title {
            conflict["title_id"] = json!(title);
        }
        assert_eq!(refused.json()["conflicts"], json!([conflict]));
    }
    // Whoever holds a stream keeps it.
    assert_eq!(tv.open(&first).status, 200);
    assert_eq!(tv.beat(&[first.beat("progress", 60_000)])["ended"], json!([]));
    // More room is more streams.
    assert_eq!(stage.limited("ada", "pad", 2).open(&second).status, 201);
}

fn a_stop_makes_room_at_once(stage: &Stage) {
    let (tv, phone) = (stage.limited("ada", "tv", 1), stage.limited("ada", "phone", 1));
    let (first, second) = (Play::new("film"), Play::new("film"));
    tv.open(&first);
    tv.beat(&[first.beat("start", 0)]);
    assert_eq!(phone.open(&second).status, 409);
    tv.beat(&[first.beat("stop", 60_000)]);
    let admitted = phone.open(&second);
    assert_eq!((admitted.status, &admitted.json()["admission"]), (201, &json!("admitted")), "{}", admitted.text());
    let streams = phone.streams();
    assert_eq!((streams.len(), &streams[0]["device"]), (1, &json!("phone")));
}

fn a_stop_at_the_other_edge_makes_room(stage: &Stage) {
    let tv = stage.limited("ada", "tv", 1);
    let phone = stage.limited("ada", "phone", 1).at(&stage.url_of(stage.kind.other()));
    let (first, second) = (Play::new("film"), Play::new("film"));
    tv.open(&first);
    assert_eq!(phone.open(&second).status, 409);
    tv.beat(&[first.beat("stop", 60_000)]);
    eventually("the stop made room", 10, || (phone.open(&second).status == 201).then_some(()));
}

fn an_evicted_stream_is_told_and_its_heartbeats_count(stage: &Stage) {
    let (tv, phone) = (stage.limited("ada", "tv", 1), stage.limited("ada", "phone", 1));
    let (first, second) = (Play::new("film"), Play::new("other"));
    tv.open(&first);
    tv.beat(&[first.beat("start", 0)]);
    let admitted = phone.open_evicting(&second, &[first.session]);
    assert_eq!(admitted.status, 201, "{}", admitted.text());
    assert_eq!(admitted.json()["streams"], json!({"limit": 1, "live": 1}));
    // It is worked out anew for every answer.
    for position in [600_000, 660_000] {
        let answer = tv.beat(&[first.beat("progress", position)]);
        assert_eq!(answer["ended"], told(&first, "evicted", "phone"));
        assert_eq!(tv.resume_point("film")["position_ms"], position);
    }
    let streams = tv.streams();
    assert_eq!((streams.len(), &streams[0]["session_id"]), (1, &json!(second.session)));
    // The evicted session itself gets no stream any more; a new one of its device finds no room.
    assert_eq!(tv.open(&first).code(), "stream_limit");
    assert_eq!(tv.open(&Play::new("film")).code(), "stream_limit");
}

fn an_eviction_at_the_other_edge_is_told(stage: &Stage) {
    let tv = stage.limited("ada", "tv", 1);
    let phone = stage.limited("ada", "phone", 1).at(&stage.url_of(stage.kind.other()));
    let (first, second) = (Play::new("film"), Play::new("other"));
    tv.open(&first);
    tv.beat(&[first.beat("start", 0)]);
    assert_eq!(phone.open_evicting(&second, &[first.session]).status, 201);
    let mut position = 0;
    eventually("the evicted one is told", 15, || {
        // A pause is handed in at once, and the answer to that brings the word.
        position += 1_000;
        (tv.beat(&[first.beat("pause", position)])["ended"] == told(&first, "evicted", "phone")).then_some(())
    });
}

fn a_stream_is_ended_from_elsewhere(stage: &Stage) {
    let (tv, phone) = (stage.device("ada", "tv"), stage.device("ben", "phone"));
    let play = Play::new("film");
    tv.open(&play);
    tv.beat(&[play.beat("start", 0)]);
    phone.end(play.session);
    assert_eq!(phone.streams(), Vec::<Value>::new());
    assert_eq!(tv.beat(&[play.beat("progress", 60_000)])["ended"], told(&play, "stopped", "phone"));
    assert_eq!(tv.streams(), Vec::<Value>::new());
    phone.end(play.session);
}

fn a_device_ends_its_own_stream(stage: &Stage) {
    let (tv, phone) = (stage.limited("ada", "tv", 1), stage.limited("ada", "phone", 1));
    let play = Play::new("film");
    tv.open(&play);
    tv.end(play.session);
    assert_eq!(tv.streams(), Vec::<Value>::new());
    assert_eq!(phone.open(&Play::new("film")).status, 201);
}

fn a_younger_session_of_the_device_replaces_the_older(stage: &Stage) {
    let tv = stage.limited("ada", "tv", 1);
    let older = Play::new("film");
    tv.open(&older);
    tv.beat(&[older.beat("start", 0)]);
    let younger = Play::born("other", playhead_tests::now().plus(1));
    assert_eq!(tv.open(&younger).status, 201);
    tv.beat(&[younger.beat("start", 0)]);
    assert_eq!(tv.beat(&[older.beat("progress", 60_000)])["ended"], told(&older, "replaced", "tv"));
    assert_eq!(tv.beat(&[younger.beat("progress", 60_000)])["ended"], json!([]));
    let streams = tv.streams();
    assert_eq!((streams.len(), &streams[0]["session_id"]), (1, &json!(younger.session)));
    assert_eq!(tv.history().len(), 2);
}

fn incognito_leaves_nothing_but_a_stream(stage: &Stage) {
    let mut viewer = stage.limited("ada", "tv", 1).viewer;
    viewer.incognito = true;
    let hidden = playhead_tests::device::Device::of(&stage.url(), viewer);
    let phone = stage.limited("ada", "phone", 1);
    let play = Play::new("film");
    assert_eq!(hidden.open(&play).status, 201);
    hidden.beat(&[play.beat("start", 0), play.beat("pause", 3_000_000)]);
    for device in [&hidden, &phone] {
        let streams = device.streams();
        assert_eq!((streams.len(), &streams[0]["device"]), (1, &json!("tv")));
        assert!(!json!(streams).to_string().contains("film"), "{streams:?}");
    }
    let refused = phone.open(&Play::new("film"));
    assert_eq!(refused.code(), "stream_limit");
    assert!(!refused.text().contains("film"), "{}", refused.text());
    // What is settled after it shows that nothing more will come.
    let after = Play::new("other");
    hidden.beat(&[play.beat("stop", 7_000_000)]);
    phone.beat(&[after.beat("stop", 600_000)]);
    let titles = ["film", "other"].map(str::to_owned).into();
    let expected = playhead_tests::registers::Registers::of(&phone.viewer, &[], &[]).unwrap();
    assert!(expected.is_empty());
    eventually("the other play reached the origin", 10, || {
        let known = playhead_tests::registers::Registers::in_origin(&stage.system.origin, &phone.viewer, &titles);
        (known.unwrap().len() == 2).then_some(())
    });
    assert_eq!(phone.resume_point("film"), Value::Null);
    assert_eq!((phone.history().len(), phone.continue_watching().len()), (1, 1));
}
