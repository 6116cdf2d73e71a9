//! `GET /v1/models` and `GET /v1/models/{id}`: the union of all nodes. Two dialects have these routes; each answers its own
//! clients.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::get;

use super::api::{Api, Shared};
use super::dialect::Listing;
use super::error::ApiError;
use super::{dialects, mesh};

pub fn routes() -> Router<Shared> {
    Router::new().route("/v1/models", get(list)).route("/v1/models/{*id}", get(one))
}

async fn list(api: Api, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    listed(&api, None, &uri, &headers).await
}

async fn one(api: Api, Path(id): Path<String>, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    listed(&api, Some(id), &uri, &headers).await
}

async fn listed(api: &Api, id: Option<String>, uri: &Uri, headers: &HeaderMap) -> Result<Response, ApiError> {
    let known = mesh::known(api).await?;
    let models = api.caller.allowed(mesh::models(&known));
    let dialect = dialects::of_request(uri.path(), headers);
    (dialect.models)(&Listing { models, id, query: uri.query().unwrap_or_default() })
}
