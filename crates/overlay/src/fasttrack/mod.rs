//! FastTrack.
