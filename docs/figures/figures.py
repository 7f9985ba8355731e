#!/usr/bin/env python3
"""Draws the figures of docs/transfer.md: `python3 docs/figures/figures.py` writes the SVG
files beside it. Standard library only; the same input gives the same bytes."""

from html import escape
from pathlib import Path

INK, MUTED, LINE = "#1f2933", "#5f6b76", "#8a949e"
PAPER, FRAME = "#fcfcfa", "#d5d5cc"
FILL = {
    "blue": ("#dce9f6", "#2f6da8"), "green": ("#dff0df", "#37853f"), "orange": ("#fbe7d0", "#b5661a"),
    "red": ("#f8d8d4", "#b3362a"), "grey": ("#ececea", "#8a949e"), "white": ("#ffffff", "#8a949e"),
    "violet": ("#e8e0f4", "#6b4fa0"),
}


class Figure:
    """One drawing. Lengths are in SVG units, y grows downwards."""

    def __init__(self, name, width, height, title):
        self.name, self.width, self.height, self.title = name, width, height, title
        self.parts = []

    def put(self, part):
        self.parts.append(part)

    def rect(self, x, y, w, h, colour="white", radius=4, dash=False):
        fill, stroke = FILL[colour]
        dashes = ' stroke-dasharray="5 4"' if dash else ""
        self.put(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}" fill="{fill}" '
                 f'stroke="{stroke}" stroke-width="1.2"{dashes}/>')

    def text(self, x, y, words, size=13, anchor="start", colour=INK, bold=False, mono=False):
        family = ' font-family="monospace"' if mono else ""
        weight = ' font-weight="bold"' if bold else ""
        self.put(f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
                 f'{weight}{family}>{escape(words)}</text>')

    def box(self, x, y, w, h, head, *lines, colour="white", size=12, dash=False):
        """A rectangle with a bold first line and plain ones, all centred."""
        self.rect(x, y, w, h, colour, dash=dash)
        step = size + 5
        top = y + h / 2 - step * len(lines) / 2 + 5
        self.text(x + w / 2, top, head, 13, "middle", bold=True)
        for i, words in enumerate(lines):
            self.text(x + w / 2, top + step * (i + 1), words, size, "middle", MUTED)

    def line(self, *points, colour=LINE, arrow=True, dash=False, width=1.5):
        path = " ".join(f"{x},{y}" for x, y in points)
        head = f' marker-end="url(#{"red" if colour == FILL["red"][1] else "head"})"' if arrow else ""
        dashes = ' stroke-dasharray="5 4"' if dash else ""
        self.put(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{head}{dashes}/>')

    def save(self):
        def marker(name, colour):
            return (f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
                    f'orient="auto-start-reverse"><path d="M0 1 L10 5 L0 9 z" fill="{colour}"/></marker>')

        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img" '
                f'font-family="Helvetica, Arial, \'Liberation Sans\', sans-serif">')
        body = [head, f"<title>{escape(self.title)}</title>",
                f'<defs>{marker("head", LINE)}{marker("red", FILL["red"][1])}</defs>',
                f'<rect x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="8" '
                f'fill="{PAPER}" stroke="{FRAME}"/>', *self.parts, "</svg>", ""]
        Path(__file__).with_name(self.name + ".svg").write_text("\n".join(body), encoding="utf-8")


