//! The edge as a device meets it, in virtual time: every case runs over both forms of `Held`.

mod support;

use std::rc::Rc;

use playhead_edge::answer::{Request, Response};
use playhead_edge::config::Config;
use playhead_edge::held::Held;
use playhead_edge::held::journal::Journal;
use playhead_edge::held::rows::Rows;
use playhead_edge::host::Host;
use playhead_edge::{Edge, Flushed};
use playhead_shared::id::SessionId;
use playhead_shared::register::Fact;
use playhead_shared::time::Millis;
use serde_json::{Value, json};
use support::{Mood, Origin, START, Sqlite, World, in_virtual_time};

const MINUTE: u64 = 60_000;

/// An edge with its world; the door's keys are tested over the real binaries, so requests come in behind it.
struct Case<D> {
    edge: Rc<Edge<World, D>>,
    world: World,
}

trait Form {
    type Held: Held;
    async fn open(sql: Sqlite, world: World) -> Self::Held;
}

struct AsJournal;
impl Form for AsJournal {
    type Held = Journal<World, Sqlite>;
    async fn open(sql: Sqlite, world: World) -> Self::Held {
        Journal::open(world, sql).await.unwrap()
    }
}

struct AsRows;
impl Form for AsRows {
    type Held = Rows<Sqlite>;
    async fn open(sql: Sqlite, _: World) -> Self::Held {
        Rows::open(sql).await.unwrap()
    }
}

fn config(name: &str) -> Option<String> {
    let text = match name {
        "jwks" => r#"{"keys":[{"kty":"oct","alg":"HS256","k":"cGxheWhlYWQtbG9jYWwtZGV2ZWxvcG1lbnQta2V5LTAwMQ"}]}"#,
        "service_token" => "a-service-token-of-a-test",
        _ => return None,
    };
    Some(text.to_owned())
}

async fn case<F: Form>(origin: &Rc<Origin>, sql: &Sqlite) -> Case<F::Held> {
    configured::<F>(origin, sql, config).await
}

async fn configured<F: Form>(
    origin: &Rc<Origin>,
    sql: &Sqlite,
    settings: impl Fn(&str) -> Option<String>,
) -> Case<F::Held> {
    let world = World::new(Rc::clone(origin));
    let held = F::open(sql.clone(), world.clone()).await;
    Case { edge: Edge::new(world.clone(), held, Config::from_settings(settings).unwrap()), world }
}

fn session(n: u64) -> SessionId {
    SessionId::of_birth(START, n)
}

impl<D: Held> Case<D> {
    async fn ask(&self, device: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request: Request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&body).unwrap())
            .unwrap();
        let viewer = playhead_shared::moves::Viewer {
            account: "acme".parse().unwrap(),
            profile: "ada".parse().unwrap(),
            device: device.parse().unwrap(),
            streams: 2,
            incognito: false,
        };
        let route = playhead_edge::door::route(request.method(), request.uri().path()).unwrap();
        let response: Response = self.edge.serve(route, &viewer, &request).await;
        self.edge.schedule(false).await;
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or(Value::Null))
    }

    fn now(&self) -> Millis {
        self.world.now()
    }

    /// A beat of session `n` on film-`n`, sent now, with `position` minutes of 60.
    fn beat(&self, n: u64, event: &str, position: u64) -> Value {
        json!({
            "session_id": session(n), "title_id": format!("film-{n}"), "event": event, "playing": true,
            "observed_at": self.now(), "moved_at": self.now(), "position_ms": position * MINUTE,
            "duration_ms": 60 * MINUTE, "watched_ms": position * MINUTE, "furthest_ms": position * MINUTE,
        })
    }

    async fn send(&self, device: &str, beats: &[Value]) -> Value {
        let body = json!({"sent_at": self.now(), "heartbeats": beats});
        let (status, answer) = self.ask(device, "POST", "/v1/heartbeats", body).await;
        assert_eq!(status, 202, "{answer}");
        answer
    }

    async fn press_play(&self, device: &str, n: u64, evict: &[SessionId]) -> (u16, Value) {
        let body = json!({"sent_at": self.now(), "title_id": format!("film-{n}"), "evict": evict});
        self.ask(device, "PUT", &format!("/v1/sessions/{}", session(n)), body).await
    }

    async fn position(&self, n: u64) -> (Option<u64>, bool) {
        let (status, answer) = self.ask("tv", "GET", &format!("/v1/resume?titles=film-{n}"), Value::Null).await;
        assert_eq!(status, 200);
        let point = &answer["titles"][format!("film-{n}")];
        (point["position_ms"].as_u64().map(|ms| ms / MINUTE), answer["stale"] == true)
    }

    /// Lets time pass as the platform would: the edge is woken when it asked to be.
    async fn pass(&self, ms: u64) {
        let until = self.now().plus(ms);
        loop {
            let wake = self.world.wake.get().filter(|at| *at <= until);
            match wake {
                Some(at) => {
                    self.world.sleep(at.since(self.now())).await;
                    self.world.wake.set(None);
                    self.edge.flush().await;
                }
                None => return self.world.sleep(until.since(self.now())).await,
            }
        }
    }
}

