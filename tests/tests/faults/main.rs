//! What holds when something is down, killed in the middle of its work, or left alone: each case has a system of its own,
//! over either edge.

mod kills;
mod outage;
mod quiet;
mod wrangler;

use libtest_mimic::{Arguments, Trial};
use playhead_tests::edge::Kind;

/// What is shown on one platform.
pub(crate) type Case = fn(Kind);

/// The cases of a module, by their names.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(crate) const CASES: &[(&str, crate::Case)] = &[$((stringify!($case), $case)),*];
    };
}
pub(crate) use cases;

const MODULES: [(&str, &[(&str, Case)]); 3] =
    [("outage", outage::CASES), ("kills", kills::CASES), ("quiet", quiet::CASES)];

fn main() {
    let mut arguments = Arguments::from_args();
    // Cases mostly wait, but each has servers of its own.
    arguments.test_threads.get_or_insert(6);
    let mut trials = vec![Trial::test("wrangler::wrangler_dev_serves_the_edge", || {
        wrangler::wrangler_dev_serves_the_edge();
        Ok(())
    })];
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