def rooms():
    f = Figure("rooms", 780, 430, "Which room knows which")
    rows = [
        (24, "codecs", "blue", [("sansio", 160), ("bencode", 300), ("metainfo", 440), ("lanes", 580)]),
        (100, "cores", "green", [("overlay", 160), ("swarm", 300), ("tracker", 440)]),
        (176, "policy", "green", [("session", 370)]),
        (252, "drivers", "orange", [("sim", 160), ("net", 300), ("disk", 580)]),
        (328, "runtime", "violet", [("node", 440)]),
    ]
    notes = {"sansio": "Time, Rng, Sink", "bencode": "bytes to values", "metainfo": "torrents, magnets",
             "lanes": "SHA, many at once", "swarm": "peers", "tracker": "trackers, LAN", "session": "one node's policy", "overlay": "who has what",
             "sim": "virtual time",
             "net": "every socket", "disk": "every file", "node": "binds them"}
    at = {}
    for y, label, colour, names in rows:
        f.text(24, y + 28, label, 13, colour=MUTED)
        for name, x in names:
            at[name] = (x, y)
            f.box(x, y, 120, 44, name, notes[name], colour=colour, size=11)

    def knows(a, b, dx=0, to=0):
        (ax, ay), (bx, by) = at[a], at[b]
        f.line((ax + 60 + dx, ay), (bx + 60 + to, by + 44))

    f.line((440, 46), (420, 46))
    knows("swarm", "sansio", -20, 20)
    knows("swarm", "metainfo", 25, -35)
    knows("tracker", "metainfo", 15, 15)
    f.line((318, 100), (318, 68))
    knows("overlay", "sansio")
    knows("sim", "overlay")
    knows("sim", "session", 20, -40)
    f.line((440, 401), (220, 401), arrow=False)
    f.line((220, 401), (220, 296))
    knows("session", "swarm", -15, 10)
    knows("session", "tracker", 15, -10)
    f.line((325, 252), (325, 144))
    f.line((405, 252), (405, 236), (530, 236), (530, 144))
    f.line((625, 252), (625, 68))
    f.line((590, 252), (552, 68))
    knows("node", "net", -30, 15)
    f.line((500, 328), (500, 266), (466, 220))
    knows("node", "disk", 35, -35)
    f.box(440, 386, 120, 30, "starling", colour="violet")
    f.line((500, 386), (500, 372))
    f.text(24, 405, "the binary", 13, colour=MUTED)
    f.text(580, 400, "An arrow points at what", 12, colour=MUTED)
    f.text(580, 416, "the room may name.", 12, colour=MUTED)
    f.text(640, 190, "no I/O, no clock,", 12, colour=MUTED)
    f.text(640, 206, "no thread above this", 12, colour=MUTED)
    f.line((24, 236), (214, 236), arrow=False, dash=True)
    f.save()


def connection():
    f = Figure("connection", 780, 470, "The first messages of a connection")
    left, right = 210, 570
    f.box(left - 70, 18, 140, 34, "who dialled", colour="blue")
    f.box(right - 70, 18, 140, 34, "who accepted", colour="green")
    for x in (left, right):
        f.line((x, 52), (x, 450), arrow=False, colour=FRAME)
    steps = [
        (1, "handshake: info-hash, peer id, what I can", "68 bytes, within 10 s"),
        (-1, "handshake; a v2 info-hash here makes it a v2 link", "BEP 3, 52"),
        (1, "extension handshake: reqq, my port, metadata size", "BEP 10"),
        (-1, "extension handshake; bitfield or have-all", "BEP 6"),
        (1, "metadata requests, if only a link is known", "BEP 9"),
        (1, "hash requests for piece layers, v2 only", "BEP 52"),
        (1, "interested", ""),
        (-1, "unchoke", ""),
        (1, "request, request, request … (16 KiB each)", "depth, see below"),
        (-1, "piece, piece, piece …", ""),
        (1, "have, to everyone, for each verified piece", ""),
    ]
    y = 82
    for way, words, note in steps:
        a, b = (left, right) if way > 0 else (right, left)
        f.line((a + 4 * way, y), (b - 4 * way, y + 10))
        f.text((left + right) / 2, y - 3, words, 12, "middle")
        f.text(right + 20, y + 8, note, 11, colour=MUTED)
        y += 34
    f.text(24, 90, "TCP is open", 12, colour=MUTED)
    f.text(24, 156, "both speak at once,", 12, colour=MUTED)
    f.text(24, 172, "without waiting", 12, colour=MUTED)
    f.text(24, 330, "one round trip to be", 12, colour=MUTED)
    f.text(24, 346, "unchoked, one more to", 12, colour=MUTED)
    f.text(24, 362, "the first block", 12, colour=MUTED)
    f.save()


