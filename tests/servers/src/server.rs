//! A server under test: one child process, its log, and the ways in which it can end.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// How long a server may take over starting on a busy machine.
const STARTING: Duration = Duration::from_secs(60);
/// How long it may take over ending by itself.
const ENDING: Duration = Duration::from_secs(20);

/// A child in a process group of its own, which is killed, group and all, when it is dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    log: PathBuf,
    starting: Duration,
    /// Only while it runs.
    child: Option<Child>,
}

impl Server {
    /// Not running yet; what it prints goes into the file `log`.
    pub fn new(name: &'static str, log: PathBuf) -> Self {
        Self { name, log, starting: STARTING, child: None }
    }

    /// The same, of one that may take so long over starting.
    pub fn within(mut self, starting: Duration) -> Self {
        self.starting = starting;
        self
    }

    /// Starts `command` and returns once `ready` says so.
    pub fn start(&mut self, command: &mut Command, ready: impl Fn() -> bool) -> Result<()> {
        ensure!(self.child.is_none(), "the {} is running already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).context("no log can be written")?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("the {} could not be started", self.name))?;
        self.child = Some(child);
        let deadline = Instant::now() + self.starting;
        while !ready() {
            if !self.running() {
                bail!("the {} has ended at once; it said: {}", self.name, self.log());
            }
            ensure!(Instant::now() < deadline, "the {} does not answer; it said: {}", self.name, self.log());
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills it, and all that it has started, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            // Fails only for a group that is gone already.
            let _ = killpg(id_of(&child)?, Signal::SIGKILL);
            child.wait().with_context(|| format!("the {} did not end", self.name))?;
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM), and says how it did.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().with_context(|| format!("the {} is not running", self.name))?;
        let group = id_of(&child)?;
        kill(group, Signal::SIGTERM).context("no signal could be sent")?;
        let deadline = Instant::now() + ENDING;
        let ended = loop {
            if let Some(status) = child.try_wait()? {
                break Ok(status);
            }
            if Instant::now() >= deadline {
                break Err(anyhow::anyhow!("the {} did not end when asked to; it said: {}", self.name, self.log()));
            }
            sleep(Duration::from_millis(10));
        };
        // What it started may have outlived it.
        let _ = killpg(group, Signal::SIGKILL);
        if ended.is_err() {
            child.wait()?;
        }
        ended
    }

    /// Stops it in the middle of whatever it does, as a machine that hangs would, until [`Server::thaw`].
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().with_context(|| format!("the {} is not running", self.name))?;
        killpg(id_of(child)?, signal).context("no signal could be sent")
    }

    /// Whether it runs.
    pub fn running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How much memory its first process takes, as the system has it in `/proc`.
    pub fn resident_bytes(&self) -> Result<u64> {
        let child = self.child.as_ref().with_context(|| format!("the {} is not running", self.name))?;
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).context("there is no /proc")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("/proc tells no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number of kB")?;
        Ok(kib * 1024)
    }

    /// All that it has printed so far, from before a restart too.
    pub fn log(&self) -> String {
        read(&self.log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing more can be done about one that will not die.
        let _ = self.kill();
    }
}

fn id_of(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id()).context("a process id out of range")?))
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
