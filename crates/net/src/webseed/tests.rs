use starling_metainfo::{BLOCK_LENGTH, FileEntry, InfoHashes, Layout, PieceLength, Sha1Hash};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, yield_now};

use super::*;
use crate::http::testing::{Reply, Server, answer};

const PIECE: u32 = 2 * BLOCK_LENGTH;

fn info(name: &str, files: &[(&str, u64)], single_file: bool) -> Arc<Info> {
    let entry = |&(path, length): &(&str, u64)| FileEntry {
        path: path.split('/').map(str::to_owned).collect(),
        raw: None,
        length,
        offset: 0,
        padding: false,
        executable: false,
        hidden: false,
        pieces_root: None,
    };
    let piece = PieceLength::new(PIECE.into()).unwrap();
    let hashes = InfoHashes::new(Some(Sha1Hash([7; 20])), None).unwrap();
    Arc::new(Info {
        name: name.into(),
        layout: Layout::new(piece, files.iter().map(entry).collect(), false).unwrap(),
        single_file,
        v1_pieces: None,
        v2: false,
        private: false,
        bytes: Bytes::new(),
        hashes,
    })
}

/// The content of a file of `length` bytes.
fn content(length: u64) -> Vec<u8> {
    (0..length).map(|i| (i * 7 % 253) as u8).collect()
}

/// Answers a range request as it should be.
fn honest(request: &str, file: &[u8]) -> Reply {
    let (first, last) = range(request);
    let headers = format!("Content-Range: bytes {first}-{last}/{}\r\n", file.len());
    Reply::Send(answer("206 Partial Content", &headers, &file[first..=last]))
}

fn range(request: &str) -> (usize, usize) {
    let line = request.lines().find(|l| l.to_lowercase().starts_with("range:")).unwrap();
    let (first, last) = line.split_once("bytes=").unwrap().1.split_once('-').unwrap();
    (first.parse().unwrap(), last.parse().unwrap())
}

struct Taker {
    open: Cell<bool>,
    blocks: RefCell<Vec<(Block, Bytes)>>,
    ends: UnboundedSender<(FetchEnd, String)>,
}

impl SeedHandler for Taker {
    fn block(&self, _: SeedId, block: Block, bytes: Bytes) {
        self.blocks.borrow_mut().push((block, bytes));
    }
    fn may_read(&self, _: SeedId) -> bool {
        self.open.get()
    }
    fn ended(&self, _: SeedId, end: FetchEnd, detail: &str) {
        let _ = self.ends.send((end, detail.to_owned()));
    }
}

fn taker() -> (Rc<Taker>, UnboundedReceiver<(FetchEnd, String)>) {
    let (ends, ended) = unbounded_channel();
    (Rc::new(Taker { open: Cell::new(true), blocks: RefCell::default(), ends }), ended)
}

fn seed(url: &str, info: &Arc<Info>, taker: &Rc<Taker>) -> WebSeed {
    WebSeed::new(&Http::new(None), SeedId(0), url, info.clone(), taker.clone()).unwrap()
}

/// One fetch of everything from a server that answers so.
async fn fetch_all(
    info: &Arc<Info>,
    target: &str,
    serve: impl Fn(&str) -> Reply + 'static,
) -> (FetchEnd, String, Vec<u8>, Server) {
    let server = Server::start(serve).await;
    let (taker, mut ended) = taker();
    let seed = seed(&server.url(target), info, &taker);
    assert!(seed.fetch(0, info.layout.content_length()));
    assert!(!seed.fetch(0, 1), "one at a time");
    let (end, detail) = ended.recv().await.unwrap();
    let bytes = taker.blocks.borrow().iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
    (end, detail, bytes, server)
}

#[tokio::test]
async fn a_run_over_several_files_comes_over_one_connection() {
    LocalSet::new()
        .run_until(async {
            let info = info("a name", &[("x y/ä.bin", 70_000), ("empty", 0), ("z", 50_000)], false);
            let (end, detail, bytes, server) = fetch_all(&info, "/d", |request| {
                honest(request, &content(if request.contains("%C3%A4") { 70_000 } else { 50_000 }))
            })
            .await;
            assert_eq!((end, detail.as_str()), (FetchEnd::Done, ""));
            assert_eq!(bytes, [content(70_000), content(50_000)].concat());
            let lines: Vec<String> =
                server.requests.borrow().iter().map(|r| r.lines().next().unwrap().to_owned()).collect();
            assert_eq!(lines, ["GET /d/a%20name/x%20y/%C3%A4.bin HTTP/1.1", "GET /d/a%20name/z HTTP/1.1"]);
            assert_eq!(*server.connections.borrow(), 1);
        })
        .await;
}

