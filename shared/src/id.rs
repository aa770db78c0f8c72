//! The names of things. An id that exists is valid, and two kinds of id cannot be swapped.

use std::fmt;
use std::str::FromStr;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::time::Millis;

/// Text that is not an id of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadId(pub &'static str);

const LONGEST: usize = 64;

fn of_allowed(text: &str, allowed: &[u8]) -> bool {
    // In a path, these two would mean another path.
    let is_path = matches!(text, "." | "..");
    !is_path
        && (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || allowed.contains(&b))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $allowed:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                if of_allowed(text, $allowed) { Ok(Self(text.into())) } else { Err(BadId($what)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                d.str()?.parse().map_err(|_| DecodeError::message($what))
            }
        }
    };
}

text_id!(
    /// Who pays; owns the stream limit. 1..64 of `[A-Za-z0-9._-]`.
    AccountId, b"._-", "an account is 1 to 64 of A-Z a-z 0-9 . _ -"
);
text_id!(
    /// Who watches; owns the history and the resume points. 1..64 of `[A-Za-z0-9._-]`.
    ProfileId, b"._-", "a profile is 1 to 64 of A-Z a-z 0-9 . _ -"
);
text_id!(
    /// What is watched on. 1..64 of `[A-Za-z0-9._-]`.
    DeviceId, b"._-", "a device is 1 to 64 of A-Z a-z 0-9 . _ -"
);
text_id!(
    /// What is watched, or the series that it belongs to. 1..64 of `[A-Za-z0-9._:-]`.
    TitleId, b"._:-", "a title or series id is 1 to 64 of A-Z a-z 0-9 . _ : -"
);

/// One playback session: a UUIDv7 minted by the device, so that it says when the session was born.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(Uuid);

const NO_SESSION_ID: BadId = BadId("a session id is a UUIDv7 in its hyphenated form");

impl SessionId {
    /// When the device says that the session began (the first 48 bits of a UUIDv7).
    pub fn birth(self) -> Millis {
        Millis((self.0.as_u128() >> 80) as u64)
    }

    /// The smallest or any other id of that birth, for tests, ranges and load generators.
    pub fn of_birth(birth: Millis, rest: u64) -> Self {
        let bits = (u128::from(birth.0) << 80) | (0x7 << 76) | (0b10 << 62) | u128::from(rest & 0x3fff_ffff_ffff_ffff);
        Self(Uuid::from_u128(bits))
    }

    fn of_uuid(uuid: Uuid) -> Result<Self, BadId> {
        let standard = uuid.get_variant() == uuid::Variant::RFC4122;
        if standard && uuid.get_version_num() == 7 { Ok(Self(uuid)) } else { Err(NO_SESSION_ID) }
    }
}

impl FromStr for SessionId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        // `Uuid` also reads braces, URNs and bare hex: one session would have several spellings.
        if text.len() != uuid::fmt::Hyphenated::LENGTH {
            return Err(NO_SESSION_ID);
        }
        Uuid::try_parse(text).map_err(|_| NO_SESSION_ID).and_then(Self::of_uuid)
    }
}

impl TryFrom<String> for SessionId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> String {
        id.to_string()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for SessionId {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(self.0.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SessionId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let uuid = Uuid::from_slice(d.bytes()?).map_err(|_| DecodeError::message(NO_SESSION_ID.0))?;
        Self::of_uuid(uuid).map_err(|bad| DecodeError::message(bad.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_could_split_a_key() {
        for bad in ["", ".", "..", "a/b", "a b", "a\0b", "ü", "{a}", &"x".repeat(65)] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad:?}");
            assert!(bad.parse::<TitleId>().is_err(), "{bad:?}");
        }
        assert!("a:b".parse::<ProfileId>().is_err());
        assert!("urn:film-1.2_x".parse::<TitleId>().is_ok());
        assert!("x".repeat(64).parse::<DeviceId>().is_ok());
    }

    #[test]
    fn session_ids_are_version_7_and_hyphenated() {
        let id = SessionId::of_birth(Millis(1_700_000_000_123), 42);
        assert_eq!(id.birth(), Millis(1_700_000_000_123));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        let version_4 = format!("{}4{}", &text[..14], &text[15..]);
        for bad in [&version_4, &text.replace('-', ""), &format!("{{{text}}}"), "", "x"] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
