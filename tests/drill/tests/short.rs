//! A short drill with a fixed seed, over everything that a deployment is made of: a few failures, and nothing is lost.

use std::process::Command;

use tempfile::TempDir;

#[test]
fn a_short_drill_loses_nothing() {
    let folder = TempDir::new().unwrap();
    // Every part fails once, one of them twice.
    let arguments = "--stores cassandra --minutes 0.8 --kills 7 --seed 3 --viewers 400 --cadence-ms 4000 --out";
    let drill =
        (Command::new(env!("CARGO_BIN_EXE_drill")).args(arguments.split(' ')).arg(folder.path()).output()).unwrap();
    let said = String::from_utf8_lossy(&drill.stdout);
    println!("{said}{}", String::from_utf8_lossy(&drill.stderr));
    assert!(drill.status.success(), "the drill ended with {}", drill.status);
    assert!(said.contains("\nlost        0\n"), "the report says nothing of it");
    for file in ["report.txt", "report.json", "timeline.svg"] {
        assert!(folder.path().join(file).is_file(), "there is no {file}");
    }
}
