//! Every route, with every token that opens nothing.

use std::sync::Arc;

use playhead_tests::client::Ask;
use playhead_tests::device::Device;
use playhead_tests::edge::Settings;
use playhead_tests::now;
use playhead_tests::play::Play;
use playhead_tests::stage::Stage;
use playhead_tests::system::System;
use playhead_tests::token;
use serde_json::{Value, json};

crate::cases![no_route_opens_to_a_bad_token, both_algorithms_open, issuer_and_audience_are_asked_for_if_set];

/// A good request of every route, but for the token.
pub(crate) fn every_route(play: &Play) -> Vec<Ask> {
    let (session, at) = (play.session, now().0);
    let times = format!("sent_at={at}&observed_at={at}");
    let timed = |more: Value| playhead_tests::play::with(json!({"sent_at": at, "observed_at": at}), &more);
    vec![
        Ask::new("PUT", format!("/v1/sessions/{session}")).json(&json!({"sent_at": at, "title_id": "film"})),
        playhead_tests::device::beats(&[play.beat("pause", 600_000)]),
        Ask::new("DELETE", format!("/v1/sessions/{session}")),
        Ask::new("GET", "/v1/resume?titles=film"),
        Ask::new("GET", "/v1/continue-watching"),
        Ask::new("GET", "/v1/history"),
        Ask::new("GET", "/v1/streams"),
        Ask::new("PUT", "/v1/titles/film/watched").json(&timed(json!({"watched": true}))),
        Ask::new("PUT", "/v1/titles/film/hidden").json(&timed(json!({"hidden": true}))),
        Ask::new("DELETE", format!("/v1/titles/film?{times}")),
        Ask::new("DELETE", format!("/v1/history/{session}?{times}")),
    ]
}

fn no_route_opens_to_a_bad_token(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let good = token::claims(&device.viewer);
    let other = |name: &str, value: Value| playhead_tests::play::with(good.clone(), &json!({name: value}));
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        token::local(&claims)
    };
    let bearer = |token: String| Some(format!("Bearer {token}"));
    let valid = token::local(&good);
    let (head, signature) = (valid.split_once('.').unwrap().0, valid.rsplit_once('.').unwrap().1);
    let seconds = now().0 / 1000;
    let public = token::edwards_public();
    let table = [
        ("nothing", None, "token_missing"),
        ("another scheme", Some(format!("Basic {valid}")), "token_missing"),
        ("no scheme", Some(valid.clone()), "token_missing"),
        ("an empty token", Some("Bearer ".to_owned()), "token_missing"),
        ("garbage", bearer("garbage".to_owned()), "token_invalid"),
        ("three dots", bearer("...".to_owned()), "token_invalid"),
        ("claims that are no JSON", bearer(format!("{head}.AAAA.{signature}")), "token_invalid"),
        ("a long one", bearer("A".repeat(6_000)), "token_invalid"),
        ("no signature", bearer(valid.rsplit_once('.').unwrap().0.to_owned()), "token_invalid"),
        ("an empty signature", bearer(format!("{}.", valid.rsplit_once('.').unwrap().0)), "token_invalid"),
        ("alg none", bearer(token::unsigned(&good)), "token_invalid"),
        (
            "another key",
            bearer(token::hs256(b"another-key-of-somebody-else-0001", Some("local"), &good)),
            "token_invalid",
        ),
        (
            "another key, unnamed",
            bearer(token::hs256(b"another-key-of-somebody-else-0001", None, &good)),
            "token_invalid",
        ),
        ("a key of another name", bearer(token::hs256(token::LOCAL_KEY, Some("rotated"), &good)), "token_invalid"),
        (
            "the shared key as the other",
            bearer(token::hs256(token::LOCAL_KEY, Some(token::EDWARDS), &good)),
            "token_invalid",
        ),
        ("the public key as a secret", bearer(token::hs256(&public, Some(token::EDWARDS), &good)), "token_invalid"),
        ("the same, unnamed", bearer(token::hs256(&public, None, &good)), "token_invalid"),
        ("another Ed25519 key", bearer(token::foreign_ed25519(&good)), "token_invalid"),
        ("claims of another", bearer(token::spliced(&good, &other("sub", json!("victim")))), "token_invalid"),
        ("expired", bearer(token::local(&other("exp", json!(seconds - 1)))), "token_expired"),
        ("no expiry", bearer(without("exp")), "token_invalid"),
        ("not yet", bearer(token::local(&other("nbf", json!(seconds + 600)))), "token_invalid"),
        ("no account", bearer(without("sub")), "token_invalid"),
        ("no profile", bearer(without("profile")), "token_invalid"),
        ("no device", bearer(without("device")), "token_invalid"),
        ("no limit", bearer(without("streams")), "token_invalid"),
        ("a negative limit", bearer(token::local(&other("streams", json!(-1)))), "token_invalid"),
        ("an account that splits keys", bearer(token::local(&other("sub", json!("a/b")))), "token_invalid"),
        ("an empty account", bearer(token::local(&other("sub", json!("")))), "token_invalid"),
        ("a long account", bearer(token::local(&other("sub", json!("a".repeat(65))))), "token_invalid"),
        ("a profile with a blank", bearer(token::local(&other("profile", json!("a b")))), "token_invalid"),
        ("a device beyond ASCII", bearer(token::local(&other("device", json!("ü")))), "token_invalid"),
        ("a number for an account", bearer(token::local(&other("sub", json!(7)))), "token_invalid"),
    ];
    let play = Play::new("film");
    for (what, authorization, code) in table {
        for ask in every_route(&play) {
            let at = format!("{what}: {} {}", ask.method, ask.path);
            let answer = device.showing(authorization.clone()).send(ask);
            assert_eq!((answer.status, answer.code().as_str()), (401, code), "{at}: {}", answer.text());
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{at}");
        }
    }
    nothing_is_there(&device);
    for ask in every_route(&play) {
        let at = format!("{} {}", ask.method, ask.path);
        let answer = device.showing(Some(format!("bearer  {valid}"))).send(ask);
        assert!(answer.status < 300, "{at}: {}", answer.text());
    }
}

