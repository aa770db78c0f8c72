//! A Cassandra, of one node or of several.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::jars;
use crate::port::free_port;
use crate::server::Server;

/// How long a node may take over starting: 10 s where nothing else runs.
const STARTING: Duration = Duration::from_secs(240);
/// How long nodes may take over hearing of each other.
const MEETING: Duration = Duration::from_secs(60);
/// How long it may take over one answer.
const ANSWERING: Duration = Duration::from_secs(5);

/// Nodes on 127.0.0.1, 127.0.0.2, …, which share their ports.
#[derive(Debug)]
pub struct Cassandra {
    /// Each can be killed, frozen and started again by itself.
    pub nodes: Vec<CassandraNode>,
}

/// One node. It keeps its folder from a kill to a restart.
#[derive(Debug)]
pub struct CassandraNode {
    server: Server,
    folder: TempDir,
    address: String,
    ports: Ports,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    cql: u16,
    storage: u16,
}

impl Cassandra {
    /// Starts that many nodes, one after another, and returns once each takes requests and knows all the others.
    pub fn start(nodes: u8) -> Result<Self> {
        Self::start_with(nodes, "")
    }

    /// The same with more lines for `cassandra.yaml`, such as `authenticator: PasswordAuthenticator`.
    pub fn start_with(nodes: u8, settings: &str) -> Result<Self> {
        let ports = Ports { cql: free_port(), storage: free_port() };
        let start = |n: u8| {
            let mut node = CassandraNode::new(format!("127.0.0.{n}"), ports, settings)?;
            node.restart()?;
            Ok(node)
        };
        let cassandra = Self { nodes: (1..=nodes).map(start).collect::<Result<_>>()? };
        let deadline = Instant::now() + MEETING;
        while !cassandra.nodes.iter().all(|node| cassandra.nodes.iter().all(|other| node.knows(other))) {
            ensure!(Instant::now() < deadline, "the nodes of Cassandra do not hear of each other");
            sleep(Duration::from_millis(100));
        }
        Ok(cassandra)
    }

    /// Where its nodes take requests, with commas between.
    pub fn contact_points(&self) -> String {
        self.nodes.iter().map(CassandraNode::contact_point).collect::<Vec<_>>().join(",")
    }
}

impl CassandraNode {
    fn new(address: String, ports: Ports, settings: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("playhead-cassandra-")?;
        let yaml = include_str!("cassandra/cassandra.yaml")
            .replace("FOLDER", &folder.path().display().to_string())
            .replace("ADDRESS", &address)
            .replace("CQL_PORT", &ports.cql.to_string())
            .replace("STORAGE_PORT", &ports.storage.to_string());
        // A node that joins would first wait for what the others hand over, which is nothing.
        let yaml = format!("{yaml}\nauto_bootstrap: false\n{settings}\n");
        fs::write(folder.path().join("cassandra.yaml"), yaml)?;
        fs::write(folder.path().join("logback.xml"), include_str!("cassandra/logback.xml"))?;
        fs::write(folder.path().join("jvm.options"), include_str!("cassandra/jvm.options"))?;
        let server = Server::new("Cassandra", folder.path().join("log")).within(STARTING);
        Ok(Self { server, folder, address, ports })
    }

    /// Where it takes requests.
    pub fn contact_point(&self) -> String {
        format!("{}:{}", self.address, self.ports.cql)
    }

    /// Starts it again with what its disk has.
    pub fn restart(&mut self) -> Result<()> {
        let jars = jars::of_cassandra()?;
        let (folder, contact_point) = (self.folder.path(), self.contact_point());
        let mut command = java(folder, &jars);
        self.server.start(&mut command, || takes_requests(&contact_point))
    }

    /// Whether it has heard that the other is there: until then it finds too few of them.
    fn knows(&self, other: &Self) -> bool {
        self.address == other.address
            || self.log().contains(&format!("{}:{} is now UP", other.address, other.ports.storage))
    }

    /// Kills it as a power cut would, but that the system's own memory survives.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Makes it hang, connections open, until [`CassandraNode::thaw`].
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
}

fn java(folder: &Path, jars: &jars::Jars) -> Command {
    let within = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new("java");
    command
        .arg(format!("@{}", within("jvm.options")))
        .arg(format!("-javaagent:{}", jars.agent.display()))
        .arg(format!("-Dcassandra.config=file://{}", within("cassandra.yaml")))
        .arg(format!("-Dlogback.configurationFile={}", within("logback.xml")))
        .arg(format!("-Dcassandra.storagedir={}", within("")))
        .arg(format!("-Dcassandra.jmx.local.port={}", free_port()))
        // Else it closes its output when it has started, and says no more.
        .arg("-Dcassandra-foreground=yes")
        .arg("-cp")
        .arg(format!("{}/*", jars.folder.display()))
        .arg("org.apache.cassandra.service.CassandraDaemon");
    command
}

/// Whether a node answers what it supports, which it is asked in the fewest bytes that CQL has.
fn takes_requests(contact_point: &str) -> bool {
    const OPTIONS: [u8; 9] = [4, 0, 0, 0, 5, 0, 0, 0, 0];
    const SUPPORTED: u8 = 6;
    let answer = || -> std::io::Result<u8> {
        let mut connection = TcpStream::connect(contact_point)?;
        connection.set_read_timeout(Some(ANSWERING))?;
        connection.write_all(&OPTIONS)?;
        let mut head = [0; 9];
        connection.read_exact(&mut head)?;
        Ok(head[4])
    };
    answer().is_ok_and(|kind| kind == SUPPORTED)
}
