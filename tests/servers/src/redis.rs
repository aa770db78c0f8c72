//! A Redis, alone or as a node of a cluster.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::port::free_port;
use crate::server::Server;

/// How long it may take over one answer.
const ANSWERING: Duration = Duration::from_secs(10);

/// A `redis-server`. It keeps its port, its folder and its options from a kill to a restart.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    folder: TempDir,
    port: u16,
    options: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Redis {
    /// Starts one that keeps nothing over a restart, unless `options` (`["--appendonly", "yes"]`) say otherwise.
    pub fn start(options: &[&str]) -> Result<Self> {
        Self::start_in(&[], options)
    }

    /// Starts one with variables of its own, such as `LC_ALL`.
    pub fn start_in(environment: &[(&str, &str)], options: &[&str]) -> Result<Self> {
        let folder = TempDir::with_prefix("playhead-redis-")?;
        let mut redis = Self {
            server: Server::new("Redis", folder.path().join("log")),
            folder,
            port: free_port(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            environment: environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        };
        redis.restart()?;
        Ok(redis)
    }

    /// Its URL, with the password if `--requirepass` set one.
    pub fn url(&self) -> String {
        let password = self.password().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{password}127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again, with whatever its options have kept.
    pub fn restart(&mut self) -> Result<()> {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.folder.path())
            .args(&self.options)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let (port, password) = (self.port, self.password().map(str::to_owned));
        // While it reads its disk it listens, and refuses.
        let ready = || ask(port, password.as_deref(), &["PING"]).is_ok_and(|answer| answer == "PONG");
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

    /// Makes it hang, connections open, until [`Redis::thaw`].
    pub fn freeze(&self) -> Result<()> {
        self.server.freeze()
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.server.thaw()
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// What it answers to a command whose words have no spaces in them, as text; an error if it refuses.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        ask(self.port, self.password(), words)
    }

    fn password(&self) -> Option<&str> {
        let at = self.options.iter().position(|option| option == "--requirepass")?;
        self.options.get(at + 1).map(String::as_str)
    }
}

fn ask(port: u16, password: Option<&str>, words: &[&str]) -> Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).context("Redis takes no connection")?;
    stream.set_read_timeout(Some(ANSWERING))?;
    let mut connection = BufReader::new(stream);
    if let Some(password) = password {
        say(&mut connection, &["AUTH", password])?;
    }
    say(&mut connection, words)
}

/// One command, written as a person at a terminal would, and its answer: a line, or text of a length that is said first.
fn say(connection: &mut BufReader<TcpStream>, words: &[&str]) -> Result<String> {
    connection.get_mut().write_all(format!("{}\r\n", words.join(" ")).as_bytes())?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("+" | ":", text)) => Ok(text.to_owned()),
        Some(("$", length)) => {
            let mut text = vec![0; length.parse().context("Redis has nothing under that name")?];
            connection.read_exact(&mut text)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        Some(("-", error)) => bail!("Redis refuses {}: {error}", words[0]),
        _ => bail!("Redis answers {} with what is no text: {line}", words[0]),
    }
}
