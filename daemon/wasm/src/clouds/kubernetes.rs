//! The guest's side of the capability `kubernetes`. Nothing of its generated types leaves this file.

use wasmtime::component::{HasSelf, Linker};

use self::bindings::tradewind::kubernetes::cluster;
use super::{Answer, Capability, answer, ungranted};
use crate::state::Call;

mod bindings {
    #![allow(unreachable_pub, unused_variables, clippy::all, clippy::restriction, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/v0.1", "../../wit/kubernetes-v0.1"],
        inline: "package tradewind:host; world guest { import tradewind:kubernetes/cluster@0.1.0; }",
        world: "tradewind:host/guest",
        imports: { default: async | trappable },
        with: { "tradewind:plugin/types": crate::v0_1::bindings::provider::tradewind::plugin::types },
    });
}

pub(super) const CAPABILITY: Capability = Capability {
    name: "kubernetes",
    interfaces: &["tradewind:kubernetes/cluster@0.1.0"],
    grant: "[grants.kubernetes]\nnamespaces = [\"default\"]",
    granted: |grants| grants.kubernetes.is_some(),
    link: |linker: &mut Linker<Call>| cluster::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call),
};

impl cluster::Host for Call {
    async fn version(&mut self) -> Answer<String> {
        let Some(grant) = self.lent.grants.kubernetes.clone() else { return answer(Err(ungranted("kubernetes"))) };
        answer(self.lent.capabilities.kubernetes.version(&self.lent.owner, &grant).await)
    }
}
