//! The demo page in a real Chromium, over either edge: runs `tests/browser/suite.mjs` against a system of its own.
//!
//! In a binary of its own, and one edge after the other, because a browser that plays films leaves little of a machine
//! to others.

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use playhead_tests::client::{Ask, Client};
use playhead_tests::edge::{Kind, Settings};
use playhead_tests::system::System;
use playhead_tests::{Server, artifact, free_port};

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trial = |kind: Kind| Trial::test(format!("{kind}::browser::the_page_works_in_chromium"), move || suite(kind));
    libtest_mimic::run(&arguments, Kind::BOTH.map(trial).into()).exit();
}

fn suite(kind: Kind) -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // The edge has to know the page's origin before it starts, and the page the edge's.
    let port = free_port();
    let page = format!("http://127.0.0.1:{port}");
    let settings = Settings { allowed_origins: page.clone(), ..Settings::default() };
    let system = System::with_settings(&[kind], &settings)?;
    let folder = tempfile::TempDir::with_prefix("playhead-browser-")?;

    let mut command = Command::new(artifact::path("PLAYHEAD_XTASK")?);
    command.args(["demo", "--listen", &format!("127.0.0.1:{port}"), "--edge", &system.edge(kind)?.url()]);
    let mut demo = Server::new("demo page", folder.path().join("log"));
    let client = Client::new(page.as_str());
    demo.start(&mut command, || client.send(&Ask::new("GET", "/demo/")).is_ok_and(|answer| answer.status == 200))?;

    let node = Command::new("node")
        .current_dir(root)
        .args(["--test", "--test-reporter=spec", "--test-timeout=120000", "tests/browser/suite.mjs"])
        .env("PLAYHEAD_DEMO_URL", &page)
        .env("PLAYHEAD_CHROMIUM", artifact::path("PLAYHEAD_CHROMIUM")?)
        .output()?;
    let said = String::from_utf8_lossy(&node.stdout).into_owned();
    println!("{said}");
    if node.status.success() {
        return Ok(());
    }
    Err(format!("{said}\n{}\n{}", String::from_utf8_lossy(&node.stderr), system.last_words()).into())
}