macro_rules! over_both_forms {
    ($($name:ident)*) => {
        mod journal {
            $(#[test] fn $name() { super::in_virtual_time(super::$name::<super::AsJournal>()); })*
        }
        mod rows {
            $(#[test] fn $name() { super::in_virtual_time(super::$name::<super::AsRows>()); })*
        }
    };
}

over_both_forms! {
    a_device_reads_its_own_writes_before_any_flush
    the_quiet_tail_reaches_the_origin_by_itself
    what_is_urgent_goes_soon_and_progress_later
    a_stop_takes_an_unmoved_position_along
    an_origin_that_is_away_loses_nothing
    an_origin_that_hangs_delays_no_playback
    a_restart_loses_nothing_acknowledged
    pressing_play_elsewhere_goes_on_at_the_newest_position
    a_second_session_of_the_device_replaces_the_first
    an_evicted_session_is_told_so_at_every_beat
    a_register_that_the_origin_cannot_read_blocks_nothing
    a_session_keeps_its_title
    the_origin_is_asked_again_after_half_a_minute
    the_origins_clock_is_used_where_this_one_is_off
    a_stop_is_no_stream_at_once
    a_full_batch_is_one_request_after_another
    without_a_disk_the_origin_acknowledges
}

async fn a_device_reads_its_own_writes_before_any_flush<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    case.send("tv", &[case.beat(1, "progress", 10)]).await;
    assert!(origin.batches.borrow().is_empty());
    assert_eq!(case.position(1).await, (Some(10), false));
    let (_, history) = case.ask("tv", "GET", "/v1/history", Value::Null).await;
    assert_eq!(history["entries"][0]["position_ms"], 10 * MINUTE);
    let (_, list) = case.ask("tv", "GET", "/v1/continue-watching", Value::Null).await;
    assert_eq!(list["items"][0]["title_id"], "film-1");
}

async fn the_quiet_tail_reaches_the_origin_by_itself<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    case.send("tv", &[case.beat(1, "progress", 10)]).await;
    case.pass(31_000).await;
    assert_eq!(origin.plays(), [(session(1).to_string(), 10 * MINUTE)]);
    let batches = origin.batches.borrow().len();
    case.pass(600_000).await;
    assert_eq!(origin.batches.borrow().len(), batches, "nothing is sent twice, and no timer runs for nothing");
}

async fn what_is_urgent_goes_soon_and_progress_later<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    case.send("tv", &[case.beat(1, "progress", 10)]).await;
    case.pass(14_000).await;
    assert!(origin.batches.borrow().is_empty());
    case.pass(2_000).await;
    assert_eq!(origin.batches.borrow()[0].leases.len(), 1, "a lease is renewed well before it runs out");
    assert!(origin.plays().is_empty());
    case.send("tv", &[case.beat(1, "pause", 11)]).await;
    case.pass(1_000).await;
    assert_eq!(origin.plays(), [(session(1).to_string(), 11 * MINUTE)]);
}

async fn a_stop_takes_an_unmoved_position_along<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    let beat = case.beat(1, "progress", 10);
    case.send("tv", std::slice::from_ref(&beat)).await;
    case.pass(1_000).await;
    let mut stop = case.beat(1, "stop", 10);
    stop["moved_at"] = beat["moved_at"].clone();
    case.send("tv", &[stop]).await;
    case.pass(1_000).await;
    let facts = origin.facts.borrow();
    assert!(facts.keys().any(|(_, fact)| matches!(fact, Fact::Latest(..))), "{:?}", facts.keys());
}

