//! Removing objects: only ours, and only the very ones that were looked at.

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tradewind_core::{
    capability::kubernetes::{Caller, Deletion, Propagation, Reference},
    failure::Failure,
};

use crate::{
    api::{Cluster, Request},
    apply::{AT_ONCE, existing, is_ours},
    check,
    kinds::found,
};

/// # Errors
/// The first failure, in the order of the objects; the others have been tried.
pub(crate) async fn objects(
    cluster: &Cluster<'_>,
    caller: &Caller,
    objects: &[Reference],
    propagation: Propagation,
) -> Result<Vec<Deletion>, Failure> {
    for (i, object) in objects.iter().enumerate() {
        check::writable(cluster.grant, &object.kind, &format!("objects[{i}].kind"))?;
        check::namespace(
            cluster.grant,
            &object.namespace,
            &format!("objects[{i}].namespace"),
        )?;
        check::name(&object.name, &format!("objects[{i}].name"))?;
    }
    let removals = objects
        .iter()
        .cloned()
        .map(|object| async move { one(cluster, caller, &object, propagation).await });
    let ends: Vec<Result<Deletion, Failure>> =
        stream::iter(removals).buffered(AT_ONCE).collect().await;
    ends.into_iter().collect()
}

async fn one(
    cluster: &Cluster<'_>,
    caller: &Caller,
    object: &Reference,
    propagation: Propagation,
) -> Result<Deletion, Failure> {
    // What the cluster does not serve does not exist.
    let Some(kind) = found(cluster.kind(&object.kind).await)? else {
        return Ok(Deletion::Gone);
    };
    let Some(existing) = existing(cluster, &kind, object).await? else {
        return Ok(Deletion::Gone);
    };
    is_ours(&existing.metadata, caller, object)?;
    if existing.metadata.deletion_timestamp.is_some() {
        return Ok(Deletion::Going);
    }
    let policy = match propagation {
        Propagation::Foreground => "Foreground",
        Propagation::Background => "Background",
    };
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": policy,
        "preconditions": { "uid": existing.metadata.uid },
    });
    let what = format!(
        "delete {} \"{}\" in the namespace \"{}\"",
        object.kind, object.name, object.namespace
    );
    let path = format!("{}/{}", kind.path(&object.namespace), object.name);
    let Some(answer) = found(
        cluster
            .send(Request::delete(
                path,
                what,
                options.to_string().into_bytes(),
            ))
            .await,
    )?
    else {
        return Ok(Deletion::Gone);
    };
    // The object itself is answered as long as something keeps it.
    let answer: Value = answer.json()?;
    Ok(
        if answer.get("kind").and_then(Value::as_str) == Some("Status") {
            Deletion::Gone
        } else {
            Deletion::Going
        },
    )
}
