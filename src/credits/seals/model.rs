//! Seals, and what they close.

use crate::ids::AccountId;

/// SHA-256.
pub type Hash = [u8; 32];

/// A seal as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Whose entries.
    pub account: AccountId,
    /// Those after this one …
    pub after_seq: i64,
    /// … up to this one.
    pub up_to_seq: i64,
    /// Four bytes of each entry's hash, in order.
    pub marks: Vec<u8>,
    /// Over the seal before and all these entries' hashes.
    pub hash: Vec<u8>,
}

/// An entry with the hash of all that it says.
#[derive(Clone, Debug)]
pub struct HashedEntry {
    /// Whose.
    pub account: AccountId,
    /// Its number.
    pub seq: i64,
    /// SHA-256 of its content.
    pub hash: Vec<u8>,
}

/// An account that was looked at for entries which no seal closes yet.
#[derive(Clone, Debug)]
pub struct Unsealed {
    /// Which.
    pub account: AccountId,
    /// Whether a seal is due.
    pub is_due: bool,
    /// The newest entry that is sealed; 0 for none.
    pub after_seq: i64,
    /// The hash of the newest seal.
    pub hash: Option<Vec<u8>>,
}