async fn an_origin_that_is_away_loses_nothing<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    origin.mood.set(Mood::Down);
    for minute in 1..=30 {
        case.send("tv", &[case.beat(1, "progress", minute), case.beat(2, "pause", minute)]).await;
        case.pass(MINUTE).await;
    }
    assert_eq!(case.position(1).await, (Some(30), true));
    let (_, list) = case.ask("tv", "GET", "/v1/history", Value::Null).await;
    assert_eq!((list["partial"].as_bool(), list["entries"].as_array().map(Vec::len)), (Some(true), Some(2)));
    origin.mood.set(Mood::Well);
    case.pass(20_000).await;
    let both = [(session(1).to_string(), 30 * MINUTE), (session(2).to_string(), 30 * MINUTE)];
    assert_eq!(origin.plays(), both);
    assert_eq!(origin.batches.borrow().len(), 1, "registers, not beats: one batch says it all");
}

async fn an_origin_that_hangs_delays_no_playback<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    case.send("tv", &[case.beat(1, "progress", 10)]).await;
    origin.mood.set(Mood::Hanging);
    let before = case.now();
    let (status, answer) = case.press_play("phone", 1, &[]).await;
    let waited = case.now().since(before);
    assert_eq!((status, &answer["admission"]), (200, &json!("unverified")), "the session is known here");
    assert!(waited <= 500, "{waited} ms");
    assert_eq!(answer["resume"]["position_ms"], 10 * MINUTE);
    assert_eq!(case.position(1).await, (Some(10), true));
}

async fn a_restart_loses_nothing_acknowledged<F: Form>() {
    let (origin, sql) = (Origin::new(), Sqlite::new());
    let first = case::<F>(&origin, &sql).await;
    first.send("tv", &[first.beat(1, "progress", 10)]).await;
    let began = first.now();
    drop(first);
    let second = case::<F>(&origin, &sql).await;
    assert_eq!(second.position(1).await, (Some(10), false));
    second.edge.schedule(false).await;
    second.pass(31_000 + second.now().since(began)).await;
    assert_eq!(origin.plays().len(), 1);
}

async fn pressing_play_elsewhere_goes_on_at_the_newest_position<F: Form>() {
    let origin = Origin::new();
    let here = case::<F>(&origin, &Sqlite::new()).await;
    let there = case::<F>(&origin, &Sqlite::new()).await;
    assert_eq!(there.position(1).await, (None, false), "there, an answer is cached from before");
    here.send("tv", &[here.beat(1, "stop", 20)]).await;
    here.pass(1_000).await;
    let body = json!({"sent_at": there.now(), "title_id": "film-1"});
    let (status, answer) = there.ask("phone", "PUT", &format!("/v1/sessions/{}", session(9)), body).await;
    assert_eq!((status, &answer["resume"]["position_ms"]), (201, &json!(20 * MINUTE)));
    assert_eq!(there.position(1).await.0, Some(20), "and its cache knows it from then on");
}

async fn a_second_session_of_the_device_replaces_the_first<F: Form>() {
    let case = case::<F>(&Origin::new(), &Sqlite::new()).await;
    assert_eq!(case.press_play("tv", 1, &[]).await.0, 201);
    assert_eq!(case.press_play("tv", 2, &[]).await.0, 201);
    let answer = case.send("tv", &[case.beat(1, "progress", 3), case.beat(2, "progress", 3)]).await;
    assert_eq!(answer["ended"], json!([{"session_id": session(1), "reason": "replaced", "by": "tv"}]));
    assert_eq!(answer["accepted"], 2, "it informs, and counts all the same");
}

async fn an_evicted_session_is_told_so_at_every_beat<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    for (device, n) in [("tv", 1), ("phone", 2)] {
        assert_eq!(case.press_play(device, n, &[]).await.0, 201);
    }
    let (status, refused) = case.press_play("tablet", 3, &[]).await;
    assert_eq!((status, &refused["code"]), (409, &json!("stream_limit")));
    assert_eq!(refused["conflicts"][0]["session_id"], json!(session(1)));
    assert_eq!(case.press_play("tablet", 3, &[session(1)]).await.0, 201);
    for _ in 0..3 {
        let answer = case.send("tv", &[case.beat(1, "progress", 3)]).await;
        assert_eq!(answer["ended"], json!([{"session_id": session(1), "reason": "evicted", "by": "tablet"}]));
        case.pass(20_000).await;
    }
}

