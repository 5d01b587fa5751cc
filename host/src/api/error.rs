//! What a client is told when something is wrong.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// `{"error": {"code", "message", "problems"?}}` with a fitting status.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    /// For programs; stays the same.
    code: &'static str,
    /// For people.
    message: String,
    problems: Option<serde_json::Value>,
}

impl ApiError {
    /// 400: the request is not understood.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "invalid", message: message.into(), problems: None }
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "not_found", message: message.into(), problems: None }
    }

    /// 503: the host has not come up yet.
    pub fn starting() -> Self {
        let message = "the host is starting: blueprints are being applied; ask /readyz when it is ready";
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "starting",
            message: message.into(),
            problems: None,
        }
    }

    /// 409: what is there does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, code: "conflict", message: message.into(), problems: None }
    }

    /// A request that axum refused, in this API's words.
    pub fn refused(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: "invalid", message: message.into(), problems: None }
    }

    /// 500: what was to be done panicked.
    pub fn died(died: &tokio::task::JoinError) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { status, code: "host", message: format!("the host failed: {died}"), problems: None }
    }

    /// Whether the request was at fault, and not the state of things.
    pub fn is_for_content(&self) -> bool {
        self.status.is_client_error() && self.status != StatusCode::CONFLICT
    }

    /// 422: it is understood, and has these faults.
    pub fn problems(message: impl Into<String>, problems: serde_json::Value) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self { status, code: "problems", message: message.into(), problems: Some(problems) }
    }
}

impl From<ays_store::Error> for ApiError {
    fn from(error: ays_store::Error) -> Self {
        use ays_store::Error;
        let (status, code) = match &error {
            Error::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Error::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "store"),
        };
        Self { status, code, message: error.to_string(), problems: None }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if let (Some(problems), Some(error)) = (self.problems, error.as_object_mut()) {
            error.insert("problems".into(), problems);
        }
        (self.status, Json(json!({"error": error}))).into_response()
    }
}
