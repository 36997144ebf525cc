//! The types of the HTTP API: what clients send and what they are sent. The HTTP server writes them, the command line and other clients read
//! them. What the state holds is core's; a type here is made from it (`From`) and never stored, so that a field here can get another
//! name without a look at the database. It must not know how either side travels or is kept.
#![warn(missing_docs)]

mod audit;
mod base64;
mod canary;
mod command;
mod decision;
mod deployment;
mod event;
mod explain;
mod identity;
mod logs;
mod namespace;
mod offer;
mod page;
mod place;
mod plan;
mod plugin;
pub mod problem;
mod recovery;
mod regions;
mod replacement;
mod revision;
mod scale;
mod schedule;
mod session;
mod shadow;
mod usage;

pub use audit::{AuditView, Kept};
pub use canary::{Canary, CanaryEnd, CanaryStart, CanaryState, CanaryView};
pub use command::command;
pub use decision::{DecisionView, ExcludedView, QuoteView, RankedOffer, TaskReason};
pub use deployment::{
    Accepted, AllocationView, Bookmark, DeploymentLeft, DeploymentSummary, DeploymentView, Outcome,
    Status, TaskView,
};
pub use event::{Cause, EventView};
pub use explain::{CandidateView, ExcludedOffer, ExplainView, Flip, OfferPlace, TaskExplanation};
pub use identity::{TokenCreated, TokenRequest, TokenView, WhoAmI};
pub use logs::{LogsView, TaskLogLine};
pub use namespace::{
    HeldBack, HeldTask, MonthView, NamespaceLeft, NamespaceOutcome, NamespaceSummary,
    NamespaceView, SpendView, UsageView,
};
pub use offer::{OfferView, OffersView, Unoffered};
pub use page::{Nothing, Page};
pub use place::{CordonView, DrainView, LeftView, PlaceOutcome, PlaceView};
pub use plan::{
    Adds, Applied, Basis, ChangeView, Comment, PlanDiff, PlanLeft, PlanSummary, PlanView,
    PlannedSchedule, PrerequisiteView, Quote, Review, Running, ScaleBounds, StoredPlanView,
    UnplacedView,
};
pub use plugin::{
    CallStatistics, FolderProblem, OddFiles, Plugin, PluginLeft, PluginState, PluginView, Plugins,
    Refused, Rejection, ReloadReport, Rollback, Served,
};
pub use recovery::{Recovery, Restarts};
pub use regions::{CoolingView, Degraded, DegradedView, RegionLeft, RegionView, RegionsView};
pub use replacement::{Looked, ReplacementView, ReplacementsView};
pub use revision::{
    DeploymentDiff, FieldChange, PauseView, RevisionDiff, RevisionMark, RevisionView, RollbackTo,
    RolloutView,
};
pub use scale::{Sample, Samples, SamplesAccepted, ScaleBody, ScaleView, Scaled, ScaledTask};
pub use schedule::{JobRunView, ScheduleView};
pub use session::{
    ClientMessage, ExecRequest, Exit, PROTOCOL, STDERR, STDIN, STDOUT, ServerMessage, SessionView,
    TerminalSize,
};
pub use shadow::{ShadowFacts, ShadowPolicy, ShadowStart, ShadowView};
pub use usage::ReplicaUsage;

/// The parameter of a list's address that says where a page begins.
pub const CURSOR: &str = "cursor";
