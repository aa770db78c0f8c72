//! Killed in the middle of a load, and started again: nothing that was answered 202 is lost.

use std::thread::sleep;
use std::time::Duration;

use playhead_tests::edge::Kind;
use playhead_tests::load::{Load, all_told_at_edge, all_told_in_origin, devices};
use playhead_tests::system::System;

crate::cases![a_killed_edge_loses_nothing, a_killed_origin_loses_nothing, a_stopped_origin_loses_nothing];

/// Long enough for a few hundred heartbeats, and for flushes among them.
const WHILE: Duration = Duration::from_millis(1_500);

fn a_killed_edge_loses_nothing(kind: Kind) {
    let mut system = System::start(&[kind]).unwrap();
    let devices = devices(&system.edge(kind).unwrap().url());
    let mut all = Vec::new();
    for _ in 0..2 {
        let load = Load::start(&devices);
        sleep(WHILE);
        system.edge_mut(kind).unwrap().kill().unwrap();
        let (told, failed) = load.end();
        assert!(failed > 0, "no device noticed");
        system.edge_mut(kind).unwrap().restart().unwrap();
        all.extend(told);
        all_told_at_edge(&all);
    }
    all_told_in_origin(&system.origin, &all);
}

fn a_killed_origin_loses_nothing(kind: Kind) {
    let mut system = System::start(&[kind]).unwrap();
    let load = Load::start(&devices(&system.edge(kind).unwrap().url()));
    for _ in 0..2 {
        sleep(WHILE);
        system.origin.kill().unwrap();
        sleep(WHILE);
        system.origin.restart().unwrap();
    }
    sleep(WHILE);
    let (told, failed) = load.end();
    assert_eq!(failed, 0, "heartbeats are taken whether the origin is there or not");
    all_told_at_edge(&told);
    all_told_in_origin(&system.origin, &told);
}

fn a_stopped_origin_loses_nothing(kind: Kind) {
    let mut system = System::start(&[kind]).unwrap();
    let load = Load::start(&devices(&system.edge(kind).unwrap().url()));
    for _ in 0..2 {
        sleep(WHILE);
        let ended = system.origin.terminate().unwrap();
        assert!(ended.success(), "it ended with {ended}: {}", system.origin.log());
        system.origin.restart().unwrap();
    }
    let (told, failed) = load.end();
    assert_eq!(failed, 0, "heartbeats are taken whether the origin is there or not");
    all_told_in_origin(&system.origin, &told);
}
