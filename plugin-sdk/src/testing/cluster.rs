//! A stand-in for a Kubernetes cluster: objects in a table, with the marks that the host would give them. No controller acts on them; tests do.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use serde_json::{Value, json};

use crate::{
    Error,
    host::{
        ClusterInfo, Deletion, Kubernetes, KubernetesListQuery, KubernetesPage, Node, OwnedObject,
        PodLogPage, PodLogQuery, Propagation, Reference, SecretItem, ServedKind,
    },
    types::{Allocation, Entry},
};

type Key = (String, String, String);

/// The `kubernetes` capability over a table. Clones share it.
#[derive(Clone, Default)]
pub struct Cluster {
    table: Rc<RefCell<Table>>,
}

#[derive(Default)]
struct Table {
    objects: BTreeMap<Key, Value>,
    secrets: BTreeMap<Key, Vec<SecretItem>>,
    nodes: Vec<Node>,
    logs: BTreeMap<String, PodLogPage>,
    /// The labels of the attempt under way.
    attempt: Option<BTreeMap<String, String>>,
    refusals: VecDeque<(String, Error)>,
    calls: Vec<String>,
    /// Owners are removed at the second look, as with foreground deletion.
    lingering: bool,
}

fn key(kind: &str, namespace: &str, name: &str) -> Key {
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

fn of(reference: &Reference) -> Key {
    key(&reference.kind, &reference.namespace, &reference.name)
}

impl Cluster {
    /// Calls from now on are made within an `apply` of this allocation; none: outside of one.
    pub fn within(&self, allocation: Option<&Allocation>) {
        let labels = |a: &Allocation| {
            BTreeMap::from(
                [
                    ("allocation", &a.id),
                    ("namespace", &a.namespace),
                    ("deployment", &a.deployment),
                    ("task", &a.task),
                ]
                .map(|(key, value)| (format!("tradewind.dev/{key}"), value.clone())),
            )
        };
        self.table.borrow_mut().attempt = allocation.map(labels);
    }

    /// An object, as it was last applied or changed.
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.table
            .borrow()
            .objects
            .get(&key(kind, namespace, name))
            .cloned()
    }

    /// The kinds and names of all objects, in order.
    pub fn names(&self) -> Vec<String> {
        self.table
            .borrow()
            .objects
            .keys()
            .map(|(kind, _, name)| format!("{kind}/{name}"))
            .collect()
    }

    /// Puts an object there as the cluster itself would, or somebody else.
    pub fn put(&self, kind: &str, namespace: &str, name: &str, mut object: Value) {
        if let Some(object) = object.as_object_mut() {
            let metadata = object.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("name".to_owned(), json!(name));
                metadata.insert("namespace".to_owned(), json!(namespace));
            }
        }
        self.table
            .borrow_mut()
            .objects
            .insert(key(kind, namespace, name), object);
    }

    /// Sets a part of an object (`/status`).
    pub fn set(&self, kind: &str, namespace: &str, name: &str, part: &str, value: Value) {
        if let Some(object) = self
            .table
            .borrow_mut()
            .objects
            .get_mut(&key(kind, namespace, name))
            .and_then(Value::as_object_mut)
        {
            object.insert(part.trim_start_matches('/').to_owned(), value);
        }
    }

    /// Makes an object vanish.
    pub fn lose(&self, kind: &str, namespace: &str, name: &str) {
        self.table
            .borrow_mut()
            .objects
            .remove(&key(kind, namespace, name));
    }

    /// What a secret object was made of.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Vec<SecretItem>> {
        self.table
            .borrow()
            .secrets
            .get(&key("Secret", namespace, name))
            .cloned()
    }

    /// What the cluster's nodes have and leave.
    pub fn nodes_are(&self, nodes: Vec<Node>) {
        self.table.borrow_mut().nodes = nodes;
    }

    /// What a pod's container has written.
    pub fn wrote(&self, pod: &str, page: PodLogPage) {
        self.table.borrow_mut().logs.insert(pod.to_owned(), page);
    }

    /// Makes the next call of this name fail so.
    pub fn refuse(&self, call: &str, error: Error) {
        self.table
            .borrow_mut()
            .refusals
            .push_back((call.to_owned(), error));
    }

    /// Whether objects that are removed in the foreground stay for one more look.
    pub fn linger(&self, lingering: bool) {
        self.table.borrow_mut().lingering = lingering;
    }

    /// The calls since the last time this was asked: `list Pod`, `apply 3`.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.table.borrow_mut().calls)
    }

    fn called(&self, name: &str, what: impl std::fmt::Display) -> Result<(), Error> {
        let mut table = self.table.borrow_mut();
        table
            .calls
            .push(format!("{name} {what}").trim_end().to_owned());
        if table.refusals.front().is_some_and(|(call, _)| call == name)
            && let Some((_, error)) = table.refusals.pop_front()
        {
            return Err(error);
        }
        Ok(())
    }
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    object
        .pointer("/metadata/labels")
        .and_then(|labels| serde_json::from_value(labels.clone()).ok())
        .unwrap_or_default()
}

const MARK: (&str, &str) = ("tradewind.dev/instance", "under-test");

fn is_ours(object: &Value) -> bool {
    labels(object)
        .get(MARK.0)
        .is_some_and(|value| value == MARK.1)
}

fn not_ours(name: &str) -> Error {
    Error::denied(format!("{name:?} was not made by this instance")).code("not-ours")
}

