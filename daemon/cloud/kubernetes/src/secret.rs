//! Secret objects: made of references, whose values are read here and go nowhere but into the cluster.

use std::path::Path;

use serde_json::{Map, Value, json};
use tradewind_core::{
    capability::kubernetes::{Caller, Reference, SecretItem},
    failure::{Failure, NOT_OURS},
    grant::KubernetesGrant,
};
use tradewind_credentials::secrets::{self, Granted};

use crate::{
    api::Cluster,
    apply::{self, Checked},
    check,
    kinds::SECRET,
};

/// The most bytes of data that an API server takes in one Secret.
const LARGEST: usize = 1 << 20;

/// Makes the secret object so. Answers its version in the cluster.
///
/// # Errors
/// `denied` for what is not granted, and for secrets that can't be read.
pub(crate) async fn apply(
    cluster: &Cluster<'_>,
    caller: &Caller,
    folder: &Path,
    to: Reference,
    items: Vec<SecretItem>,
) -> Result<String, Failure> {
    check::writable(cluster.grant, SECRET, "kind")?;
    check::namespace(cluster.grant, &to.namespace, "namespace")?;
    check::name(&to.name, "name")?;
    let Some(attempt) = &caller.attempt else {
        return Err(Failure::denied("secrets are made only within an apply").code("no-attempt"));
    };
    if !apply::is_own(&to.name, attempt.allocation.as_str()) {
        let message = format!(
            "the secret object \"{}\" is not this allocation's: begin its name with \"{}\"",
            to.name, attempt.allocation
        );
        return Err(Failure::denied(message).field("name").code(NOT_OURS));
    }
    for (i, item) in items.iter().enumerate() {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        if item.key.is_empty() || item.key.len() > 253 || !item.key.bytes().all(plain) {
            let message = format!("\"{}\" is not a secret's key", item.key.escape_debug());
            return Err(Failure::invalid(message).field(format!("items[{i}].key")));
        }
        secrets::check(
            secrets_of(cluster.grant),
            &item.source,
            &format!("items[{i}].source"),
        )?;
    }
    let (folder, grant) = (folder.to_owned(), cluster.grant.clone());
    let read =
        tokio::task::spawn_blocking(move || values(&folder, secrets_of(&grant), &items)).await;
    let data = read.map_err(|_| Failure::internal("reading secrets broke off"))??;
    let kind = cluster.kind(SECRET).await?;
    let object = Map::from_iter([
        ("apiVersion".to_owned(), json!(kind.api_version())),
        ("kind".to_owned(), json!(SECRET)),
        ("type".to_owned(), json!("Opaque")),
        ("data".to_owned(), Value::Object(data)),
    ]);
    let written = apply::write(cluster, caller, Checked { to, kind, object })
        .await
        .map_err(unspoken)?;
    Ok(written
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned())
}

fn secrets_of(grant: &KubernetesGrant) -> Granted<'_> {
    Granted {
        capability: "kubernetes",
        secrets: &grant.secrets,
        namespace: grant.namespace.as_ref(),
    }
}

fn values(
    folder: &Path,
    granted: Granted<'_>,
    items: &[SecretItem],
) -> Result<Map<String, Value>, Failure> {
    let mut data = Map::new();
    let mut total = 0;
    for (i, item) in items.iter().enumerate() {
        let value = secrets::read(
            granted,
            Some(folder),
            &item.source,
            &format!("items[{i}].source"),
        )?;
        total += value.len();
        if total > LARGEST {
            let message = format!(
                "the secrets of the workload have {total} bytes up to \"{}\", and a cluster takes {LARGEST} of one object",
                item.source.name
            );
            return Err(Failure::invalid(message).field(format!("items[{i}].source")));
        }
        data.insert(
            item.key.clone(),
            json!(base64(if item.variable {
                secrets::variable(&value)
            } else {
                &value
            })),
        );
    }
    Ok(data)
}

/// An API server that refuses an object may quote it.
fn unspoken(failure: Failure) -> Failure {
    if failure.code.as_deref() == Some("Invalid") || failure.code.as_deref() == Some("BadRequest") {
        return Failure {
            message: "the api server does not accept the secret object".to_owned(),
            ..failure
        };
    }
    failure
}

fn base64(bytes: &[u8]) -> String {
    // `ByteString` is how the API's own types write bytes.
    match serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}
