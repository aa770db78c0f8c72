//! Every route, with everything that is wrong with a request but its token and its times.

use std::collections::BTreeSet;

use playhead_shared::id::SessionId;
use playhead_shared::time::Millis;
use playhead_tests::client::Ask;
use playhead_tests::device::{Device, beats};
use playhead_tests::now;
use playhead_tests::play::{DURATION_MS, Play, with};
use playhead_tests::registers::Registers;
use playhead_tests::stage::{Stage, eventually};
use serde_json::{Value, json};

use crate::bad_tokens::every_route;

crate::cases![
    wrong_bodies_are_refused_whole,
    bodies_have_their_bounds,
    wrong_paths_and_methods_are_named,
    wrong_queries_are_refused,
    each_heartbeat_is_judged_for_itself,
    nothing_wrong_changes_anything,
    what_is_new_or_odd_is_taken,
];

const DAY: u64 = 24 * 3_600_000;

fn refuses(device: &Device, ask: Ask, status: u16, code: &str, what: &str) {
    let at = format!("{what}: {} {}", ask.method, &ask.path[..ask.path.len().min(120)]);
    let answer = device.send(ask);
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{at}: {}", answer.text());
}

/// The routes that take a body, with one that is good.
fn writes(play: &Play) -> Vec<(Ask, Value)> {
    let at = now().0;
    let put = |path: String, body: Value| (Ask::new("PUT", path), body);
    vec![
        put(format!("/v1/sessions/{}", play.session), json!({"sent_at": at, "title_id": "film"})),
        (Ask::new("POST", "/v1/heartbeats"), json!({"sent_at": at, "heartbeats": [play.beat("pause", 600_000)]})),
        put("/v1/titles/film/watched".to_owned(), json!({"sent_at": at, "observed_at": at, "watched": true})),
        put("/v1/titles/film/hidden".to_owned(), json!({"sent_at": at, "observed_at": at, "hidden": true})),
    ]
}

fn wrong_bodies_are_refused_whole(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let play = Play::new("film");
    let is_json = "application/json";
    for (ask, good) in writes(&play) {
        let text = good.to_string();
        for (what, media, body) in [
            ("no body", is_json, String::new()),
            ("no JSON", is_json, "sent_at=1".to_owned()),
            ("half a JSON", is_json, text[..text.len() / 2].to_owned()),
            ("more than a JSON", is_json, format!("{text}{text}")),
            ("null", is_json, "null".to_owned()),
            ("a list", is_json, format!("[{text}]")),
            ("a text", is_json, "\"sent_at\"".to_owned()),
            ("depths", is_json, "[".repeat(100_000)),
        ] {
            let ask = ask.clone().header("content-type", media).body(body);
            refuses(&device, ask, 400, "malformed", what);
        }
        let broken = [text.as_bytes(), b"\xff"].concat();
        refuses(&device, ask.clone().header("content-type", is_json).body(broken), 400, "malformed", "no UTF-8");
        for field in good.as_object().unwrap().keys() {
            let mut less = good.clone();
            less.as_object_mut().unwrap().remove(field);
            refuses(&device, ask.clone().json(&less), 400, "malformed", &format!("no {field}"));
            for wrong in [json!(null), json!({"a": 1}), json!("\u{0}"), json!([[]])] {
                if field == "heartbeats" && wrong == json!([[]]) {
                    continue; // One heartbeat that is none: refused by its index.
                }
                let ask = ask.clone().json(&with(good.clone(), &json!({field: wrong})));
                let code = if field == "title_id" && wrong == json!("\u{0}") { "bad_id" } else { "malformed" };
                refuses(&device, ask, 400, code, &format!("{field} is {wrong}"));
            }
        }
        for media in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", ""] {
            let ask = ask.clone().header("content-type", media).body(text.clone());
            refuses(&device, ask, 415, "unsupported_media_type", media);
        }
        refuses(&device, ask.clone().body(text.clone()), 415, "unsupported_media_type", "no content type");
    }
    let sent_at = now().0;
    for (body, code) in [
        (json!({"sent_at": sent_at, "heartbeats": []}), "malformed"),
        (json!({"sent_at": sent_at, "heartbeats": {"0": play.beat("pause", 0)}}), "malformed"),
        (json!({"sent_at": sent_at, "heartbeats": vec![json!({}); 501]}), "too_many"),
    ] {
        refuses(&device, Ask::new("POST", "/v1/heartbeats").json(&body), 400, code, "heartbeats");
    }
    for (more, code) in [
        (json!({"evict": [1]}), "malformed"),
        (json!({"evict": "all"}), "malformed"),
        (json!({"evict": ["all"]}), "bad_id"),
        (json!({"evict": [format!("{{{}}}", play.session)]}), "bad_id"),
        (json!({"evict": vec![play.session; 17]}), "too_many"),
        (json!({"title_id": ""}), "bad_id"),
        (json!({"title_id": "a/b"}), "bad_id"),
        (json!({"title_id": "é"}), "bad_id"),
        (json!({"title_id": "a".repeat(65)}), "bad_id"),
    ] {
        let body = with(json!({"sent_at": sent_at, "title_id": "film"}), &more);
        let ask = Ask::new("PUT", format!("/v1/sessions/{}", play.session)).json(&body);
        refuses(&device, ask, 400, code, &more.to_string());
    }
    crate::bad_tokens::nothing_is_there(&device);
}

