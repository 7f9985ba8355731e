"""libtorrent as a peer, and as a maker and reader of torrents.

    lt.py make  PATH OUT KIND PIECE_LENGTH [private] [tracker=URL]... [webseed=URL]...
    lt.py show  FILE
    lt.py peer  listen=IP:PORT save=DIR (file=TORRENT | magnet=URI) [seed] [pex] [lsd] [peer=IP:PORT]...

KIND is v1, v2 or hybrid; PIECE_LENGTH 0 leaves it to libtorrent.
A peer says "ready", waits for "go" on its standard input, and then says what
happens: "seeding", "metadata", "done", "resumed after ...", "error ...".
"""

import os
import sys

import libtorrent as lt


def words(args):
    """Splits arguments into bare words and key=value lists."""
    flags, values = set(), {}
    for arg in args:
        key, equals, value = arg.partition("=")
        if equals:
            values.setdefault(key, []).append(value)
        else:
            flags.add(key)
    return flags, values


def say(line):
    print(line, flush=True)


def make(path, out, kind, piece_length, *rest):
    flags, values = words(rest)
    files = lt.file_storage()
    lt.add_files(files, path)
    mode = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[kind]
    padded = lt.create_torrent.canonical_files if "padded" in flags else 0
    torrent = lt.create_torrent(files, int(piece_length), mode | padded)
    for tier, url in enumerate(values.get("tracker", [])):
        torrent.add_tracker(url, tier)
    for url in values.get("webseed", []):
        torrent.add_url_seed(url)
    torrent.set_priv("private" in flags)
    say("hashing")
    lt.set_piece_hashes(torrent, os.path.dirname(os.path.abspath(path)))
    with open(out, "wb") as file:
        file.write(lt.bencode(torrent.generate()))


def show(path):
    info = lt.torrent_info(path)
    hashes = info.info_hashes()
    say("name " + info.name())
    if hashes.has_v1():
        say("v1 " + str(hashes.v1))
    if hashes.has_v2():
        say("v2 " + str(hashes.v2))
    say("magnet " + lt.make_magnet_uri(info))


def session(flags, values):
    ip = values["listen"][0].rpartition(":")[0]
    settings = {
        "listen_interfaces": values["listen"][0],
        "outgoing_interfaces": ip,
        "allow_multiple_connections_per_ip": True,
        "enable_dht": False,
        "enable_lsd": "lsd" in flags,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "out_enc_policy": 2,
        "in_enc_policy": 2,
        "ssrf_mitigation": False,
        # What exceeds the queue is dropped in silence, and some clients then wait for ever.
        "max_allowed_in_request_queue": 100000,
        "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
        | lt.alert.category_t.storage_notification,
    }
    session = lt.session(settings, 0)
    if "pex" in flags:
        session.add_extension("ut_pex")
    session.add_extension("ut_metadata")
    return session


def parameters(flags, values):
    if "magnet" in values:
        params = lt.parse_magnet_uri(values["magnet"][0])
    else:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(values["file"][0])
    params.save_path = values["save"][0]
    params.flags &= ~lt.torrent_flags.auto_managed
    params.flags &= ~lt.torrent_flags.paused
    if "seed" in flags:
        params.flags |= lt.torrent_flags.seed_mode
    return params


def news_of(ses):
    """What can be read from when there are alerts. The binding of wait_for_alert reads
    the first alert without the queue's lock, while libtorrent may move the queue: that
    was a segmentation fault when a session was young and its queue still grew."""
    news, told = os.pipe()
    ses.set_alert_fd(told)
    return news


def peer(*args):
    flags, values = words(args)
    ses = session(flags, values)
    say("ready")
    if sys.stdin.readline().strip() != "go":
        return
    handle = ses.add_torrent(parameters(flags, values))
    for address in values.get("peer", []):
        ip, _, port = address.rpartition(":")
        handle.connect_peer((ip, int(port)))
    if "seed" in flags:
        say("seeding")
    news = news_of(ses)
    while True:
        os.read(news, 4096)
        for alert in ses.pop_alerts():
            if not went_on(alert, handle):
                tell(alert, handle)


RESUMED = []


def went_on(alert, handle):
    """libtorrent 2.0.8 takes a v2 hash that arrives while a piece which passed by its
    v1 hash waits to be written for a contradiction between the two, from any seeder,
    its own kind included (2 of 150 hybrid magnets on a busy machine), and pauses. A
    user resumes it; so do we, but a real contradiction would come again."""
    contradiction = isinstance(alert, lt.torrent_error_alert) and alert.error.value() == 217
    if not contradiction or len(RESUMED) == 3:
        return False
    RESUMED.append(alert.message())
    say("resumed after " + alert.message())
    handle.clear_error()
    handle.resume()
    return True


def tell(alert, handle):
    if isinstance(alert, lt.metadata_received_alert):
        say("metadata")
    elif isinstance(alert, lt.torrent_finished_alert):
        handle.flush_cache()  # it has all, but has not written all
    elif isinstance(alert, lt.cache_flushed_alert) and handle.status().is_finished:
        say("done")
    elif isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert)):
        say("error " + alert.message())
    else:
        print(type(alert).__name__, alert.message(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    {"make": make, "show": show, "peer": peer}[sys.argv[1]](*sys.argv[2:])
