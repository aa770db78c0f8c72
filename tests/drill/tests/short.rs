//! A short drill with a fixed seed: a few failures, and nothing is lost.

use std::process::Command;

use tempfile::TempDir;

#[test]
fn a_short_drill_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let arguments =
        ["--minutes", "0.6", "--kills", "5", "--seed", "7", "--viewers", "400", "--cadence-ms", "4000", "--out"];
    let drill = Command::new(env!("CARGO_BIN_EXE_drill")).args(arguments).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&drill.stdout);
    println!("{said}{}", String::from_utf8_lossy(&drill.stderr));
    assert!(drill.status.success(), "the drill ended with {}", drill.status);
    assert!(said.contains("\nlost        0\n"), "the report says nothing of it");
    for file in ["report.txt", "report.json", "timeline.svg"] {
        assert!(folder.path().join(file).is_file(), "there is no {file}");
    }
}