impl Kubernetes for Cluster {
    fn info(&self) -> Result<ClusterInfo, Error> {
        self.called("info", "")?;
        let kind = |kind: &str| ServedKind {
            kind: kind.to_owned(),
            api_version: "v1".to_owned(),
        };
        Ok(ClusterInfo {
            version: "v1.33.0".to_owned(),
            namespaces: vec!["default".to_owned()],
            kinds: ["Deployment", "Service", "Job", "Secret"]
                .map(kind)
                .to_vec(),
        })
    }

    fn apply(&self, objects: &[String]) -> Result<Vec<String>, Error> {
        self.called("apply", objects.len())?;
        let mut answers = Vec::new();
        for text in objects {
            let mut object: Value =
                serde_json::from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
            let text = |pointer: &str| {
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let key = key(
                &text("/kind"),
                &text("/metadata/namespace"),
                &text("/metadata/name"),
            );
            let mut table = self.table.borrow_mut();
            let before = table.objects.get(&key).cloned();
            if before.as_ref().is_some_and(|before| !is_ours(before)) {
                return Err(not_ours(&key.2));
            }
            let marks = match (&table.attempt, &before) {
                (Some(attempt), _) => attempt.clone(),
                (None, Some(before)) => labels(before),
                (None, None) => {
                    return Err(Error::denied("only an apply makes new objects").code("no-attempt"));
                }
            };
            let mut all = labels(&object);
            all.extend(marks);
            all.insert(MARK.0.to_owned(), MARK.1.to_owned());
            if let Some(metadata) = object
                .pointer_mut("/metadata")
                .and_then(Value::as_object_mut)
            {
                metadata.insert("labels".to_owned(), json!(all));
            }
            if let (Some(status), Some(object)) = (
                before.and_then(|before| before.get("status").cloned()),
                object.as_object_mut(),
            ) {
                object.insert("status".to_owned(), status);
            }
            answers.push(object.to_string());
            table.objects.insert(key, object);
        }
        Ok(answers)
    }

    fn apply_secret(
        &self,
        namespace: &str,
        name: &str,
        items: &[SecretItem],
    ) -> Result<String, Error> {
        self.called("apply-secret", name)?;
        let text = json!({"kind": "Secret", "metadata": {"name": name, "namespace": namespace}})
            .to_string();
        self.apply(&[text])?;
        self.table
            .borrow_mut()
            .secrets
            .insert(key("Secret", namespace, name), items.to_vec());
        Ok(format!("{items:?}").len().to_string())
    }

    fn get(&self, object: &Reference) -> Result<Option<String>, Error> {
        self.called("get", &object.kind)?;
        let table = self.table.borrow();
        match table.objects.get(&of(object)) {
            Some(found) if !is_ours(found) => Err(not_ours(&object.name)),
            found => Ok(found.map(Value::to_string)),
        }
    }

    fn list(&self, query: &KubernetesListQuery) -> Result<KubernetesPage, Error> {
        self.called("list", &query.kind)?;
        let table = self.table.borrow();
        let fits = |object: &Value| {
            let has = labels(object);
            (query.kind == "Event" || is_ours(object))
                && query
                    .labels
                    .iter()
                    .all(|label| has.get(&label.key) == Some(&label.value))
        };
        let of_kind = table.objects.iter().filter(|((kind, namespace, _), _)| {
            *kind == query.kind && *namespace == query.namespace
        });
        Ok(KubernetesPage {
            objects: of_kind
                .filter(|(_, o)| fits(o))
                .map(|(_, o)| o.to_string())
                .collect(),
            next: None,
        })
    }

    fn delete(
        &self,
        objects: &[Reference],
        propagation: Propagation,
    ) -> Result<Vec<Deletion>, Error> {
        self.called("delete", objects.len())?;
        let mut ends = Vec::new();
        for object in objects {
            let mut table = self.table.borrow_mut();
            let lingering = table.lingering && propagation == Propagation::Foreground;
            let Some(found) = table.objects.get_mut(&of(object)) else {
                ends.push(Deletion::Gone);
                continue;
            };
            if !is_ours(found) {
                return Err(not_ours(&object.name));
            }
            let going = found.pointer("/metadata/deletionTimestamp").is_some();
            if let Some(metadata) = found
                .pointer_mut("/metadata")
                .and_then(Value::as_object_mut)
                .filter(|_| lingering && !going)
            {
                metadata.insert(
                    "deletionTimestamp".to_owned(),
                    json!("2026-01-01T00:00:00Z"),
                );
                ends.push(Deletion::Going);
            } else {
                table.objects.remove(&of(object));
                ends.push(Deletion::Gone);
            }
        }
        Ok(ends)
    }

    fn owned(&self) -> Result<Vec<OwnedObject>, Error> {
        self.called("owned", "")?;
        let table = self.table.borrow();
        let ours = table
            .objects
            .iter()
            .filter(|((kind, ..), object)| kind != "Pod" && is_ours(object));
        let owned = ours.map(|((kind, namespace, name), object)| {
            let labels = labels(object);
            OwnedObject {
                object: Reference {
                    kind: kind.clone(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                },
                allocation: labels
                    .get("tradewind.dev/allocation")
                    .cloned()
                    .unwrap_or_default(),
                labels: labels
                    .into_iter()
                    .map(|(key, value)| Entry { key, value })
                    .collect(),
            }
        });
        Ok(owned.collect())
    }

    fn logs(&self, query: &PodLogQuery) -> Result<PodLogPage, Error> {
        self.called("logs", &query.pod)?;
        let known = self.table.borrow().logs.get(&query.pod).cloned();
        known.ok_or_else(|| Error::not_found(format!("no log of {:?}", query.pod)))
    }

    fn nodes(&self, _annotations: &[String]) -> Result<Vec<Node>, Error> {
        self.called("nodes", "")?;
        Ok(self.table.borrow().nodes.clone())
    }
}
