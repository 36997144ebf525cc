//! The cluster as this plugin uses it: values instead of texts, whole lists instead of pages.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tradewind_plugin_sdk::{
    Error,
    host::{Kubernetes, KubernetesListQuery},
    types::Entry,
};

/// The most pages of one list.
const PAGES: usize = 1_000;

pub(crate) struct Cluster<H> {
    pub(crate) host: H,
}

impl<H: Kubernetes> Cluster<H> {
    pub(crate) fn new(host: H) -> Self {
        Self { host }
    }

    /// # Errors
    /// What the host says; `internal` for an answer that is not understood.
    pub(crate) fn apply(&self, objects: &[Value]) -> Result<(), Error> {
        let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
        self.host.apply(&texts).map(drop)
    }

    /// Every object of a kind with these labels.
    pub(crate) fn list<T: DeserializeOwned>(
        &self,
        kind: &str,
        namespace: &str,
        labels: &[(&str, &str)],
    ) -> Result<Vec<T>, Error> {
        let mut query = KubernetesListQuery {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            labels: entries(labels),
            fields: Vec::new(),
            limit: 0,
            after: None,
        };
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let page = self.host.list(&query)?;
            for text in &page.objects {
                all.push(parse(text)?);
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(all);
            }
        }
        Err(Error::internal(format!(
            "a list of more than {PAGES} pages of {kind}"
        )))
    }

    /// Warnings of the cluster's controllers in a namespace: one page, which is enough to explain what is new.
    pub(crate) fn warnings<T: DeserializeOwned>(&self, namespace: &str) -> Result<Vec<T>, Error> {
        let page = self.host.list(&KubernetesListQuery {
            kind: "Event".to_owned(),
            namespace: namespace.to_owned(),
            labels: Vec::new(),
            fields: entries(&[("type", "Warning")]),
            limit: 0,
            after: None,
        })?;
        page.objects.iter().map(|text| parse(text)).collect()
    }
}

fn entries(pairs: &[(&str, &str)]) -> Vec<Entry> {
    pairs
        .iter()
        .map(|(key, value)| Entry {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        })
        .collect()
}

pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        Error::internal(format!(
            "the cluster answered what is not understood: {error}"
        ))
    })
}
