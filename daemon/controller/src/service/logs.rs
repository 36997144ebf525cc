//! Logs of a deployment: its allocations' logs side by side, with one cursor for all of them.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::join_all;
use tradewind_api::{LogsView, TaskLogLine};
use tradewind_core::{
    failure::{FailureKind, RUNS_NOT_KEPT},
    names::{AllocationId, DeploymentName, Namespace, TaskName},
    plugin::Tracked,
    record::DeploymentKey,
    workload::LogQuery,
};

use crate::{Error, Handle, LogsRequest, lock};

/// An answer of this size may be a provider's most: more may have been written. No provider's most is less.
const MANY_LINES: usize = 1_000;
const MANY_BYTES: usize = 4 << 10;

/// The cursor of each allocation. What has none has nothing more to say, or has not been asked yet.
type Cursors = BTreeMap<AllocationId, Option<String>>;

impl Handle {
    /// Lines of a deployment's tasks, in the order of their times as far as they have any.
    ///
    /// # Errors
    /// `NotFound`, `Cursor` for a cursor that is none, `Plugin` when no provider answers.
    pub async fn logs(
        &self,
        namespace: &Namespace,
        name: &DeploymentName,
        request: LogsRequest,
    ) -> Result<LogsView, Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let LogsRequest { task, query } = request;
        let follows = query.after.is_some();
        let mut cursors = query
            .after
            .as_deref()
            .map(decode)
            .transpose()?
            .unwrap_or_default();
        let sources = self.sources(&key, task.as_ref())?;
        let snapshot = self.shared.plugins.snapshot();

        let answers = join_all(sources.iter().map(|(task, provider, tracked)| {
            let provider = snapshot.providers.get(provider).cloned();
            let after = cursors.get(&tracked.allocation).cloned();
            let query = LogQuery {
                after: after.clone().flatten(),
                ..query.clone()
            };
            async move {
                // Asked before, and it said that no more can come.
                let finished = after.is_some_and(|cursor| cursor.is_none());
                match provider {
                    Some(provider) if !finished => Some((
                        task,
                        &tracked.allocation,
                        provider.logs(tracked, &query).await,
                    )),
                    _ => None,
                }
            }
        }))
        .await;

        let mut lines = Vec::new();
        let mut failure = None;
        for (task, allocation, answer) in answers.into_iter().flatten() {
            match answer {
                Ok(chunk) => {
                    cursors.insert(allocation.clone(), chunk.next);
                    let named = |line| TaskLogLine {
                        task: task.clone(),
                        allocation: allocation.clone(),
                        line,
                    };
                    lines.extend(chunk.lines.into_iter().map(named));
                }
                // It went, or has not begun, while somebody follows.
                Err(f) if follows && f.kind == FailureKind::NotFound => {}
                // The daemon vouches for its own part of a cursor, the provider for the rest.
                Err(f) if follows && f.kind == FailureKind::Invalid => {
                    return Err(no_cursor(query.after.as_deref().unwrap_or_default()));
                }
                Err(f) => failure = Some(f),
            }
        }
        match failure {
            Some(failure) if lines.is_empty() && failure.code.as_deref() == Some(RUNS_NOT_KEPT) => {
                let provider = failure.plugin.as_ref().map_or_else(
                    || "its provider".to_owned(),
                    |plugin| format!("the provider \"{}\"", plugin.instance),
                );
                return Err(Error::RunsNotKept { provider });
            }
            None if lines.is_empty() && query.previous && !follows => {
                return Err(Error::NoPreviousRun { key });
            }
            Some(failure) if lines.is_empty() => return Err(Error::Plugin(failure)),
            _ => lines.sort_by_key(|l| l.line.time),
        }
        let bytes = lines.iter().map(|l| l.line.text.len()).sum::<usize>();
        let more = lines.len() >= MANY_LINES || bytes >= MANY_BYTES;
        // New allocations may appear as long as the deployment exists, so there is always a way to go on.
        Ok(LogsView {
            lines,
            next: Some(encode(&cursors)),
            more,
        })
    }

    fn sources(
        &self,
        key: &DeploymentKey,
        task: Option<&TaskName>,
    ) -> Result<Vec<(TaskName, tradewind_core::names::InstanceName, Tracked)>, Error> {
        let cache = lock(&self.shared.cache);
        let not_found = |what, name: String| Error::NotFound { what, name };
        let entry = cache
            .deployments
            .get(key)
            .ok_or_else(|| not_found("deployment", key.to_string()))?;
        if let Some(task) = task.filter(|task| !entry.resolved.iter().any(|t| t.name == **task)) {
            return Err(not_found("task", format!("{key}/{task}")));
        }
        let records = entry
            .allocations
            .values()
            .map(|l| &l.record)
            .filter(|r| task.is_none_or(|t| *t == r.task));
        let source = |r: &tradewind_core::record::AllocationRecord| {
            let tracked = Tracked {
                allocation: r.id.clone(),
                state: r.handle.state.clone()?,
            };
            Some((r.task.clone(), r.intent.provider.clone(), tracked))
        };
        Ok(records.filter_map(source).collect())
    }
}

fn encode(cursors: &Cursors) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursors).unwrap_or_default())
}

fn decode(text: &str) -> Result<Cursors, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|b| serde_json::from_slice(&b).ok())
        .ok_or_else(|| no_cursor(text))
}

fn no_cursor(text: &str) -> Error {
    Error::Cursor {
        given: text.chars().take(40).collect(),
    }
}
