//! Web seeds (BEP 19) that lie, cannot or break off: dropped or asked again, and the
//! content comes whole from elsewhere.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use starling_metainfo::Versions;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::common::content::Sample;
use crate::common::scene;
use crate::common::servers::{Request, Server, reply, reply_file};
use crate::common::sites::{Site, stop};
use crate::common::stranger::Stranger;

/// More than what is skipped of an answer without ranges (1 MiB).
const LENGTH: u64 = (3 << 20) + 333;

fn sample() -> Rc<Sample> {
    Rc::new(Sample::file(Versions::Hybrid, LENGTH, 64 << 10))
}

/// Only the web seed at first; once it has been asked `asked` times, an honest peer joins.
/// All arrives, nobody is banned; `told` is in what the user hears of the web seed.
fn content_comes_anyway<S>(path: &'static str, asked: usize, told: &'static str, script: S)
where
    S: AsyncFn(&Request, &mut TcpStream, &[u8]) -> io::Result<()> + 'static,
{
    scene(async {
        let sample = sample();
        let file = sample.file_bytes(0);
        let server = Server::start(66, async move |request: &Request, stream: &mut TcpStream| {
            script(request, stream, &file).await
        });
        let server = server.await;
        let url = server.url(path);
        let seeds = vec![url.clone()];
        let mut leecher = Site::leecher_with(20, &sample, &[], |_, add| add.web_seeds = seeds).await;
        server.asked(asked).await;
        if !told.is_empty() {
            leecher.until_said(&url, |said| matches!(said, Err(why) if why.contains(told))).await;
        }
        let mut peer = Stranger::dial(11, leecher.addr(), &sample).await.unwrap();
        peer.brings_all_to(&mut leecher).await;
        assert!(leecher.banned().await.is_empty());
        stop([leecher]).await;
    });
}

/// The right size and other bytes: found out by the hash, dropped, and no peer blamed.
#[test]
fn wrong_file() {
    content_comes_anyway("/sample.bin", 1, "", async |request, stream, file| {
        let other: Vec<u8> = file.iter().map(|byte| byte ^ 0x40).collect();
        reply_file(request, stream, &other).await
    });
}

#[test]
fn file_of_another_size() {
    content_comes_anyway("/sample.bin", 1, "another size", async |request, stream, file| {
        reply_file(request, stream, &[file, b"more"].concat()).await
    });
}

#[test]
fn other_bytes_than_asked_for() {
    content_comes_anyway("/sample.bin", 1, "other bytes", async |_, stream, file| {
        let range = format!("content-range: bytes 7-106/{}\r\n", file.len());
        reply(stream, "206 Partial Content", &range, &file[7..107]).await
    });
}

#[test]
fn cuts_off() {
    content_comes_anyway("/sample.bin", 1, "", async |request, stream, file| {
        let (first, last) = request.range.unwrap_or((0, file.len() - 1));
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {first}-{last}/{}\r\n\r\n",
            last - first + 1,
            file.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&file[first..first + (last - first) / 2]).await?;
        Err(io::ErrorKind::BrokenPipe.into())
    });
}

#[test]
fn not_found() {
    content_comes_anyway("/sample.bin", 1, "404", async |_, stream, _| {
        reply(stream, "404 Not Found", "", b"<html>").await
    });
}

#[test]
fn server_error() {
    content_comes_anyway("/sample.bin", 1, "500", async |_, stream, _| {
        reply(stream, "500 Internal Server Error", "", b"").await
    });
}

#[test]
fn redirect_loop() {
    content_comes_anyway("/sample.bin", 1, "redirect", async |request, stream, _| {
        reply(stream, "302 Found", &format!("location: {}\r\n", request.target), b"").await
    });
}

#[test]
fn garbage() {
    content_comes_anyway("/sample.bin", 1, "", async |_, stream, _| {
        stream.write_all(b"\x13BitTorrent protocol").await?;
        Err(io::ErrorKind::BrokenPipe.into())
    });
}

/// What it was asked for must not be lost with a server that falls silent: a peer brings
/// it, though the fetch is still under way.
#[test]
fn never_answers() {
    content_comes_anyway("/sample.bin", 1, "", async |_, _, _| std::future::pending().await);
}

/// A server that cannot do ranges is of use near the beginning only; all comes in the end.
#[test]
fn without_ranges() {
    content_comes_anyway("/sample.bin", 1, "", async |_, stream, file| {
        reply(stream, "200 OK", "", file).await
    });
}

/// A web seed of a torrent cannot be used to ask a local service something: an address with
/// a query is not asked for on this machine, directly or by redirect.
#[test]
fn ssrf() {
    scene(async {
        let sample = sample();
        let service = Server::start(66, async |_, stream| reply(stream, "200 OK", "", b"secret").await).await;
        let direct = service.url("/admin?delete=all");
        let target = direct.clone();
        let lure = Server::start(67, async move |_, stream| {
            reply(stream, "302 Found", &format!("location: {target}\r\n"), b"").await
        });
        let lure = lure.await;
        let seed = Site::seeder(11, &sample).await;
        let seeds = vec![direct.clone(), lure.url("/sample.bin")];
        let mut leecher = Site::leecher_with(20, &sample, &[], |_, add| add.web_seeds = seeds).await;
        leecher.until_said(&direct, Result::is_err).await;
        leecher.until_said(&lure.url("/sample.bin"), Result::is_err).await;
        let mut peer = Stranger::dial(11, leecher.addr(), &sample).await.unwrap();
        peer.brings_all_to(&mut leecher).await;
        assert_eq!(service.targets(), [""; 0], "a local service was asked");
        stop([seed, leecher]).await;
    });
}

/// Several files of a hybrid torrent, padding between them, from a web server alone that
/// breaks off now and then.
#[test]
fn an_honest_server_with_bad_days_is_enough() {
    scene(async {
        let sample = Rc::new(Sample::folder(Versions::Hybrid, 32 << 10));
        let (served, requests) = (sample.clone(), Cell::new(0));
        let server = Server::start(66, async move |request: &Request, stream: &mut TcpStream| {
            let info = &served.torrent.info;
            let is_it = |path: &[String]| request.target == format!("/folder/{}", path.join("/"));
            let index = info.layout.files().iter().position(|file| is_it(&file.path) && !file.padding);
            let Some(index) = index else { return reply(stream, "404 Not Found", "", b"").await };
            requests.set(requests.get() + 1);
            if requests.get() == 1 {
                return Err(io::ErrorKind::BrokenPipe.into()); // closes without a word
            }
            reply_file(request, stream, &served.file_bytes(index)).await
        });
        let server = server.await;
        let seeds = vec![server.url("/")];
        let mut leecher = Site::leecher_with(20, &sample, &[], |_, add| add.web_seeds = seeds).await;
        leecher.gets(&sample).await;
        stop([leecher]).await;
    });
}
