//! Clocks that are off: refused by name, with the time that is right.

use playhead_tests::client::Ask;
use playhead_tests::now;
use playhead_tests::play::{Play, with};
use playhead_tests::stage::Stage;
use serde_json::{Value, json};

crate::cases![a_skewed_clock_is_told_the_time, a_command_has_its_place_in_time, a_heartbeat_of_a_month_is_taken];

const DAY: i64 = 24 * 3_600_000;

fn a_skewed_clock_is_told_the_time(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let play = Play::new("film");
    let session = play.session;
    let shifted = |by: i64| now().0.saturating_add_signed(by);
    for by in [20_000, 10 * DAY, -90_000, -DAY, -100_000 * DAY] {
        let at = shifted(by);
        let times = format!("sent_at={at}&observed_at={at}");
        let timed = |more: Value| with(json!({"sent_at": at, "observed_at": at}), &more);
        for ask in [
            Ask::new("PUT", format!("/v1/sessions/{session}")).json(&json!({"sent_at": at, "title_id": "film"})),
            Ask::new("POST", "/v1/heartbeats")
                .json(&json!({"sent_at": at, "heartbeats": [play.beat("pause", 600_000)]})),
            Ask::new("DELETE", format!("/v1/sessions/{session}?{times}")),
            Ask::new("PUT", "/v1/titles/film/watched").json(&timed(json!({"watched": true}))),
            Ask::new("PUT", "/v1/titles/film/hidden").json(&timed(json!({"hidden": true}))),
            Ask::new("DELETE", format!("/v1/titles/film?{times}")),
            Ask::new("DELETE", format!("/v1/history/{session}?{times}")),
        ] {
            let what = format!("{by} ms off: {} {}", ask.method, ask.path);
            let answer = device.send(ask);
            assert_eq!((answer.status, answer.code().as_str()), (409, "clock_skew"), "{what}: {}", answer.text());
            let told = answer.json()["server_time"].as_u64().unwrap();
            assert!(told.abs_diff(now().0) < 30_000, "{what}: {}", answer.text());
        }
    }
    for by in [0, -30_000, 1_000] {
        let body = json!({"sent_at": shifted(by), "heartbeats": [play.beat("pause", 600_000)]});
        let answer = device.send(Ask::new("POST", "/v1/heartbeats").json(&body));
        assert_eq!(answer.status, 202, "{by}: {}", answer.text());
    }
}

fn a_command_has_its_place_in_time(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let sent_at = now().0;
    for (observed_at, status, code) in [
        (json!(sent_at + 60_000), 400, "in_future"),
        (json!(sent_at - 31 * DAY as u64), 400, "too_old"),
        (json!(-1), 400, "malformed"),
        (json!(1.5), 400, "malformed"),
        (json!(1e300), 400, "malformed"),
        (json!(sent_at - 29 * DAY as u64), 204, ""),
    ] {
        let times = format!("sent_at={sent_at}&observed_at={observed_at}");
        let timed = |more: Value| with(json!({"sent_at": sent_at, "observed_at": observed_at}), &more);
        for ask in [
            Ask::new("PUT", "/v1/titles/film/watched").json(&timed(json!({"watched": true}))),
            Ask::new("PUT", "/v1/titles/film/hidden").json(&timed(json!({"hidden": true}))),
            Ask::new("DELETE", format!("/v1/titles/film?{times}")),
            Ask::new("DELETE", format!("/v1/history/{}?{times}", Play::new("film").session)),
        ] {
            let what = format!("{} {}", ask.method, ask.path);
            let answer = device.send(ask);
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (status, code),
                "{what} {observed_at}: {}",
                answer.text()
            );
        }
    }
    for query in ["", "?sent_at=now&observed_at=now", "?sent_at=1e999&observed_at=1", "?sent_at=NaN", "?observed_at=1"]
    {
        let answer = device.send(Ask::new("DELETE", format!("/v1/titles/film{query}")));
        assert_eq!((answer.status, answer.code().as_str()), (400, "malformed"), "{query}: {}", answer.text());
    }
}

fn a_heartbeat_of_a_month_is_taken(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let play = Play::born("film", now().minus(29 * DAY as u64));
    device.beat(&[play.beat_at("stop", 600_000, play.session.birth().0 + 1_000)]);
    assert_eq!(device.resume_point("film")["moved_at"], play.session.birth().0 + 1_000);
    // A stream that is over before it is heard of takes nobody's room.
    assert_eq!(device.streams(), Vec::<Value>::new());
}
