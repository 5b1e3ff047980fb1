//! Makes seals and compares them. No I/O.

use super::model::{Hash, HashedEntry, Seal};
use crate::{ids::AccountId, secrets::hash_parts};

/// Bytes of an entry's hash that a seal keeps: enough to tell which entry was altered. That none was, the whole hash tells.
pub const MARK_BYTES: usize = 4;
/// Entries under one seal at the most.
pub const ENTRIES_MAX: usize = 1_000;

/// The seal of entries in order, after the seal with `before`'s hash. `None` where there are no entries.
pub fn seal(account: AccountId, before: &[u8], entries: &[HashedEntry]) -> Option<Seal> {
    let (first, last) = (entries.first()?, entries.last()?);
    let marks = entries.iter().flat_map(|entry| mark(&entry.hash)).copied().collect();
    Some(Seal { account, after_seq: first.seq - 1, up_to_seq: last.seq, marks, hash: chained(before, entries).to_vec() })
}

fn mark(hash: &[u8]) -> &[u8] {
    hash.get(..MARK_BYTES).unwrap_or(hash)
}

fn chained(before: &[u8], entries: &[HashedEntry]) -> Hash {
    let parts = std::iter::once(before).chain(entries.iter().map(|entry| entry.hash.as_slice())).collect::<Vec<_>>();
    hash_parts(&parts)
}

/// What a seal tells of the entries that are there now: one sentence for each that is not as it was. `before` is the seal
/// before it, if there is one.
pub fn breaches(before: Option<&Seal>, seal: &Seal, entries: &[HashedEntry]) -> Vec<String> {
    let mut found = Vec::new();
    let sealed_before = before.map_or(0, |before| before.up_to_seq);
    if sealed_before != seal.after_seq {
        found.push(format!("rows {} to {} were sealed, and their seal is gone", sealed_before + 1, seal.after_seq));
    }
    let mut entries_left = entries.iter().peekable();
    for (seq, mark_kept) in (seal.after_seq + 1..=seal.up_to_seq).zip(seal.marks.chunks(MARK_BYTES)) {
        match entries_left.next_if(|entry| entry.seq == seq) {
            None => found.push(format!("row {seq} was sealed and is gone")),
            Some(entry) if mark(&entry.hash) != mark_kept => found.push(format!("row {seq} was altered after it was sealed")),
            Some(_) => {}
        }
    }
    if found.is_empty() && chained(before.map_or(&[], |before| before.hash.as_slice()), entries).as_slice() != seal.hash {
        found.push(format!(
            "the seal of rows {} to {} is broken: one of them was altered, or a seal was",
            seal.after_seq + 1,
            seal.up_to_seq
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(from: i64, to: i64) -> Vec<HashedEntry> {
        let entry = |seq: i64| HashedEntry { account: AccountId(1), seq, hash: hash_parts(&[&seq.to_be_bytes()]).to_vec() };
        (from..=to).map(entry).collect()
    }

    #[test]
    fn a_seal_names_the_entry_that_was_altered_or_is_gone_and_knows_the_seal_before() {
        let first = seal(AccountId(1), &[], &entries(1, 3)).unwrap();
        let second = seal(AccountId(1), &first.hash, &entries(4, 9)).unwrap();
        let mut altered = entries(4, 9);
        altered[2].hash[0] ^= 1;
        let mut gone = entries(4, 9);
        gone.remove(4);
        let mut deep = entries(4, 9);
        deep[0].hash[31] ^= 1;
        let forged = Seal { hash: vec![7; 32], ..first.clone() };

        assert_eq!((breaches(None, &first, &entries(1, 3)), breaches(Some(&first), &second, &entries(4, 9))), (Vec::new(), Vec::new()));
        assert_eq!(breaches(Some(&first), &second, &altered), ["row 6 was altered after it was sealed"]);
        assert_eq!(breaches(Some(&first), &second, &gone), ["row 8 was sealed and is gone"]);
        for broken in [breaches(Some(&first), &second, &deep), breaches(Some(&forged), &second, &entries(4, 9))] {
            assert_eq!(broken, ["the seal of rows 4 to 9 is broken: one of them was altered, or a seal was"]);
        }
        assert_eq!(breaches(None, &second, &entries(4, 9))[0], "rows 1 to 3 were sealed, and their seal is gone");
        assert_eq!(seal(AccountId(1), &[], &[]), None);
    }
}
