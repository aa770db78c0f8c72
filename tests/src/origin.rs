//! The origin, running in a folder of its own.

use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};
use minicbor::Encode;
use playhead_shared::moves::Viewer;
use playhead_shared::wire::{READS, Read, ReadAnswer, What};
use tempfile::TempDir;

use crate::client::{Answer, Ask, Client};
use crate::{Server, artifact, free_port};

/// What the edges show the origin, and the timer shows the edges.
pub const SERVICE_TOKEN: &str = "local-service-token";

/// An origin. It keeps its port and its data from a kill to a restart, and ends, data and all, when it is dropped.
#[derive(Debug)]
pub struct Origin {
    server: Server,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl Origin {
    /// Starts `PLAYHEAD_ORIGIN_BIN` on a free port, with all roles over the embedded store, and returns once it is ready.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// The same with more arguments for `serve`.
    pub fn start_with(arguments: &[String]) -> Result<Self> {
        let folder = TempDir::with_prefix("playhead-origin-")?;
        let server = Server::new("origin", folder.path().join("log"));
        let mut origin = Self { server, folder, port: free_port(), arguments: arguments.to_vec() };
        origin.restart()?;
        Ok(origin)
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it again on its port and its data.
    pub fn restart(&mut self) -> Result<()> {
        let mut command = Command::new(artifact::path("PLAYHEAD_ORIGIN_BIN")?);
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{}", self.port), "--data-dir"])
            .arg(self.folder.path().join("data"))
            .args(&self.arguments)
            .env("PLAYHEAD_ORIGIN_SERVICE_TOKEN", SERVICE_TOKEN);
        let client = Client::new(self.url());
        let ready = || client.send(&Ask::new("GET", "/readyz")).is_ok_and(|answer| answer.status == 200);
        self.server.start(&mut command, ready)
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Asks it to end, and says how it did.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.server.terminate()
    }

    /// Makes it hang, connections open, until [`Origin::thaw`].
    pub fn freeze(&self) -> Result<()> {
        self.server.freeze()
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.server.thaw()
    }

    /// How much memory it takes.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.server.resident_bytes()
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// What it answers to a message of an edge.
    pub fn ask(&self, path: &str, message: &impl Encode<()>) -> Result<Answer> {
        let ask = Ask::new("POST", path)
            .header("authorization", format!("Bearer {SERVICE_TOKEN}"))
            .header("content-type", "application/cbor")
            .body(minicbor::to_vec(message)?);
        Client::new(self.url()).send(&ask)
    }

    /// Asks it what an edge could ask of a viewer's profile.
    pub fn read(&self, viewer: &Viewer, what: What) -> Result<ReadAnswer> {
        let read = Read { account: viewer.account.clone(), profile: viewer.profile.clone(), what };
        let answer = self.ask(READS, &read)?;
        if answer.status != 200 {
            bail!("the origin answered {}: {}", answer.status, answer.text());
        }
        minicbor::decode(&answer.body).context("the origin's answer cannot be read")
    }
}