fn bodies_have_their_bounds(stage: &Stage) {
    const LARGEST: usize = 256 * 1024;
    let device = stage.device("ada", "tv");
    let play = Play::new("film");
    for (ask, good) in writes(&play) {
        for size in [LARGEST, LARGEST + 1, 2 * LARGEST, 1_500_000] {
            let length = with(good.clone(), &json!({"padding": ""})).to_string().len();
            let body = with(good.clone(), &json!({"padding": " ".repeat(size - length)})).to_string();
            assert_eq!(body.len(), size);
            let ask = ask.clone().header("content-type", "application/json").body(body);
            for ask in [ask.clone(), ask.chunked()] {
                let at = format!("{size} bytes: {} {}", ask.method, ask.path);
                let answer = device.send(ask);
                if size > LARGEST {
                    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"), "{at}: {}", answer.text());
                } else {
                    assert!(answer.status < 300, "{at}: {}", answer.text());
                }
            }
        }
    }
}

fn wrong_paths_and_methods_are_named(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let play = Play::new("film");
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/streams",
        "/v1/stream",
        "/v1/streams/",
        "/v1/streams/1",
        "/v1/titles/a/b/c",
        "/v1/titles/film/seen",
        "/v1//heartbeats",
        "/V1/streams",
        "/internal",
        "/internal/flush/now",
        "/v1/sessions",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let ask = Ask::new(method, path);
            let ask = if matches!(method, "PUT" | "POST") { ask.json(&json!({})) } else { ask };
            refuses(&device, ask, 404, "not_found", "unknown");
        }
    }
    for known in every_route(&play) {
        let path = known.path.split('?').next().unwrap().to_owned();
        let allowed: BTreeSet<&str> = match () {
            () if path.starts_with("/v1/sessions/") => ["PUT", "DELETE"].into(),
            () => [known.method.as_str()].into(),
        };
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            if allowed.contains(method) {
                continue;
            }
            let ask = Ask::new(method, path.clone());
            let ask = if matches!(method, "PUT" | "POST" | "PATCH") { ask.json(&json!({})) } else { ask };
            let answer = device.send(ask);
            assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"), "{method} {path}");
            let allow = answer.header("allow");
            assert_eq!(allow.split(", ").collect::<BTreeSet<_>>(), allowed, "{method} {path}");
        }
    }
    for shown in [None, Some("Bearer wrong-service-token".to_owned())] {
        let flush = Ask::new("POST", "/internal/flush").body("");
        refuses(&device.showing(shown), flush, 401, "token_invalid", "flush");
    }
    refuses(&device, Ask::new("POST", "/internal/flush").body(""), 401, "token_invalid", "flush, as a device");
    refuses(&device, Ask::new("GET", "/internal/flush"), 405, "method_not_allowed", "flush");
}

