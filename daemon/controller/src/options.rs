//! How the controller works: its settings, without the file that they stand in.

use tradewind_core::{
    manifest::namespace::Approval,
    names::InstanceName,
    settings::{PolicyFallback, StaleQuotes},
    units::{Bytes, Millis},
};

/// How the controller works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The policy instance of deployments that name none.
    pub default_policy: InstanceName,
    /// How long a provider's offers are taken as current.
    pub offers_ttl: Millis,
    /// How long a decision waits for a provider that has not answered yet.
    pub offers_patience: Millis,
    /// How often everything is looked at, changes or not.
    pub observe_interval: Millis,
    /// How often what is on its way is looked at.
    pub observe_interval_changing: Millis,
    /// How often it is asked how many replicas the load wants.
    pub scale_interval: Millis,
    /// The most provider calls that change something, at once.
    pub concurrency: usize,
    /// Whether a higher priority takes places of other namespaces as well.
    pub preempt_across_namespaces: bool,
    /// The most provider calls that change something in one region of a provider, at once.
    pub lane: usize,
    /// Between two looks for what runs without a record.
    pub sweep_interval: Millis,
    /// How long after a state was put back from a backup nothing is removed for having no record.
    pub sweep_grace: Millis,
    /// Who has to agree to changes in namespaces that do not say.
    pub approval: Approval,
    /// How long a stored plan can be applied, unless its author says otherwise.
    pub plan_expiry: Millis,
    /// Between two looks at whether what runs would cost less elsewhere.
    pub replacement_interval: Millis,
    /// The most replicas of a namespace that move for that within an hour.
    pub replacement_max_moves: u32,
    /// The newest decisions that are kept, over all deployments.
    pub keep_decisions: usize,
    /// How long the inputs of decisions are kept.
    pub keep_inputs_age: Millis,
    /// The most bytes of these inputs, as packed.
    pub keep_inputs_size: Bytes,
    /// What happens when a policy fails, or its answer is refused.
    pub policy_fallback: PolicyFallback,
    /// How long a quote is good for.
    pub quote_ttl: Millis,
    /// What happens to offers whose quote is older.
    pub stale_quotes: StaleQuotes,
    /// The revisions of each deployment that are kept.
    pub keep_revisions: usize,
    /// The newest events that are kept, over all deployments.
    pub keep_events: usize,
    /// The newest events of each deployment that are kept, whatever others do.
    pub keep_own_events: usize,
    /// The newest decisions of each deployment that are kept, whatever others do.
    pub keep_own_decisions: usize,
    /// How much of the audit log is kept.
    pub keep_audit: KeepAudit,
    /// The most bytes of all events.
    pub keep_events_size: Bytes,
    /// The most bytes of all decisions.
    pub keep_decisions_size: Bytes,
    /// The most stored plans of a namespace.
    pub most_plans: usize,
}

/// How much of the audit log is kept.
#[derive(Debug, Clone, Copy)]
pub struct KeepAudit {
    /// Beyond this number, and a sixteenth more, the oldest entries go.
    pub entries: u64,
    /// Entries that are younger stay, however many there are.
    pub age: Millis,
    /// The most bytes, whatever their age.
    pub size: Bytes,
}
