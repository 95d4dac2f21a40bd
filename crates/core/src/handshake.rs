//! TLS with the client, as a stage of its session: the name in its hello chooses the server, whose handlers may decide
//! about the handshake.

use std::sync::Arc;
use std::time::Duration;

use qanat_plan::Level;

use crate::clock;
use crate::error::{SessionError, Source, Status};
use crate::phase;
use crate::session::Session;
use crate::stream::{Socket, Stream};
use crate::tls::{self, Alert, Opening, ServerTls, Unserved};

/// Performs the handshake. The name in the hello overrides the choice of the server, if the listener knows it.
///
/// # Errors
/// With status 500 if it fails; what handlers decide, or why they failed.
pub async fn run(session: &mut Session, socket: Socket) -> Result<Stream, SessionError> {
    session.action = "SSL handshaking";
    let Some(settings) = &session.server.spec.tls else {
        return Err(SessionError::silent(Status::Internal, Source::Gateway));
    };
    let timeout = Duration::from_millis(settings.handshake_timeout_ms);
    if session.listener.has_tls_handlers {
        return Box::pin(handled(session, socket, timeout)).await;
    }
    let accepted = tls::accept(socket, timeout, |hello| {
        if let Some(name) = hello.server_name() {
            session.switch_server(name);
        }
        session.server.tls.clone()
    });
    let (stream, info) = accepted.await?;
    session.facts_mut().tls = Some(info);
    Ok(Stream::Client(Box::new(stream)))
}

/// The handshake where handlers may have a say. Their time is not the client's.
async fn handled(session: &mut Session, socket: Socket, timeout: Duration) -> Result<Stream, SessionError> {
    let began = clock::now();
    let mut opening = tls::in_time(tokio::time::timeout(timeout, Opening::read(socket, true)).await)?;
    let left = timeout.saturating_sub(began.elapsed());
    if let Some(name) = opening.info.server_name.as_deref() {
        session.switch_server(name);
    }
    // Handlers and logs see it, also if the handshake fails.
    session.facts_mut().tls = Some(opening.info.clone());
    let Some(settings) = session.server.tls.clone() else {
        return Err(opening.refuse(tls::no_certificate, Alert::HANDSHAKE_FAILURE).await);
    };
    if settings.rejects {
        return Err(opening.refuse(tls::rejected, Alert::UNRECOGNIZED_NAME).await);
    }
    let config = match decide(session, &settings, &mut opening).await {
        Ok(config) => config,
        Err((error, alert)) => {
            // A client that does not listen misses the alert.
            let _missed = tokio::time::timeout(left, opening.alert(alert)).await;
            return Err(error);
        }
    };
    session.action = "SSL handshaking";
    let (stream, info) = tls::in_time(tokio::time::timeout(left, opening.finish(config)).await)?;
    session.facts_mut().tls = Some(info);
    Ok(Stream::Client(Box::new(stream)))
}

/// Asks the handlers, if the server has any. Those that choose certificates are not asked again by a client that resumes
/// a session.
async fn decide(
    session: &mut Session,
    settings: &ServerTls,
    opening: &mut Opening<Socket>,
) -> Result<Arc<rustls::ServerConfig>, (SessionError, Alert)> {
    let records = opening.records.take().filter(|_| session.server.decides_handshakes());
    let decision = match records {
        Some(records) => ask(session, settings, opening, records).await?,
        None => tls::Decision::default(),
    };
    settings.config_for(decision).map_err(|unserved| {
        let (alert, level) = match unserved {
            Unserved::NoCertificate => (Alert::HANDSHAKE_FAILURE, Level::Error),
            Unserved::NoVersion => (Alert::PROTOCOL_VERSION, Level::Info),
        };
        let name = opening.info.server_name.as_deref().unwrap_or_default();
        let text = format!("TLS handshake refused: {unserved}, for \"{name}\"");
        (SessionError::new(Status::Internal, Source::Gateway, level, text), alert)
    })
}

async fn ask(
    session: &mut Session,
    settings: &ServerTls,
    opening: &Opening<Socket>,
    records: Vec<u8>,
) -> Result<tls::Decision, (SessionError, Alert)> {
    let chains = session.server.handlers.as_ref();
    if chains.is_none_or(|chains| chains.certificate.is_none()) {
        return phase::client_hello(session, opening.stream(), records, false).await;
    }
    let name = opening.info.server_name.as_deref();
    let chosen = settings.chosen_before(&records, name);
    let wants_certificate = chosen.is_none();
    let mut decision = phase::client_hello(session, opening.stream(), records, wants_certificate).await?;
    match chosen {
        Some(choice) => decision.certificate = choice,
        None => settings.remember(decision.certificate.as_ref(), name),
    }
    Ok(decision)
}
