//! TLS in the middle of a conversation: STARTTLS.

use qanat_plan::Level;

use crate::clock;
use crate::error::{SessionError, Source, Status};
use crate::stream::Stream;
use crate::tls::{self, Alert, Decision, Opening};

use super::{State, Talk, Upgrade};

impl Talk<'_> {
    /// Changes to TLS. What the client has sent already is the beginning of its hello, or no TLS at all: none of it is
    /// taken for something that was said under TLS. Without a client if that fails.
    pub(super) async fn upgrade(&mut self, client: Option<Stream>) -> Option<Stream> {
        let (client, upgrade) = match self.shake_hands(client).await {
            Ok(stream) => (Some(stream), Upgrade::Done),
            Err(error) => (None, Upgrade::Failed(error.to_string())),
        };
        if client.is_none() {
            self.leave(State::Broken);
        }
        self.last = clock::now();
        self.change(|duplex| duplex.note_upgrade(upgrade));
        client
    }

    async fn shake_hands(&self, client: Option<Stream>) -> Result<Stream, SessionError> {
        let lacking = |text| SessionError::new(Status::Internal, Source::Gateway, Level::Error, text);
        let Some(Stream::Plain(socket)) = client else { return Err(lacking("TLS is spoken already")) };
        let settings = self.session.server.tls.clone();
        let settings = settings.ok_or_else(|| lacking("the server has no ssl_certificate"))?;
        let early =
            self.call.exchange().duplex.as_mut().map(|duplex| duplex.take_input()).unwrap_or_default();
        let timeout = settings.handshake_timeout;
        let shaking = async {
            let opening = Opening::read_after(socket, &early).await?;
            match settings.config_for(Decision::default()) {
                Ok(config) => opening.finish(config).await,
                Err(_unserved) => Err(opening.refuse(tls::no_certificate, Alert::HANDSHAKE_FAILURE).await),
            }
        };
        let (stream, info) = tls::in_time(tokio::time::timeout(timeout, shaking).await)?;
        if let Some(session) = &mut self.call.exchange().session {
            session.facts_mut().tls = Some(info);
        }
        Ok(Stream::Client(Box::new(stream)))
    }
}