/// Ids in paths, whatever they are an id of, and queries.
fn wrong_queries_are_refused(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let at = now();
    let times = format!("sent_at={at}&observed_at={at}");
    let body = json!({"sent_at": at.0, "observed_at": at.0, "title_id": "film", "watched": true, "hidden": true});
    for id in ["a%2Fb", "a%00b", "a%20b", "%C3%A9", "%FF", "a%0Ab", "%7Ba%7D", "%25", "*", &"a".repeat(65)] {
        refuses(&device, Ask::new("DELETE", format!("/v1/titles/{id}?{times}")), 400, "bad_id", "title");
        for what in ["watched", "hidden"] {
            refuses(&device, Ask::new("PUT", format!("/v1/titles/{id}/{what}")).json(&body), 400, "bad_id", "title");
        }
    }
    let session = SessionId::of_birth(at, 1).to_string();
    let version_4 = format!("{}4{}", &session[..14], &session[15..]);
    let (bare, braced) = (session.replace('-', ""), format!("%7B{session}%7D"));
    let cut = session[..35].to_owned();
    let (future, old) = (at.plus(180_000), at.minus(8 * DAY));
    let (future, old) = (SessionId::of_birth(future, 1).to_string(), SessionId::of_birth(old, 1).to_string());
    for (id, of_time) in [
        (version_4, false),
        (bare, false),
        (braced, false),
        (cut, false),
        ("1".to_owned(), false),
        (future, true),
        (old, true),
    ] {
        refuses(&device, Ask::new("PUT", format!("/v1/sessions/{id}")).json(&body), 400, "bad_id", "session");
        refuses(&device, Ask::new("DELETE", format!("/v1/sessions/{id}?{times}")), 400, "bad_id", "session");
        if !of_time {
            refuses(&device, Ask::new("DELETE", format!("/v1/history/{id}?{times}")), 400, "bad_id", "entry");
        }
    }
    let many = vec!["film"; 101].join(",");
    for (query, code) in [
        ("resume", "malformed"),
        ("resume?titles=", "malformed"),
        ("resume?title=film", "malformed"),
        ("resume?titles=film,", "bad_id"),
        ("resume?titles=film,a%2Fb", "bad_id"),
        ("resume?titles=film,%00", "bad_id"),
        (&format!("resume?titles={many}"), "too_many"),
        ("history?limit=0", "malformed"),
        ("history?limit=101", "too_many"),
        ("history?limit=abc", "malformed"),
        ("history?limit=-1", "malformed"),
        ("history?limit=1.5", "malformed"),
        ("history?limit=", "malformed"),
        ("history?cursor=", "bad_cursor"),
        ("history?cursor=abc", "bad_cursor"),
        (&format!("history?cursor={session}"), "bad_cursor"),
        (&format!("history?cursor={session}.0123456789ab"), "bad_cursor"),
        ("continue-watching?limit=0", "malformed"),
        ("continue-watching?limit=101", "too_many"),
        ("continue-watching?limit=abc", "malformed"),
    ] {
        refuses(&device, Ask::new("GET", format!("/v1/{query}")), 400, code, "query");
    }
    let hundred: Vec<String> = (0..100).map(|n| format!("film-{n}")).collect();
    let answer = device.read(&format!("/v1/resume?titles={}", hundred.join(",")));
    assert_eq!(answer["titles"].as_object().unwrap().len(), 100);
}

