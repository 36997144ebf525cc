//! The guest's side of the capability `aws`. Nothing of its generated types leaves this file.

use wasmtime::component::{HasSelf, Linker};

use self::bindings::tradewind::aws::ec2;
use super::{Answer, Capability, answer, ungranted};
use crate::state::Call;

mod bindings {
    #![allow(unreachable_pub, unused_variables, clippy::all, clippy::restriction, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/v0.1", "../../wit/aws-v0.1"],
        inline: "package tradewind:host; world guest { import tradewind:aws/ec2@0.1.0; }",
        world: "tradewind:host/guest",
        imports: { default: async | trappable },
        with: { "tradewind:plugin/types": crate::v0_1::bindings::provider::tradewind::plugin::types },
    });
}

pub(super) const CAPABILITY: Capability = Capability {
    name: "aws",
    interfaces: &["tradewind:aws/ec2@0.1.0"],
    grant: "[grants.aws]\nregions = [\"us-east-1\"]",
    granted: |grants| grants.aws.is_some(),
    link: |linker: &mut Linker<Call>| ec2::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call),
};

impl ec2::Host for Call {
    async fn zones(&mut self, region: String) -> Answer<Vec<String>> {
        let Some(grant) = self.lent.grants.aws.clone() else { return answer(Err(ungranted("aws"))) };
        answer(self.lent.capabilities.aws.zones(&self.lent.owner, &grant, &region).await)
    }
}
