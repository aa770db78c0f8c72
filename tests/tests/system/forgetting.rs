//! Nothing is un-written: what comes late brings nothing back that was deleted or forgotten.

use playhead_shared::time::Millis;
use playhead_tests::now;
use playhead_tests::play::{DURATION_MS, Play};
use playhead_tests::stage::{Stage, eventually};
use serde_json::Value;

crate::cases![
    a_late_backlog_brings_no_forgotten_title_back,
    a_deleted_entry_stays_deleted,
    a_late_edge_brings_nothing_back
];

fn a_late_backlog_brings_no_forgotten_title_back(stage: &Stage) {
    let (tv, phone) = (stage.device("ada", "tv"), stage.device("ada", "phone"));
    let start = now().0 - 600_000;
    let play = Play::born("film", Millis(start));
    let beats: Vec<Value> = (1..60).map(|n| play.beat_at("pause", n * 120_000, start + n * 10_000)).collect();
    tv.beat(&beats[..20]);
    assert_eq!(phone.history().len(), 1);
    phone.forget("film", start + 500_000);
    // The first half again, and most of the rest: all of it older than the command.
    tv.beat(&beats[..49]);
    for device in [&tv, &phone] {
        assert_eq!(device.resume_point("film"), Value::Null);
        assert_eq!((device.history().len(), device.continue_watching().len()), (0, 0));
    }
    tv.beat(&beats);
    assert_eq!(phone.resume_point("film")["position_ms"], 59 * 120_000);
}

fn a_deleted_entry_stays_deleted(stage: &Stage) {
    let tv = stage.device("ada", "tv");
    let play = Play::new("film");
    tv.beat(&[play.beat("pause", 600_000)]);
    tv.delete_entry(play.session, now().0);
    assert_eq!(tv.history().len(), 0);
    tv.beat(&[play.beat_at("progress", 630_000, now().0 + 1_000)]);
    assert_eq!(tv.history().len(), 0);
    // The title's resume point is not the entry's.
    assert_eq!(tv.resume_point("film")["position_ms"], 630_000);
}

/// The other edge hands in what was watched before, after the origin has deleted what was forgotten.
fn a_late_edge_brings_nothing_back(stage: &Stage) {
    let here = stage.device("ada", "tv");
    let there = stage.device("ada", "phone").at(&stage.url_of(stage.kind.other()));
    let start = now().0 - 600_000;
    let (film, deleted) = (Play::born("film", Millis(start)), Play::born("other", Millis(start)));
    here.beat(&[film.beat_at("stop", DURATION_MS, start + 1_000), deleted.beat_at("stop", 600_000, start + 2_000)]);
    eventually("the other edge lists both", 10, || (there.history().len() == 2).then_some(()));
    here.forget("film", start + 100_000);
    here.delete_entry(deleted.session, start + 100_000);
    eventually("the other edge lists none", 10, || there.history().is_empty().then_some(()));
    there.beat(&[film.beat_at("pause", 900_000, start + 3_000), deleted.beat_at("pause", 900_000, start + 4_000)]);
    for device in [&there, &here] {
        for _ in 0..4 {
            let titles: Vec<Value> = device.history().iter().map(|entry| entry["title_id"].clone()).collect();
            assert_eq!(titles, Vec::<Value>::new());
            assert_eq!(device.resume_point("film"), Value::Null);
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
    }
}