async fn a_register_that_the_origin_cannot_read_blocks_nothing<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    origin.mood.set(Mood::Older);
    case.send("tv", &[case.beat(1, "pause", 10)]).await;
    case.pass(1_000).await;
    origin.mood.set(Mood::Well);
    case.send("tv", &[case.beat(2, "pause", 10)]).await;
    case.pass(1_000).await;
    assert_eq!(origin.plays().len(), 1);
    assert_eq!(case.position(1).await.0, Some(10));
    case.pass(3_600_000).await;
    assert_eq!(origin.plays().len(), 2, "tried again within the hour");
}

async fn a_session_keeps_its_title<F: Form>() {
    let case = case::<F>(&Origin::new(), &Sqlite::new()).await;
    case.send("tv", &[case.beat(1, "progress", 10)]).await;
    let mut other = case.beat(1, "progress", 11);
    other["title_id"] = json!("another");
    let answer = case.send("tv", &[other]).await;
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["code"]), (&json!(0), &json!("title_changed")));
}

async fn the_origin_is_asked_again_after_half_a_minute<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    for (wait, reads) in [(0, 1), (29_000, 1), (2_000, 2), (0, 2)] {
        case.pass(wait).await;
        case.position(1).await;
        assert_eq!(origin.reads.get(), reads, "{wait} ms later");
    }
}

async fn the_origins_clock_is_used_where_this_one_is_off<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    origin.clock_ahead_ms.set(100_000);
    case.position(1).await;
    let truth = case.now().plus(100_000);
    let body = json!({"sent_at": case.now(), "heartbeats": [case.beat(1, "progress", 1)]});
    let (status, answer) = case.ask("tv", "POST", "/v1/heartbeats", body).await;
    assert_eq!((status, &answer["code"]), (409, &json!("clock_skew")));
    assert!(answer["server_time"].as_u64().unwrap().abs_diff(truth.0) < 100, "{answer}");
    assert!(case.world.log.borrow().iter().any(|line| line.contains("clock")));
}

async fn a_stop_is_no_stream_at_once<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    case.press_play("tv", 1, &[]).await;
    case.press_play("phone", 2, &[]).await;
    case.send("phone", &[case.beat(2, "stop", 3)]).await;
    let (_, streams) = case.ask("tv", "GET", "/v1/streams", Value::Null).await;
    assert_eq!(streams["streams"].as_array().map(Vec::len), Some(1), "{streams}");
    assert_eq!(case.press_play("tablet", 3, &[]).await.0, 201, "the admission tells the origin of the stop");
}

async fn a_full_batch_is_one_request_after_another<F: Form>() {
    let origin = Origin::new();
    let case = case::<F>(&origin, &Sqlite::new()).await;
    for part in 0..4 {
        let beats: Vec<Value> = (0..400).map(|n| case.beat(part * 400 + n, "progress", 10)).collect();
        case.send("tv", &beats).await;
    }
    case.pass(40_000).await;
    assert_eq!(origin.plays().len(), 1_600);
    assert!(origin.batches.borrow().iter().all(|batch| batch.registers.len() + batch.leases.len() <= 500));
    assert_eq!(case.edge.flush().await, Flushed::All);
}

async fn without_a_disk_the_origin_acknowledges<F: Form>() {
    let origin = Origin::new();
    let acknowledge = |name: &str| if name == "acknowledge" { Some("origin".to_owned()) } else { config(name) };
    let case = configured::<F>(&origin, &Sqlite::new(), acknowledge).await;
    case.send("tv", &[case.beat(1, "progress", 10)]).await;
    assert_eq!(origin.plays().len(), 1, "before the answer");
    for mood in [Mood::Down, Mood::Hanging, Mood::Older] {
        origin.mood.set(mood);
        let body = json!({"sent_at": case.now(), "heartbeats": [case.beat(2, "progress", 10)]});
        let (status, answer) = case.ask("tv", "POST", "/v1/heartbeats", body).await;
        assert_eq!((status, &answer["code"]), (503, &json!("unavailable")));
    }
}
