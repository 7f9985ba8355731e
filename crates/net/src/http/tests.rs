use std::io::Write;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use super::testing::{Reply, Server, answer};
use super::*;

#[test]
fn credentials_are_encoded() {
    assert_eq!(basic("Aladdin:open%20sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(basic("a:b%"), "Basic YTpiJQ==");
    assert_eq!(basic("a:"), "Basic YTo=");
    assert_eq!(basic("a:b"), "Basic YTpi");
}

async fn get(url: &str, purpose: Purpose) -> Result<Answer, HttpError> {
    Http::new(None).get_within(Url::parse(url).unwrap(), purpose, 1000, Duration::from_secs(20)).await
}

#[tokio::test]
async fn an_answer_comes_with_its_status_and_credentials_go() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(|_| Reply::Send(answer("404 No", "", b"d1:xe"))).await;
            let url = format!("http://me:secret@{}/announce?a=b#f", server.addr);
            let got = get(&url, Purpose::Tracker).await.unwrap();
            assert_eq!((got.status, &got.body[..]), (404, &b"d1:xe"[..]));
            let request = server.requests.borrow()[0].to_lowercase();
            assert!(request.starts_with("get /announce?a=b http/1.1\r\n"), "{request}");
            assert!(request.contains("user-agent: starling/0.1\r\n"), "{request}");
            assert!(request.contains("authorization: basic bwu6c2vjcmv0\r\n"), "{request}");
            assert!(request.contains(&format!("host: {}\r\n", server.addr)), "{request}");
        })
        .await;
}

#[tokio::test]
async fn bodies_of_every_framing_arrive_and_gzip_is_undone() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(|request| match request.split(' ').nth(1).unwrap() {
                "/chunked" => Reply::Send(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                        .to_vec(),
                ),
                "/close" => Reply::Cut(b"HTTP/1.0 200 OK\r\n\r\nabcde".to_vec()),
                _ => Reply::Send(answer("200 OK", "Content-Encoding: gzip\r\n", &gzip(b"abcde"))),
            })
            .await;
            for target in ["/chunked", "/close", "/gzip"] {
                let got = get(&server.url(target), Purpose::Torrent).await.unwrap();
                assert_eq!(&got.body[..], b"abcde", "{target}");
            }
        })
        .await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_is_too_long_is_refused_packed_or_not() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(|request| match request.split(' ').nth(1).unwrap() {
                "/bomb" => {
                    Reply::Send(answer("200 OK", "Content-Encoding: gzip\r\n", &gzip(&vec![0; 500_000])))
                }
                "/liar" => {
                    Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4294967296000\r\n\r\n0123".repeat(40))
                }
                _ => Reply::Send(answer("200 OK", "", &[0; 1001])),
            })
            .await;
            for target in ["/bomb", "/liar", "/long"] {
                let error = get(&server.url(target), Purpose::Torrent).await.unwrap_err();
                assert!(matches!(error, HttpError::TooLarge(1000)), "{target}: {error}");
            }
        })
        .await;
}

#[tokio::test]
async fn redirects_are_followed_a_few_times() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(|request| {
                let n: usize = request.split([' ', '/']).nth(2).unwrap().parse().unwrap();
                let location = format!("Location: {}\r\n", n.saturating_sub(1));
                if n == 0 {
                    Reply::Send(answer("200 OK", "", b"there"))
                } else {
                    Reply::Send(answer("302 Found", &location, b"moved"))
                }
            })
            .await;
            let good = get(&server.url(&format!("/{REDIRECTS_MAX}")), Purpose::Torrent).await.unwrap();
            assert_eq!(&good.body[..], b"there");
            let error =
                get(&server.url(&format!("/{}", REDIRECTS_MAX + 1)), Purpose::Torrent).await.unwrap_err();
            assert!(matches!(error, HttpError::TooManyRedirects(_)), "{error}");
        })
        .await;
}

#[tokio::test]
async fn links_of_strangers_do_not_reach_into_this_network() {
    LocalSet::new()
        .run_until(async {
            let server =
                Server::start(|_| Reply::Send(answer("302 Found", "Location: /admin\r\n", b""))).await;
            let refused = async |target: &str, purpose| {
                let error = get(&server.url(target), purpose).await.unwrap_err();
                assert!(matches!(error, HttpError::Refused(_)), "{target}: {error}");
            };
            refused("/admin", Purpose::Tracker).await;
            assert!(server.requests.borrow().is_empty());
            refused("/announce", Purpose::Tracker).await;
            refused("/file?delete=1", Purpose::WebSeed).await;
            assert_eq!(server.requests.borrow().len(), 1);
            let hops = Hops {
                from_public: true,
                ..Hops::new(Url::parse("http://x/announce").unwrap(), Purpose::Tracker)
            };
            assert!(hops.allows("127.0.0.1".parse().unwrap()).is_err());
            assert!(hops.allows("1.1.1.1".parse().unwrap()).is_ok());
        })
        .await;
}

#[tokio::test]
async fn silence_garbage_and_cut_answers_are_errors() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(|request| match request.split(' ').nth(1).unwrap() {
                "/silence" => Reply::Silence,
                "/garbage" => Reply::Cut(b"220 ftp ready\r\n".to_vec()),
                "/nowhere" => Reply::Send(answer("301 Moved", "", b"")),
                _ => Reply::Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_vec()),
            })
            .await;
            let url = |target| Url::parse(&server.url(target)).unwrap();
            let http = Http::new(None);
            let short = Duration::from_millis(50);
            let error = http.get_within(url("/silence"), Purpose::Torrent, 9, short).await.unwrap_err();
            assert!(matches!(error, HttpError::TimedOut), "{error}");
            for target in ["/garbage", "/cut"] {
                let error = http.get(url(target), Purpose::Torrent).await.unwrap_err();
                assert!(matches!(error, HttpError::Broken(_)), "{target}: {error}");
            }
            let error = http.get(url("/nowhere"), Purpose::Torrent).await.unwrap_err();
            assert!(matches!(error, HttpError::NoLocation), "{error}");
        })
        .await;
}