#[tokio::test]
async fn single_files_are_named_by_the_address_or_below_it() {
    LocalSet::new()
        .run_until(async {
            let info = info("f", &[("f", 100)], true);
            for (target, expected) in [("/g", "GET /g "), ("/d/", "GET /d/f ")] {
                let (end, _, bytes, server) = fetch_all(&info, target, |r| honest(r, &content(100))).await;
                assert_eq!((end, bytes), (FetchEnd::Done, content(100)));
                assert!(server.requests.borrow()[0].starts_with(expected));
            }
        })
        .await;
}

#[tokio::test]
async fn a_server_is_asked_for_the_name_that_the_torrent_writes() {
    LocalSet::new()
        .run_until(async {
            let bencoded = b"d5:filesld6:lengthi100e4:pathl4:what5:a?b/ceee4:name3:con12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
            let slash = Arc::new(Info::parse(Bytes::from_static(bencoded)).unwrap());
            let plain = bencoded.iter().map(|&byte| if byte == b'/' { b':' } else { byte });
            let plain = Arc::new(Info::parse(plain.collect::<Vec<u8>>().into()).unwrap());
            // A slash within a name is nothing that a server could have.
            let cases = [(plain, "GET /d/con/what/a%3Fb%3Ac "), (slash, "GET /d/_con/what/a_b_c ")];
            for (info, expected) in cases {
                let (end, _, _, server) = fetch_all(&info, "/d", |r| honest(r, &content(100))).await;
                assert_eq!(end, FetchEnd::Done);
                assert!(server.requests.borrow()[0].starts_with(expected), "{:?}", server.requests);
            }
        })
        .await;
}

#[tokio::test]
async fn a_later_fetch_asks_for_its_range_and_stale_connections_are_replaced() {
    LocalSet::new()
        .run_until(async {
            let total = 5 * u64::from(PIECE);
            let info = info("f", &[("f", total)], true);
            let server = Server::start(move |request| match honest(request, &content(total)) {
                Reply::Send(bytes) => Reply::Cut(bytes), // closes without saying so
                other => other,
            })
            .await;
            let (taker, mut ended) = taker();
            let seed = seed(&server.url("/f"), &info, &taker);
            for piece in [3, 1] {
                assert!(seed.fetch(piece, PIECE.into()));
                assert_eq!(ended.recv().await.unwrap().0, FetchEnd::Done);
            }
            let blocks = taker.blocks.borrow();
            let places: Vec<(u32, u32)> = blocks.iter().map(|(b, _)| (b.piece, b.begin)).collect();
            assert_eq!(places, [(3, 0), (3, BLOCK_LENGTH), (1, 0), (1, BLOCK_LENGTH)]);
            assert!(blocks[2].1 == content(total)[PIECE as usize..][..BLOCK_LENGTH as usize]);
            assert_eq!(*server.connections.borrow(), 2);
        })
        .await;
}

#[tokio::test]
async fn servers_that_lie_or_cannot_are_useless() {
    LocalSet::new()
        .run_until(async {
            let info = info("f", &[("f", 40_000)], true);
            let whole = content(40_000);
            let partial =
                |range: &str| answer("206 Partial Content", &format!("Content-Range: {range}\r\n"), &whole);
            let answers = [
                answer("404 Not Found", "", b""),
                answer("403 Forbidden", "", b""),
                answer("410 Gone", "", b""),
                answer("416 Range Not Satisfiable", "", b""),
                answer("200 OK", "", &whole[1..]),
                answer("206 Partial Content", "", &whole),
                partial("bytes 0-39999/40001"),
                partial("bytes 1-40000/*"),
                partial("bytes 0-18446744073709551615/40000"),
                answer("200 OK", "Content-Encoding: gzip\r\n", &whole),
                answer("301 Moved", "", b""),
                answer("302 Found", "Location: ftp://x/\r\n", b""),
                answer("302 Found", "Location: /f\r\n", b""),
            ];
            for bytes in answers {
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(90)]).into_owned();
                let (end, _, got, _) = fetch_all(&info, "/f", move |_| Reply::Send(bytes.clone())).await;
                assert_eq!((end, got.len()), (FetchEnd::Useless, 0), "{shown}");
            }
        })
        .await;
}

