//! The life of a connection: every stage, in order. What a stage does is in the module of its name.

use std::sync::Arc;

use crate::error::SessionError;
use crate::plan::{Content, Server};
use crate::session::Session;
use crate::session::registry::Open;
use crate::session::template::Template;
use crate::stream::{Socket, Stream};
use crate::{access, connect, content, handshake, mesh, phase, preface, preread, relay, rules, tunnel};

/// Runs a session to its end. Its record is written whatever happens, also when this future is dropped.
pub async fn run(mut open: Open, socket: Socket) {
    let outcome = serve(&mut open, socket).await;
    open.conclude(outcome);
    if open.session.server.handlers.is_some() {
        open.session.is_logged = true;
        Box::pin(phase::log(&mut open.session)).await;
    }
}

async fn serve(open: &mut Open, mut socket: Socket) -> Result<(), SessionError> {
    // Rare stages are boxed: a session should not carry the memory of what it does not do.
    let session = &mut open.session;
    if session.listener.spec.proxy_protocol {
        Box::pin(preface::read(session, &socket)).await?;
    }
    mesh::read_destination(session, &socket);
    set_variables(session, |server| &server.set);
    mesh::select_server(session);
    access::check(session)?;
    if session.server.handlers.is_some() {
        Box::pin(phase::access(session, &mut socket)).await?;
    }
    let mut client = if session.listener.spec.tls {
        Box::pin(handshake::run(session, socket)).await?
    } else {
        Stream::Plain(socket)
    };
    let mut early = Vec::new();
    if session.server.spec.preread.tls {
        early = Box::pin(preread::run(session, &mut client)).await?;
    }
    if session.server.frame.is_some() {
        early = Box::pin(preread::frame::read(session, &mut client, early)).await?;
    }
    if session.server.handlers.is_some() {
        early = Box::pin(phase::preread(session, &mut client, early)).await?;
    }
    if session.server.asks_rules() {
        early = Box::pin(rules::choose(session, &mut client, early)).await?;
    }
    open.settle();
    let session = &mut open.session;
    let server = Arc::clone(&session.server);
    match &server.content {
        Content::Proxy(proxy) => {
            let connected = match client.socket() {
                Socket::Tunnel(stream) => {
                    tunnel::while_wanted(stream, Box::pin(connect::any(session, proxy))).await
                }
                _ => connect::any(session, proxy).await,
            };
            let (mut peer, _picked) = tunnel::answer(session, &client, connected)?;
            relay::tcp::run(session, &mut client, early, &mut peer, proxy).await
        }
        Content::Handler(handler) => Box::pin(phase::content::run(session, client, early, handler)).await,
        Content::Return(text) => Box::pin(content::send(session, client, text)).await,
        Content::None => Err(content::none(&client)),
    }
}

/// Evaluates `set`s of the server.
pub fn set_variables(session: &mut Session, of: impl Fn(&Server) -> &[(Arc<str>, Template)]) {
    if of(&session.server).is_empty() {
        return;
    }
    let server = Arc::clone(&session.server);
    for (name, template) in of(&server) {
        let mut value = Vec::new();
        template.render(session, &mut value);
        session.values.set(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{Open, Socket, run};

    fn size_of_future<F>(_: impl Fn(Open, Socket) -> F) -> usize {
        size_of::<F>()
    }

    /// What an idle connection costs, beside its buffers in the kernel. Rare stages must stay boxed.
    #[test]
    fn a_session_is_small() {
        let size = size_of_future(run);
        assert!(size <= 1600, "a session's future takes {size} bytes");
    }
}
