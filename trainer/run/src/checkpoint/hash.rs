use crate::FileEntry;
use std::collections::BTreeMap;

/// Size of the parts that are hashed one by one, so that ranks can hash what they upload.
pub const PART_BYTES: usize = 8 << 20;

/// Hashes a file: BLAKE3 of each part, and BLAKE3 over the parts' hashes.
pub fn hash_file(bytes: &[u8]) -> FileEntry {
    let parts: Vec<blake3::Hash> = bytes.chunks(PART_BYTES).map(blake3::hash).collect();
    let mut whole = blake3::Hasher::new();
    parts.iter().for_each(|part| {
        whole.update(part.as_bytes());
    });
    FileEntry {
        bytes: bytes.len() as u64,
        blake3: whole.finalize().to_hex().to_string(),
        parts: parts.iter().map(|part| part.to_hex().to_string()).collect(),
    }
}

/// BLAKE3 over the files' names and hashes in name order: equal for equal checkpoints of one generation, which a file tells.
pub fn state_hash(files: &BTreeMap<String, FileEntry>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, entry) in files {
        hasher.update(name.as_bytes());
        hasher.update(&[0]);
        hasher.update(entry.blake3.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file() {
        assert!(hash_file(b"").parts.is_empty());
        let big = vec![7u8; PART_BYTES + 1];
        let entry = hash_file(&big);
        assert_eq!((entry.bytes, entry.parts.len()), (PART_BYTES as u64 + 1, 2));
        assert_eq!(entry.parts[1], blake3::hash(&[7]).to_hex().to_string());
        assert_ne!(entry.blake3, hash_file(&big[1..]).blake3);
    }
}
