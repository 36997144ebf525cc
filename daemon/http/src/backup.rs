//! `/v1/backup`: the whole state as one file, as of the moment of the request.

use aide::transform::TransformOperation;
use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use tokio_util::io::ReaderStream;
use tradewind_core::{
    event::{Event, Reason, Severity},
    identity::Role,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    openapi::Raw,
};

const CONTENT_TYPE: &str = "application/vnd.tradewind.backup";

pub(crate) async fn create(State(app): State<App>, caller: Caller) -> Result<Response, Error> {
    let made = app.backup.make().await?;
    let message = format!(
        "revision {}, {} files, {} bytes",
        made.index.revision.0,
        made.index.files.len(),
        made.size
    );
    app.controller
        .note(Event::new(
            Severity::Info,
            Reason::BackupMade,
            &caller.actor,
            message,
        ))
        .await;
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(made.file), 1 << 18);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE)),
        (header::CONTENT_LENGTH, made.size.into()),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("createBackup")
        .with(needs(Role::Admin, Reach::All))
        .tag("meta")
        .summary("Download a backup")
        .description(
            "Everything the daemon needs to go on, with a checksum. Not in it: secrets, tokens in clear, TLS keys, output of processes.",
        )
        .with(Raw::<false>::answer(CONTENT_TYPE, "The backup's bytes."))
}
