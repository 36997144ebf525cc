//! Watching a list: server-sent events in place of its pages. It must not know what is listed.

use aide::transform::TransformOperation;
use axum::response::Response;
use futures::{Stream, StreamExt};
use schemars::JsonSchema;
use serde::Serialize;
use tradewind_api::{
    Bookmark, DeploymentLeft, DeploymentSummary, NamespaceLeft, NamespaceSummary, PlanLeft,
    PlanSummary, PluginLeft, PluginView, RegionLeft, RegionView,
};
use tradewind_controller::{self as controller, Followed, ListChange, ListEvent};
use tradewind_core::{
    list::{Cursor, Listed},
    store::Revision,
};

use super::{
    App, Error,
    extract::Streaming,
    sse::{self, Message},
};
use crate::identity::Identity;

/// An item of a list that can be watched.
pub(crate) trait Watched: Listed + Serialize + JsonSchema + Send + 'static {
    /// What is told of one that is not in the list any more.
    type Left: Serialize + JsonSchema + Send + 'static;

    fn left(key: Self::Key) -> Self::Left;
}

/// What is known of the changes of the lists that are made whole for each look.
pub(crate) struct Lists {
    pub(crate) plugins: std::sync::Arc<Followed<PluginView>>,
    pub(crate) plans: std::sync::Arc<Followed<PlanSummary>>,
    pub(crate) namespaces: std::sync::Arc<Followed<NamespaceSummary>>,
    pub(crate) regions: std::sync::Arc<Followed<RegionView>>,
}

/// What a request says of a watch.
pub(crate) struct Asked<'a, V: Listed> {
    pub(crate) watch: bool,
    pub(crate) after: Option<Revision>,
    pub(crate) streaming: Streaming,
    pub(crate) cursor: Option<&'a Cursor<V>>,
    /// An order or some fields alone are asked for.
    pub(crate) arranged: bool,
}

/// The data of a watch's events.
#[derive(Serialize)]
#[serde(untagged, bound(serialize = ""))]
enum Told<V: Watched> {
    Put(Box<V>),
    Delete(V::Left),
    Bookmark(Bookmark),
}

impl Lists {
    /// Nothing that changed before this revision is known.
    pub(crate) fn at(revision: Revision) -> Self {
        Self {
            plugins: Followed::new(revision).into(),
            plans: Followed::new(revision).into(),
            namespaces: Followed::new(revision).into(),
            regions: Followed::new(revision).into(),
        }
    }
}

impl<V: Listed> Asked<'_, V> {
    /// None: pages are asked for. Else a watch, behind this revision if there is one.
    ///
    /// # Errors
    /// `Parameters` or `Header` for what goes with the other one, or is no revision.
    pub(crate) fn of(self) -> Result<Option<Option<Revision>>, Error> {
        let refused = |message: String| Err(Error::Parameters { message });
        let resumed = self.streaming.last_event_id.map(revision).transpose()?;
        if !self.watch && !self.streaming.accepted {
            return match self.after {
                None => Ok(None),
                Some(Revision(after)) => refused(format!(
                    "after \"{after}\" is of a watch: send watch=true as well"
                )),
            };
        }
        if let Some(cursor) = self.cursor {
            return refused(format!(
                "cursor \"{cursor}\" is of a page, and this is a watch: send a revision as `after`"
            ));
        }
        if self.arranged {
            let message = "sort and fields are of pages, and this is a watch: leave them out";
            return refused(message.to_owned());
        }
        Ok(Some(resumed.or(self.after)))
    }
}

fn revision(value: String) -> Result<Revision, Error> {
    value.parse().map(Revision).map_err(|_| Error::Header {
        name: "Last-Event-ID",
        value,
        rule: "send the id of an event of the watch, or a revision",
    })
}

/// The watch.
///
/// # Errors
/// Too many streams are open.
pub(crate) async fn answer<V, S>(
    app: &App,
    identity: &Identity,
    events: S,
) -> Result<Response, Error>
where
    V: Watched,
    S: Stream<Item = Result<ListEvent<V>, controller::Error>> + Send + 'static,
{
    let messages = events.map(|event| {
        let ListEvent { revision, change } = event?;
        let (name, data) = match change {
            ListChange::Put(item) => ("put", Told::Put(item)),
            ListChange::Delete(key) => ("delete", Told::<V>::Delete(V::left(key))),
            ListChange::Bookmark => {
                let revision = revision.unwrap_or_default();
                ("bookmark", Told::Bookmark(Bookmark { revision }))
            }
        };
        Ok(Message {
            id: revision.map(|revision| revision.0.to_string()),
            name,
            data,
        })
    });
    sse::response(app, identity, messages).await
}

/// For the documentation of a route that answers with a watch as well.
pub(crate) fn described<V: Watched>(op: TransformOperation) -> TransformOperation {
    let events = sse::Told::default()
        .event::<V>("put")
        .event::<V::Left>("delete")
        .event::<Bookmark>("bookmark");
    op.with(events.described())
}

impl Watched for DeploymentSummary {
    type Left = DeploymentLeft;
    fn left((namespace, name): Self::Key) -> DeploymentLeft {
        DeploymentLeft { namespace, name }
    }
}

impl Watched for PlanSummary {
    type Left = PlanLeft;
    fn left((_, namespace, id): Self::Key) -> PlanLeft {
        PlanLeft { namespace, id }
    }
}

impl Watched for NamespaceSummary {
    type Left = NamespaceLeft;
    fn left(name: Self::Key) -> NamespaceLeft {
        NamespaceLeft { name }
    }
}

impl Watched for PluginView {
    type Left = PluginLeft;
    fn left(instance: Self::Key) -> PluginLeft {
        PluginLeft { instance }
    }
}

impl Watched for RegionView {
    type Left = RegionLeft;
    fn left((provider, region): Self::Key) -> RegionLeft {
        RegionLeft { provider, region }
    }
}
