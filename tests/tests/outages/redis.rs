//! Redis is killed, hangs, or forgets everything: what it has may be lost.

use std::thread::sleep;

use playhead_shared::wire::What;
use playhead_tests::Redis;
use playhead_tests::client::Ask;
use playhead_tests::deployment::Deployment;
use playhead_tests::device::{Device, beats};
use playhead_tests::edge::Kind;
use playhead_tests::load::{Load, all_told_at_edge, all_told_in_origin, devices};
use playhead_tests::now;
use playhead_tests::play::Play;
use playhead_tests::stage::eventually;

use crate::{AT_ONCE, WHILE, admission, admitted, fresh, streams, viewer, whole};

crate::cases![
    a_killed_redis_takes_no_fact_with_it,
    a_hanging_redis_holds_nothing_up,
    an_emptied_redis_ends_no_stream_and_revives_none,
];

fn a_killed_redis_takes_no_fact_with_it(kind: Kind) {
    redis_is_away(kind, |redis| redis.kill().unwrap(), |redis| redis.restart().unwrap());
}

fn a_hanging_redis_holds_nothing_up(kind: Kind) {
    redis_is_away(kind, |redis| redis.freeze().unwrap(), |redis| redis.thaw().unwrap());
}

fn redis_is_away(kind: Kind, away: fn(&mut Redis), back: fn(&mut Redis)) {
    let mut deployment = Deployment::start(kind).unwrap();
    let url = deployment.edge(kind).unwrap().url();
    let tv = viewer(&url, "calm", "tv");
    let film = Play::new("film");
    admitted(&tv, &film);
    tv.beat(&[film.beat("pause", 600_000)]);
    eventually("collect has it", 30, || {
        let known = fresh(&tv, "/v1/resume?titles=film");
        (known["titles"]["film"]["position_ms"] == 600_000).then_some(())
    });
    let load = Load::start(&devices(&url));
    sleep(WHILE);
    away(&mut deployment.redis);

    let phone = viewer(&url, "calm", "phone");
    let play = Play::new("film");
    let (admitted, answer) = admission(&phone.open(&play));
    assert_eq!((admitted.as_str(), &answer["resume"]["position_ms"]), ("unverified", &600_000.into()));
    let taken = tv.send(beats(&[film.beat("progress", 660_000)]));
    assert_eq!(taken.status, 202, "{}", taken.text());
    assert!(taken.took < AT_ONCE, "it took {:?}", taken.took);
    eventually("titles and history come from Cassandra", 30, || {
        let resume = fresh(&phone, "/v1/resume?titles=film,unheard-of");
        (resume["stale"] == false && phone.read("/v1/history")["partial"] == false).then_some(())
    });
    assert_eq!(tv.resume_point("film")["position_ms"], 660_000, "a device reads its own");
    assert_eq!(tv.read("/v1/streams")["partial"], true, "nobody else knows the streams");
    sleep(WHILE);
    back(&mut deployment.redis);

    let (told, failed) = load.end();
    assert_eq!(failed, 0, "heartbeats are taken whether Redis is there or not");
    all_told_at_edge(&told);
    all_told_in_origin(&deployment.provide[0], &told);
    eventually("reads are whole again", 60, || whole(&tv).then_some(()));
    known_again(&[(&tv, &film), (&phone, &play)], 661_000);
}

/// Streams are known again within one interval of heartbeats.
fn known_again(playing: &[(&Device, &Play)], position_ms: u64) {
    for (device, play) in playing {
        device.beat(&[play.beat("progress", position_ms)]);
    }
    eventually("streams are known again", 45, || {
        let known = streams(playing[0].0);
        playing.iter().all(|(_, play)| known.contains(&play.session.to_string())).then_some(())
    });
}

fn an_emptied_redis_ends_no_stream_and_revives_none(kind: Kind) {
    let deployment = Deployment::start(kind).unwrap();
    let url = deployment.edge(kind).unwrap().url();
    let [tv, phone, tablet] = ["tv", "phone", "tablet"].map(|device| viewer(&url, "family", device));
    let [film, series, show] = ["film", "series", "show"].map(Play::new);
    let mut position_ms = 600_000;
    for (device, play) in [(&tv, &film), (&phone, &series)] {
        admitted(device, play);
        device.beat(&[play.beat("progress", position_ms)]);
    }
    // Two streams are all that there may be: the tablet takes the phone's.
    let refused = tablet.open(&show);
    assert_eq!((refused.status, refused.code().as_str()), (409, "stream_limit"), "{}", refused.text());
    assert_eq!(tablet.open_evicting(&show, &[series.session]).status, 201);
    tablet.beat(&[show.beat("progress", position_ms)]);

    let load = Load::start(&devices(&url));
    sleep(WHILE);
    assert_eq!(deployment.redis.ask(&["FLUSHALL"]).unwrap(), "OK");

    let evicted = series.session.to_string();
    let deadline = now().0 + 20_000;
    let mut known = Vec::new();
    // All three play on as if nothing had happened, the evicted one too.
    while now().0 < deadline {
        position_ms += 1_000;
        for (device, play) in [(&tv, &film), (&phone, &series), (&tablet, &show)] {
            let answer = device.beat(&[play.beat("progress", position_ms)]);
            let ended = answer["ended"].to_string();
            assert!(
                !ended.contains(&film.session.to_string()) && !ended.contains(&show.session.to_string()),
                "{ended}"
            );
            if play.session == series.session {
                assert!(ended.contains(&evicted) && ended.contains("evicted"), "{answer}");
            }
        }
        known = streams(&tv);
        known.extend(in_origin(&deployment, &tv));
        known.sort();
        known.dedup();
        assert!(!known.contains(&evicted), "{known:?}");
        sleep(WHILE);
    }
    let mut expected = [film.session.to_string(), show.session.to_string()];
    expected.sort();
    assert_eq!(known, expected, "those in the middle of something keep their streams, and nobody else has one");
    assert_eq!(
        tv.send(Ask::new("GET", "/v1/resume?titles=series")).json()["titles"]["series"]["position_ms"],
        position_ms
    );

    assert_eq!(in_origin(&deployment, &tv), expected, "the origin knows them again, too");

    let (told, failed) = load.end();
    assert_eq!(failed, 0, "heartbeats are taken whatever Redis has forgotten");
    all_told_in_origin(&deployment.provide[0], &told);
    eventually("events go on", 60, || (deployment.events().unwrap() > 0).then_some(()));
}

/// The account's streams as the origin has them; the edge by itself would list none that it knows to be evicted.
fn in_origin(deployment: &Deployment, device: &Device) -> Vec<String> {
    let answer = deployment.provide[0].read(&device.viewer, What::Streams).unwrap();
    let mut known: Vec<String> = answer.streams.iter().map(|stream| stream.session.to_string()).collect();
    known.sort();
    known
}
