//! Whole transfers between starling and the real programs, in both directions, from
//! a torrent file and from a magnet link, found through a tracker.

use starling_interop::client::{
    Client, aria2::Aria2, libtorrent::Libtorrent, starling::Starling, transmission::Transmission,
};
use starling_interop::scene::{Cast, play};
use starling_interop::torrent::Kind;
use starling_interop::{Program, content};

/// A folder with awkward names, from one to the other.
fn fetch(leecher: &'static dyn Client, seeder: &'static dyn Client, kind: Kind, magnet: bool) {
    let programs =
        [leecher.program(), seeder.program(), Some(Program::Libtorrent), Some(Program::Opentracker)];
    let programs: Vec<Program> = programs.into_iter().flatten().collect();
    play(&programs, |scene| {
        let folder = scene.path("content/a folder of ☃");
        content::write_awkward(&folder)?;
        let torrent = scene.torrent(&folder, kind)?;
        scene.transfer(&folder, &torrent, &Cast { seeder, leecher, magnet })
    });
}

macro_rules! transfers {
    ($($name:ident: $leecher:ident from $seeder:ident, $kind:ident, $how:ident;)*) => {
        $(#[test]
        fn $name() {
            fetch(&$leecher, &$seeder, Kind::$kind, stringify!($how) == "magnet");
        })*
    };
}

transfers! {
    from_libtorrent_v1: Starling from Libtorrent, V1, file;
    from_libtorrent_v1_magnet: Starling from Libtorrent, V1, magnet;
    from_libtorrent_v2: Starling from Libtorrent, V2, file;
    from_libtorrent_v2_magnet: Starling from Libtorrent, V2, magnet;
    from_libtorrent_hybrid: Starling from Libtorrent, Hybrid, file;
    from_libtorrent_hybrid_magnet: Starling from Libtorrent, Hybrid, magnet;
    to_libtorrent_v1: Libtorrent from Starling, V1, file;
    to_libtorrent_v1_magnet: Libtorrent from Starling, V1, magnet;
    to_libtorrent_v2: Libtorrent from Starling, V2, file;
    to_libtorrent_v2_magnet: Libtorrent from Starling, V2, magnet;
    to_libtorrent_hybrid: Libtorrent from Starling, Hybrid, file;
    to_libtorrent_hybrid_magnet: Libtorrent from Starling, Hybrid, magnet;
    from_transmission_v1: Starling from Transmission, V1, file;
    from_transmission_v1_magnet: Starling from Transmission, V1, magnet;
    to_transmission_v1: Transmission from Starling, V1, file;
    to_transmission_v1_magnet: Transmission from Starling, V1, magnet;
    from_aria2_v1: Starling from Aria2, V1, file;
    from_aria2_v1_magnet: Starling from Aria2, V1, magnet;
    to_aria2_v1: Aria2 from Starling, V1, file;
    to_aria2_v1_magnet: Aria2 from Starling, V1, magnet;
    among_ourselves_v1: Starling from Starling, V1, file;
    among_ourselves_v2_magnet: Starling from Starling, V2, magnet;
    among_ourselves_hybrid_magnet: Starling from Starling, Hybrid, magnet;
}