/// None of the bad requests has left anything.
pub(crate) fn nothing_is_there(device: &Device) {
    assert_eq!((device.history(), device.streams(), device.continue_watching()), (vec![], vec![], vec![]));
    assert_eq!(device.resume_point("film"), Value::Null);
}

fn both_algorithms_open(stage: &Stage) {
    let device = stage.device("ada", "tv");
    let claims = token::claims(&device.viewer);
    let play = Play::new("film");
    device.beat(&[play.beat("pause", 600_000)]);
    for token in [token::ed25519(&claims), token::hs256(token::LOCAL_KEY, None, &claims)] {
        let device = device.showing(Some(format!("Bearer {token}")));
        assert_eq!(device.resume_point("film")["position_ms"], 600_000);
    }
}

fn issuer_and_audience_are_asked_for_if_set(stage: &Stage) {
    let settings = Settings { issuer: "https://id.example".into(), audience: "playhead".into(), ..Settings::default() };
    let system = System::with_settings(&[stage.kind], &settings).unwrap();
    let stage = Stage::new(Arc::new(system), stage.kind);
    let device = stage.device("ada", "tv");
    let table = [
        (json!({}), 401),
        (json!({"iss": "https://id.example"}), 401),
        (json!({"aud": "playhead"}), 401),
        (json!({"iss": "https://id.example.evil", "aud": "playhead"}), 401),
        (json!({"iss": "https://id.example", "aud": "playheads"}), 401),
        (json!({"iss": "https://id.example", "aud": ["other"]}), 401),
        (json!({"iss": "https://id.example", "aud": "playhead"}), 200),
        (json!({"iss": "https://id.example", "aud": ["other", "playhead"]}), 200),
    ];
    for (more, status) in table {
        // Each time a session that was not ended by the time before.
        let play = Play::new("film");
        let claims = playhead_tests::play::with(token::claims(&device.viewer), &more);
        let device = device.showing(Some(format!("Bearer {}", token::local(&claims))));
        for ask in every_route(&play) {
            let at = format!("{more}: {} {}", ask.method, ask.path);
            let answer = device.send(ask);
            let code = if status == 401 { "token_invalid" } else { "" };
            assert_eq!(
                (answer.status == 401, answer.code().as_str()),
                (status == 401, code),
                "{at}: {}",
                answer.text()
            );
        }
    }
}
