//! Long-running children that end with us, whatever happens.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long a child may take over ending by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// A child in a process group of its own: Ctrl-C reaches only us, and we end the child with all that it has started.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Starts `command`, called `name` when something has to be said about it.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Process> {
        let child = command.process_group(0).spawn().with_context(|| format!("the {name} could not be started"))?;
        Ok(Process { name, child })
    }

    /// A sentence about the child's end, once it has ended.
    pub(crate) fn obituary(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("the {} has ended ({status})", self.name))
    }

    fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // Fails only for a group that is already gone.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(20));
        }
        // Even if the child itself has ended: what it has started may have not.
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
