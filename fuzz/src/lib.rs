//! Fuzz entry points, one per parser; shared by the fuzzers and the corpus replay test.
