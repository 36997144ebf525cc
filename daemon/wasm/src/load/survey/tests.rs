//! Components written by hand, each too large in one dimension.

use tradewind_core::units::Bytes;

use super::*;

fn number(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        bytes.push(if n == 0 { low } else { low | 0x80 });
        if n == 0 {
            return bytes;
        }
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &number(content.len()), content].concat()
}

/// A section that is a list of `count` equal entries.
fn list(id: u8, count: usize, entry: &[u8]) -> Vec<u8> {
    section(id, &[number(count), entry.repeat(count)].concat())
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat()
}

fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0".to_vec(), sections.concat()].concat()
}

fn of_module(sections: &[Vec<u8>]) -> Vec<u8> {
    component(&[section(1, &module(sections))])
}

/// One function with these locals and these instructions.
fn of_function(locals: usize, instructions: &[u8]) -> Vec<u8> {
    let body = [&[1][..], &number(locals), &[0x7f], instructions, &[0x0b]].concat();
    let code = [&[1][..], &number(body.len()), &body].concat();
    of_module(&[
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(10, &code),
    ])
}

fn nested(opening: u8, depth: usize) -> Vec<u8> {
    of_function(
        0,
        &[[opening, 0x40].repeat(depth), [0x0b].repeat(depth)].concat(),
    )
}

fn look(bytes: &[u8]) -> Result<Outline, Error> {
    survey(
        bytes,
        &CompileBounds::default(),
        &Ceilings {
            memory: Bytes(1 << 20),
            slots: 8,
            table_elements: 1_000,
        },
    )
}

#[test]
fn every_dimension_has_its_bound() {
    let within =
        |depth: usize| (0..depth).fold(component(&[]), |inner, _| component(&[section(4, &inner)]));
    let instances =
        |count: usize| component(&[section(1, &module(&[])), list(2, count, &[0, 0, 0])]);
    for (what, good, bad, message) in [
        (
            "loops",
            nested(0x03, 100),
            nested(0x03, 101),
            "101 loops within one another, and the setting \"compile.max-loops\" allows 100",
        ),
        (
            "blocks",
            nested(0x02, 1_999),
            nested(0x02, 2_001),
            "\"compile.max-nesting\" allows 2000",
        ),
        (
            "locals",
            of_function(5_000, &[]),
            of_function(5_001, &[]),
            "5001 local variables in one function",
        ),
        (
            "a function",
            of_function(0, &[1; 1_000]),
            of_function(0, &[1; (256 << 10) + 9]),
            "\"compile.max-function\" allows 256Ki",
        ),
        (
            "types",
            of_module(&[list(1, 20_000, &[0x60, 0, 0])]),
            of_module(&[list(1, 20_001, &[0x60, 0, 0])]),
            "20001 types",
        ),
        (
            "functions",
            of_module(&[
                section(1, &[1, 0x60, 0, 0]),
                list(3, 10, &[0]),
                list(10, 10, &[2, 0, 0x0b]),
            ]),
            of_module(&[section(1, &[1, 0x60, 0, 0]), list(3, 50_001, &[0])]),
            "50001 functions",
        ),
        (
            "modules",
            component(&vec![section(1, &module(&[])); 100]),
            component(&vec![section(1, &module(&[])); 101]),
            "\"compile.max-modules\" allows 100",
        ),
        (
            "components",
            within(5),
            within(6),
            "6 components within one another",
        ),
        (
            "instances",
            instances(500),
            instances(3_000),
            "3000 instances, and the setting \"compile.max-instances\" allows 500",
        ),
        (
            "a memory",
            of_module(&[list(5, 1, &[0, 16])]),
            of_module(&[list(5, 1, &[0, 17])]),
            "\"calls.memory-ceiling\" allows 1Mi",
        ),
        (
            "a wide memory",
            component(&[]),
            of_module(&[list(5, 1, &[4, 1])]),
            "a memory with 64-bit addresses",
        ),
        (
            "a table",
            of_module(&[list(4, 1, &[0x70, 0, 10])]),
            of_module(&[section(4, &[&[1, 0x70, 0][..], &number(1_001)].concat())]),
            "1001 elements in one table, and the engine has room for 1000",
        ),
        (
            "a wide table",
            component(&[]),
            of_module(&[list(4, 1, &[0x70, 4, 1])]),
            "a table with 64-bit addresses",
        ),
    ] {
        look(&good).unwrap_or_else(|e| panic!("{what}: {e}"));
        let error = look(&bad).expect_err(what).to_string();
        assert!(error.contains(message), "{what}: {error}");
    }
}

#[test]
fn what_follows_one_another_is_not_within_one_another() {
    let outline = look(&of_function(0, &[0x03, 0x40, 0x0b].repeat(5_000))).unwrap();
    assert_eq!((outline.figures.nesting, outline.figures.loops), (1, 1));
}

#[test]
fn what_is_cut_off_or_made_up_is_refused() {
    let whole = nested(0x02, 10);
    for bytes in [
        &whole[..whole.len() - 3],
        b"\0asm\x0d\0\x01\0\xff\xff",
        &of_function(0, &[0x0b, 0x0b]),
    ] {
        assert!(matches!(look(bytes), Err(Error::Malformed(_))), "{bytes:?}");
    }
}
