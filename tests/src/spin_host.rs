//! The edge on Spin: its component, in the project's own host.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::client::{Ask, Client};
use crate::origin::SERVICE_TOKEN;
use crate::{Server, artifact, free_port};

/// How often the operator's timer asks for a flush.
const TIMER: Duration = Duration::from_millis(500);

/// The Spin component, running. It keeps its disk and its port from a kill to a restart, and ends, disk and all, when it
/// is dropped. Beside it runs what every operator of it has: a timer that asks for flushes.
#[derive(Debug)]
pub struct SpinHost {
    server: Server,
    folder: TempDir,
    component: PathBuf,
    port: u16,
    variables: Vec<(String, String)>,
    origin_url: String,
    timer: Timer,
}

/// Asks for flushes until it is dropped, unless it is off.
#[derive(Debug)]
struct Timer {
    on: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SpinHost {
    /// Starts `PLAYHEAD_SPIN_COMPONENT` on a free port, with `variables` as `spin.toml` would give them.
    pub fn start(variables: &[(&str, &str)], origin_url: &str) -> Result<Self> {
        Self::of_component(artifact::path("PLAYHEAD_SPIN_COMPONENT")?, variables, origin_url)
    }

    /// The same of another component, which answers `GET /healthz` with 204.
    pub fn of_component(component: PathBuf, variables: &[(&str, &str)], origin_url: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("playhead-spin-")?;
        let port = free_port();
        let mut host = Self {
            server: Server::new("Spin host", folder.path().join("log")),
            folder,
            component,
            port,
            variables: variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            origin_url: origin_url.to_owned(),
            timer: Timer::start(format!("http://127.0.0.1:{port}")),
        };
        host.restart()?;
        Ok(host)
    }

    /// The edge's base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Starts it again on the same disk and the same port.
    pub fn restart(&mut self) -> Result<()> {
        let mut command = Command::new(artifact::path("PLAYHEAD_SPIN_HOST")?);
        command.arg("--component").arg(&self.component);
        command.arg("--listen").arg(format!("127.0.0.1:{}", self.port));
        command.arg("--state-dir").arg(self.folder.path().join("state"));
        command.args(["--allow-origin", &self.origin_url]);
        for (name, text) in &self.variables {
            command.arg("--variable").arg(format!("{name}={text}"));
        }
        let client = Client::new(self.url());
        let ready = || client.send(&Ask::new("GET", "/healthz")).is_ok_and(|answer| answer.status == 204);
        self.server.start(&mut command, ready)
    }

    /// Switches the operator's timer on or off.
    pub fn set_timer(&self, on: bool) {
        self.timer.on.store(on, Ordering::Relaxed);
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

impl Timer {
    fn start(edge: String) -> Self {
        let (on, over) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (is_on, is_over) = (Arc::clone(&on), Arc::clone(&over));
        let thread = thread::spawn(move || {
            let flush = Ask::new("POST", "/internal/flush").header("authorization", format!("Bearer {SERVICE_TOKEN}"));
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(TIMER);
                if is_on.load(Ordering::Relaxed) {
                    // An edge that is down does not answer; the next one will be asked again.
                    let _ = Client::new(edge.as_str()).send(&flush.clone().body(""));
                }
            }
        });
        Self { on, over, thread: Some(thread) }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
