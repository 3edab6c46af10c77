"""The append-only audit log: a Merkle tree whose every leaf is an entry."""
