//! One call: who asks, in which region, with which clients. What it does there is in `ec2` and `elb`.

use std::sync::Arc;

use tradewind_core::{
    capability::aws::Asker,
    failure::{Failure, FailureKind},
    names::InstanceName,
};

use crate::{Inner, account::Clients};

pub(crate) struct Session<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) asker: &'a Asker,
    pub(crate) region: &'a str,
    pub(crate) clients: Arc<Clients>,
}

impl<'a> Session<'a> {
    pub(crate) async fn open(
        inner: &'a Inner,
        asker: &'a Asker,
        region: &'a str,
    ) -> Result<Self, Failure> {
        Ok(Self {
            inner,
            asker,
            region,
            clients: inner.directory.clients(&asker.grant, region).await?,
        })
    }

    pub(crate) fn owner(&self) -> &InstanceName {
        &self.asker.owner
    }
}

/// Something exists that is not the asker's own.
pub(crate) fn foreign(what: &str, id: &str, field: &str) -> Failure {
    let shown = id.escape_debug();
    Failure::new(
        FailureKind::Denied,
        format!(
            "the {what} \"{shown}\" does not belong to this plugin instance: it bears no tag of it"
        ),
    )
    .field(field)
    .code("not-owned")
    .remedy("only what this plugin instance has made can be changed or removed by it")
}

/// AWS has answered with less than it says it does.
pub(crate) fn incomplete(operation: &str) -> Failure {
    Failure::internal(format!("{operation}: the answer lacks what was made"))
        .code("incomplete-answer")
}
