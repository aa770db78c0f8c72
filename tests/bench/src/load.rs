//! The load generator: requests over connections that are kept alive, as lean as it can be, because it shares the machine
//! with what it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Where the requests come from, and what their answers have to be.
pub(crate) trait Traffic: Send + Sync + 'static {
    /// Puts the next request, head and body, into `request`, which is empty.
    fn next(&self, request: &mut Vec<u8>);

    /// Whether an answer is the one that counts.
    fn is_good(&self, answer: &Answer<'_>) -> bool;
}

/// An answer, as it lies in the connection's buffer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    head: &'a str,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }
}

/// One connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.context("no connection to what is measured")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(16 << 10) })
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.read.clear();
        let (head, length) = loop {
            self.more().await?;
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.read[..end]).context("a head is no text")?;
                let length = header(head, "content-length").map_or(Ok(0), str::parse);
                break (end, length.context("a length is no number")?);
            }
        };
        let body = head + 4..head + 4 + length;
        while self.read.len() < body.end {
            self.more().await?;
        }
        let head = std::str::from_utf8(&self.read[..head])?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("an answer has no status")?;
        Ok(Answer { status, head, body: &self.read[body] })
    }

    async fn more(&mut self) -> Result<()> {
        ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the connection was closed before an answer");
        Ok(())
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Head and length of a POST, up to the empty line.
pub(crate) fn post(path: &str, headers: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: bench\r\n{headers}content-length: {length}\r\n\r\n")
}

/// Closed loop: each of `connections` asks again as soon as it was answered, for so long. Returns requests a second.
pub(crate) async fn closed<T: Traffic>(
    to: SocketAddr,
    connections: usize,
    lasting: Duration,
    traffic: &Arc<T>,
) -> Result<f64> {
    let mut asking = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..connections {
        let traffic = Arc::clone(traffic);
        asking.spawn(async move {
            let mut connection = Connection::open(to).await?;
            let (mut request, mut answered) = (Vec::new(), 0_u64);
            while begin.elapsed() < lasting {
                ask_one(&mut connection, &mut request, &*traffic).await?;
                answered += 1;
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = 0;
    while let Some(ended) = asking.join_next().await {
        answered += ended??;
    }
    Ok(answered as f64 / begin.elapsed().as_secs_f64())
}

/// Open loop: `rate` requests a second whether or not the earlier ones were answered, as long as one of `connections` is
/// free. Returns how many were answered, and the rate that this came to.
pub(crate) async fn open<T: Traffic>(
    to: SocketAddr,
    connections: usize,
    rate: f64,
    lasting: Duration,
    traffic: &Arc<T>,
) -> Result<(u64, f64)> {
    let mut asking = JoinSet::new();
    let (begin, ticket) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    for _ in 0..connections {
        let (traffic, ticket) = (Arc::clone(traffic), Arc::clone(&ticket));
        asking.spawn(async move {
            let mut connection = Connection::open(to).await?;
            let (mut request, mut answered) = (Vec::new(), 0_u64);
            loop {
                let at = Duration::from_secs_f64(ticket.fetch_add(1, Ordering::Relaxed) as f64 / rate);
                if at >= lasting {
                    return anyhow::Ok(answered);
                }
                sleep_until(begin + at).await;
                ask_one(&mut connection, &mut request, &*traffic).await?;
                answered += 1;
            }
        });
    }
    let mut answered = 0;
    while let Some(ended) = asking.join_next().await {
        answered += ended??;
    }
    Ok((answered, answered as f64 / begin.elapsed().as_secs_f64()))
}

async fn ask_one(connection: &mut Connection, request: &mut Vec<u8>, traffic: &impl Traffic) -> Result<()> {
    request.clear();
    traffic.next(request);
    let answer = connection.ask(request).await?;
    if !traffic.is_good(&answer) {
        bail!("void: answered {} {}", answer.status, String::from_utf8_lossy(answer.body));
    }
    Ok(())
}

/// The address in a base URL.
pub(crate) fn address(url: &str) -> Result<SocketAddr> {
    url.trim_start_matches("http://").parse().with_context(|| format!("{url} is no address"))
}
