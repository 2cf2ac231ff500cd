//! One connection to Redis: TCP or TLS, greeted and authenticated, with a task that reads and writes.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, RedisConnectionInfo};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::bounded::{Bounded, Unparsed};
use super::config::{Config, Password};
use super::fault::Fault;
use crate::telemetry::build_info;
use crate::telemetry::labels::BackplaneFault;

/// Messages under way to the task of a connection. Each may be a batch.
const IN_FLIGHT: usize = 4;

/// A server name or certificates that TLS cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// Opens connections to the one server.
#[derive(Clone)]
pub(super) struct Dialer {
    address: (Box<str>, u16),
    tls: Option<(TlsConnector, ServerName<'static>)>,
    greeting: RedisConnectionInfo,
    patience: Duration,
}

impl Dialer {
    /// Reads the certificates.
    pub(super) fn new(config: &Config) -> Result<Self, Unusable> {
        let url = &config.url;
        let mut greeting = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("meetpoint", build_info::VERSION);
        if let Some(user) = &url.user {
            greeting = greeting.set_username(user);
        }
        if let Some(password) = config.password.as_ref().or(url.password.as_ref()) {
            greeting = greeting.set_password(Password::expose(password));
        }
        let tls = url.secure.then(|| {
            let name = ServerName::try_from(url.host.to_string())
                .map_err(|_| Unusable(format!("`{}` is no name for TLS", url.host)))?;
            Ok((connector(config.ca.as_ref())?, name))
        });
        Ok(Self {
            address: (url.host.clone(), url.port),
            tls: tls.transpose()?,
            greeting,
            patience: config.patience,
        })
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// A connection that is asked and answers.
    pub(super) async fn connect(&self) -> Result<Connection, Fault> {
        self.within(self.open(None)).await
    }

    /// A connection that also takes subscriptions. `pushes` gets what comes unasked, in order, and confirmations; it must not wait,
    /// and calls [`Unparsed::reset`] each time.
    pub(super) async fn listen(&self, pushes: impl AsyncPushSender, unparsed: &Unparsed) -> Result<Connection, Fault> {
        let config = AsyncConnectionConfig::new().set_push_sender(pushes);
        self.within(self.open(Some((config, unparsed.clone())))).await
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        timeout(self.patience, work)
            .await
            .unwrap_or_else(|_| Err(Fault::timed_out("connecting")))
    }

    async fn open(&self, listening: Option<(AsyncConnectionConfig, Unparsed)>) -> Result<Connection, Fault> {
        let (host, port) = &self.address;
        let stream = TcpStream::connect((&**host, *port))
            .await
            .map_err(|error| Fault::unreachable(&error))?;
        // Batches are written as a whole; waiting for more only delays them.
        let _ = stream.set_nodelay(true);
        let Some((connector, name)) = &self.tls else {
            return self.greet(stream, listening).await;
        };
        let stream = connector
            .connect(name.clone(), stream)
            .await
            .map_err(|error| Fault::new(BackplaneFault::Tls, format!("TLS: {error}")))?;
        self.greet(stream, listening).await
    }

    async fn greet<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        stream: S,
        listening: Option<(AsyncConnectionConfig, Unparsed)>,
    ) -> Result<Connection, Fault> {
        let (config, unparsed) = listening.unwrap_or_default();
        // The crate's own limits on time are off: ours are around the whole of what is asked.
        let config = config
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(IN_FLIGHT);
        let stream = Bounded::new(stream, unparsed.clone());
        let (asking, task) = MultiplexedConnection::new_with_config(&self.greeting, stream, config)
            .await
            .map_err(|error| Fault::of(&error))?;
        Ok(Connection {
            asker: Asker {
                asking,
                patience: self.patience,
                unparsed: unparsed.clone(),
            },
            unparsed,
            task: tokio::spawn(task),
        })
    }
}

/// Asks by a connection.
pub(super) struct Asker {
    asking: MultiplexedConnection,
    patience: Duration,
    unparsed: Unparsed,
}

impl Asker {
    /// Sends all of it and waits for all answers; the first refusal is a fault.
    pub(super) async fn ask(&mut self, commands: &Pipeline) -> Result<(), Fault> {
        let asking = self.asking.send_packed_commands(commands, 0, commands.len());
        let answers = Self::within(self.patience, asking).await?;
        self.unparsed.reset();
        Fault::among(answers)
    }

    /// Subscribes, and waits until all of it is confirmed.
    pub(super) async fn subscribe(&mut self, channels: &[String]) -> Result<(), Fault> {
        Self::within(self.patience, self.asking.subscribe(channels)).await
    }

    /// Leaves, and waits until all of it is confirmed.
    pub(super) async fn unsubscribe(&mut self, channels: &[String]) -> Result<(), Fault> {
        Self::within(self.patience, self.asking.unsubscribe(channels)).await
    }

    async fn within<T>(patience: Duration, asking: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Fault> {
        match timeout(patience, asking).await {
            Ok(result) => result.map_err(|error| Fault::of(&error)),
            Err(_) => Err(Fault::timed_out("an answer of Redis")),
        }
    }
}

/// A living connection. Dropping it ends it.
pub(super) struct Connection {
    asker: Asker,
    unparsed: Unparsed,
    task: JoinHandle<()>,
}

impl Connection {
    /// Who asks, and what tells when it has ended by itself.
    pub(super) fn parts(&mut self) -> (&mut Asker, impl Future<Output = Fault>) {
        let (task, unparsed) = (&mut self.task, &self.unparsed);
        let ended = async move {
            // An error is a panic of the crate: the connection is as gone.
            let _ = task.await;
            if unparsed.is_too_long() {
                Fault::new(BackplaneFault::TooLong, "a message is longer than any of ours")
            } else {
                Fault::new(BackplaneFault::Closed, "Redis closed the connection, or it broke")
            }
        };
        (&mut self.asker, ended)
    }

    /// Ends it. When this returns nothing is handed in any more.
    pub(super) async fn end(mut self) {
        if !self.task.is_finished() {
            self.task.abort();
            let _ = (&mut self.task).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// TLS that believes in the certificates of this machine and in those of one more file.
fn connector(ca: Option<&PathBuf>) -> Result<TlsConnector, Unusable> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let broken = |error: &dyn std::fmt::Display| Unusable(format!("{}: {error}", path.display()));
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| broken(&error))? {
            let certificate = certificate.map_err(|error| broken(&error))?;
            roots.add(certificate).map_err(|error| broken(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}
