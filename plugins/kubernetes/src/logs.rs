//! What an allocation's replicas wrote: the logs of its pods, in the order of time.

use std::collections::BTreeMap;

use tradewind_plugin_sdk::{
    Error, ErrorKind,
    host::{Kubernetes as Capability, PodLogQuery},
    types::{LogChunk, LogLine, LogQuery, Output},
};

use crate::{
    Kubernetes, names, pod,
    seen::Pod,
    state::{State, Work},
};

/// The most pods whose logs one call reads.
const PODS: usize = 20;

impl<H: Capability> Kubernetes<H> {
    pub(crate) fn written(
        &self,
        allocation: &str,
        state: &State,
        query: &LogQuery,
    ) -> Result<LogChunk, Error> {
        let before: BTreeMap<String, String> = match &query.after {
            Some(text) => serde_json::from_str(text).map_err(|_| {
                Error::invalid("the cursor is not one of ours").field("query.after")
            })?,
            None => BTreeMap::new(),
        };
        let mut pods: Vec<Pod> =
            self.cluster
                .list("Pod", &state.namespace, &[(names::ALLOCATION, allocation)])?;
        pods.sort_by(|a, b| {
            (&a.metadata.creation_timestamp, &a.metadata.name)
                .cmp(&(&b.metadata.creation_timestamp, &b.metadata.name))
        });
        let (mut lines, mut cursors) = (Vec::new(), BTreeMap::new());
        let numbered = (0..)
            .zip(&pods)
            .map(|(i, pod)| (self.replica_of(allocation, state, i, pod), pod));
        for (replica, pod) in numbered
            .filter(|(replica, _)| query.replica.is_none_or(|wanted| wanted == *replica))
            .take(PODS)
        {
            let asked = PodLogQuery {
                namespace: state.namespace.clone(),
                pod: pod.metadata.name.clone(),
                container: pod::CONTAINER.to_owned(),
                tail: query.tail,
                after: before.get(&pod.metadata.name).cloned(),
            };
            let page = match self.cluster.host.logs(&asked) {
                Ok(page) => page,
                // Gone since it was listed.
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            lines.extend(page.lines.into_iter().map(|line| LogLine {
                replica,
                output: Output::Combined,
                time: line.time,
                text: line.text,
            }));
            cursors.insert(pod.metadata.name.clone(), page.next);
        }
        // Lines without a time stay behind the one before them.
        let mut last = None;
        let mut timed: Vec<(Option<u64>, LogLine)> = Vec::new();
        for line in lines {
            last = line.time.or(last);
            timed.push((last, line));
        }
        timed.sort_by_key(|(time, _)| *time);
        let mut lines: Vec<LogLine> = timed.into_iter().map(|(_, line)| line).collect();
        if query.after.is_none() && lines.len() > query.tail as usize {
            lines.drain(..lines.len() - query.tail as usize);
        }
        let next = serde_json::to_string(&cursors)
            .map_err(|error| Error::internal(format!("the cursor can't be written: {error}")))?;
        Ok(LogChunk {
            lines,
            next: Some(next),
        })
    }

    fn replica_of(&self, allocation: &str, state: &State, position: u32, pod: &Pod) -> u32 {
        match state.work {
            Work::Service { .. } => position,
            Work::Jobs { .. } => {
                let job = ["batch.kubernetes.io/job-name", "job-name"]
                    .into_iter()
                    .find_map(|key| pod.metadata.labels.get(key));
                job.and_then(|job| names::index(job, allocation))
                    .unwrap_or(position)
            }
        }
    }
}
