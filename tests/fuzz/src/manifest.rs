//! The manifest, as it comes over the API.

use tradewind_core::manifest::resolve;
use tradewind_manifest::{Format, Invalid, parse, parse_namespace};

/// A text that is read without an error means the same once it is written down and read again. An error names a place in the text.
pub fn manifest(data: &[u8]) {
    for format in [Format::Yaml, Format::Json] {
        match parse(data, format) {
            Ok(manifest) => {
                resolve(&manifest);
                let json = serde_json::to_vec(&manifest).expect("a manifest has a form");
                let again = parse(&json, Format::Json)
                    .unwrap_or_else(|e| panic!("{e:?}: {}", String::from_utf8_lossy(&json)));
                assert_eq!(again, manifest);
            }
            Err(invalid) => names_places(data, &invalid),
        }
        if let Err(invalid) = parse_namespace(data, format) {
            names_places(data, &invalid);
        }
    }
}

fn names_places(data: &[u8], invalid: &Invalid) {
    assert!(!invalid.problems.is_empty(), "an error without a problem");
    // YAML ends lines in more ways than one; no way makes two lines of one byte.
    let most = data.len() as u64 + 1;
    for problem in &invalid.problems {
        assert!(!problem.message.is_empty(), "{problem:?}");
        for place in [problem.line, problem.column].into_iter().flatten() {
            assert!((1..=most).contains(&place), "{problem:?}");
        }
    }
}
