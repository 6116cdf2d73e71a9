//! The service API, so that `nats micro ls` shows the parts. For inspection only: liveness has its own subjects.

use async_nats::service::{Service, ServiceExt};
use futures::future::BoxFuture;
use tracing::warn;

use super::Bus;

/// Answers `nats micro` for as long as it lives.
pub struct Inspection(#[allow(dead_code)] Option<Service>);

impl Bus {
    /// Shows this process to `nats micro ls` and `nats micro info`.
    pub fn inspectable<'a>(&'a self, description: &'a str) -> BoxFuture<'a, Inspection> {
        // Boxed, so that it is compiled here and not in each part again.
        Box::pin(self.shown(description))
    }

    async fn shown(&self, description: &str) -> Inspection {
        let metadata =
            [("id".to_owned(), self.me().id.to_string()), ("boot".to_owned(), self.boot().to_string())];
        let name = self.me().role.service();
        let service = self
            .client()
            .service_builder()
            .description(description)
            .metadata(metadata.into())
            .start(name, env!("CARGO_PKG_VERSION"))
            .await;
        match service {
            Ok(service) => Inspection(Some(service)),
            Err(error) => {
                warn!(%error, "nats micro will not show this process");
                Inspection(None)
            }
        }
    }
}
