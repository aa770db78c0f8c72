//! Cassandra is killed, hangs, or loses one node of three.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use playhead_shared::wire::{BATCHES, Batch};
use playhead_tests::Cassandra;
use playhead_tests::deployment::{Deployment, Layout};
use playhead_tests::edge::Kind;
use playhead_tests::load::{Load, all_told_at_edge, all_told_in_origin, devices};
use playhead_tests::play::Play;
use playhead_tests::registers::wire_of;
use playhead_tests::stage::eventually;

use crate::{WHILE, admission, admitted, fresh, nothing_changes, viewer, whole};

/// No request waits for a store for longer than this; the design gives each a few seconds.
const FEW_SECONDS: Duration = Duration::from_secs(8);
const MIB: u64 = 1024 * 1024;

/// One case of these at a time: each has nodes of its own, which take up to a gigabyte each.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// First it hangs, then it is killed: the same holds.
pub(crate) fn the_edges_and_the_views_answer_without_it() {
    let turn = turn();
    let mut cassandra = Cassandra::start(1).unwrap();
    let deployment = before_both_edges(&cassandra, 1);
    let urls = urls(&deployment);
    let films = Kind::BOTH.map(|_| Play::new("film"));
    let watching: Vec<_> =
        urls.iter().zip(&films).map(|(url, film)| (viewer(url, url_name(url), "tv"), film)).collect();
    for (tv, film) in &watching {
        admitted(tv, film);
        tv.beat(&[film.beat("pause", 600_000)]);
        eventually("collect has it", 30, || {
            let known = fresh(tv, "/v1/resume?titles=film");
            (known["titles"]["film"]["position_ms"] == 600_000).then_some(())
        });
    }
    let loads = loads(&urls);
    sleep(WHILE);

    for hangs in [true, false] {
        if hangs {
            cassandra.nodes[0].freeze().unwrap()
        } else {
            cassandra.nodes[0].kill().unwrap()
        }
        for (tv, _) in &watching {
            let phone = viewer(tv.base(), tv.viewer.account.as_str(), "phone");
            let (admitted, answer) = admission(&phone.open(&Play::new("film")));
            assert_eq!(
                (admitted.as_str(), &answer["resume"]["position_ms"]),
                ("unverified", &600_000.into()),
                "{hangs}"
            );
            let resume = fresh(tv, "/v1/resume?titles=film,unheard-of");
            assert_eq!((&resume["stale"], &resume["titles"]["film"]["position_ms"]), (&false.into(), &600_000.into()));
            let history = tv.read("/v1/history");
            assert_eq!((&history["partial"], history["entries"].as_array().map(Vec::len)), (&true.into(), Some(1)));
        }
        if hangs {
            collect_stays_small(&deployment);
            cassandra.nodes[0].thaw().unwrap();
        } else {
            sleep(WHILE);
            cassandra.nodes[0].restart().unwrap();
        }
        for (tv, _) in &watching {
            // Sessions are let in, and unverified for one lease's length: collect could renew none meanwhile.
            eventually("reads are whole again", 60, || whole(tv).then_some(()));
        }
    }
    // What is left is mostly waiting.
    drop(turn);
    nothing_is_missing(loads, &deployment);
}

/// Many edges hand in all that they have, again and again; none of it can be written.
fn collect_stays_small(deployment: &Deployment) {
    const EDGES: usize = 48;
    const ROUNDS: usize = 6;
    let collect = &deployment.collect[0];
    let mut most = 0;
    let began = Instant::now();
    scope(|scope| {
        let edges: Vec<_> = (0..EDGES)
            .map(|edge| {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let batch =
                            Batch { registers: wire_of(&format!("load-{edge}-{round}"), 500), ..Batch::default() };
                        let answer = collect.ask(BATCHES, &batch).unwrap();
                        assert_eq!(
                            (answer.status, answer.header("retry-after").as_str()),
                            (503, "1"),
                            "{}",
                            answer.text()
                        );
                        assert!(answer.took < FEW_SECONDS, "it took {:?}", answer.took);
                    }
                })
            })
            .collect();
        while edges.iter().any(|edge| !edge.is_finished()) {
            most = most.max(collect.resident_bytes().unwrap());
            sleep(Duration::from_millis(100));
        }
    });
    println!("collect took {} MiB at most, in {:?} of load", most / MIB, began.elapsed());
    assert!(most < 512 * MIB, "collect takes {} MiB", most / MIB);
}

/// One that hangs is for the backend's own tests: how soon its return is noticed is between the nodes.
pub(crate) fn one_node_of_three_is_not_missed() {
    let turn = turn();
    let mut cassandra = Cassandra::start(3).unwrap();
    let deployment = before_both_edges(&cassandra, 3);
    let urls = urls(&deployment);
    let loads = loads(&urls);
    sleep(WHILE);
    cassandra.nodes[1].kill().unwrap();
    for url in &urls {
        nothing_changes(&viewer(url, url_name(url), "tv"), 8);
    }
    // What is left is mostly waiting.
    drop(turn);
    nothing_is_missing(loads, &deployment);
}

/// Both edges share a deployment, for nodes are expensive.
fn before_both_edges(cassandra: &Cassandra, copies: u8) -> Deployment {
    let layout = Layout { edges: Kind::BOTH.to_vec(), cassandra: cassandra.contact_points(), copies, instances: 1 };
    Deployment::of(&layout).unwrap()
}

fn urls(deployment: &Deployment) -> [String; 2] {
    Kind::BOTH.map(|kind| deployment.edge(kind).unwrap().url())
}

/// An account for each edge: its port.
fn url_name(url: &str) -> &str {
    url.rsplit(':').next().unwrap_or("calm")
}

/// Different accounts at each edge, so that each can tell what it was told.
fn loads(urls: &[String; 2]) -> [Load; 2] {
    let all = devices(&urls[0]);
    let (ours, theirs) = all.split_at(3);
    let theirs: Vec<_> = theirs.iter().map(|device| device.at(&urls[1])).collect();
    [Load::start(ours), Load::start(&theirs)]
}

fn nothing_is_missing(loads: [Load; 2], deployment: &Deployment) {
    for (told, failed) in loads.map(Load::end) {
        assert_eq!(failed, 0, "heartbeats are taken whatever becomes of Cassandra");
        all_told_at_edge(&told);
        all_told_in_origin(&deployment.provide[0], &told);
    }
}
