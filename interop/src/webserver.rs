//! nginx, serving a folder as a web seed would be served (BEP 19).

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::process::{Launch, Process};
use crate::{Program, Result, context, find, http};

/// A running web server.
pub struct WebServer {
    addr: SocketAddr,
    _process: Process,
}

impl WebServer {
    /// Serves `folder` at `addr`, with ranges.
    pub fn start(addr: SocketAddr, folder: &Path, home: &Path) -> Result<WebServer> {
        let config = home.join("nginx.conf");
        context(std::fs::write(&config, configuration(addr, folder, home)), "nginx.conf")?;
        let nginx = find(Program::Nginx.command()).ok_or("no nginx")?;
        let launch = Launch::new(&nginx.to_string_lossy()).home(home);
        let mut process = launch.arg("-e").arg(home.join("error.log")).arg("-c").arg(config).spawn()?;
        http::await_answer(&mut process, addr, "/", Duration::from_secs(10))?;
        Ok(WebServer { addr, _process: process })
    }

    /// The address of something in the folder.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addr)
    }
}

fn configuration(addr: SocketAddr, folder: &Path, home: &Path) -> String {
    let (folder, home) = (folder.display(), home.display());
    format!(
        "daemon off; master_process off; user root; pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {home}/access.log;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  sendfile on;
  server {{ listen {addr}; root {folder}; }}
}}
"
    )
}
