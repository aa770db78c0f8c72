//! The rim, through `run` on a port of its own: what goes in as HTTP, and what comes out.

use std::net::SocketAddr;

use minicbor::{Decode, Encode};
use playhead_origin::config::{Config, Roles, Stores};
use playhead_shared::heartbeat::{Event, Heartbeat};
use playhead_shared::id::SessionId;
use playhead_shared::moves::{Viewer, heartbeat_moves};
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;
use playhead_shared::wire::{
    ADMISSIONS, Admission, AdmissionAnswer, BATCHES, Batch, BatchAnswer, Lease, Outcome, READS, Read, ReadAnswer, What,
    WireEntry,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const TOKEN: &str = "a-token-for-the-tests";

struct Origin {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Origin {
    async fn start(folder: &TempDir, roles: Roles) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config {
            listen: listener.local_addr().unwrap(),
            roles,
            stores: Stores::Embedded,
            data_dir: folder.path().join("data"),
            service_token: TOKEN.into(),
            cache_mib: 16,
            queue: 64,
            grace_ms: 2_000,
            log: "info".to_owned(),
        };
        let address = config.listen;
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(playhead_origin::run(config, listener, async move {
            stopped.await.ok();
        }));
        Self { address, stop, running }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }

    async fn ask<Q: Encode<()>, A: for<'b> Decode<'b, ()>>(&self, path: &str, question: &Q) -> A {
        let answer = self.post(path, TOKEN, &minicbor::to_vec(question).unwrap()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        minicbor::decode(&answer.body).unwrap()
    }

    async fn post(&self, path: &str, token: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: origin\r\nauthorization: Bearer {token}\r\ncontent-type: application/cbor\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat()).await
    }

    async fn send(&self, request: &[u8]) -> Answer {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        // A refusal may come, and the connection go, before all is sent.
        connection.write_all(request).await.ok();
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).await.ok();
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        Answer { status, head, body: bytes[split + 4..].to_vec() }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert!(self.head.contains("application/problem+json"), "{}", self.head);
        assert_eq!(problem["status"], self.status);
        problem["code"].as_str().unwrap().to_owned()
    }
}

fn now() -> Millis {
    playhead_origin::clock::now()
}

fn viewer() -> Viewer {
    Viewer {
        account: "acme".parse().unwrap(),
        profile: "ada".parse().unwrap(),
        device: "tv".parse().unwrap(),
        streams: 1,
        incognito: false,
    }
}

fn beat(n: u64) -> Heartbeat {
    Heartbeat {
        session: SessionId::of_birth(now(), n),
        title: "film".parse().unwrap(),
        event: Event::Progress,
        playing: true,
        observed_at: now(),
        moved_at: now(),
        position_ms: 600_000,
        duration_ms: Some(3_600_000),
        watched_ms: 600_000,
        furthest_ms: 600_000,
        credits_ms: None,
        series: None,
        next_title: None,
    }
}

fn registers(beat: &Heartbeat) -> Vec<WireEntry> {
    heartbeat_moves(&viewer(), beat, &Rules::default()).into_iter().map(Into::into).collect()
}

fn lease(beat: &Heartbeat, device: &str) -> Lease {
    Lease {
        account: viewer().account,
        session: beat.session,
        profile: viewer().profile,
        device: device.parse().unwrap(),
        title: beat.title.clone(),
        observed_at: beat.observed_at,
        stopped: false,
        playing: true,
        limit: 1,
        incognito: false,
        age_ms: 0,
        still_ms: 0,
    }
}

fn titles() -> Read {
    Read { account: viewer().account, profile: viewer().profile, what: What::Titles(vec!["film".parse().unwrap()]) }
}

#[tokio::test]
async fn what_was_taken_is_answered_and_outlives_a_stop() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(&folder, Roles::ALL).await;
    let batch = Batch { registers: registers(&beat(1)), leases: vec![lease(&beat(1), "tv")] };
    let taken: BatchAnswer = origin.ask(BATCHES, &batch).await;
    assert!(taken.unread.is_empty() && taken.verdicts.is_empty(), "{taken:?}");
    let before: ReadAnswer = origin.ask(READS, &titles()).await;
    assert_eq!(before.registers.len(), 1);
    origin.stop().await;

    let origin = Origin::start(&folder, Roles::ALL).await;
    let after: ReadAnswer = origin.ask(READS, &titles()).await;
    assert_eq!(after.registers, before.registers);
    // A quick restart is no gap: who is refused is refused at once.
    let admission = Admission { lease: lease(&beat(2), "phone"), batch: Batch::default() };
    let answer: AdmissionAnswer = origin.ask(ADMISSIONS, &admission).await;
    assert_eq!((answer.outcome, answer.streams.len()), (Outcome::Refused, 1));
    assert_eq!(answer.registers, before.registers);
    origin.stop().await;
}

