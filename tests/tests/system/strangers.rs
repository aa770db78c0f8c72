//! No request can name an account: a session id of another one reaches nothing.

use std::collections::BTreeSet;

use playhead_tests::now;
use playhead_tests::play::Play;
use playhead_tests::registers::Registers;
use playhead_tests::stage::{Stage, eventually};
use serde_json::{Value, json};

crate::cases![a_session_of_another_account_reaches_nothing, profiles_of_an_account_share_streams_only];

fn a_session_of_another_account_reaches_nothing(stage: &Stage) {
    let (victim, stranger) = (stage.device("ada", "tv"), stage.stranger().device("ada", "tv"));
    let play = Play::new("film");
    let titles = BTreeSet::from(["film".to_owned()]);
    victim.open(&play);
    let beats = [play.beat("start", 0), play.beat("pause", 600_000)];
    victim.beat(&beats);
    let registers = || Registers::in_origin(&stage.system.origin, &victim.viewer, &titles).unwrap();
    let expected = Registers::of(&victim.viewer, &beats, &[]).unwrap();
    eventually("the origin has it", 10, || (registers() == expected).then_some(()));
    let reads = || (victim.history(), victim.continue_watching(), victim.streams(), victim.resume_point("film"));
    let before = reads();

    stranger.end(play.session);
    stranger.delete_entry(play.session, now().0);
    stranger.forget("film", now().0);
    stranger.set("film", "watched", true, now().0);
    assert_eq!(stranger.open_evicting(&Play::born("other", now().plus(1)), &[play.session]).status, 201);
    // To the stranger it is a session like any other: its own, which it has ended.
    let other = Play { title: "elsewhere".to_owned(), ..play.clone() };
    assert_eq!(stranger.open(&other).code(), "stream_limit");
    stranger.beat(&[other.beat("stop", 900_000)]);
    let theirs = |device: &playhead_tests::device::Device| {
        device.history().iter().map(|entry| entry["title_id"].clone()).collect::<Vec<_>>()
    };
    eventually("the stranger's reached the origin", 10, || {
        let titles = BTreeSet::from(["elsewhere".to_owned()]);
        let known = Registers::in_origin(&stage.system.origin, &stranger.viewer, &titles).unwrap();
        (known.len() >= 2).then_some(())
    });
    assert_eq!(reads(), before);
    assert_eq!(registers(), expected);
    assert_eq!(victim.beat(&[play.beat("progress", 660_000)])["ended"], json!([]));
    assert_eq!(theirs(&victim), [json!("film")]);
    assert_eq!(stranger.resume_point("film")["position_ms"], 0);
    // A page of one history is no page of another.
    let cursor = |device: &playhead_tests::device::Device| {
        device.beat(&[Play::new("more").beat("pause", 0), Play::new("more").beat("pause", 0)]);
        device.read("/v1/history?limit=1")["cursor"].as_str().unwrap().to_owned()
    };
    let ask = playhead_tests::client::Ask::new("GET", format!("/v1/history?cursor={}", cursor(&victim)));
    assert_eq!((stranger.send(ask.clone()).code(), victim.send(ask).status), ("bad_cursor".to_owned(), 200));
}

fn profiles_of_an_account_share_streams_only(stage: &Stage) {
    let (ada, ben) = (stage.device("ada", "tv"), stage.device("ben", "phone"));
    let play = Play::new("film");
    ada.open(&play);
    ada.beat(&[play.beat("pause", 600_000)]);
    assert_eq!(ben.resume_point("film"), Value::Null);
    assert_eq!((ben.history().len(), ben.continue_watching().len()), (0, 0));
    let streams = ben.streams();
    assert_eq!((streams.len(), &streams[0]["title_id"]), (1, &Value::Null));
    ben.forget("film", now().0 + 1);
    ben.delete_entry(play.session, now().0 + 1);
    assert_eq!(ada.history().len(), 1);
    assert_eq!(ada.resume_point("film")["position_ms"], 600_000);
}