def block():
    f = Figure("block", 780, 470, "One block's way from socket to disk")
    lanes = [(20, 196, "network thread (one)", "net, node, session, swarm"),
             (226, 126, "disk workers (per device)", "disk, lanes"),
             (362, 90, "keeper (one per device)", "disk")]
    for y, h, head, note in lanes:
        f.rect(12, y, 756, h, "grey", 6)
        f.text(24, y + 20, head, 12, bold=True, colour=MUTED)
        f.text(756, y + 20, note, 11, "end", MUTED)
    f.box(28, 60, 150, 62, "socket", "read into one chunk", "32 to 256 KiB", colour="blue")
    f.box(218, 60, 150, 62, "frames", "decoded in place;", "block = slice of it", colour="blue")
    f.box(408, 60, 150, 62, "core", "(piece, begin, length)", "says: Store", colour="green")
    f.box(598, 60, 150, 62, "core", "verdict: tell have,", "or look for the liar", colour="green")
    f.line((178, 91), (218, 91))
    f.line((368, 91), (408, 91))
    f.text(500, 160, "the bytes themselves never", 11, colour=MUTED)
    f.text(500, 174, "enter the core", 11, colour=MUTED)
    f.line((293, 122), (293, 168), (430, 168), (430, 258), colour=FILL["orange"][1], width=2)
    f.text(304, 186, "the slice, no copy", 11, colour=FILL["orange"][1])
    f.line((483, 122), (483, 258))
    f.box(28, 258, 150, 74, "write", "runs of blocks,", "one pwritev", colour="orange")
    f.box(218, 258, 150, 74, "hash", "from memory, up to", "16 streams at once", colour="orange")
    f.box(408, 258, 150, 74, "inbox of the piece", "early blocks parked,", "bounded by --memory", colour="orange")
    f.box(598, 258, 150, 74, "judge", "all hashed, all", "written: right or not", colour="orange")
    f.line((408, 295), (368, 295))
    f.line((218, 295), (178, 295))
    f.line((103, 332), (103, 344), (673, 344), (673, 332))
    f.line((673, 258), (673, 122))
    f.text(682, 160, "PieceVerified", 11, colour=MUTED)
    f.text(682, 174, "or PieceFailed", 11, colour=MUTED)
    f.box(218, 390, 150, 52, "sync data", "5 s or 256 MiB later", colour="violet")
    f.box(408, 390, 150, 52, "sync journal", "checkpoint record", colour="violet")
    f.box(598, 390, 150, 52, "survives a crash", "without a recheck", colour="violet")
    f.line((368, 416), (408, 416))
    f.line((558, 416), (598, 416))
    f.line((200, 344), (200, 416), (218, 416), dash=True)
    f.save()


def hybrid():
    f = Figure("hybrid", 780, 480, "A hybrid torrent: two files, padding, a tree for each file")
    f.text(20, 30, "two files: a is 56 KiB, b is 20 KiB; pieces of 32 KiB", 13, bold=True)
    x0, block = 110, 100  # the left edge, and the width of 16 KiB
    f.text(20, 76, "v1 stream", 12, colour=MUTED)
    spans = [(0, 3.5, "file a", "blue"), (3.5, 0.5, "pad", "grey"), (4, 1.25, "file b", "green"), (5.25, 0.75, "pad", "grey")]
    for start, length, name, colour in spans:
        f.rect(x0 + start * block, 56, length * block, 30, colour, 2, dash=name == "pad")
        f.text(x0 + (start + length / 2) * block, 76, name, 12, "middle")
    f.text(20, 120, "16 KiB blocks", 12, colour=MUTED)
    for i in range(6):
        f.rect(x0 + i * block, 100, block, 30, "white", 2)
        f.text(x0 + (i + 0.5) * block, 120, f"{i % 2}", 12, "middle", MUTED)
    f.text(20, 164, "v1 pieces", 12, colour=MUTED)
    for i in range(3):
        f.rect(x0 + i * 2 * block, 144, 2 * block, 30, "orange", 2)
        f.text(x0 + (i * 2 + 1) * block, 164, f"SHA-1 of piece {i}", 12, "middle")
    f.text(x0, 192, "Padding is hashed as zeros here, and is no part of the trees below.", 11, colour=MUTED)
    f.text(20, 232, "v2 leaves", 12, colour=MUTED)
    leaves = ["a0", "a1", "a2", "a3", "b0", "b1"]
    for i, name in enumerate(leaves):
        short = {3: 0.5, 5: 0.25}.get(i, 1)
        f.rect(x0 + i * block + 8, 212, block - 16, 30, "violet", 2)
        f.text(x0 + (i + 0.5) * block, 232, f"{name}" + ("" if short == 1 else " (short)"), 12, "middle")
    f.text(20, 302, "piece layer", 12, colour=MUTED)
    for i, name in enumerate(["piece 0", "piece 1"]):
        mid = x0 + (i * 2 + 1) * block
        f.rect(mid - 60, 282, 120, 30, "violet", 2)
        f.text(mid, 302, name, 12, "middle")
        for side in (-0.5, 0.5):
            f.line((mid + side * block, 242), (mid + side * 40, 282), arrow=False)
    f.text(20, 372, "root of the file", 12, colour=MUTED)
    for mid, name, kids in [(x0 + 2 * block, "pieces root a", (x0 + block, x0 + 3 * block)), (x0 + 5 * block, "pieces root b", None)]:
        f.rect(mid - 60, 352, 120, 30, "violet", 2)
        f.text(mid, 372, name, 12, "middle")
        if kids:
            for kid in kids:
                f.line((kid, 312), (mid + (kid - mid) * 0.3, 352), arrow=False)
        else:
            for side in (-0.5, 0.5):
                f.line((mid + side * block, 242), (mid + side * 60, 352), arrow=False)
    f.text(x0 + 5 * block + 75, 300, "one piece:", 11, colour=MUTED)
    f.text(x0 + 5 * block + 75, 314, "no layer", 11, colour=MUTED)
    f.box(x0, 410, 600, 50, "info dictionary", "pieces (all SHA-1) and file tree (one pieces root for each file)", colour="white")
    f.line((x0 + 2 * block, 382), (x0 + 2 * block, 410))
    f.line((x0 + 5 * block, 382), (x0 + 5 * block, 410))
    f.text(20, 430, "SHA-1: btih", 11, colour=MUTED)
    f.text(20, 446, "SHA-256: btmh", 11, colour=MUTED)
    f.save()


