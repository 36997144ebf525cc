//! The guest's side of the capability `kubernetes`. Nothing of its generated types leaves this file.

use tradewind_core::{
    capability::kubernetes as core,
    failure::Failure,
    grant::KubernetesGrant,
    workload::{Labels, SecretRef},
};
use wasmtime::component::{HasSelf, Linker};

use self::bindings::tradewind::kubernetes::cluster;
use super::{Answer, Capability, answer, ungranted, wit};
use crate::runtime::state::{Call, HostBytesExceeded};

mod bindings {
    #![allow(
        unreachable_pub,
        unused_variables,
        clippy::all,
        clippy::restriction,
        reason = "generated"
    )]
    wasmtime::component::bindgen!({
        path: ["../../wit/v0.1", "../../wit/kubernetes-v0.1"],
        inline: "package tradewind:host; world guest { import tradewind:kubernetes/cluster@0.1.0; }",
        world: "tradewind:host/guest",
        imports: { default: async | trappable },
        with: { "tradewind:plugin/types": crate::runtime::v0_1::bindings::provider::tradewind::plugin::types },
    });
}

pub(super) const CAPABILITY: Capability = Capability {
    name: "kubernetes",
    interfaces: &["tradewind:kubernetes/cluster@0.1.0"],
    grant: "[grants.kubernetes]\nkubeconfig = \"/absolute/path\"\nnamespaces = [\"default\"]",
    granted: |grants| grants.kubernetes.is_some(),
    link: |linker: &mut Linker<Call>| {
        cluster::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
    },
};

impl Call {
    /// On whose behalf, and within which limits.
    fn cluster(&self) -> Result<(core::Caller, KubernetesGrant), Failure> {
        let grant = self
            .context
            .grants
            .kubernetes
            .as_ref()
            .ok_or_else(|| ungranted("kubernetes"))?;
        let caller = core::Caller {
            owner: self.context.owner.clone(),
            attempt: self.attempt.clone(),
        };
        Ok((caller, grant.for_namespace(self.namespace())))
    }

    fn charge_all<'t>(
        &mut self,
        texts: impl IntoIterator<Item = &'t String>,
    ) -> Result<(), HostBytesExceeded> {
        self.charge(texts.into_iter().map(String::len).sum())
    }
}

/// What the grant gives, or the guest's answer that it gives nothing.
macro_rules! lent {
    ($call:ident) => {
        match $call.cluster() {
            Ok(lent) => lent,
            Err(failure) => return answer(Err(failure)),
        }
    };
}

fn reference(r: core::Reference) -> cluster::Reference {
    cluster::Reference {
        kind: r.kind,
        namespace: r.namespace,
        name: r.name,
    }
}

fn reference_from(r: cluster::Reference) -> core::Reference {
    core::Reference {
        kind: r.kind,
        namespace: r.namespace,
        name: r.name,
    }
}

fn entries(labels: Labels) -> Vec<wit::Entry> {
    labels
        .into_iter()
        .map(|(key, value)| wit::Entry { key, value })
        .collect()
}

fn labels_from(entries: Vec<wit::Entry>) -> Labels {
    entries.into_iter().map(|e| (e.key, e.value)).collect()
}

fn node(n: core::Node) -> cluster::Node {
    let device = |d: core::Device| cluster::Device {
        resource: d.resource,
        count: d.count,
        free: d.free,
    };
    cluster::Node {
        name: n.name,
        labels: entries(n.labels),
        annotations: entries(n.annotations),
        usable: n.usable,
        cpu: n.cpu,
        free_cpu: n.free_cpu,
        memory: n.memory.0,
        free_memory: n.free_memory.0,
        disk: n.disk.0,
        pods: n.pods,
        free_pods: n.free_pods,
        devices: n.devices.into_iter().map(device).collect(),
    }
}

impl cluster::Host for Call {
    async fn info(&mut self) -> Answer<cluster::ClusterInfo> {
        self.ask()?;
        let (_, grant) = lent!(self);
        let result = self.context.capabilities.kubernetes.info(&grant).await;
        let kind = |k: core::ServedKind| cluster::ServedKind {
            kind: k.kind,
            api_version: k.api_version,
        };
        answer(result.map(|i| cluster::ClusterInfo {
            version: i.version,
            namespaces: i.namespaces,
            kinds: i.kinds.into_iter().map(kind).collect(),
        }))
    }

    async fn apply(&mut self, objects: Vec<String>) -> Answer<Vec<String>> {
        self.ask()?;
        self.charge_all(&objects)?;
        let (caller, grant) = lent!(self);
        let kubernetes = self.context.capabilities.kubernetes.clone();
        let result = self
            .context
            .effect(async move { kubernetes.apply(&caller, &grant, objects).await })
            .await;
        if let Ok(written) = &result {
            self.charge_all(written)?;
        }
        answer(result)
    }

