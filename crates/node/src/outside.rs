//! The engine's other sockets: trackers, resolver, local discovery.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use starling_net::http::{Http, Purpose, Url};
use starling_net::{dns, lsd, udp, utp};
use starling_session::{Input, JobId};
use starling_tracker::{Family, TrackerError};

use crate::engine::Engine;

/// Sockets beside those of peers.
pub(crate) struct Outside {
    pub(crate) http: Http,
    udp: Option<udp::Udp>,
    /// At the port at which peers are listened for.
    utp: Option<Rc<udp::Udp>>,
    lsd: Option<lsd::Lsd>,
}

impl Outside {
    /// Sockets that come from the address the node listens at. UDP trackers or local
    /// discovery that cannot be had are done without, and said in the log.
    pub(crate) fn open(listen: SocketAddr, lan: bool) -> Outside {
        let only = Some(listen.ip()).filter(|ip| !ip.is_unspecified());
        let udp = udp::Udp::bind(SocketAddr::new(listen.ip(), 0));
        let utp = udp::Udp::bind(listen);
        let lsd = lan.then(|| lsd::Lsd::open(only)).transpose();
        if let Err(error) = &udp {
            tracing::warn!(%error, "no UDP trackers");
        }
        if let Err(error) = &lsd {
            tracing::warn!(%error, "no local discovery");
        }
        if let Err(error) = &utp {
            tracing::debug!(%error, "whoever tries uTP has to wait for no answer");
        }
        Outside { http: Http::new(only), udp: udp.ok(), utp: utp.ok().map(Rc::new), lsd: lsd.ok().flatten() }
    }

    /// Passes what comes in to the engine, until what this returns is dropped.
    pub(crate) fn listen(engine: &Rc<Engine>) -> Vec<udp::Receiving> {
        let mut receiving = Vec::new();
        if let Some(udp) = &engine.outside.udp {
            let engine = engine.clone();
            receiving.push(udp.listen(move |from, bytes| {
                engine.feed(Input::Datagram { from, bytes: Bytes::copy_from_slice(bytes) });
            }));
        }
        if let Some(utp) = &engine.outside.utp {
            let (answering, engine) = (utp.clone(), engine.clone());
            receiving.push(utp.listen(move |from, bytes| {
                if let Some(reset) = utp::refusal(bytes) {
                    // If it is lost, the next try is answered.
                    let _ = answering.send(from, &reset);
                    engine.feed(Input::Knocked);
                }
            }));
        }
        if let Some(lsd) = &engine.outside.lsd {
            let engine = engine.clone();
            receiving.push(lsd.listen(move |from, bytes| {
                engine.feed(Input::LsdHeard { from, bytes: Bytes::copy_from_slice(bytes) });
            }));
        }
        receiving
    }

    pub(crate) fn udp_send(&self, to: SocketAddr, bytes: Vec<u8>) {
        // A datagram may get lost anyway; the core repeats it.
        if let Some(Err(error)) = self.udp.as_ref().map(|udp| udp.send(to, &bytes)) {
            tracing::debug!(%to, %error, "a datagram was not sent");
        }
    }

    pub(crate) fn lsd_send(&self, v6: bool, bytes: Vec<u8>) {
        if let Some(lsd) = &self.lsd {
            let interfaces = lsd.send(v6, &bytes);
            tracing::trace!(v6, interfaces, "announced on the local network");
        }
    }
}

impl Engine {
    pub(crate) fn http_get(&self, job: JobId, url: String, family: Family) {
        let Some(engine) = self.rc() else { return };
        let http = self.outside.http.only(family == Family::V6);
        tokio::task::spawn_local(async move {
            let answer = match Url::parse(&url) {
                Ok(url) => http.get(url, Purpose::Tracker).await.map_err(|e| tracker_error(&e)),
                Err(error) => Err(TrackerError::Unreachable(error.to_string())),
            };
            let result = answer.and_then(|answer| match answer.status {
                // Some trackers put their failure reason into an answer that is no 200.
                status if status != 200 && !answer.body.starts_with(b"d") => {
                    Err(TrackerError::HttpStatus(status))
                }
                _ => Ok(answer.body),
            });
            engine.feed(Input::HttpAnswer { job, result });
        });
    }

    pub(crate) fn resolve(&self, job: JobId, host: String, port: u16) {
        let Some(engine) = self.rc() else { return };
        tokio::task::spawn_local(async move {
            let addrs = dns::resolve(&host, port).await.unwrap_or_else(|error| {
                tracing::info!(%error, "a name");
                Vec::new()
            });
            engine.feed(Input::Resolved { job, addrs });
        });
    }
}

fn tracker_error(error: &starling_net::http::HttpError) -> TrackerError {
    use starling_net::http::HttpError;
    match error {
        HttpError::TimedOut => TrackerError::TimedOut,
        HttpError::Dns(_) => TrackerError::Unresolved,
        HttpError::Refused(why) => TrackerError::Forbidden(why.to_string()),
        other => TrackerError::Unreachable(other.to_string()),
    }
}
