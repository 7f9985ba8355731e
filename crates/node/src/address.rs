//! Addresses that a user names: whether they can be used, and how they are shown.

use starling_net::http::Url;
use starling_tracker::TrackerUrl;
pub use starling_tracker::{UrlError as AddressError, without_userinfo};

/// Whether a tracker can be asked at `url`.
pub fn check_tracker(url: &str) -> Result<(), AddressError> {
    TrackerUrl::parse(url).map(drop)
}

/// Whether a web seed can be asked at `url`.
pub fn check_web_seed(url: &str) -> Result<(), AddressError> {
    Url::parse(url).map(drop)
}
