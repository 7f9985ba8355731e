//! Starling beside real BitTorrent programs.
