//! What a client accepts of the ledger, and the statement as an answer.

use super::{rules, service};
use crate::{clock::Timestamp, credits::store::Filter, db::Pool, ids::AccountId};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};

/// Whether the client asks for CSV, and not for JSON before it.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let kinds = accepts.flat_map(|accept| accept.split(',')).map(|kind| kind.split(';').next().unwrap_or("").trim());
    kinds.map(str::to_ascii_lowercase).find_map(|kind| match kind.as_str() {
        "text/csv" => Some(true),
        "application/json" | "*/*" => Some(false),
        _ => None,
    }) == Some(true)
}

/// The statement as a file to keep.
pub fn answer(pool: Pool, (account, slug): (AccountId, &str), filter: Filter, now: Timestamp) -> Response {
    let disposition = format!("attachment; filename=\"{}\"", rules::file_name(slug, now));
    let mut response = Body::from_stream(service::pieces(pool, account, filter)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}
