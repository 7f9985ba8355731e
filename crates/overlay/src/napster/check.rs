//! What servers and clients come to without joins and failures.

use super::message::Message;
use super::{Napster, Part};
use crate::check::Checked;
use crate::{Event, Host, Peer, View};

impl<P: Peer> Checked<P> for Napster<P> {
    /// A client has a server that has it; a server knows all others.
    fn flaw<'a>(
        &self,
        view: &View<'_, P>,
        node: &dyn Fn(P) -> Option<&'a Self>,
        host: &impl Host<P, Message<P>, Event<P>>,
    ) -> Option<String>
    where
        Self: 'a,
    {
        match &self.part {
            Part::Out => None,
            Part::Client(client) => {
                let Some(peer) = client.server() else { return Some("it has no server".into()) };
                let has = |server: &Self| match &server.part {
                    Part::Server(server) => server.clients.contains_key(&self.me),
                    _ => false,
                };
                let well = node(peer).is_some_and(has);
                (!well).then(|| format!("its server {} does not have it", host.id(peer)))
            }
            Part::Server(server) => {
                let mut all = view.members().iter().filter(|member| member.1 != self.me);
                let unknown = all.find(|member| {
                    node(member.1).is_some_and(Self::is_server) && server.others().all(|one| one != member.1)
                })?;
                Some(format!("it does not know the server {}", unknown.0))
            }
        }
    }
}