/// What is wrong with one heartbeat, and the name that it is refused by.
fn bad_heartbeats() -> Vec<(Value, &'static str)> {
    let (play, at) = (Play::new("film"), now().0);
    let good = play.beat_at("pause", 600_000, at);
    let but = |changes: Value| with(good.clone(), &changes);
    let born = |birth: u64| json!({"session_id": SessionId::of_birth(Millis(birth), 1)});
    let mut bad = vec![
        (json!(null), "malformed"),
        (json!("heartbeat"), "malformed"),
        (json!([]), "malformed"),
        (json!({}), "malformed"),
        (but(json!({"playing": "yes"})), "malformed"),
        (but(json!({"position_ms": "600"})), "malformed"),
        (but(json!({"event": 3})), "malformed"),
        (but(json!({"session_id": "1"})), "bad_session_id"),
        (but(json!({"session_id": "00000000-0000-4000-8000-000000000000"})), "bad_session_id"),
        (but(born(at + 180_000)), "bad_session_id"),
        (but(born(at - 8 * DAY)), "session_too_old"),
        (but(json!({"title_id": ""})), "bad_title_id"),
        (but(json!({"title_id": "a/b"})), "bad_title_id"),
        (but(json!({"title_id": "a\u{0}b"})), "bad_title_id"),
        (but(json!({"series_id": "a b"})), "bad_title_id"),
        (but(json!({"next_title_id": "a".repeat(65)})), "bad_title_id"),
        (but(json!({"position_ms": -1})), "bad_position"),
        (but(json!({"position_ms": 0.5})), "bad_position"),
        (but(json!({"position_ms": 1e300})), "bad_position"),
        (but(json!({"position_ms": DURATION_MS + 10_001})), "bad_position"),
        (but(json!({"furthest_ms": DURATION_MS + 10_001})), "bad_position"),
        (but(json!({"watched_ms": -1})), "bad_position"),
        (but(json!({"credits_ms": -1})), "bad_position"),
        (but(json!({"duration_ms": 0})), "bad_duration"),
        (but(json!({"duration_ms": -1})), "bad_duration"),
        (but(json!({"duration_ms": 1e18})), "bad_duration"),
        (but(json!({"observed_at": -1})), "bad_times"),
        (but(json!({"moved_at": at + 1})), "bad_times"),
        (but(json!({"moved_at": 0})), "bad_times"),
        (but(json!({"observed_at": at + 60_000})), "in_future"),
        (Play::born("film", Millis(at - 31 * DAY)).beat_at("pause", 600_000, at - 31 * DAY + 1), "too_old"),
    ];
    for field in [
        "session_id",
        "title_id",
        "event",
        "playing",
        "observed_at",
        "moved_at",
        "position_ms",
        "watched_ms",
        "furthest_ms",
    ] {
        bad.push((but(json!({field: null})), "malformed"));
    }
    bad
}

fn each_heartbeat_is_judged_for_itself(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let (first, last) = (Play::new("first"), Play::new("last"));
    let mut heartbeats = vec![first.beat("pause", 600_000)];
    let bad = bad_heartbeats();
    heartbeats.extend(bad.iter().map(|(heartbeat, _)| heartbeat.clone()));
    heartbeats.push(last.beat("pause", 900_000));
    heartbeats.push(with(last.beat("pause", 900_000), &json!({"title_id": "changed"})));
    let answer = device.send(beats(&heartbeats));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["accepted"], 2, "{answer}");
    let codes = bad.iter().map(|(_, code)| *code);
    let expected: Vec<_> = (1_u64..).zip(codes).chain([(heartbeats.len() as u64 - 1, "title_changed")]).collect();
    let rejected = answer["rejected"].as_array().unwrap();
    let told: Vec<_> = rejected.iter().map(|r| (r["index"].as_u64().unwrap(), r["code"].as_str().unwrap())).collect();
    assert_eq!(told, expected);
    assert!(rejected.iter().all(|one| one["detail"].as_str().is_some_and(|detail| !detail.is_empty())));
    let titles: BTreeSet<String> =
        device.history().iter().map(|entry| entry["title_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(titles, ["first".to_owned(), "last".to_owned()].into());
    // A later request of the session is held to its title, too.
    let answer = device.send(beats(&[with(last.beat("pause", 960_000), &json!({"title_id": "changed"}))])).json();
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["code"]), (&json!(0), &json!("title_changed")));
}

