//! Ports that nothing listens on.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of 127.0.0.1 that nothing listens on. It lies below those that the system gives to outgoing connections, so
/// that none of these takes it while a server is down.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static TRIED: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run side by side begin at different places.
    let start =
        u16::try_from(u32::from(COUNT).min(std::process::id().wrapping_mul(37) % u32::from(COUNT))).unwrap_or(0);
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + tried) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
