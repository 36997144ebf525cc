//! The guest's side of the capability `containers`. Nothing of its generated types leaves this file.

use wasmtime::component::{HasSelf, Linker};

use self::bindings::tradewind::containers::engine;
use super::{Answer, Capability, answer, ungranted};
use crate::state::Call;

mod bindings {
    #![allow(unreachable_pub, unused_variables, clippy::all, clippy::restriction, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/v0.1", "../../wit/containers-v0.1"],
        inline: "package tradewind:host; world guest { import tradewind:containers/engine@0.1.0; }",
        world: "tradewind:host/guest",
        imports: { default: async | trappable },
        with: { "tradewind:plugin/types": crate::v0_1::bindings::provider::tradewind::plugin::types },
    });
}

pub(super) const CAPABILITY: Capability = Capability {
    name: "containers",
    interfaces: &["tradewind:containers/engine@0.1.0"],
    grant: "[grants.containers]\nimages = [\"*\"]",
    granted: |grants| grants.containers.is_some(),
    link: |linker: &mut Linker<Call>| engine::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call),
};

impl engine::Host for Call {
    async fn info(&mut self) -> Answer<engine::EngineInfo> {
        let Some(grant) = self.lent.grants.containers.clone() else { return answer(Err(ungranted("containers"))) };
        let result = self.lent.capabilities.containers.info(&self.lent.owner, &grant).await;
        answer(result.map(|i| engine::EngineInfo {
            name: i.name,
            version: i.version,
            os: i.os,
            arch: i.arch,
            cpu: i.cpu,
            memory: i.memory,
        }))
    }
}
