//! The balancer, before servers that say who they are.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use playhead_servers::{Front, free_port};

/// Answers every request with its name, one request a connection.
fn named(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let length = name.len();
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{name}");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

/// The whole answer to a request.
fn ask(front: &Front, path: &str) -> String {
    let mut stream = TcpStream::connect(front.url().trim_start_matches("http://")).unwrap();
    let request = format!("POST {path} HTTP/1.1\r\nhost: front\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn nowhere() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

#[test]
fn each_path_goes_to_its_role_and_to_each_instance_in_turn() {
    let front = Front::start(&[named("collect-1"), named("collect-2")], &[named("provide")]).unwrap();
    let name = |path: &str| ask(&front, path).rsplit('\n').next().unwrap_or_default().to_owned();
    assert_eq!(["/v1/batches"; 3].map(name), ["collect-1", "collect-2", "collect-1"]);
    assert_eq!(name("/v1/admissions"), "collect-2");
    assert_eq!(["/v1/reads", "/v1/events?from=1"].map(name), ["provide", "provide"]);
}

#[test]
fn an_instance_that_is_away_is_passed_by() {
    let front = Front::start(&[nowhere(), named("collect"), nowhere()], &[nowhere()]).unwrap();
    for _ in 0..4 {
        assert!(ask(&front, "/v1/batches").ends_with("\ncollect"));
    }
    let refused = ask(&front, "/v1/reads");
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
}
