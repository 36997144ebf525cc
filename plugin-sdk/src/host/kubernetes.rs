//! Objects of a Kubernetes cluster, as the host lends them.

use crate::{Error, bindings::provider::tradewind::kubernetes::cluster as wire, host::Host};

pub use wire::{
    ClusterInfo, Deletion, Device, ListQuery, LogLine, LogPage, LogQuery, Node, OwnedObject, Page,
    Propagation, Reference, SecretItem, ServedKind,
};

/// Objects of a cluster. Needs the grant `kubernetes`. `wit/kubernetes-v0.1/cluster.wit` tells the details.
pub trait Kubernetes {
    /// The cluster as far as it is granted.
    fn info(&self) -> Result<ClusterInfo, Error>;
    /// Makes these objects (JSON) so; answers them as the cluster has them.
    fn apply(&self, objects: &[String]) -> Result<Vec<String>, Error>;
    /// Makes a `Secret` of references; answers a text that differs once the object does.
    fn apply_secret(
        &self,
        namespace: &str,
        name: &str,
        items: &[SecretItem],
    ) -> Result<String, Error>;
    /// The object, if there is one.
    fn get(&self, object: &Reference) -> Result<Option<String>, Error>;
    /// One page of this instance's objects of a kind.
    fn list(&self, query: &ListQuery) -> Result<Page, Error>;
    /// Removes these; one answer for each.
    fn delete(
        &self,
        objects: &[Reference],
        propagation: Propagation,
    ) -> Result<Vec<Deletion>, Error>;
    /// Every object of this instance, without contents.
    fn owned(&self) -> Result<Vec<OwnedObject>, Error>;
    /// What a container wrote.
    fn logs(&self, query: &LogQuery) -> Result<LogPage, Error>;
    /// Every node, with these of its annotations.
    fn nodes(&self, annotations: &[String]) -> Result<Vec<Node>, Error>;
}

impl Kubernetes for Host {
    fn info(&self) -> Result<ClusterInfo, Error> {
        Ok(wire::info()?)
    }
    fn apply(&self, objects: &[String]) -> Result<Vec<String>, Error> {
        Ok(wire::apply(objects)?)
    }
    fn apply_secret(
        &self,
        namespace: &str,
        name: &str,
        items: &[SecretItem],
    ) -> Result<String, Error> {
        Ok(wire::apply_secret(namespace, name, items)?)
    }
    fn get(&self, object: &Reference) -> Result<Option<String>, Error> {
        Ok(wire::get(object)?)
    }
    fn list(&self, query: &ListQuery) -> Result<Page, Error> {
        Ok(wire::list(query)?)
    }
    fn delete(
        &self,
        objects: &[Reference],
        propagation: Propagation,
    ) -> Result<Vec<Deletion>, Error> {
        Ok(wire::delete(objects, propagation)?)
    }
    fn owned(&self) -> Result<Vec<OwnedObject>, Error> {
        Ok(wire::owned()?)
    }
    fn logs(&self, query: &LogQuery) -> Result<LogPage, Error> {
        Ok(wire::logs(query)?)
    }
    fn nodes(&self, annotations: &[String]) -> Result<Vec<Node>, Error> {
        Ok(wire::nodes(annotations)?)
    }
}
