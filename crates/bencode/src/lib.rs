//! bencode
