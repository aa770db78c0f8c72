//! A role is killed, or an edge, and started again.

use std::thread::sleep;

use playhead_tests::deployment::{Deployment, Layout};
use playhead_tests::edge::Kind;
use playhead_tests::load::{Load, all_told_at_edge, all_told_in_origin, devices};
use playhead_tests::play::Play;
use playhead_tests::stage::eventually;

use crate::{WHILE, admission, admitted, fresh, nothing_changes, streams, viewer, whole};

crate::cases![
    without_collect_the_edge_keeps_everything,
    without_process_nobody_notices,
    without_provide_the_edge_answers_from_what_it_holds,
    one_instance_of_each_role_is_enough,
    a_killed_edge_loses_nothing,
];

fn without_collect_the_edge_keeps_everything(kind: Kind) {
    let mut deployment = Deployment::start(kind).unwrap();
    let url = deployment.edge(kind).unwrap().url();
    let tv = viewer(&url, "calm", "tv");
    let first = Play::new("film");
    admitted(&tv, &first);
    tv.beat(&[first.beat("pause", 600_000)]);
    let load = Load::start(&devices(&url));
    sleep(WHILE);
    deployment.collect[0].kill().unwrap();
    let (admitted, answer) = admission(&viewer(&url, "calm", "phone").open(&Play::new("film")));
    assert_eq!((admitted.as_str(), &answer["resume"]["position_ms"]), ("unverified", &600_000.into()));
    assert!(whole(&tv), "what is read is another role's");
    sleep(WHILE);
    deployment.collect[0].restart().unwrap();
    let (told, failed) = load.end();
    assert_eq!(failed, 0, "heartbeats are taken whether collect is there or not");
    all_told_at_edge(&told);
    all_told_in_origin(&deployment.provide[0], &told);
}

fn without_process_nobody_notices(kind: Kind) {
    let mut deployment = Deployment::start(kind).unwrap();
    let url = deployment.edge(kind).unwrap().url();
    deployment.process[0].kill().unwrap();
    let before = deployment.events().unwrap();
    let load = Load::start(&devices(&url));
    let tv = viewer(&url, "calm", "tv");
    let play = Play::new("film");
    admitted(&tv, &play);
    tv.beat(&[play.beat("pause", 600_000)]);
    eventually("the stream is known", 30, || (streams(&tv) == [play.session.to_string()]).then_some(()));
    assert!(whole(&tv));
    sleep(WHILE);
    let (told, failed) = load.end();
    assert_eq!(failed, 0);
    all_told_at_edge(&told);
    all_told_in_origin(&deployment.provide[0], &told);
    assert_eq!(deployment.events().unwrap(), before, "only process publishes");
    deployment.process[0].restart().unwrap();
    // Each session has started.
    eventually("events come late", 60, || (deployment.events().unwrap() > told.len() as u64).then_some(()));
}

fn without_provide_the_edge_answers_from_what_it_holds(kind: Kind) {
    let mut deployment = Deployment::start(kind).unwrap();
    let url = deployment.edge(kind).unwrap().url();
    let tv = viewer(&url, "calm", "tv");
    let first = Play::new("film");
    tv.beat(&[first.beat("pause", 600_000)]);
    eventually("collect has it", 30, || {
        let known = fresh(&tv, "/v1/resume?titles=film");
        (known["titles"]["film"]["position_ms"] == 600_000).then_some(())
    });
    deployment.provide[0].kill().unwrap();
    let phone = viewer(&url, "calm", "phone");
    assert_eq!(admitted(&phone, &Play::new("film"))["resume"]["position_ms"], 600_000);
    tv.beat(&[first.beat("pause", 660_000)]);
    let resume = fresh(&tv, "/v1/resume?titles=film");
    assert_eq!((&resume["stale"], &resume["titles"]["film"]["position_ms"]), (&true.into(), &660_000.into()));
    let history = tv.read("/v1/history");
    assert_eq!((&history["partial"], history["entries"].as_array().map(Vec::len)), (&true.into(), Some(1)));
    assert_eq!(tv.read("/v1/streams")["partial"], true);
    deployment.provide[0].restart().unwrap();
    eventually("reads are whole again", 30, || whole(&tv).then_some(()));
    assert_eq!(tv.resume_point("film")["position_ms"], 660_000);
}

fn one_instance_of_each_role_is_enough(kind: Kind) {
    let mut deployment = Deployment::of(&Layout { instances: 2, ..Layout::of(kind).unwrap() }).unwrap();
    let url = deployment.edge(kind).unwrap().url();
    let tv = viewer(&url, "calm", "tv");
    let load = Load::start(&devices(&url));
    for instance in 0..2 {
        sleep(WHILE);
        deployment.collect[instance].kill().unwrap();
        deployment.process[1 - instance].kill().unwrap();
        deployment.provide[instance].kill().unwrap();
        nothing_changes(&tv, 8);
        deployment.collect[instance].restart().unwrap();
        deployment.process[1 - instance].restart().unwrap();
        deployment.provide[instance].restart().unwrap();
    }
    let (told, failed) = load.end();
    assert_eq!(failed, 0);
    all_told_in_origin(&deployment.provide[0], &told);
    eventually("each session has started", 60, || (deployment.events().unwrap() >= told.len() as u64).then_some(()));
}

fn a_killed_edge_loses_nothing(kind: Kind) {
    let mut deployment = Deployment::start(kind).unwrap();
    let devices = devices(&deployment.edge(kind).unwrap().url());
    let mut all = Vec::new();
    for _ in 0..2 {
        let load = Load::start(&devices);
        sleep(WHILE);
        deployment.edge_mut(kind).unwrap().kill().unwrap();
        let (told, failed) = load.end();
        assert!(failed > 0, "no device noticed");
        deployment.edge_mut(kind).unwrap().restart().unwrap();
        all.extend(told);
        all_told_at_edge(&all);
    }
    all_told_in_origin(&deployment.provide[0], &all);
}
