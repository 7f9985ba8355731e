//! Strangers against a whole node, over real sockets on loopback.
//!
//! Every scene has an attack and an honest way to the content: the transfer completes in
//! spite of the attack, and only who lied is banned. What is proven closer to the code is
//! not repeated here; this is where each threat has its test:
//!
//! | threat | proven by |
//! |---|---|
//! | poisoned piece | `poison` here; swarm `faults` (who is banned, block by block) |
//! | metadata size lie | `metadata` here; swarm `metadata::tests::absurd_sizes_are_refused_before_anything_is_kept` |
//! | bencode bomb | bencode `a_depth_that_no_stack_survives_is_no_trouble`; `metadata`, `trackers` here over the wire |
//! | length decode, piece length 0, overflowing sizes | metainfo `hostile`, swarm `wire::tests`; `messages` here |
//! | peer-chosen durations | tracker `absurd_intervals_are_clamped`; `trackers::absurd_interval` here |
//! | path traversal, awkward names | metainfo `names::tests`; `disk::path_traversal` here |
//! | symlinks in the target folder | disk `beneath::tests`; `disk::symlinks_are_not_followed` here |
//! | tracker or web seed SSRF | tracker `url::tests`, net `links_of_strangers_do_not_reach_into_this_network`; `trackers`, `web_seeds` here |
//! | TLS ignored | net `certificates_are_checked`, `an_https_server_cannot_lead_into_the_clear` |
//! | slow loris | net `who_is_slow_to_greet_or_falls_silent_is_left`; `connections` here |
//! | connection caps | net `connections_are_capped_in_all_and_by_address`; `connections` here |
//! | fd exhaustion | net `accept_survives_the_want_of_descriptors` |
//! | request flood, huge reqq | swarm `requests_beyond_reqq_are_rejected_each_once`; `messages`, `stalls` here |
//! | disk full, EIO | `full_disk` of the binary's tests |
//! | kill -9 | disk `no_crash_makes_a_bad_piece_count`; `crash` of the binary's tests |
//! | power loss | disk `after_a_crash_only_what_was_not_synced_is_hashed`, `a_checkpoint_covers_what_was_verified_before_it` |
//! | bit rot | disk `a_check_on_demand_finds_rot_and_gifts`; `disk::rot_is_found_and_fetched_again` here |
//! | clock jumps | sansio `arithmetic_saturates_at_both_ends`; tracker `a_clock_at_its_end_does_not_spin` |

#![allow(clippy::unwrap_used)] // a test may panic, helpers included

#[path = "../common/mod.rs"]
mod common;
mod connections;
mod disk;
mod messages;
mod metadata;
mod poison;
mod stalls;
mod trackers;
mod web_seeds;
