"""The online state: keys, packed blobs, the store port with its in-memory and Redis implementations, and the catalogue."""
