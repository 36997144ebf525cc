//! The record of a decision, as it lies in the state: it may be of another version, or damaged.

use futures::FutureExt;
use tradewind_core::{
    explain::{self, explain},
    names::DecisionId,
    placement::{
        certify,
        recorded::{self, Recorded, VERSION},
        validate,
    },
    units::Millis,
};

/// Bytes that are read as a record are written as the same record, and everything that people ask about a record has an answer. The bytes
/// are tried as they are, and as the unpacked inside of a record: few random bytes unpack.
pub fn record(data: &[u8]) {
    if let Ok(record) = recorded::decode(data) {
        use_it(&record);
    }
    for version in 1..=VERSION {
        let mut whole = b"TWDR".to_vec();
        whole.extend(version.to_le_bytes());
        whole.extend(lz4_flex::block::compress_prepend_size(data));
        if let Ok(record) = recorded::decode(&whole) {
            use_it(&record);
        }
    }
}

fn use_it(record: &Recorded) {
    let bytes = recorded::encode(record).expect("what was read can be kept");
    let again = recorded::decode(&bytes).expect("what is kept can be read");
    let kept = recorded::encode(&again).expect("what was read can be kept");
    assert!(kept == bytes, "another record: {record:?}");

    if let Ok(placed) = validate(&record.request, &record.answer) {
        certify(&record.request, &placed, record.answer.lower_bound);
    }
    let id: DecisionId = "decision".parse().expect("a name");
    for task in 0..=record.request.tasks.len() as u32 {
        let bounds = explain::Bounds {
            rows: 10,
            calls: 0,
            is_late: &|| true,
        };
        let gone = Err("the policy is gone".to_owned());
        let told = explain(&id, record, task, gone, Millis(1000), bounds).now_or_never();
        let told = told.expect("nobody has to be waited for");
        assert_eq!(
            told.is_some(),
            (task as usize) < record.request.tasks.len(),
            "{record:?}"
        );
    }
}
