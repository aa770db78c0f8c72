//! The edge on workerd, the very runtime of Cloudflare Workers, without wrangler in between.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use command_fds::{CommandFdExt, FdMapping};
use serde_json::Value;
use tempfile::TempDir;

use crate::{artifact, free_port};

/// On which descriptor workerd says where it listens.
const CONTROL_FD: i32 = 3;

/// Keep in step with `wrangler.toml`.
const COMPATIBILITY_DATE: &str = "2026-04-01";

/// The Workers bundle, running. It keeps its disk and its port from [`Workerd::kill`] to [`Workerd::restart`], and
/// ends, disk and all, when it is dropped.
#[derive(Debug)]
pub struct Workerd {
    /// Holds the configuration, the bundle, the log, and the objects' databases in `disk`.
    folder: TempDir,
    /// Only while it runs.
    child: Option<Child>,
    port: u16,
}

impl Workerd {
    /// Starts the bundle that `PLAYHEAD_WORKERS_BUNDLE` names on a free port, with `variables` as `wrangler.toml` would
    /// give them, and returns once it listens.
    pub fn start(variables: &[(&str, &str)]) -> Result<Workerd> {
        Workerd::of_bundle(&artifact::path("PLAYHEAD_WORKERS_BUNDLE")?, variables)
    }

    /// The same of another bundle, whose Durable Object has the same name.
    pub fn of_bundle(bundle: &Path, variables: &[(&str, &str)]) -> Result<Workerd> {
        let folder = TempDir::with_prefix("playhead-workerd-").context("no folder could be made")?;
        for file in ["index.js", "index_bg.wasm"] {
            fs::copy(bundle.join(file), folder.path().join(file))
                .with_context(|| format!("{file} could not be taken from {}", bundle.display()))?;
        }
        fs::create_dir(folder.path().join("disk"))?;
        fs::write(folder.path().join("config.capnp"), config(variables))?;
        let mut workerd = Workerd { folder, child: None, port: free_port() };
        workerd.restart()?;
        Ok(workerd)
    }

    /// The edge's base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it as a power cut would: no time to finish anything.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("workerd could not be killed")?;
            child.wait().context("workerd did not end")?;
        }
        Ok(())
    }

    /// Starts it again on the same disk and the same port, after a [`Workerd::kill`].
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "workerd is running already");
        let (listening, control) = pipe().context("no pipe for workerd")?;
        let mut command = Command::new(artifact::path("PLAYHEAD_WORKERD")?);
        command
            .args(["serve", "config.capnp", "--directory-path=disk=disk"])
            .arg(format!("--control-fd={CONTROL_FD}"))
            .arg(format!("--socket-addr=http=127.0.0.1:{}", self.port))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(self.log_file()?)
            .stderr(self.log_file()?)
            .fd_mappings(vec![FdMapping { parent_fd: control.into(), child_fd: CONTROL_FD }])?;
        self.child = Some(command.spawn().context("workerd could not be started")?);
        // The command holds our end of the pipe that is workerd's: without it, a workerd that dies ends the reading.
        drop(command);
        match port(listening) {
            Ok(port) => self.port = port,
            Err(error) => bail!("{error:#}; it said: {}", self.log()),
        }
        Ok(())
    }

    /// All that it has written so far, from before a restart too.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The folder of the objects' databases.
    pub fn disk(&self) -> std::path::PathBuf {
        self.folder.path().join("disk")
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.folder.path().join("log")
    }

    fn log_file(&self) -> Result<File> {
        OpenOptions::new().create(true).append(true).open(self.log_path()).context("workerd's log could not be opened")
    }
}

impl Drop for Workerd {
    fn drop(&mut self) {
        // Nothing more can be done about one that will not die.
        let _ = self.kill();
    }
}

/// Reads `{"event":"listen","socket":"http","port":…}`.
fn port(listening: PipeReader) -> Result<u16> {
    for line in BufReader::new(listening).lines() {
        let event: Value = serde_json::from_str(&line?).context("workerd's control messages are not JSON")?;
        if event["event"] == "listen" && event["socket"] == "http" {
            return event["port"].as_u64().and_then(|port| port.try_into().ok()).context("workerd named no port");
        }
    }
    bail!("workerd ended before it listened")
}

/// workerd's own configuration, which says what `wrangler.toml` says.
fn config(variables: &[(&str, &str)]) -> String {
    let mut bindings = String::new();
    for (name, text) in variables {
        // A JSON string is a Cap'n Proto string, too.
        let _ = writeln!(bindings, "    (name = \"{name}\", text = {}),", Value::from(*text));
    }
    format!(
        r#"using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    # The origin is on this machine.
    (name = "internet", network = (allow = ["public", "private"])),
    (name = "disk", disk = (writable = true)),
  ],
  sockets = [(name = "http", http = (), service = "edge")],
);

const edge :Workerd.Worker = (
  compatibilityDate = "{COMPATIBILITY_DATE}",
  modules = [
    (name = "index.js", esModule = embed "index.js"),
    (name = "index_bg.wasm", wasm = embed "index_bg.wasm"),
  ],
  durableObjectNamespaces = [(className = "Shard", uniqueKey = "playhead-Shard", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [
    (name = "SHARDS", durableObjectNamespace = "Shard"),
{bindings}  ],
);
"#
    )
}

/// The address of `path` below `disk`, for a test that looks into an object's database itself.
pub fn database(disk: &Path) -> Option<std::path::PathBuf> {
    let objects = disk.join("playhead-Shard");
    fs::read_dir(objects)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension() == Some("sqlite".as_ref()))
}