#[tokio::test]
async fn an_unreadable_register_is_named_and_the_rest_is_taken() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(&folder, Roles::ALL).await;
    let mut registers = registers(&beat(1));
    let unknown_kind = WireEntry { kind: 99, ..registers[0].clone() };
    let cut_off = WireEntry { register: vec![1, 2, 3], ..registers[1].clone() };
    let no_account = WireEntry { account: "a/b".to_owned(), ..registers[1].clone() };
    registers.insert(0, unknown_kind);
    registers.push(cut_off);
    registers.push(no_account);
    let batch = Batch { registers, leases: Vec::new() };
    let taken: BatchAnswer = origin.ask(BATCHES, &batch).await;
    assert_eq!(taken.unread, [0, 4, 5]);
    let read: ReadAnswer = origin.ask(READS, &titles()).await;
    assert_eq!(read.registers.len(), 1);
    origin.stop().await;
}

#[tokio::test]
async fn what_is_wrong_has_its_code() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(&folder, Roles::ALL).await;
    let good = minicbor::to_vec(titles()).unwrap();
    let cut_off = &good[..good.len() - 1];
    let large = vec![0; 4 * 1024 * 1024 + 1];
    for (path, token, body, status, code) in [
        (READS, "a-token-for-the-testz", &good[..], 401, "token_invalid"),
        (READS, "", &good, 401, "token_invalid"),
        (READS, "a-token-for-the-tests-", &good, 401, "token_invalid"),
        (BATCHES, "wrong", &good, 401, "token_invalid"),
        (ADMISSIONS, "wrong", &good, 401, "token_invalid"),
        (READS, TOKEN, b"{\"json\":1}", 400, "malformed"),
        (READS, TOKEN, cut_off, 400, "malformed"),
        (READS, TOKEN, b"", 400, "malformed"),
        (BATCHES, TOKEN, &good, 400, "malformed"),
        (BATCHES, TOKEN, &large, 413, "too_large"),
        ("/v1/nothing", TOKEN, &good, 404, "not_found"),
    ] {
        let answer = origin.post(path, token, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}: {answer:?}");
    }
    let answer = origin.send(b"GET /v1/reads HTTP/1.1\r\nhost: origin\r\nconnection: close\r\n\r\n").await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    let answer =
        origin.send(b"POST /v1/reads HTTP/1.1\r\nhost: origin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_invalid"));
    for path in ["/healthz", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: origin\r\nconnection: close\r\n\r\n");
        let answer = origin.send(request.as_bytes()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-length"), "{}", answer.head);
    }
    origin.stop().await;
}

#[tokio::test]
async fn a_role_that_is_off_says_so() {
    let folder = TempDir::new().unwrap();
    let provide = Roles { collect: false, process: false, provide: true };
    for (roles, off) in [
        (provide, vec![BATCHES, ADMISSIONS]),
        (Roles { collect: true, provide: false, ..provide }, vec![READS]),
        (Roles { process: true, provide: false, ..provide }, vec![BATCHES, ADMISSIONS, READS]),
    ] {
        let origin = Origin::start(&folder, roles).await;
        for path in [BATCHES, ADMISSIONS, READS] {
            let answer = origin.post(path, TOKEN, &[]).await;
            let expected = if off.contains(&path) { (404, "not_found") } else { (400, "malformed") };
            assert_eq!((answer.status, answer.code().as_str()), expected, "{roles:?} {path}");
        }
        origin.stop().await;
    }
}

#[tokio::test]
async fn a_folder_has_one_process() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(&folder, Roles::ALL).await;
    let _: ReadAnswer = origin.ask(READS, &titles()).await;
    let second = Origin::start(&folder, Roles::ALL).await;
    let error = second.running.await.unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("another process has the data folder open"), "{error:#}");
    origin.stop().await;
}

#[tokio::test]
async fn a_request_that_runs_is_finished_before_the_stop() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(&folder, Roles::ALL).await;
    let body = minicbor::to_vec(titles()).unwrap();
    let mut connection = TcpStream::connect(origin.address).await.unwrap();
    let head = format!(
        "POST {READS} HTTP/1.1\r\nhost: origin\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(&[head.as_bytes(), &body[..4]].concat()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    origin.stop.send(()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(TcpStream::connect(origin.address).await.is_err(), "nothing new is accepted");
    connection.write_all(&body[4..]).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    origin.running.await.unwrap().unwrap();
}

/// Whatever holds the edges up, what they send must not fill the memory.
#[tokio::test]
async fn there_is_room_for_so_many_bodies() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(&folder, Roles::ALL).await;
    let greatest = 4 << 20;
    let head = format!(
        "POST {BATCHES} HTTP/1.1\r\nhost: origin\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {greatest}\r\n\r\n"
    );
    let mut sending = Vec::new();
    for _ in 0..12 {
        let mut connection = TcpStream::connect(origin.address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        sending.push(connection);
    }
    let small = minicbor::to_vec(Batch::default()).unwrap();
    let refused = loop {
        let answer = origin.post(BATCHES, TOKEN, &small).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"));
    assert!(refused.head.contains("retry-after"), "{}", refused.head);
    assert_eq!(origin.post(BATCHES, "not-the-token-of-this", &small).await.status, 401);
    drop(sending);
    while origin.post(BATCHES, TOKEN, &small).await.status != 200 {}
    origin.stop().await;
}
