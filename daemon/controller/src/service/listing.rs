//! Lists of what is in the cache. The lock is held while entries are counted out, some at a time; they are rendered when it is free again,
//! as they were when they were taken. It must not know how a page travels.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use tradewind_api::{DeploymentSummary, Status};
use tradewind_core::{
    identity::Scope,
    list::{Choice, OneOf, Page, Selector, Window},
    names::Namespace,
    record::DeploymentKey,
    store::Revision,
};

use crate::{
    Handle, lock,
    service::render,
    state::cache::{Cache, DeploymentState},
};

/// The most entries that are taken out of the cache at once.
pub(crate) const AT_ONCE: usize = 256;

/// Which items of a list.
#[derive(Debug, Clone)]
pub struct Filter<C> {
    /// Only of these namespaces.
    pub scope: Scope,
    /// Only of this namespace. None: of all.
    pub namespace: Option<Namespace>,
    /// None: whatever it is.
    pub status: Option<OneOf<C>>,
    /// Only items with these labels. The default selects all.
    pub selector: Selector,
}

impl<C: Choice> Filter<C> {
    /// Everything.
    pub fn all() -> Self {
        Self {
            scope: Scope::All,
            namespace: None,
            status: None,
            selector: Selector::default(),
        }
    }

    pub(crate) fn reaches(&self, namespace: &Namespace) -> bool {
        self.scope.admits(namespace)
            && self
                .namespace
                .as_ref()
                .is_none_or(|wanted| wanted == namespace)
    }

    pub(crate) fn has(&self, status: C) -> bool {
        self.status.as_ref().is_none_or(|wanted| wanted.has(status))
    }

    /// Whether every item of its namespaces is wanted.
    fn is_by_key(&self) -> bool {
        self.status.is_none() && self.selector.is_empty()
    }

    /// The namespaces that there can be anything of. None: every one.
    pub(super) fn namespaces(&self) -> Option<BTreeSet<Namespace>> {
        match (&self.namespace, &self.scope) {
            (Some(one), scope) => {
                Some(scope.admits(one).then(|| one.clone()).into_iter().collect())
            }
            (None, Scope::Only(names)) => Some(names.clone()),
            (None, Scope::All) => None,
        }
    }
}

impl Handle {
    /// Every change up to this revision is in what is read from now on.
    pub fn shown_revision(&self) -> Revision {
        self.shared.committer.progress.shown()
    }

    /// Deployments by namespace and name, or as the window is sorted. For another order than their own all of them are rendered, one part
    /// after the other.
    pub async fn list(
        &self,
        filter: &Filter<Status>,
        window: &Window<DeploymentSummary>,
    ) -> Page<DeploymentSummary> {
        let snapshot = self.shared.plugins.snapshot();
        let namespaces = filter.namespaces();
        let asked = window.sort.is_some();
        let begins = window.cursor.as_ref().filter(|_| !asked);
        let mut behind = begins.map(|cursor| {
            let (namespace, name) = cursor.key().clone();
            DeploymentKey { namespace, name }
        });
        let mut found = Vec::new();
        let mut sorted = window.collect();
        loop {
            let missing = window.limit.saturating_sub(found.len()).saturating_add(1);
            let at_once = if filter.is_by_key() && !asked {
                missing.min(AT_ONCE)
            } else {
                AT_ONCE
            };
            let taken =
                lock(&self.shared.cache).behind(behind.as_ref(), namespaces.as_ref(), at_once);
            let Some((last, _)) = taken.last() else { break };
            behind = Some(last.clone());
            let wanted = taken.iter().filter(|(_, entry)| {
                filter
                    .selector
                    .admits(&entry.record.manifest.metadata.labels)
            });
            let summaries = wanted.map(|(key, entry)| render::summary(key, entry, &snapshot));
            let summaries = summaries.filter(|summary| filter.has(summary.status));
            if asked {
                summaries.for_each(|summary| sorted.add(summary));
            } else {
                found.extend(summaries.take(missing));
            }
            if found.len() > window.limit {
                break;
            }
            // Whoever else waits for this thread comes in between.
            tokio::task::yield_now().await;
        }
        if asked {
            return sorted.page();
        }
        Page::first(found, window.limit)
    }
}

