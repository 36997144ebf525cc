//! Every kind of document in the state, the keys it lives under, and its steps from version to version.

use serde_json::{Value, json};

use super::{Document, allocation};
use crate::{
    ports::identity::{TOKEN_USES, TOKENS, TokenRecord, TokenUse},
    spec::image::Pins,
    state::{
        cordon::{CordonRecord, PLACES},
        decision::Decision,
        event::Event,
        ledger::Segment,
        plan::stored::{PLANS, PlanRecord},
        quality::Stored,
        record::{
            ALLOCATIONS, AllocationRecord, DAEMON, DECISIONS, DEPLOYMENTS, DaemonRecord,
            DeploymentRecord, EVENTS, HELD, HeldRecord, IMAGES, INPUT_SIZES, INSTALLATION,
            InputSize, InstallationRecord, LEDGERS, LedgerRecord, MEASURES, NAMESPACES,
            NamespaceRecord, ORPHANS, OrphanRecord, RESTORED, REVISIONS, Restored, RevisionRecord,
            SEGMENTS, SHADOWS, ShadowRecord,
        },
    },
};

/// What `check` looks at before a daemon begins. Inputs of decisions are not here: their bytes have a version of their own
/// (`placement::recorded`), are read by request alone and are never written again.
pub const KINDS: &[(&str, u32)] = &[
    (INSTALLATION, InstallationRecord::VERSION),
    (RESTORED, Restored::VERSION),
    (DAEMON, DaemonRecord::VERSION),
    (DEPLOYMENTS, DeploymentRecord::VERSION),
    (REVISIONS, RevisionRecord::VERSION),
    (ALLOCATIONS, AllocationRecord::VERSION),
    (HELD, HeldRecord::VERSION),
    (IMAGES, Pins::VERSION),
    (PLANS, PlanRecord::VERSION),
    (PLACES, CordonRecord::VERSION),
    (DECISIONS, Decision::VERSION),
    (INPUT_SIZES, InputSize::VERSION),
    (EVENTS, Event::VERSION),
    (NAMESPACES, NamespaceRecord::VERSION),
    (SEGMENTS, Segment::VERSION),
    (LEDGERS, LedgerRecord::VERSION),
    (MEASURES, Stored::VERSION),
    (SHADOWS, ShadowRecord::VERSION),
    (ORPHANS, OrphanRecord::VERSION),
    (TOKENS, TokenRecord::VERSION),
    (TOKEN_USES, TokenUse::VERSION),
];

impl Document for InstallationRecord {}
impl Document for Restored {}
impl Document for DaemonRecord {}
/// Version 2 knows pauses, restarts, schedules and the order of tasks: an older daemon would let a paused update go on, run jobs at other
/// times, and start what waits.
impl Document for DeploymentRecord {
    const VERSION: u32 = 2;
}

impl Document for RevisionRecord {}
impl Document for HeldRecord {}
impl Document for Pins {}
impl Document for PlanRecord {}
impl Document for CordonRecord {}
impl Document for Decision {}
impl Document for InputSize {}
impl Document for Event {}
impl Document for NamespaceRecord {}
impl Document for Segment {}
impl Document for LedgerRecord {}
impl Document for Stored {}
impl Document for ShadowRecord {}
impl Document for OrphanRecord {}
impl Document for TokenRecord {}

/// Version 3 has the restart that a workload belongs to; without it, there was none.
impl Document for AllocationRecord {
    const VERSION: u32 = 3;

    fn upgrade(from: u32, document: Value) -> Result<Value, String> {
        match from {
            1 => allocation::in_parts(document),
            _ => Ok(document),
        }
    }
}

impl Document for TokenUse {
    const VERSION: u32 = 2;

    fn upgrade(from: u32, document: Value) -> Result<Value, String> {
        match from {
            // The instant alone.
            1 => Ok(json!({ "at": document })),
            _ => Ok(document),
        }
    }
}

/// Answers of the API have a schema. A document has none, so none can be part of an answer: one that had one would not compile here, for
/// `apart` would be there twice.
const _: () = {
    trait Apart<A> {
        fn apart() {}
    }
    struct HasSchema;
    impl<T: ?Sized> Apart<()> for T {}
    impl<T: ?Sized + schemars::JsonSchema> Apart<HasSchema> for T {}
    macro_rules! apart {
        ($($document:ty),*) => { $(let _ = <$document as Apart<_>>::apart;)* };
    }
    apart!(
        InstallationRecord,
        Restored,
        DaemonRecord,
        DeploymentRecord,
        RevisionRecord,
        AllocationRecord,
        HeldRecord,
        Pins,
        PlanRecord,
        CordonRecord,
        Decision,
        InputSize,
        Event,
        NamespaceRecord,
        Segment,
        LedgerRecord,
        Stored,
        ShadowRecord,
        OrphanRecord,
        TokenRecord,
        TokenUse
    );
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::units::Instant, state::document::from_slice};

    #[test]
    fn when_a_token_was_last_used_is_known_from_before() {
        let at = Instant(1_700_000_000_000);
        // As version 1 was written: the instant's own form.
        let before = serde_json::to_vec(&at).unwrap();
        assert_eq!(from_slice::<TokenUse>(&before).unwrap(), TokenUse { at });
    }

    #[test]
    fn no_kind_lives_among_anothers_keys() {
        for (n, (one, _)) in KINDS.iter().enumerate() {
            assert!(
                KINDS
                    .iter()
                    .skip(n + 1)
                    .all(|(other, _)| !one.starts_with(other) && !other.starts_with(one)),
                "{one}"
            );
        }
    }
}
