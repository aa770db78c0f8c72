//! What holds when something is down, row by row, over a deployment of real processes: Cassandra, Redis, the origin's
//! roles and an edge.

mod cassandra;
mod redis;
mod roles;

use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use playhead_tests::client::{Answer, Ask};
use playhead_tests::device::Device;
use playhead_tests::edge::Kind;
use playhead_tests::play::Play;
use playhead_tests::stage::eventually;
use serde_json::Value;

/// What is shown on one platform.
pub(crate) type Case = fn(Kind);

/// The cases of a module, by their names.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(crate) const CASES: &[(&str, crate::Case)] = &[$((stringify!($case), $case)),*];
    };
}
pub(crate) use cases;

const MODULES: [(&str, &[(&str, Case)]); 2] = [("roles", roles::CASES), ("redis", redis::CASES)];

/// What is shown on both platforms at once.
const OF_BOTH: [(&str, fn()); 2] = [
    ("one_node_of_three_is_not_missed", cassandra::one_node_of_three_is_not_missed),
    ("the_edges_and_the_views_answer_without_it", cassandra::the_edges_and_the_views_answer_without_it),
];

/// The design says 500 ms; a busy machine may take longer, but nobody waits for a timeout of seconds.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(3);
/// Long enough for a few hundred heartbeats, and for flushes among them.
pub(crate) const WHILE: Duration = Duration::from_millis(2_000);

fn main() {
    let mut arguments = Arguments::from_args();
    // Cases mostly wait, but each has servers of its own.
    arguments.test_threads.get_or_insert(5);
    let of_both = |(name, case): (&str, fn())| {
        Trial::test(format!("cassandra::{name}"), move || {
            case();
            Ok(())
        })
    };
    // These take longest, so they begin.
    let mut trials = Vec::from(OF_BOTH.map(of_both));
    for (module, cases) in MODULES {
        for kind in Kind::BOTH {
            trials.extend(cases.iter().map(|(name, case)| {
                Trial::test(format!("{kind}::{module}::{name}"), move || {
                    case(kind);
                    Ok(())
                })
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A device of an account that no load plays on.
pub(crate) fn viewer(url: &str, name: &str, device: &str) -> Device {
    Device::new(url, name, "ada", device, 2).unwrap_or_else(|error| panic!("{error:#}"))
}

/// A new session was let in at once; returns how (`admitted`, `unverified`), and its whole answer.
pub(crate) fn admission(answer: &Answer) -> (String, Value) {
    let json = answer.json();
    println!("the admission took {:?}: {json}", answer.took);
    assert_eq!(answer.status, 201, "{json}");
    assert!(answer.took < AT_ONCE, "it took {:?}", answer.took);
    (json["admission"].as_str().unwrap_or_default().to_owned(), json)
}

/// Presses play until the session is admitted; once, unless the machine is too busy. Returns the answer.
pub(crate) fn admitted(device: &Device, play: &Play) -> Value {
    eventually("the session is admitted", 30, || {
        let answer = device.open(play);
        let json = answer.json();
        assert!([200, 201].contains(&answer.status), "{json}");
        (json["admission"] == "admitted").then_some(json)
    })
}

/// Sessions are admitted and reads are whole, so many times. A few are forgiven: on a busy machine an answer can come too
/// late for an edge by itself.
pub(crate) fn nothing_changes(device: &Device, times: usize) {
    let good = |_: &usize| {
        let play = Play::new("film");
        let (admitted, _) = admission(&device.open(&play));
        device.beat(&[play.beat("stop", 600_000)]);
        admitted == "admitted" && whole(device)
    };
    let times_good = (0..times).filter(good).count();
    assert!(4 * times_good >= 3 * times, "only {times_good} of {times} times all was as ever");
}

/// A read that asks the origin whatever the edge holds.
pub(crate) fn fresh(device: &Device, path: &str) -> Value {
    let answer = device.send(Ask::new("GET", path).header("cache-control", "no-cache"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Whether reads are as they are when nothing is down.
pub(crate) fn whole(device: &Device) -> bool {
    fresh(device, "/v1/resume?titles=film,unheard-of")["stale"] == false
        && ["/v1/history", "/v1/streams", "/v1/continue-watching"]
            .iter()
            .all(|path| device.read(path)["partial"] == false)
}

/// The ids of the account's streams, as a device is told.
pub(crate) fn streams(device: &Device) -> Vec<String> {
    let id = |stream: Value| stream["session_id"].as_str().unwrap_or_default().to_owned();
    device.streams().into_iter().map(id).collect()
}