impl Cache {
    /// The first entries behind a key, of these namespaces. Each stays for its reader as it is now.
    pub(crate) fn behind(
        &self,
        behind: Option<&DeploymentKey>,
        namespaces: Option<&BTreeSet<Namespace>>,
        limit: usize,
    ) -> Vec<(DeploymentKey, Arc<DeploymentState>)> {
        let take =
            |(key, entry): (&DeploymentKey, &Arc<DeploymentState>)| (key.clone(), entry.clone());
        let from = behind.cloned().map_or(Unbounded, Excluded);
        let Some(namespaces) = namespaces else {
            return self
                .deployments
                .range_copies((from, Unbounded))
                .take(limit)
                .map(take)
                .collect();
        };
        let left = namespaces
            .iter()
            .filter(|name| behind.is_none_or(|key| **name >= key.namespace));
        let of = left.flat_map(|name| {
            let first = first_of(name);
            let from = match behind.filter(|key| key.namespace == *name) {
                Some(key) => Excluded(key.clone()),
                None => first.map_or(Unbounded, Included),
            };
            self.deployments
                .range_copies((from, Unbounded))
                .take_while(move |(key, _)| key.namespace == *name)
        });
        of.take(limit).map(take).collect()
    }
}

/// No key of the namespace comes before this one.
pub(crate) fn first_of(namespace: &Namespace) -> Option<DeploymentKey> {
    "0".parse().ok().map(|first| DeploymentKey {
        namespace: namespace.clone(),
        name: first,
    })
}

/// No key of the namespace comes behind this one.
pub(crate) fn last_of(namespace: &Namespace) -> Option<DeploymentKey> {
    "z".repeat(63).parse().ok().map(|last| DeploymentKey {
        namespace: namespace.clone(),
        name: last,
    })
}

#[cfg(test)]
mod tests {
    use tradewind_core::{record::DeploymentRecord, units::Instant};

    use tradewind_manifest::Format;

    use super::*;

    fn cache(keys: &[&str]) -> Cache {
        let mut cache = Cache::default();
        for key in keys {
            let (namespace, name) = key.split_once('/').expect("a key");
            let text = format!(
                "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: \"{name}\", namespace: {namespace}}}, spec: {{services: {{a: {{command: [x]}}}}}}}}"
            );
            let record = DeploymentRecord {
                generation: 1,
                manifest: tradewind_manifest::parse(text.as_bytes(), Format::Yaml)
                    .expect("a manifest"),
                deleting: false,
                scales: Vec::new(),
                created_at: Instant(0),
                updated_at: Instant(0),
                rollout: None,
                revisions: Vec::new(),
                adopt: None,
                moves: Vec::new(),
                reruns: Vec::new(),
                restarts: Vec::new(),
                schedules: Vec::new(),
                begun: Vec::new(),
                released: Vec::new(),
                waiting: Vec::new(),
            };
            let key = DeploymentKey {
                namespace: namespace.parse().expect("a name"),
                name: name.parse().expect("a name"),
            };
            cache
                .deployments
                .insert(key, DeploymentState::new(record, Revision(1)));
        }
        cache
    }

    fn key(text: &str) -> DeploymentKey {
        let (namespace, name) = text.split_once('/').expect("a key");
        DeploymentKey {
            namespace: namespace.parse().expect("a name"),
            name: name.parse().expect("a name"),
        }
    }

    #[test]
    fn entries_are_taken_by_namespace_behind_a_key() {
        let last = format!("b/{}", "z".repeat(63));
        let cache = cache(&["a/0", "a/x", "a-b/x", "b/0", "b/x", &last, "c/x"]);
        let names = |of: &[&str]| -> BTreeSet<Namespace> {
            of.iter().map(|n| n.parse().expect("a name")).collect()
        };
        let taken = |behind: Option<&str>, of: Option<&[&str]>, limit| {
            let of = of.map(names);
            let taken = cache.behind(behind.map(key).as_ref(), of.as_ref(), limit);
            taken
                .into_iter()
                .map(|(key, _)| key.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(taken(None, None, 3), ["a/0", "a/x", "a-b/x"]);
        assert_eq!(taken(Some("a-b/x"), None, 9), ["b/0", "b/x", &last, "c/x"]);
        assert_eq!(taken(None, Some(&["b"]), 9), ["b/0", "b/x", &last]);
        assert_eq!(
            taken(Some("b/0"), Some(&["a", "b", "nowhere"]), 9),
            ["b/x", &last]
        );
        assert_eq!(
            taken(Some("a/q"), Some(&["a", "c"]), 9),
            ["a/x", "c/x"],
            "the key itself may be gone"
        );
        assert!(taken(Some("c/x"), None, 9).is_empty() && taken(None, Some(&[]), 9).is_empty());
        let found: Vec<String> = cache.namespaces().map(|n| n.to_string()).collect();
        assert_eq!(found, ["a", "a-b", "b", "c"]);
    }

    #[test]
    fn what_a_reader_took_stays_as_it_was() {
        let mut cache = cache(&["a/x"]);
        let taken = cache.behind(None, None, 9);
        let entry = cache.deployments.get_mut(&key("a/x")).expect("it is there");
        entry.planned = 7;
        assert_eq!(taken.first().map(|(_, entry)| entry.planned), Some(0));
        assert_eq!(
            cache
                .deployments
                .get(&key("a/x"))
                .map(|entry| entry.planned),
            Some(7)
        );
    }
}
