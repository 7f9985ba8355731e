//! Tasks of the project: test, tidy, bench.
fn main() {}