#[tokio::test]
async fn busy_broken_and_silent_servers_are_tried_again() {
    LocalSet::new()
        .run_until(async {
            let info = info("f", &[("f", 40_000)], true);
            let busy = answer("503 Busy", "Retry-After: 7\r\n", b"");
            let (end, ..) = fetch_all(&info, "/f", move |_| Reply::Send(busy.clone())).await;
            assert_eq!(end, FetchEnd::Retry { after_secs: 7 });
            let long = answer("429 Slow", "Retry-After: 99999999999\r\n", b"");
            let (end, ..) = fetch_all(&info, "/f", move |_| Reply::Send(long.clone())).await;
            assert_eq!(end, FetchEnd::Retry { after_secs: 60 });
            let mut cut = answer("200 OK", "", &content(40_000));
            cut.truncate(cut.len() - 5000);
            let (end, _, got, _) = fetch_all(&info, "/f", move |_| Reply::Cut(cut.clone())).await;
            assert_eq!(end, FetchEnd::Retry { after_secs: 5 });
            assert_eq!(got, content(40_000)[..32768], "what came whole is kept");
        })
        .await;
}

#[tokio::test]
async fn a_server_without_ranges_will_do_near_the_beginning() {
    LocalSet::new()
        .run_until(async {
            let total = 100 * u64::from(PIECE);
            let info = info("f", &[("f", total)], true);
            let server = Server::start(move |_| Reply::Send(answer("200 OK", "", &content(total)))).await;
            let (taker, mut ended) = taker();
            let seed = seed(&server.url("/f"), &info, &taker);
            for (piece, expected) in [(0, FetchEnd::Done), (2, FetchEnd::Done), (99, FetchEnd::Useless)] {
                assert!(seed.fetch(piece, PIECE.into()));
                assert_eq!(ended.recv().await.unwrap().0, expected, "{piece}");
            }
            let at = 2 * PIECE as usize;
            assert!(taker.blocks.borrow()[2].1 == content(total)[at..at + BLOCK_LENGTH as usize]);
        })
        .await;
}

#[tokio::test]
async fn a_redirect_is_remembered_until_it_fails() {
    LocalSet::new()
        .run_until(async {
            let info = info("f", &[("f", 3 * u64::from(PIECE))], true);
            let served = Rc::new(Cell::new(0));
            let count = served.clone();
            let server = Server::start(move |request| {
                if request.starts_with("GET /f ") {
                    return Reply::Send(answer(
                        "302 Found",
                        &format!("Location: /t{}\r\n", count.get()),
                        b"",
                    ));
                }
                if !request.starts_with(&format!("GET /t{} ", count.get())) {
                    return Reply::Send(answer("403 Forbidden", "", b""));
                }
                honest(request, &content(3 * u64::from(PIECE)))
            })
            .await;
            let (taker, mut ended) = taker();
            let seed = seed(&server.url("/f"), &info, &taker);
            for piece in 0..3 {
                served.set(piece / 2); // the first place to which it moved expires
                assert!(seed.fetch(piece, PIECE.into()));
                assert_eq!(ended.recv().await.unwrap(), (FetchEnd::Done, String::new()));
            }
            let targets: Vec<String> =
                server.requests.borrow().iter().map(|r| r.split(' ').nth(1).unwrap().to_owned()).collect();
            assert_eq!(targets, ["/f", "/t0", "/t0", "/t0", "/f", "/t1"]);
        })
        .await;
}

#[tokio::test]
async fn nothing_comes_while_nobody_may_read_and_a_fetch_can_be_cancelled() {
    LocalSet::new()
        .run_until(async {
            let info = info("f", &[("f", 4 * u64::from(PIECE))], true);
            let server = Server::start(|request| honest(request, &content(4 * u64::from(PIECE)))).await;
            let (taker, mut ended) = taker();
            taker.open.set(false);
            let seed = seed(&server.url("/f"), &info, &taker);
            assert!(seed.fetch(0, PIECE.into()));
            while server.requests.borrow().is_empty() {
                yield_now().await;
            }
            for _ in 0..50 {
                yield_now().await;
            }
            assert!(taker.blocks.borrow().is_empty() && ended.try_recv().is_err());
            taker.open.set(true);
            seed.wake_reader();
            assert_eq!(ended.recv().await.unwrap().0, FetchEnd::Done);

            let silent = Server::start(|_| Reply::Silence).await;
            let other = self::seed(&silent.url("/f"), &info, &taker);
            assert!(other.fetch(0, PIECE.into()));
            while silent.requests.borrow().is_empty() {
                yield_now().await;
            }
            other.cancel();
            assert_eq!(ended.recv().await.unwrap().0, FetchEnd::Retry { after_secs: 0 });
            assert!(other.fetch(1, PIECE.into()), "ready for another");
        })
        .await;
}
