//! Fetching a torrent file over HTTP(S), before there is a node.

use starling_net::http::{Http, Purpose, Url};

use crate::{Error, without_userinfo};

/// The body of `url`, at most what a torrent file may have.
pub(crate) async fn fetch_torrent(url: &str) -> Result<Vec<u8>, Error> {
    let failed = |why: String| Error::Network(format!("{}: {why}", without_userinfo(url)));
    let parsed = Url::parse(url).map_err(|error| failed(error.to_string()))?;
    let local = tokio::task::LocalSet::new();
    let answer = local.run_until(Http::new(None).get(parsed, Purpose::Torrent)).await;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    if answer.status != 200 {
        return Err(failed(format!("the server answered with status {}", answer.status)));
    }
    Ok(answer.body.to_vec())
}
