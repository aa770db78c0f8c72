//! Tokens of every kind, good and bad.

use jwt_compact::alg::{Ed25519, Hs256, Hs256Key, SigningKey, VerifyingKey};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmExt, Claims, Header};
use playhead_shared::moves::Viewer;
use serde_json::{Value, json};

use crate::now;

/// The key that local runs share.
pub const LOCAL_KEY: &[u8] = b"playhead-local-development-key-001";
/// The name of the HS256 key.
pub const LOCAL: &str = "local";
/// The name of the Ed25519 key.
pub const EDWARDS: &str = "edwards";

type EdwardsKey = <Ed25519 as Algorithm>::SigningKey;

/// The keys that the edges under test know: one of each algorithm.
pub fn jwks() -> String {
    let (shared, edwards) = (Hs256Key::new(LOCAL_KEY), SigningKey::<Ed25519>::to_verifying_key(&edwards_key()));
    let named = |key: JsonWebKey<'_>, kid: &str, alg: &str| {
        let mut key = serde_json::to_value(key).unwrap_or_default();
        (key["kid"], key["alg"]) = (kid.into(), alg.into());
        key
    };
    let keys = [named(JsonWebKey::from(&shared), LOCAL, "HS256"), named(JsonWebKey::from(&edwards), EDWARDS, "EdDSA")];
    json!({ "keys": keys }).to_string()
}

/// What a token says of a viewer, good for an hour.
pub fn claims(viewer: &Viewer) -> Value {
    json!({
        "sub": viewer.account.as_str(), "profile": viewer.profile.as_str(), "device": viewer.device.as_str(),
        "streams": viewer.streams, "incognito": viewer.incognito, "exp": now().0 / 1000 + 3600,
    })
}

/// A token as local runs have it.
pub fn local(claims: &Value) -> String {
    hs256(LOCAL_KEY, Some(LOCAL), claims)
}

/// A token of any HS256 key, under any name.
pub fn hs256(key: &[u8], kid: Option<&str>, claims: &Value) -> String {
    sign(&Hs256, &Hs256Key::new(key), kid, claims)
}

/// A token of the Ed25519 key that the edges know.
pub fn ed25519(claims: &Value) -> String {
    sign(&Ed25519, &edwards_key(), Some(EDWARDS), claims)
}

/// A token of an Ed25519 key that they don't know, under the name of the one that they do.
pub fn foreign_ed25519(claims: &Value) -> String {
    sign(&Ed25519, &EdwardsKey::from_bytes(&[8; 32]), Some(EDWARDS), claims)
}

/// The bytes that everybody may have of the Ed25519 key.
pub fn edwards_public() -> Vec<u8> {
    VerifyingKey::<Ed25519>::as_bytes(&SigningKey::<Ed25519>::to_verifying_key(&edwards_key())).into_owned()
}

/// The same claims, unsigned: `alg` is `none`.
pub fn unsigned(claims: &Value) -> String {
    // {"alg":"none","typ":"JWT"}
    const NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let signed = local(claims);
    format!("{NONE}.{}.", signed.split('.').nth(1).unwrap_or_default())
}

/// The claims of `others` under the signature of `ours`.
pub fn spliced(ours: &Value, others: &Value) -> String {
    let (ours, others) = (local(ours), local(others));
    let (ours, others): (Vec<_>, Vec<_>) = (ours.split('.').collect(), others.split('.').collect());
    format!("{}.{}.{}", ours[0], others[1], ours[2])
}

fn edwards_key() -> EdwardsKey {
    EdwardsKey::from_bytes(&[7; 32])
}

fn sign<A: Algorithm>(algorithm: &A, key: &A::SigningKey, kid: Option<&str>, claims: &Value) -> String {
    let header = Header::empty().with_token_type("JWT");
    let header = if let Some(kid) = kid { header.with_key_id(kid) } else { header };
    // Signing what serialises cannot fail; an empty token would be refused plainly.
    algorithm.token(&header, &Claims::new(claims.clone()), key).unwrap_or_default()
}
