//! Fetches a torrent: `cargo run --example fetch -- SOURCE DIR`.

#![allow(clippy::print_stdout)]
use std::time::Duration;

use starling_node::{Add, Config, Node, State};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(source), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: fetch SOURCE DIR".into());
    };
    let node = Node::start(Config::default())?;
    let torrent = node.add(Add::source(source, dir)).await?;
    loop {
        let progress = torrent.progress().await?;
        println!("{}/{} bytes, {} peers", progress.bytes_done, progress.bytes_wanted, progress.peers);
        match progress.state {
            State::Seeding => break,
            State::Failed(why) => return Err(why.into()),
            _ => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    node.shutdown().await?;
    Ok(())
}
