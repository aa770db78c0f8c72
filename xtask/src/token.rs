//! Tokens for local runs, signed with the key that `wrangler.toml` gives the edge there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt, Claims, Header};
use playhead_shared::id::SessionId;
use playhead_shared::time::Millis;
use serde::{Deserialize, Serialize};

/// Known to everybody, so it opens local runs only.
const LOCAL_KEY: &[u8] = b"playhead-local-development-key-001";
const LOCAL_KEY_ID: &str = "local";

/// Whom a token speaks for: arguments of `cargo xtask token`, and the query of the demo page's `/demo/token`.
#[derive(Args, Deserialize)]
pub(crate) struct Device {
    /// The account, which owns the stream limit
    #[arg(long)]
    account: String,
    /// The profile, which owns the viewing history
    #[arg(long)]
    profile: String,
    /// The device
    #[arg(long)]
    device: String,
    /// How many streams the account may play at once
    #[arg(long, default_value_t = default_streams())]
    #[serde(default = "default_streams")]
    streams: u32,
    /// Leave nothing behind but a stream
    #[arg(long)]
    #[serde(default)]
    incognito: bool,
    /// How long the token is good for, in seconds
    #[arg(long, default_value_t = default_ttl())]
    #[serde(default = "default_ttl")]
    ttl: u64,
}

#[derive(Serialize)]
struct Custom<'a> {
    sub: &'a str,
    profile: &'a str,
    device: &'a str,
    streams: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incognito: bool,
    iat: u64,
    exp: u64,
}

/// `cargo xtask token`.
pub(crate) fn print(device: &Device) -> Result<()> {
    println!("{}", sign(device, since_1970()?.as_secs())?);
    Ok(())
}

/// `cargo xtask session`.
pub(crate) fn print_session() -> Result<()> {
    let now = since_1970()?;
    println!("{}", SessionId::of_birth(Millis(now.as_millis() as u64), now.as_nanos() as u64));
    Ok(())
}

fn since_1970() -> Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).context("this machine's clock is before 1970")
}

/// A token that begins at `now`, in seconds since 1970.
pub(crate) fn sign(device: &Device, now: u64) -> Result<String> {
    let claims = Claims::new(Custom {
        sub: &device.account,
        profile: &device.profile,
        device: &device.device,
        streams: device.streams,
        incognito: device.incognito,
        iat: now,
        exp: now.saturating_add(device.ttl),
    });
    let header = Header::empty().with_token_type("JWT").with_key_id(LOCAL_KEY_ID);
    Hs256.token(&header, &claims, &Hs256Key::new(LOCAL_KEY)).context("the token could not be signed")
}

fn default_streams() -> u32 {
    2
}

fn default_ttl() -> u64 {
    3_600
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_edges_take_the_local_key() {
        let jwk = serde_json::to_value(jwt_compact::jwk::JsonWebKey::from(&Hs256Key::new(LOCAL_KEY))).unwrap();
        let entry = format!(r#""kid":"{LOCAL_KEY_ID}","alg":"HS256","k":{}"#, jwk["k"]);
        for settings in ["wrangler.toml", "spin.toml"] {
            let text = std::fs::read_to_string(crate::repo::root().join(settings)).unwrap();
            assert!(text.contains(&entry), "{settings} has other keys than {entry}");
        }
    }

    #[test]
    fn incognito_is_claimed_only_if_asked_for() {
        for incognito in [false, true] {
            let device =
                Device { account: "a".into(), profile: "p".into(), device: "d".into(), streams: 2, incognito, ttl: 60 };
            let token = sign(&device, 1_000).unwrap();
            let token = jwt_compact::UntrustedToken::new(&token).unwrap();
            let claims = token.deserialize_claims_unchecked::<serde_json::Value>().unwrap();
            assert_eq!(claims.custom.get("incognito").is_some(), incognito);
            assert_eq!(claims.expiration.unwrap().timestamp(), 1_060);
            assert_eq!(token.header().key_id.as_deref(), Some(LOCAL_KEY_ID));
        }
    }
}