/// A TLS server on loopback with a certificate of its own, and that certificate.
async fn tls_server(name: &str) -> (SocketAddr, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let cert = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.write_all(&answer("200 OK", "Connection: close\r\n", b"over tls")).await;
            let _ = stream.shutdown().await;
        }
    });
    (addr, cert)
}

fn trusting(cert: CertificateDer<'static>) -> Http {
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Http { tls: Rc::new(OnceCell::from(Ok(Arc::new(config)))), ..Http::default() }
}

#[tokio::test]
async fn certificates_are_checked() {
    LocalSet::new()
        .run_until(async {
            let (addr, cert) = tls_server("localhost").await;
            let url = |host: &str| Url::parse(&format!("https://{host}:{}/", addr.port())).unwrap();
            let trusting = trusting(cert).only(false);
            let good = trusting.get(url("localhost"), Purpose::Torrent).await.unwrap();
            assert_eq!(&good.body[..], b"over tls");
            let wrong_name = trusting.get(url("127.0.0.1"), Purpose::Torrent).await.unwrap_err();
            let tls = |host: &str, why: &str| format!("no trusted TLS connection to {host}: {why}");
            assert_eq!(wrong_name.to_string(), tls("127.0.0.1", "its certificate is for another name"));
            let stranger =
                Http::new(None).only(false).get(url("localhost"), Purpose::Torrent).await.unwrap_err();
            let nobody = "its certificate is not from anybody whom this system trusts";
            assert_eq!(stranger.to_string(), tls("localhost", nobody));
        })
        .await;
}

/// Words for people, not the library's.
#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_from_one_that_is_not_trusted() {
    LocalSet::new()
        .run_until(async {
            let (_, cert) = tls_server("localhost").await;
            let answers: [(&'static [u8], &str); 3] = [
                (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server does not speak TLS at this port"),
                (b"\x15\x03\x03\0\x02\x02\x28", "the server refused it"),
                (b"", "the server hung up"),
            ];
            for (answer, why) in answers {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let url = format!("https://{}/", listener.local_addr().unwrap());
                tokio::task::spawn_local(async move {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(answer).await;
                });
                let error = trusting(cert.clone()).get(Url::parse(&url).unwrap(), Purpose::Torrent).await;
                let said = error.unwrap_err().to_string();
                assert_eq!(said, format!("no trusted TLS connection to 127.0.0.1: {why}"));
            }
        })
        .await;
}

#[test]
fn certificates_that_are_no_good_are_told_apart() {
    use tokio_rustls::rustls::{CertificateError, Error, OtherError};
    let own = CertificateError::Other(OtherError(Arc::new(std::fmt::Error)));
    let cases = [
        (CertificateError::Expired, "has expired"),
        (CertificateError::NotValidYet, "not valid yet"),
        (CertificateError::NotValidForName, "another name"),
        (CertificateError::UnknownIssuer, "trusts"),
        (own, "trusts"),
    ];
    for (why, words) in cases {
        let said = super::connect::plainly(&std::io::Error::other(Error::InvalidCertificate(why)));
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn an_https_server_cannot_lead_into_the_clear() {
    LocalSet::new()
        .run_until(async {
            let server =
                Server::start(|_| Reply::Send(answer("302 F", "Location: http://x/\r\n", b""))).await;
            let start = Hops::new(Url::parse(&server.url("/")).unwrap(), Purpose::Torrent);
            let via = Http::new(None).open(&start).await.unwrap();
            let response = Response::builder().status(302).header("location", "http://x/y").body(()).unwrap();
            let hops = |purpose| Hops::new(Url::parse("https://x/announce").unwrap(), purpose);
            for purpose in [Purpose::Torrent, Purpose::Tracker] {
                let error = hops(purpose).follow(&response, &via).unwrap_err();
                assert!(matches!(error, HttpError::Downgrade));
            }
            assert!(hops(Purpose::WebSeed).follow(&response, &via).unwrap());
        })
        .await;
}

#[tokio::test]
async fn a_redirect_to_what_is_no_web_address_is_named() {
    LocalSet::new()
        .run_until(async {
            for (to, kind) in [("file:///etc/passwd", "file"), ("udp://x:1/", "udp"), ("ftp://x/", "ftp")] {
                let location = format!("Location: {to}\r\n");
                let server = Server::start(move |_| Reply::Send(answer("302 Found", &location, b""))).await;
                let error = get(&server.url("/"), Purpose::Torrent).await.unwrap_err().to_string();
                assert!(
                    error.contains(&format!(
                        "redirects to where nobody can follow: addresses of the kind \"{kind}\""
                    )),
                    "{error}"
                );
            }
        })
        .await;
}

#[tokio::test]
async fn one_family_can_be_asked_for() {
    LocalSet::new()
        .run_until(async {
            let server = Server::start(|_| Reply::Send(answer("200 OK", "", b"x"))).await;
            let url = || Url::parse(&server.url("/")).unwrap();
            let http = Http::new(None);
            assert!(http.only(false).get(url(), Purpose::Torrent).await.is_ok());
            let error = http.only(true).get(url(), Purpose::Torrent).await.unwrap_err();
            assert!(matches!(error, HttpError::Connect { .. }), "{error}");
            let bound = Http::new(Some("127.0.0.9".parse().unwrap()));
            assert!(bound.get(url(), Purpose::Torrent).await.is_ok());
        })
        .await;
}
