//! Who is asking: JSON Web Tokens, verified with a key that pins its own algorithm.

use jwt_compact::alg::{Ed25519, Hs256, Hs256Key};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmExt, Claims, UntrustedToken};
use playhead_shared::moves::Viewer;
use playhead_shared::time::Millis;
use serde::{Deserialize, Serialize};
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

/// Who asks, and from where; what the door hands on to the shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Caller {
    account: String,
    profile: String,
    device: String,
    streams: u32,
    incognito: bool,
    /// The region that the token names for the account's shard.
    pub region: Option<String>,
}

impl Caller {
    /// Which of `shards` holds the account, for platforms that spread accounts over several.
    pub fn shard(&self, shards: u64) -> u64 {
        let digest = Sha256::digest(&self.account);
        digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) % shards.max(1)
    }

    /// The caller as the domain has it.
    pub fn viewer(&self) -> Result<Viewer, Problem> {
        let invalid = |bad: playhead_shared::id::BadId| Problem::new(Code::TokenInvalid, bad);
        Ok(Viewer {
            account: self.account.parse().map_err(invalid)?,
            profile: self.profile.parse().map_err(invalid)?,
            device: self.device.parse().map_err(invalid)?,
            streams: self.streams,
            incognito: self.incognito,
        })
    }
}

#[derive(Clone, Deserialize)]
struct TokenClaims {
    sub: String,
    profile: String,
    device: String,
    streams: u32,
    #[serde(default)]
    incognito: bool,
    region: Option<String>,
    iss: Option<String>,
    aud: Option<Audience>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

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
    let text = |name: &str| jwk.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let (kid, kty, alg) = (text("kid"), text("kty").unwrap_or_default(), text("alg"));
    let web_key: JsonWebKey<'_> = serde_json::from_value(jwk).map_err(|error| error.to_string())?;
    let key = match (kty.as_str(), alg.as_deref()) {
        ("oct", None | Some("HS256")) => Key::Hs256(Hs256Key::try_from(&web_key).map_err(|error| error.to_string())?),
        ("OKP", None | Some("EdDSA")) => {
            let key = <Ed25519 as Algorithm>::VerifyingKey::try_from(&web_key).map_err(|error| error.to_string())?;
            Key::Ed25519(Box::new(key))
        }
        (kty, alg) => return Err(format!("a key of type {kty:?} with alg {alg:?} is not known here")),
    };
    Ok((kid, key))
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
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err(invalid("the token is of another issuer"));
        }
        if self.audience.as_ref().is_some_and(|ours| !claims.aud.as_ref().is_some_and(|aud| aud.has(ours))) {
            return Err(invalid("the token is for another audience"));
        }
        let caller = Caller {
            account: claims.sub,
            profile: claims.profile,
            device: claims.device,
            streams: claims.streams,
            incognito: claims.incognito,
            region: claims.region,
        };
        caller.viewer().map(|_| caller)
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
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

impl Audience {
    fn has(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}