def depth():
    f = Figure("depth", 780, 420, "Requests in flight on a long fat pipe")
    blue, green = FILL["blue"][1], FILL["green"][1]
    delay, each, end = 70, 18, 752  # one way, one block on the link, the right edge

    def panel(top, head, note, most):
        """Two requests at first; every block brings two more until `most` are in flight."""
        f.text(24, top + 4, head, 13, bold=True)
        f.text(756, top + 4, note, 12, "end", MUTED)
        us, peer = top + 40, top + 130
        for y, name in ((us, "we"), (peer, "peer")):
            f.text(24, y + 4, name, 12, colour=MUTED)
            f.line((70, y), (756, y), colour=INK)
        requests, free, flying = [74, 78], 0, 2
        while requests:
            sent = requests.pop(0)
            if sent + delay > end:
                continue
            f.line((sent, us), (sent + delay, peer), colour=blue, width=1, arrow=False)
            begin = max(sent + delay, free)
            free = begin + each
            if begin < end:
                f.line((begin, peer), (min(free - 2, end), peer), colour=green, width=6, arrow=False)
            arrived = free + delay
            if arrived <= end:
                f.line((free - 2, peer), (arrived - 2, us), colour=green, width=1, arrow=False)
                f.line((arrived - each, us), (arrived - 2, us), colour=green, width=6, arrow=False)
            more = 2 if flying < most else 1
            flying += more - 1
            requests += [arrived + 2 * i for i in range(more)]

    panel(30, "two requests at a time", "the link is idle most of the time", 2)
    panel(220, "as many as bandwidth × delay", "twice as many each round trip until the link is full", 11)
    f.line((24, 396), (48, 396), colour=blue, width=2, arrow=False)
    f.text(54, 400, "request", 12, colour=MUTED)
    f.line((120, 396), (144, 396), colour=green, width=6, arrow=False)
    f.text(150, 400, "block of 16 KiB", 12, colour=MUTED)
    f.text(756, 400, "1 Gbit/s at 200 ms: 25 MB, 1,526 blocks in flight", 12, "end", MUTED)
    f.save()


def smart_ban():
    f = Figure("smart-ban", 780, 470, "Finding the liar, in v1 and in v2")
    f.line((390, 20), (390, 450), arrow=False, colour=FRAME)
    f.text(195, 34, "v1: by digests, at the second try", 14, "middle", bold=True)
    f.text(585, 34, "v2 and hybrid: at the leaf, at once", 14, "middle", bold=True)

    def row(x, y, label, senders, bad=(), size=40):
        f.text(x, y + 17, label, 12, colour=MUTED)
        for i, who in enumerate(senders):
            f.rect(x + 96 + i * size, y, size - 4, 26, "red" if i in bad else "green", 2)
            f.text(x + 96 + i * size + (size - 4) / 2, y + 18, who, 12, "middle")

    row(20, 58, "1st try", ["A", "B", "M", "A", "B", "M"], (2,))
    f.text(20, 108, "SHA-1 of the piece is wrong. Which block is not known.", 12)
    f.text(20, 125, "SHA-256 and sender of every block are kept; A, B and M", 12)
    f.text(20, 142, "are on parole: whole pieces alone, or nothing.", 12)
    row(20, 164, "2nd try", ["C"] * 6)
    f.text(20, 214, "The piece comes whole from C, who had no part in it,", 12)
    f.text(20, 230, "and its SHA-1 is right. Now every digest is known:", 12)
    for i, word in enumerate(["=", "=", "≠", "=", "=", "="]):
        f.text(20 + 96 + i * 40 + 18, 262, word, 15, "middle", FILL["red"][1] if word == "≠" else INK, bold=True)
    f.text(20, 262, "compare", 12, colour=MUTED)
    f.box(60, 286, 270, 46, "M is banned for a day", "A and B are cleared", colour="red")
    f.text(20, 366, "Cost: the piece a second time, at most four", 12, colour=MUTED)
    f.text(20, 382, "tries remembered for each of 64 pieces.", 12, colour=MUTED)
    f.text(20, 406, "One sender alone is banned at the first try.", 12, colour=MUTED)

    row(410, 58, "1st try", ["A", "B", "M", "A", "B", "M"], (2,))
    f.text(410, 108, "The piece is wrong. Its leaves are asked of a peer that", 12)
    f.text(410, 125, "has it, with the proof up to the root in the torrent:", 12)
    f.text(410, 142, "hashes that lead elsewhere convict whoever sent them.", 12)
    row(410, 164, "leaves", ["l0", "l1", "l2", "l3", "l4", "l5"])
    for i, word in enumerate(["=", "=", "≠", "=", "=", "="]):
        f.text(410 + 96 + i * 40 + 18, 214, word, 15, "middle", FILL["red"][1] if word == "≠" else INK, bold=True)
    f.text(410, 214, "compare", 12, colour=MUTED)
    f.box(450, 236, 270, 46, "M is banned for a day", "at once, without a second try", colour="red")
    row(410, 304, "kept", ["A", "B", "", "A", "B", "M"])
    f.rect(410 + 96 + 80, 304, 36, 26, "white", 2, dash=True)
    f.text(410, 366, "Only block 2 is fetched again: 16 KiB.", 12, colour=MUTED)
    f.text(410, 382, "No peer has the leaves within 20 s: as in v1.", 12, colour=MUTED)
    f.save()


