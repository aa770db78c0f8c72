//! The two edges answer the same to the same request.

use playhead_shared::time::Millis;
use playhead_tests::client::{Answer, Ask};
use playhead_tests::device::{Device, beats};
use playhead_tests::edge::{ALLOWED_PAGE, Kind};
use playhead_tests::now;
use playhead_tests::play::{Play, with};
use playhead_tests::stage::Stage;
use serde_json::{Value, json};

use crate::bad_tokens::every_route;

/// Two accounts that nobody else has, one at each edge, are asked and told the same, in the same order.
pub(crate) fn both_edges_answer_the_same() {
    let devices = Kind::BOTH.map(|kind| Stage::shared(kind).limited("ada", "tv", 1));
    let phones = devices.clone().map(|tv| {
        let mut viewer = tv.viewer.clone();
        viewer.device = "phone".parse().unwrap();
        Device::of(tv.base(), viewer)
    });
    let mut differ = Vec::new();
    for (number, (ask, of_phone, shows_token)) in conversation().into_iter().enumerate() {
        let answers = [0, 1].map(|edge| {
            let device = if of_phone { &phones[edge] } else { &devices[edge] };
            let device = if shows_token { device.clone() } else { device.showing(None) };
            seen(&device.send(ask.clone()))
        });
        if answers[0] != answers[1] {
            differ.push(format!(
                "{number}: {} {}\n  workers: {}\n  spin:    {}",
                ask.method, ask.path, answers[0], answers[1]
            ));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Requests, good and bad, each with whether it is the phone's and whether it shows a token.
fn conversation() -> Vec<(Ask, bool, bool)> {
    let start = now().minus(60_000);
    let (play, other) = (Play::born("film", start), Play::born("other", start.plus(1)));
    let get = |path: &str| Ask::new("GET", path);
    // Once an entry is deleted, whether there is a next page to look at depends on whether the origin has heard of it.
    let page = || get("/v1/history?limit=1");
    let reads = || ["/v1/resume?titles=film,other", "/v1/continue-watching", "/v1/history", "/v1/streams"].map(get);
    let put = |play: &Play, evict: Value| {
        let body = json!({"sent_at": now().0, "title_id": play.title, "evict": evict});
        Ask::new("PUT", format!("/v1/sessions/{}", play.session)).json(&body)
    };
    let at = |seconds: u64| start.0 + seconds * 1_000;
    let mut asks: Vec<(Ask, bool, bool)> = Vec::new();
    let mut tv = |ask: Ask| asks.push((ask, false, true));
    reads().into_iter().chain([page()]).for_each(&mut tv);
    tv(put(&play, json!([])));
    tv(put(&play, json!([])));
    tv(beats(&[play.beat_at("start", 0, at(1)), play.beat_at("pause", 600_000, at(2)), json!({"title_id": 1})]));
    reads().into_iter().for_each(&mut tv);
    for ask in odd_requests(&play) {
        tv(ask.clone());
        tv(ask.header("origin", ALLOWED_PAGE));
    }
    asks.push((put(&other, json!([])), true, true));
    asks.push((put(&other, json!([play.session])), true, true));
    asks.push((beats(&[play.beat_at("progress", 660_000, at(3))]), false, true));
    asks.push((beats(&[other.beat_at("stop", 900_000, at(4))]), true, true));
    asks.extend(reads().into_iter().chain([page()]).map(|ask| (ask, true, true)));
    for ask in every_route(&play) {
        asks.push((ask.clone(), false, false));
        asks.push((Ask::new("OPTIONS", ask.path.clone()).header("origin", ALLOWED_PAGE), false, false));
        asks.push((ask.header("origin", "https://evil.example"), false, true));
        asks.extend(reads().into_iter().map(|ask| (ask, false, true)));
    }
    asks
}

fn odd_requests(play: &Play) -> Vec<Ask> {
    let session = play.session;
    let body = json!({"sent_at": now().0, "observed_at": now().0, "title_id": "film", "watched": true});
    let old = Play::born("film", Millis(play.session.birth().0 - 9 * 24 * 3_600_000)).session;
    let mut asks: Vec<Ask> = [
        "/",
        "/v1",
        "/v1/",
        "/v1/streams/",
        "/v1//streams",
        "/v1/streams?a=%FF&b=%00",
        "/v1/resume?titles=a%2Fb",
        "/v1/resume?titles=%66ilm",
        "/v1/resume?titles=film&titles=other",
        "/v1/resume?titles=film%2Cother",
        "/v1/resume?titles=film+other",
        "/v1/history?limit=%31",
        "/v1/history?cursor=%00",
        "/v1/%73treams",
        "/v1/streams;a",
        "/v1/streams?",
        "/healthz",
        "/internal/flush",
        "/v1/history?limit=1&limit=2",
        "/v1/history?LIMIT=0",
        "/v1/resume",
        "/v1/resume?titles=*",
    ]
    .map(|path| Ask::new("GET", path))
    .into();
    for method in ["HEAD", "PATCH", "POST", "PUT", "DELETE", "QUERY"] {
        let ask = Ask::new(method, "/v1/streams");
        asks.push(if matches!(method, "POST" | "PUT" | "PATCH") { ask.body("") } else { ask });
    }
    // No "." and "..": a browser resolves them before it sends, and so does workerd before anyone can see them.
    for id in ["a%2Fb", "%66ilm-2", "a%00", "...", "a;b", "a+b", "a%20b", "%", "%zz", "", "a:b", "A", "~"] {
        asks.push(Ask::new("PUT", format!("/v1/titles/{id}/watched")).json(&body));
    }
    for id in [session.to_string().to_uppercase(), old.to_string(), "1".to_owned(), format!("%{:x}{session}", b' ')] {
        asks.push(
            Ask::new("PUT", format!("/v1/sessions/{id}")).json(&with(body.clone(), &json!({"title_id": "film"}))),
        );
    }
    for text in ["", "{", "[]", "{\"sent_at\":1e400}", "{\"sent_at\":1,\"sent_at\":2}", "\u{feff}{}", "{\"sent_at\":0}"]
    {
        asks.push(Ask::new("POST", "/v1/heartbeats").header("content-type", "application/json").body(text));
    }
    asks.push(Ask::new("POST", "/v1/heartbeats").header("content-type", "text/plain").body("{}"));
    asks.push(Ask::new("POST", "/v1/heartbeats").header("content-type", "application/json").body(vec![b' '; 300_000]));
    asks.push(Ask::new("GET", "/v1/streams").header("x-words", "é").header("accept", "text/html"));
    asks.push(Ask::new("GET", "/v1/streams").header("if-none-match", "*"));
    asks
}

/// What of an answer has to be the same: all but the connection's headers, with every time of the answer itself, and
/// what is made of the account's name, taken out.
fn seen(answer: &Answer) -> Value {
    const OF_THE_CONNECTION: [&str; 6] =
        ["date", "connection", "transfer-encoding", "content-length", "server", "keep-alive"];
    // What Workers bill, which Spin does not know.
    const OF_THE_PLATFORM: &str = "playhead-rows-written";
    let mut names: Vec<&str> = answer.headers.keys().map(|name| name.as_str()).collect();
    names.retain(|name| !OF_THE_CONNECTION.contains(name) && *name != OF_THE_PLATFORM);
    names.sort_unstable();
    let mut body = answer.json();
    if body.is_null() {
        body = json!(answer.text());
    }
    let cursor = body["cursor"].is_string();
    for (member, stands_for) in [("server_time", json!("now")), ("cursor", json!("cursor"))] {
        if body.get(member).is_some_and(|value| !value.is_null()) {
            body[member] = stands_for;
        }
    }
    let headers: Vec<Value> = (names.into_iter())
        .map(|name| {
            let mut values: Vec<String> = answer.header(name).split(", ").map(str::to_lowercase).collect();
            values.sort();
            if name == "etag" && cursor { json!([name, "of a cursor"]) } else { json!([name, values]) }
        })
        .collect();
    json!({"status": answer.status, "headers": headers, "body": body})
}