    async fn apply_secret(
        &mut self,
        namespace: String,
        name: String,
        items: Vec<cluster::SecretItem>,
    ) -> Answer<String> {
        self.ask()?;
        self.charge(
            items
                .iter()
                .map(|item| item.key.len() + item.source.name.len())
                .sum(),
        )?;
        let (caller, grant) = lent!(self);
        let item = |i: cluster::SecretItem| core::SecretItem {
            key: i.key,
            source: SecretRef {
                name: i.source.name,
                key: i.source.key,
            },
            variable: i.variable,
        };
        let items = items.into_iter().map(item).collect();
        let kubernetes = self.context.capabilities.kubernetes.clone();
        let effect = async move {
            kubernetes
                .apply_secret(&caller, &grant, &namespace, &name, items)
                .await
        };
        answer(self.context.effect(effect).await)
    }

    async fn get(&mut self, object: cluster::Reference) -> Answer<Option<String>> {
        self.ask()?;
        let (caller, grant) = lent!(self);
        let result = self
            .context
            .capabilities
            .kubernetes
            .get(&caller, &grant, &reference_from(object))
            .await;
        if let Ok(Some(object)) = &result {
            self.charge(object.len())?;
        }
        answer(result)
    }

    async fn list(&mut self, query: cluster::ListQuery) -> Answer<cluster::Page> {
        self.ask()?;
        let (caller, grant) = lent!(self);
        let query = core::ListQuery {
            kind: query.kind,
            namespace: query.namespace,
            labels: labels_from(query.labels),
            fields: labels_from(query.fields),
            limit: query.limit,
            after: query.after,
        };
        let result = self
            .context
            .capabilities
            .kubernetes
            .list(&caller, &grant, &query)
            .await;
        if let Ok(page) = &result {
            self.charge_all(&page.objects)?;
        }
        answer(result.map(|page| cluster::Page {
            objects: page.objects,
            next: page.next,
        }))
    }

    async fn delete(
        &mut self,
        objects: Vec<cluster::Reference>,
        propagation: cluster::Propagation,
    ) -> Answer<Vec<cluster::Deletion>> {
        self.ask()?;
        self.charge(objects.iter().map(|object| object.name.len()).sum())?;
        let (caller, grant) = lent!(self);
        let objects = objects.into_iter().map(reference_from).collect();
        let propagation = match propagation {
            cluster::Propagation::Foreground => core::Propagation::Foreground,
            cluster::Propagation::Background => core::Propagation::Background,
        };
        let kubernetes = self.context.capabilities.kubernetes.clone();
        let result = self
            .context
            .effect(async move {
                kubernetes
                    .delete(&caller, &grant, objects, propagation)
                    .await
            })
            .await;
        let deletion = |d| match d {
            core::Deletion::Gone => cluster::Deletion::Gone,
            core::Deletion::Going => cluster::Deletion::Going,
        };
        answer(result.map(|all| all.into_iter().map(deletion).collect()))
    }

    async fn owned(&mut self) -> Answer<Vec<cluster::OwnedObject>> {
        self.ask()?;
        let (caller, grant) = lent!(self);
        let result = self
            .context
            .capabilities
            .kubernetes
            .owned(&caller, &grant)
            .await;
        if let Ok(all) = &result {
            self.charge_all(all.iter().flat_map(|one| {
                [&one.object.name, &one.allocation]
                    .into_iter()
                    .chain(one.labels.values())
            }))?;
        }
        let owned = |o: core::OwnedObject| cluster::OwnedObject {
            object: reference(o.object),
            allocation: o.allocation,
            labels: entries(o.labels),
        };
        answer(result.map(|all| all.into_iter().map(owned).collect()))
    }

    async fn logs(&mut self, query: cluster::LogQuery) -> Answer<cluster::LogPage> {
        self.ask()?;
        let previous = self.take_previous();
        let (caller, grant) = lent!(self);
        let query = core::PodLogQuery {
            namespace: query.namespace,
            pod: query.pod,
            container: query.container,
            tail: query.tail,
            after: query.after,
            previous,
        };
        let result = self
            .context
            .capabilities
            .kubernetes
            .logs(&caller, &grant, &query)
            .await;
        if let Ok(log) = &result {
            self.charge_all(log.lines.iter().map(|line| &line.text))?;
        }
        let line = |l: core::PodLogLine| cluster::LogLine {
            time: l.time.map(|t| t.0),
            text: l.text,
        };
        answer(result.map(|log| cluster::LogPage {
            lines: log.lines.into_iter().map(line).collect(),
            next: log.next,
        }))
    }

    async fn nodes(&mut self, annotations: Vec<String>) -> Answer<Vec<cluster::Node>> {
        self.ask()?;
        let (_, grant) = lent!(self);
        let result = self
            .context
            .capabilities
            .kubernetes
            .nodes(&grant, &annotations)
            .await;
        if let Ok(nodes) = &result {
            self.charge_all(nodes.iter().flat_map(|node| {
                node.labels
                    .iter()
                    .chain(&node.annotations)
                    .flat_map(|(k, v)| [k, v])
            }))?;
        }
        answer(result.map(|nodes| nodes.into_iter().map(node).collect()))
    }
}
