//! Nobody asks anything any more: what is pending reaches the origin all the same.

use playhead_tests::device::Device;
use playhead_tests::edge::Kind;
use playhead_tests::play::Play;
use playhead_tests::registers::Registers;
use playhead_tests::stage::eventually;
use playhead_tests::system::System;
use serde_json::Value;

crate::cases![a_quiet_tail_reaches_the_origin, a_killed_edge_wakes_by_itself, an_origin_that_comes_back_is_found];

fn start(kind: Kind) -> (System, Device) {
    let system = System::start(&[kind]).unwrap();
    let device = Device::new(&system.edge(kind).unwrap().url(), "account", "ada", "tv", 2).unwrap();
    (system, device)
}

/// Asks the origin only.
fn arrives(system: &System, device: &Device, heartbeats: &[Value], seconds: u64) {
    let titles = ["film".to_owned()].into();
    let expected = Registers::of(&device.viewer, heartbeats, &[]).unwrap();
    eventually("the origin has it", seconds, || {
        let known = Registers::in_origin(&system.origin, &device.viewer, &titles).unwrap();
        (known == expected).then_some(())
    });
}

fn a_quiet_tail_reaches_the_origin(kind: Kind) {
    let (system, device) = start(kind);
    let play = Play::new("film");
    let pause = play.beat("pause", 600_000);
    device.beat(std::slice::from_ref(&pause));
    arrives(&system, &device, &[pause], 15);
    // Mere progress has half a minute.
    let progress = play.beat("progress", 660_000);
    device.beat(std::slice::from_ref(&progress));
    arrives(&system, &device, &[progress], 50);
}

fn a_killed_edge_wakes_by_itself(kind: Kind) {
    let (mut system, device) = start(kind);
    let play = Play::new("film");
    let mut sent = Vec::new();
    for position in [600_000, 660_000, 720_000] {
        sent.push(play.beat("pause", position));
        device.at(device.base()).beat(&sent[sent.len() - 1..]);
        system.edge_mut(kind).unwrap().kill().unwrap();
        system.edge_mut(kind).unwrap().restart().unwrap();
    }
    arrives(&system, &device, &sent, 90);
}

fn an_origin_that_comes_back_is_found(kind: Kind) {
    let (mut system, device) = start(kind);
    system.origin.kill().unwrap();
    let stop = Play::new("film").beat("stop", 600_000);
    device.beat(std::slice::from_ref(&stop));
    // Several attempts fail meanwhile.
    std::thread::sleep(std::time::Duration::from_secs(4));
    system.origin.restart().unwrap();
    arrives(&system, &device, &[stop], 60);
}
