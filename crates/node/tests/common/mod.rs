//! What the tests of a whole node share: content, nodes on loopback, and strangers that
//! follow a script.

pub mod content;
pub mod servers;
pub mod sites;
pub mod stranger;

use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::timeout;

/// How long a scene may take before it counts as hung. No test measures time with it.
const DEADLINE: Duration = Duration::from_secs(90);

/// Runs a test's story on one thread; the nodes in it have threads of their own.
pub fn scene(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        assert!(timeout(DEADLINE, story).await.is_ok(), "the scene did not end within {DEADLINE:?}");
    });
}