fn nothing_wrong_changes_anything(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let titles = BTreeSet::from(["film".to_owned()]);
    let play = Play::new("film");
    device.open(&play);
    let beat = play.beat("pause", 600_000);
    device.beat(std::slice::from_ref(&beat));
    let registers = || Registers::in_origin(&stage.system.origin, &device.viewer, &titles).unwrap();
    let expected = Registers::of(&device.viewer, &[beat], &[]).unwrap();
    eventually("the origin has it", 10, || (registers() == expected).then_some(()));
    let reads = || (device.history(), device.continue_watching(), device.streams(), device.resume_point("film"));
    let before = reads();
    let bad: Vec<Value> = bad_heartbeats().into_iter().map(|(heartbeat, _)| heartbeat).collect();
    for heartbeat in &bad {
        assert_eq!(device.send(beats(std::slice::from_ref(heartbeat))).json()["accepted"], 0, "{heartbeat}");
    }
    let later = with(play.beat("stop", 1_200_000), &json!({"observed_at": now().0 + 4_000}));
    for body in [json!({"sent_at": 1, "heartbeats": [later]}), json!({"heartbeats": [later]})] {
        assert!(device.send(Ask::new("POST", "/v1/heartbeats").json(&body)).status >= 400);
    }
    assert!(device.send(Ask::new("PUT", "/v1/titles/film/hidden").json(&json!({"hidden": true}))).status >= 400);
    assert!(device.send(Ask::new("DELETE", "/v1/titles/film")).status >= 400);
    assert!(device.send(Ask::new("DELETE", format!("/v1/history/{}", play.session))).status >= 400);
    assert_eq!(reads(), before);
    // A good one after them takes along whatever they might have left.
    let other = Play::new("other");
    device.beat(&[other.beat("stop", 600_000)]);
    eventually("the origin has the next", 10, || (registers().len() == expected.len() + 1).then_some(()));
    let history = device.history();
    assert_eq!((history.len(), &history[1]), (2, &before.0[0]));
}

fn what_is_new_or_odd_is_taken(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let play = Play::new("urn:film-1.2_x");
    let beat = play.beat("ad_break", DURATION_MS + 9_999);
    let mut beat =
        with(beat, &json!({"mood": {"deep": [[[1]]]}, "watched_ms": 1, "furthest_ms": 0, "position_ms": 6e5}));
    beat["session_id"] = json!(play.session.to_string().to_uppercase());
    let body = json!({"sent_at": now().0, "heartbeats": [beat], "client": {"version": "9"}}).to_string();
    for media in ["application/json; charset=utf-8", "Application/JSON"] {
        let answer = device.send(Ask::new("POST", "/v1/heartbeats").header("content-type", media).body(body.clone()));
        assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(1)), "{media}: {}", answer.text());
    }
    let nested =
        format!("{{\"sent_at\":{},\"heartbeats\":[{{\"a\":{}{}}}]}}", now().0, "[".repeat(9_000), "]".repeat(9_000));
    let answer =
        device.send(Ask::new("POST", "/v1/heartbeats").header("content-type", "application/json").body(nested));
    assert!(matches!(answer.status, 202 | 400), "{} {}", answer.status, answer.text());
    let history = device.history();
    assert_eq!((history.len(), &history[0]["event"]), (1, &json!("progress")));
    device.set("urn%3Afilm-1.2_x", "watched", true, now().0);
    assert_eq!(device.resume_point("urn:film-1.2_x")["progress"], "watched");
}