def journal():
    f = Figure("journal", 780, 430, "What the resume file says, and what a crash loses")
    f.text(24, 34, "time", 12, colour=MUTED)
    f.line((70, 30), (756, 30), colour=INK)
    f.text(24, 74, "files", 12, colour=MUTED)
    f.text(24, 144, "journal", 12, colour=MUTED)
    for x, name in ((80, "p1"), (136, "p2"), (192, "p3"), (430, "p4"), (486, "p5")):
        f.rect(x, 56, 48, 28, "orange", 2)
        f.text(x + 24, 75, name, 12, "middle")
    f.box(262, 50, 90, 40, "fdatasync", "", colour="violet", size=1)
    for x, w, name, colour in ((136, 60, "v p1", "white"), (198, 60, "v p2 p3", "white"),
                               (362, 56, "ckpt 3", "violet"), (496, 60, "v p4", "white")):
        f.rect(x, 126, w, 28, colour, 2)
        f.text(x + w / 2, 145, name, 12, "middle")
    f.line((320, 90), (320, 140), (362, 140))
    f.text(424, 145, "and synced", 11, colour=MUTED)
    f.text(606, 145, "v: verified pieces", 11, colour=MUTED)
    f.text(606, 159, "ckpt 3: the first three", 11, colour=MUTED)
    f.text(606, 173, "entries are synced", 11, colour=MUTED)
    f.line((600, 44), (600, 168), colour=FILL["red"][1], arrow=False, width=2)
    f.text(606, 60, "crash", 13, colour=FILL["red"][1], bold=True)
    f.text(606, 78, "p5 is written but not", 11, colour=MUTED)
    f.text(606, 92, "on record; p6 was half", 11, colour=MUTED)
    f.text(606, 106, "received", 11, colour=MUTED)
    f.line((24, 184), (756, 184), arrow=False, colour=FRAME)
    f.text(24, 210, "The next start reads the journal:", 13, bold=True)
    rows = [
        ("p1 p2 p3", "green", "before the checkpoint", "believed, nothing is read"),
        ("p4", "orange", "on record after it", "hashed again from disk: kept if right"),
        ("p5 p6", "grey", "not on record", "fetched again"),
    ]
    for i, (what, colour, why, then) in enumerate(rows):
        y = 226 + i * 38
        f.rect(24, y, 100, 28, colour, 2)
        f.text(74, y + 19, what, 12, "middle")
        f.text(144, y + 19, why, 12)
        f.text(340, y + 19, then, 12)
    f.text(24, 364, "After a stop in order the journal is a snapshot: bitfield, length and time of each file, clean.", 12)
    f.text(24, 382, "Files that are as they were left are believed; the pieces of any other file are hashed.", 12)
    f.text(24, 408, "A torn last record is dropped. Other damage makes the file worthless: all data is hashed.", 12, colour=MUTED)
    f.save()


for draw in (rooms, connection, block, hybrid, depth, smart_ban, journal):
    draw()
