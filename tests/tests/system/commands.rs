//! What a viewer can ask for beside playing, and that an idle device undoes none of it.

use playhead_tests::client::Ask;
use playhead_tests::device::Device;
use playhead_tests::now;
use playhead_tests::play::{DURATION_MS, Play, with};
use playhead_tests::stage::Stage;
use serde_json::{Value, json};

crate::cases![
    a_title_is_marked_watched_and_unwatched,
    a_title_is_hidden_and_put_back,
    playing_on_brings_a_hidden_title_back,
    seeking_to_the_end_marks_nothing,
    a_rewatch_is_in_progress_again,
    an_idle_device_undoes_nothing,
    a_repeated_command_is_the_same_command,
];

fn paused(device: &Device, title: &str) -> (Play, Value) {
    let play = Play::new(title);
    let pause = play.beat("pause", 600_000);
    device.beat(std::slice::from_ref(&pause));
    (play, pause)
}

fn progress(device: &Device, title: &str) -> Value {
    device.resume_point(title)["progress"].clone()
}

fn a_title_is_marked_watched_and_unwatched(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    paused(&tv, "film");
    tv.set("film", "watched", true, now().0 + 1);
    assert_eq!(progress(&tv, "film"), "watched");
    assert_eq!(tv.continue_watching(), Vec::<Value>::new());
    tv.set("film", "watched", false, now().0 + 2);
    assert_eq!(progress(&tv, "film"), "in_progress");
    assert_eq!(tv.continue_watching().len(), 1);
}

fn a_title_is_hidden_and_put_back(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    paused(&tv, "film");
    tv.set("film", "hidden", true, now().0 + 1);
    assert_eq!(tv.continue_watching(), Vec::<Value>::new());
    assert_eq!(progress(&tv, "film"), "in_progress");
    tv.set("film", "hidden", false, now().0 + 2);
    assert_eq!(tv.continue_watching().len(), 1);
}

fn playing_on_brings_a_hidden_title_back(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    let (play, _) = paused(&tv, "film");
    let hidden_at = now().0 + 1;
    tv.set("film", "hidden", true, hidden_at);
    tv.beat(&[play.beat_at("progress", 630_000, hidden_at + 1)]);
    assert_eq!(tv.continue_watching().len(), 1);
}

fn seeking_to_the_end_marks_nothing(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    let play = Play::new("film");
    tv.beat(&[with(play.beat("seek", DURATION_MS - 5_000), &json!({"furthest_ms": 60_000, "watched_ms": 60_000}))]);
    assert_eq!(progress(&tv, "film"), "in_progress");
    tv.beat(&[play.beat("progress", DURATION_MS - 4_000)]);
    assert_eq!(progress(&tv, "film"), "watched");
}

fn a_rewatch_is_in_progress_again(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    tv.beat(&[Play::new("film").beat("stop", DURATION_MS)]);
    assert_eq!(progress(&tv, "film"), "watched");
    let again = Play::born("film", now().plus(2));
    tv.beat(&[again.beat_at("pause", 900_000, now().0 + 3)]);
    let point = tv.resume_point("film");
    assert_eq!((&point["progress"], &point["position_ms"]), (&json!("in_progress"), &json!(900_000)));
}

/// The tv idles on pause while the phone hides, finishes or forgets the title: its next beats undo nothing.
fn an_idle_device_undoes_nothing(stage: &Stage) {
    let (tv, phone) = (stage.device("ada", "tv"), stage.device("ada", "phone"));
    let idle = |pause: &Value, times: u64| {
        let again = |n: u64| with(pause.clone(), &json!({"event": "progress", "observed_at": now().0 + 100 + n}));
        tv.beat(&(0..times).map(again).collect::<Vec<_>>());
    };

    let (_, pause) = paused(&tv, "hidden");
    idle(&pause, 1);
    phone.set("hidden", "hidden", true, now().0 + 1);
    idle(&pause, 3);
    assert_eq!(phone.continue_watching(), Vec::<Value>::new());

    let (_, pause) = paused(&tv, "finished");
    let elsewhere = Play::born("finished", now().plus(1));
    phone.beat(&[elsewhere.beat_at("stop", DURATION_MS, now().0 + 2)]);
    idle(&pause, 3);
    assert_eq!((progress(&tv, "finished"), progress(&phone, "finished")), (json!("watched"), json!("watched")));
    assert_eq!(phone.resume_point("finished")["position_ms"], DURATION_MS);

    let (play, pause) = paused(&tv, "forgotten");
    let forgotten_at = now().0 + 1;
    phone.forget("forgotten", forgotten_at);
    idle(&pause, 3);
    for device in [&tv, &phone] {
        assert_eq!(device.resume_point("forgotten"), Value::Null);
        assert_eq!(device.continue_watching(), Vec::<Value>::new());
    }
    // What is played after forgetting counts again.
    tv.beat(&[play.beat_at("progress", 630_000, forgotten_at + 200)]);
    assert_eq!(phone.resume_point("forgotten")["position_ms"], 630_000);
}

fn a_repeated_command_is_the_same_command(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    paused(&tv, "film");
    let hidden_at = now().0 + 1;
    tv.set("film", "hidden", true, hidden_at);
    tv.set("film", "hidden", false, hidden_at + 1);
    // The first one again, as a device does that has had no answer.
    tv.set("film", "hidden", true, hidden_at);
    assert_eq!(tv.continue_watching().len(), 1);
    // What a newer client says beside it is not minded.
    let body = json!({"sent_at": now().0, "observed_at": hidden_at + 2, "hidden": true, "why": {"a": [1]}});
    assert_eq!(tv.send(Ask::new("PUT", "/v1/titles/film/hidden").json(&body)).status, 204);
    assert_eq!(tv.continue_watching(), Vec::<Value>::new());
}
