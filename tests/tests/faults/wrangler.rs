//! The edge as its developers run it: through `wrangler dev`, by the committed `wrangler.toml`.

use std::fs;
use std::path::Path;
use std::process::Command;

use playhead_tests::client::{Ask, Client};
use playhead_tests::device::Device;
use playhead_tests::origin::Origin;
use playhead_tests::play::Play;
use playhead_tests::registers::Registers;
use playhead_tests::stage::eventually;
use playhead_tests::{Server, artifact, free_port};

pub(crate) fn wrangler_dev_serves_the_edge() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::TempDir::with_prefix("playhead-wrangler-").unwrap();
    let bundle = artifact::path("PLAYHEAD_WORKERS_BUNDLE").unwrap();
    fs::create_dir(folder.path().join("build")).unwrap();
    for file in ["index.js", "index_bg.wasm"] {
        fs::copy(bundle.join(file), folder.path().join("build").join(file)).unwrap();
    }
    let committed = fs::read_to_string(root.join("wrangler.toml")).unwrap();
    fs::write(folder.path().join("wrangler.toml"), without_build(&committed)).unwrap();

    let origin = Origin::start().unwrap();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(root.join("node_modules/.bin/wrangler"));
    command
        .current_dir(folder.path())
        .args(["dev", "--ip", "127.0.0.1", "--port", &port.to_string()])
        .args(["--var", &format!("ORIGIN_URL:{}", origin.url())])
        .args(["--inspector-port", &free_port().to_string()])
        .args(["--show-interactive-dev-session=false", "--log-level", "error", "--persist-to"])
        .arg(folder.path().join("state"))
        .env("WRANGLER_SEND_METRICS", "false")
        .env("CLOUDFLARE_CF_FETCH_ENABLED", "false");
    let mut wrangler = Server::new("wrangler", folder.path().join("log"));
    let client = Client::new(url.as_str());
    let ready = || client.send(&Ask::new("GET", "/healthz")).is_ok_and(|answer| answer.status == 204);
    wrangler.start(&mut command, ready).unwrap();

    let tv = Device::new(&url, "account", "ada", "tv", 2).unwrap();
    let play = Play::new("film");
    assert_eq!(tv.open(&play).status, 201);
    let pause = play.beat("pause", 600_000);
    tv.beat(std::slice::from_ref(&pause));
    assert_eq!(tv.resume_point("film")["position_ms"], 600_000);
    let expected = Registers::of(&tv.viewer, &[pause], &[]).unwrap();
    eventually("its alarm hands in", 20, || {
        let known = Registers::in_origin(&origin, &tv.viewer, &["film".to_owned()].into()).unwrap();
        (known == expected).then_some(())
    });
    wrangler.terminate().unwrap();
    assert!(client.send(&Ask::new("GET", "/healthz")).is_err(), "something still answers");
}

/// The bundle under test is built already, and building it again would disturb whoever copies it meanwhile.
fn without_build(toml: &str) -> String {
    let mut building = false;
    let kept = toml.lines().filter(|line| {
        if line.starts_with('[') {
            building = *line == "[build]";
        }
        !building
    });
    kept.collect::<Vec<_>>().join("\n")
}
