//! Who is asking: JSON Web Tokens, verified with a key that pins its own algorithm.

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::alg::{Ed25519, Hs256, Hs256Key, VerifyingKey};
use jwt_compact::{Algorithm, AlgorithmExt, Claims, UntrustedToken};
use playhead_shared::id::BadId;
use playhead_shared::moves::Viewer;
use playhead_shared::time::Millis;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};

/// How tokens are verified.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    /// The keys that may have signed.
    pub keys: KeySet,
    /// `iss` must be this, if set.
    pub issuer: Option<String>,
    /// `aud` must be or contain this, if set.
    pub audience: Option<String>,
}

/// The keys of a JWKS that this edge can use.
#[derive(Clone, Debug)]
pub struct KeySet(Vec<(Option<String>, Key)>);

#[derive(Clone)]
enum Key {
    Hs256(Hs256Key),
    Ed25519(Box<<Ed25519 as Algorithm>::VerifyingKey>),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hs256(_) => "HS256",
            Self::Ed25519(_) => "EdDSA",
        })
    }
}

/// Who asks, and from where.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who acts.
    pub viewer: Viewer,
    /// The region that the token names for the account's shard.
    pub region: Option<String>,
}

impl Caller {
    /// Which of `shards` holds the account, for platforms that spread accounts over several.
    pub fn shard(&self, shards: u64) -> u64 {
        let digest = Sha256::digest(self.viewer.account.as_str());
        digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) % shards.max(1)
    }

    /// The viewer in one line, for a header from the door to the shard. No id has a space in it.
    pub fn viewer_line(&self) -> String {
        let Viewer { account, profile, device, streams, incognito } = &self.viewer;
        format!("{account} {profile} {device} {streams} {incognito}")
    }
}

/// Reads what [`Caller::viewer_line`] wrote.
pub fn viewer_of_line(line: &str) -> Option<Viewer> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    Some(Viewer {
        account: next()?.parse().ok()?,
        profile: next()?.parse().ok()?,
        device: next()?.parse().ok()?,
        streams: next()?.parse().ok()?,
        incognito: next()?.parse().ok()?,
    })
}

/// A token's claims as they came: read one by one, since a typed form of them would cost more to carry to the
/// edge than the rest of this file.
type TokenClaims = serde_json::Map<String, serde_json::Value>;

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517). A key must name its `alg`, or be of a type that has only one here.
    pub fn from_jwks(json: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Jwks {
            keys: Vec<serde_json::Value>,
        }
        let jwks: Jwks = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let keys: Vec<_> = jwks.keys.into_iter().map(key_of).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err("it has no key".to_owned()) } else { Ok(Self(keys)) }
    }
}

fn key_of(jwk: serde_json::Value) -> Result<(Option<String>, Key), String> {
    let text = |name: &str| jwk.get(name).and_then(|value| value.as_str());
    let bytes = |name: &str| {
        let text = text(name).ok_or_else(|| format!("a key has no {name}"))?;
        Base64UrlUnpadded::decode_vec(text).map_err(|_| format!("a key's {name} is no base64url"))
    };
    let key = match (text("kty"), text("alg")) {
        (Some("oct"), None | Some("HS256")) => {
            let secret = bytes("k")?;
            // RFC 7518, 3.2: a shorter secret would be guessed before the signature.
            if secret.len() < 32 {
                return Err("an HS256 key has fewer than 32 bytes".to_owned());
            }
            Key::Hs256(Hs256Key::new(secret))
        }
        (Some("OKP"), None | Some("EdDSA")) if text("crv") == Some("Ed25519") => {
            let key = <Ed25519 as Algorithm>::VerifyingKey::from_slice(&bytes("x")?);
            Key::Ed25519(Box::new(key.map_err(|_| "a key's x is no Ed25519 public key")?))
        }
        (kty, alg) => return Err(format!("a key of type {kty:?} with alg {alg:?} is not known here")),
    };
    Ok((text("kid").map(str::to_owned), key))
}

impl TokenPolicy {
    /// Verifies an `Authorization` header's value.
    pub fn verify(&self, authorization: Option<&str>, now: Millis) -> Result<Caller, Problem> {
        let missing = || Problem::new(Code::TokenMissing, "send `Authorization: Bearer` and a token");
        let token = bearer(authorization.ok_or_else(missing)?).ok_or_else(missing)?;
        let invalid = |why: &str| Problem::new(Code::TokenInvalid, why);
        let token = UntrustedToken::new(token).map_err(|_| invalid("this is no JSON Web Token"))?;
        let claims = self.signed_claims(&token).ok_or_else(|| invalid("the signature is not of a key known here"))?;

        let at = now.0 as i64;
        let expiry = claims.expiration.ok_or_else(|| invalid("the token has no `exp`"))?;
        if expiry.timestamp_millis() <= at {
            return Err(Problem::new(Code::TokenExpired, "the token has expired"));
        }
        if claims.not_before.is_some_and(|start| start.timestamp_millis() > at) {
            return Err(invalid("the token is not valid yet"));
        }
        let claims = claims.custom;
        let text = |name: &str| claims.get(name).and_then(|value| value.as_str());
        if self.issuer.is_some() && text("iss") != self.issuer.as_deref() {
            return Err(invalid("the token is of another issuer"));
        }
        if self.audience.as_ref().is_some_and(|ours| !claims.get("aud").is_some_and(|aud| names(aud, ours))) {
            return Err(invalid("the token is for another audience"));
        }
        let id = |name: &str| text(name).ok_or_else(|| invalid(&format!("the token has no {name}")));
        let bad_id = |bad: BadId| invalid(bad.0);
        let streams = claims.get("streams").and_then(|value| value.as_u64()).and_then(|n| u32::try_from(n).ok());
        let viewer = Viewer {
            account: id("sub")?.parse().map_err(bad_id)?,
            profile: id("profile")?.parse().map_err(bad_id)?,
            device: id("device")?.parse().map_err(bad_id)?,
            streams: streams.ok_or_else(|| invalid("the token has no streams"))?,
            incognito: claims.get("incognito").is_some_and(|value| value == true),
        };
        Ok(Caller { viewer, region: text("region").map(str::to_owned) })
    }

    /// The claims, if one of the keys signed them. A token that names a key is held to that key.
    fn signed_claims(&self, token: &UntrustedToken<'_>) -> Option<Claims<TokenClaims>> {
        let named = token.header().key_id.as_deref();
        (self.keys.0.iter())
            .filter(|(kid, _)| named.is_none() || kid.is_none() || kid.as_deref() == named)
            .find_map(|(_, key)| match key {
                Key::Hs256(key) => Hs256.validator(key).validate(token).ok(),
                Key::Ed25519(key) => Ed25519.validator(key).validate(token).ok(),
            })
            .map(|token| token.into_parts().1)
    }
}

/// The credentials of a `Bearer` header; the scheme's case does not matter (RFC 9110).
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// `aud` is one audience, or a list of them (RFC 7519, 4.1.3).
fn names(aud: &serde_json::Value, audience: &str) -> bool {
    aud == audience || aud.as_array().is_some_and(|several| several.iter().any(|one| one == audience))
}
