//! Connections to an engine over plain TCP, without tasks of their own: what comes from the engine wakes whoever waits for it
//! and nobody else.

mod bell;
mod body;
mod connection;
mod idle;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

pub use body::Body;
use connection::Connection;
pub use idle::IDLE;
use idle::Idle;

use super::http_error::{HttpError, why};

/// A connection to a machine that is there takes no longer.
pub const CONNECT: Duration = Duration::from_secs(5);

/// How long an engine's machine may say nothing at all before it is asked whether it is still there, and between two such
/// questions.
const SILENCE: Duration = Duration::from_secs(15);

/// So many of them without an answer, and it is gone.
const QUESTIONS: u32 = 3;

/// What was sent has to be acknowledged within this time.
const UNHEARD: Duration = Duration::from_secs(30);

/// The way to one engine.
pub struct Direct {
    connector: HttpConnector,
    to: Uri,
    idle: Idle,
}

impl Direct {
    /// To the machine and port of a URI.
    pub fn new(to: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(SILENCE));
        connector.set_keepalive_interval(Some(SILENCE));
        connector.set_keepalive_retries(Some(QUESTIONS));
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(UNHEARD));
        Self { connector, to, idle: Idle::default() }
    }

    /// Sends a request and returns once the head of the answer is here.
    pub async fn send(&self, mut request: Request<String>) -> Result<Response<Body>, HttpError> {
        while let Some(mut kept) = self.idle.take() {
            match kept.ask(request).await {
                Ok(response) => return Ok(self.answer(response, kept)),
                Err(mut error) => match error.take_message() {
                    // It never left, since the engine had just closed the connection.
                    Some(unsent) => request = unsent,
                    None => return Err(lost(&error.into_error())),
                },
            }
        }
        let mut new = self.connect().await?;
        let response = new.ask(request).await.map_err(|error| lost(&error.into_error()))?;
        Ok(self.answer(response, new))
    }

    fn answer(&self, response: Response<hyper::body::Incoming>, from: Box<Connection>) -> Response<Body> {
        response.map(|incoming| Body::new(incoming, from, self.idle.clone()))
    }

    async fn connect(&self) -> Result<Box<Connection>, HttpError> {
        let io = tokio::time::timeout(CONNECT, self.connector.clone().call(self.to.clone())).await;
        let io = io.map_err(|_| HttpError::Unreachable("operation timed out".to_owned()))?;
        let io = io.map_err(|error| HttpError::Unreachable(why(&error)))?;
        Ok(Box::new(Connection::begin(io).await.map_err(|error| lost(&error))?))
    }
}

fn lost(error: &(dyn Error + 'static)) -> HttpError {
    HttpError::Lost(why(error))
}
