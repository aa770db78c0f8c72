//! Who is asking: JSON Web Tokens, verified with a key that pins its own algorithm.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use base64ct::{Base64UrlUnpadded, Encoding};
use jwt_compact::alg::{Ed25519, Hs256, Hs256Key, VerifyingKey};
use jwt_compact::{Algorithm, AlgorithmExt, Claims, UntrustedToken};
use playhead_shared::id::BadId;
use playhead_shared::moves::Viewer;
use playhead_shared::time::Millis;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};

/// How tokens are verified. Clones share what they have verified.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    keys: KeySet,
    issuer: Option<String>,
    audience: Option<String>,
    /// By the token's text: a device shows the same one with every heartbeat, and checking a signature takes longer
    /// than the rest of a request does.
    verified: Rc<RefCell<HashMap<String, Rc<Verified>>>>,
}

/// So many verified tokens are remembered, half a kilobyte each.
const MOST_VERIFIED: usize = 2_000;

/// A token that one of the keys signed.
#[derive(Debug)]
struct Verified {
    caller: Rc<Caller>,
    not_before_ms: Option<i64>,
    expires_ms: i64,
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
    /// Spreads accounts evenly.
    account_hash: u64,
}

impl Caller {
    fn new(viewer: Viewer, region: Option<String>) -> Self {
        let digest = Sha256::digest(viewer.account.as_str());
        Self { account_hash: digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)), viewer, region }
    }

    /// Which of `shards` holds the account, for platforms that spread accounts over several.
    pub fn shard(&self, shards: u64) -> u64 {
        self.account_hash % shards.max(1)
    }
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
    /// Tokens signed with one of `keys`; `iss` must be `issuer`, and `aud` must be or contain `audience`, if set.
    pub fn new(keys: KeySet, issuer: Option<String>, audience: Option<String>) -> Self {
        Self { keys, issuer, audience, verified: Rc::default() }
    }

    /// Verifies an `Authorization` header's value.
    pub fn verify(&self, authorization: Option<&str>, now: Millis) -> Result<Rc<Caller>, Problem> {
        let missing = || Problem::new(Code::TokenMissing, "send `Authorization: Bearer` and a token");
        let token = bearer(authorization.ok_or_else(missing)?).ok_or_else(missing)?;
        let known = self.verified.borrow().get(token).cloned();
        let verified = match known {
            Some(verified) => verified,
            None => self.remember(token, self.read(token)?),
        };
        let at = now.0 as i64;
        if verified.expires_ms <= at {
            return Err(Problem::new(Code::TokenExpired, "the token has expired"));
        }
        if verified.not_before_ms.is_some_and(|start| start > at) {
            return Err(invalid("the token is not valid yet"));
        }
        Ok(Rc::clone(&verified.caller))
    }

    fn remember(&self, token: &str, verified: Verified) -> Rc<Verified> {
        let verified = Rc::new(verified);
        let mut all = self.verified.borrow_mut();
        if all.len() >= MOST_VERIFIED {
            // Those in use are soon back.
            all.clear();
        }
        all.insert(token.to_owned(), Rc::clone(&verified));
        verified
    }

    /// Checks the signature, and reads what holds of the token at any time.
    fn read(&self, token: &str) -> Result<Verified, Problem> {
        let token = UntrustedToken::new(token).map_err(|_| invalid("this is no JSON Web Token"))?;
        let claims = self.signed_claims(&token).ok_or_else(|| invalid("the signature is not of a key known here"))?;
        let expires = claims.expiration.ok_or_else(|| invalid("the token has no `exp`"))?;
        let (expires_ms, not_before_ms) =
            (expires.timestamp_millis(), claims.not_before.map(|start| start.timestamp_millis()));
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
        let caller = Rc::new(Caller::new(viewer, text("region").map(str::to_owned)));
        Ok(Verified { caller, not_before_ms, expires_ms })
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

fn invalid(why: &str) -> Problem {
    Problem::new(Code::TokenInvalid, why)
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

#[cfg(test)]
mod tests {
    use jwt_compact::{Claims, Header};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_that_was_verified_before_still_starts_and_expires() {
        const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
        let jwk = json!({"kty": "oct", "k": Base64UrlUnpadded::encode_string(SECRET)});
        let keys = KeySet::from_jwks(&json!({"keys": [jwk]}).to_string()).unwrap();
        let policy = TokenPolicy::new(keys, None, None);
        let claims = json!({"sub": "a", "profile": "p", "device": "tv", "streams": 2, "nbf": 100, "exp": 200});
        let token = Hs256.token(&Header::empty(), &Claims::new(claims), &Hs256Key::new(SECRET)).unwrap();
        let (good, forged) = (format!("Bearer {token}"), format!("Bearer {token}A"));
        for (second, refused) in [(150, None), (99, Some("token_invalid")), (199, None), (200, Some("token_expired"))] {
            let answer = |shown: &str| {
                let judged = policy.verify(Some(shown), Millis(second * 1000));
                judged.err().map(|problem| String::from_utf8(problem.into_response().into_body()).unwrap())
            };
            match refused {
                Some(code) => assert!(answer(&good).unwrap().contains(code), "at {second}"),
                None => assert_eq!(answer(&good), None, "at {second}"),
            }
            assert!(answer(&forged).unwrap().contains("token_invalid"));
        }
        assert_eq!(policy.verified.borrow().len(), 1, "what no key has signed is not remembered");
    }
}
