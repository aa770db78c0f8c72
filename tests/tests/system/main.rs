//! One suite of HTTP cases, run unchanged against both edges: workerd with a real Durable Object, and the Spin component,
//! before one real origin that all cases share, each with an account of its own.

mod bad_requests;
mod bad_tokens;
mod browsers;
mod commands;
mod forgetting;
mod path;
mod registers;
mod same;
mod sizes;
mod strangers;
mod streams;
mod times;

use libtest_mimic::{Arguments, Trial};
use playhead_tests::edge::Kind;
use playhead_tests::stage::Stage;

/// What is shown at one edge.
pub(crate) type Case = fn(&Stage);

/// The cases of a module, by their names.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(crate) const CASES: &[(&str, crate::Case)] = &[$((stringify!($case), $case)),*];
    };
}
pub(crate) use cases;

const MODULES: [(&str, &[(&str, Case)]); 10] = [
    ("path", path::CASES),
    ("streams", streams::CASES),
    ("commands", commands::CASES),
    ("forgetting", forgetting::CASES),
    ("bad_tokens", bad_tokens::CASES),
    ("bad_requests", bad_requests::CASES),
    ("times", times::CASES),
    ("strangers", strangers::CASES),
    ("browsers", browsers::CASES),
    ("registers", registers::CASES),
];

fn main() {
    let mut arguments = Arguments::from_args();
    // Cases mostly wait, for answers and for flushes.
    arguments.test_threads.get_or_insert(4);
    let mut trials = vec![
        Trial::test("same::both_edges_answer_the_same", || {
            same::both_edges_answer_the_same();
            Ok(())
        }),
        Trial::test("sizes::bundles_are_small", || {
            sizes::bundles_are_small();
            Ok(())
        }),
    ];
    for kind in Kind::BOTH {
        for (module, cases) in MODULES {
            trials.extend(cases.iter().map(|(name, case)| {
                Trial::test(format!("{kind}::{module}::{name}"), move || {
                    case(&Stage::shared(kind));
                    Ok(())
                })
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    Stage::end_shared(conclusion.has_failed());
    conclusion.exit();
}
