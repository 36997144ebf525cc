//! A policy's calls.

use async_trait::async_trait;
use tradewind_core::{
    failure::{Failure, FailureKind},
    grant::Spaces,
    placement::{Answer, Request},
    plugin::{Features, Identity, Kind, Policy},
};

use super::{
    bindings::policy::{PolicyPre, exports::tradewind::plugin::scheduling_policy as wit},
    convert,
    place::{self, Batch},
};
use crate::runtime::{
    call::{Runner, within},
    census::Counted,
    plugin_info::PluginInfo,
    state::Call,
};

/// One version of a policy instance.
pub(super) struct PolicyVersion {
    pub(super) runner: Runner,
    pub(super) pre: PolicyPre<Call>,
    pub(super) settings: String,
    pub(super) columns: wit::Columns,
    pub(super) cache: place::Cache,
    pub(super) _counted: Counted,
}

/// The smoke call: who are you, and what do you read?
pub(super) async fn describe(
    runner: &Runner,
    pre: &PolicyPre<Call>,
) -> Result<(PluginInfo, wit::Columns), Failure> {
    let mut open = runner.open("describe").await?;
    let outcome = within(runner.deadline(), async {
        let instance = pre.instantiate_async(&mut open.store).await?;
        instance
            .tradewind_plugin_scheduling_policy()
            .call_describe(&mut open.store)
            .await
    })
    .await;
    let info = open.close(outcome)?;
    let texts = (info.name, info.version, info.summary, info.settings_schema);
    let about = PluginInfo::checked(Kind::Policy, texts, Vec::new(), Features::default());
    Ok((
        about.map_err(|what| runner.bad_answer("describe", what))?,
        info.columns,
    ))
}

#[async_trait]
impl Policy for PolicyVersion {
    fn identity(&self) -> &Identity {
        &self.runner.identity
    }

    fn namespaces(&self) -> &Spaces {
        &self.runner.context.namespaces
    }

    async fn place(&self, request: &Request) -> Result<Answer, Failure> {
        let mut open = self.runner.open("place").await?;
        let columns = self.cache.columns(request, self.columns);
        let batch = Batch::new(request, &self.settings, self.columns, &columns);
        let asked = batch.lend();
        let outcome = within(self.runner.deadline(), async {
            let instance = self.pre.instantiate_async(&mut open.store).await?;
            instance
                .tradewind_plugin_scheduling_policy()
                .call_place(&mut open.store, asked)
                .await
        })
        .await;
        let answer = open.close(outcome)?.map_err(|fault| {
            self.runner
                .reported(convert::from_fault(FailureKind::Invalid, fault))
        })?;
        place::answer(answer, request.candidates.offer.len())
            .map_err(|what| self.runner.bad_answer("place", what))
    }
}
