//! A few hundred inputs for each target, none far from a good one: quick enough for every run of the tests. `make fuzz` looks for longer.

use std::sync::LazyLock;

use proptest::{prelude::*, sample::Index};
use tradewind_fuzz::{answer, manifest, record, seeds};

static MANIFESTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| seeds::manifests("good").unwrap());
static WORDS: LazyLock<Vec<String>> = LazyLock::new(seeds::words);
static RECORD: LazyLock<Vec<u8>> = LazyLock::new(seeds::record);

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Edit {
    Flip(Index, u8),
    Cut(Index, usize),
    Copy(Index, usize, Index),
    Put(Index, Vec<u8>),
    /// A whole line goes, or comes twice.
    Line(Index, bool),
}

impl Edit {
    fn make(&self, bytes: &mut Vec<u8>) {
        let at = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match self {
            Self::Flip(index, bit) if !bytes.is_empty() => {
                let at = index.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Self::Flip(..) => {}
            Self::Cut(index, length) => {
                let start = at(index, bytes);
                bytes.drain(start..(start + length).min(bytes.len()));
            }
            Self::Copy(index, length, to) => {
                let start = at(index, bytes);
                let part = bytes[start..(start + length).min(bytes.len())].to_vec();
                let to = at(to, bytes);
                bytes.splice(to..to, part);
            }
            Self::Line(index, twice) => {
                let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
                let chosen = index.index(lines.len() + 1);
                let kept = lines.iter().enumerate().flat_map(|(i, line)| {
                    let times = if i != chosen {
                        1
                    } else {
                        2 * usize::from(*twice)
                    };
                    std::iter::repeat_n(*line, times)
                });
                *bytes = kept.collect::<Vec<_>>().concat();
            }
            Self::Put(index, part) => {
                let to = at(index, bytes);
                bytes.splice(to..to, part.iter().copied());
            }
        }
    }
}

/// Some edits, with these parts to put in.
fn edits(parts: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<Edit>> {
    let index = any::<Index>;
    let edit = prop_oneof![
        2 => (index(), any::<bool>()).prop_map(|(at, twice)| Edit::Line(at, twice)),
        4 => (index(), 0..8u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        1 => (index(), 1..40usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        1 => (index(), 1..200usize, index()).prop_map(|(at, n, to)| Edit::Copy(at, n, to)),
        1 => (index(), parts).prop_map(|(at, part)| Edit::Put(at, part)),
    ];
    prop::collection::vec(edit, 1..4)
}

fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    edits.iter().for_each(|edit| edit.make(&mut bytes));
    bytes
}

/// What manifests are made of, and what they should not be made of.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let marks = [
        ": ",
        "\n",
        "  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "&a ",
        "*a",
        "|\n",
        ">-\n",
        "!!str ",
        "? ",
        "#",
        "---\n",
        "~",
        "0",
        "-1",
        "1e999",
        "99999999999999999999",
        ".nan",
        "\u{feff}",
        "\u{2028}",
        "\0",
        "Gi",
        "ms",
    ];
    let own = (0..WORDS.len()).prop_map(|i| WORDS[i].clone());
    let marks = prop::sample::select(marks.to_vec()).prop_map(str::to_owned);
    prop_oneof![own, marks].prop_map(String::into_bytes)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn any_text_is_a_manifest_or_is_refused(seed in any::<Index>(), edits in edits(words())) {
        manifest(&edited(seed.get::<Vec<u8>>(&MANIFESTS), &edits));
    }

    #[test]
    fn any_bytes_are_a_record_or_are_refused(edits in edits(prop::collection::vec(any::<u8>(), 0..8))) {
        record(&edited(&RECORD, &edits));
    }
}

proptest! {
    #![proptest_config(cases(8000))]

    #[test]
    fn an_answer_that_is_accepted_breaks_no_constraint(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        answer(&bytes);
    }
}

#[test]
fn seeds_are_read() {
    record(&RECORD);
    MANIFESTS.iter().for_each(|text| manifest(text));
    let bad = seeds::manifests("bad").unwrap();
    bad.iter().for_each(|text| manifest(text));
    assert!(WORDS.iter().any(|word| word == "replicas"), "{WORDS:?}");
}
