//! The program as the Makefile runs it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    path::Path,
    process::{Command, Output},
};

fn reaper(script: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reaper"))
        .args(["sh", "-c", script])
        .output()
        .unwrap()
}

#[test]
fn a_command_that_leaves_nothing_answers_for_itself() {
    assert_eq!(reaper("exit 0").status.code(), Some(0));
    assert_eq!(reaper("exit 3").status.code(), Some(3));
    assert_eq!(reaper("kill -TERM $$").status.code(), Some(143));
    // What is still ending is no leftover.
    let ending = reaper("(sleep 0.2; true) & exit 0");
    assert_eq!(ending.status.code(), Some(0), "{ending:?}");
}

#[test]
fn what_is_left_is_named_and_ended_wherever_it_has_gone() {
    // Out of the session, without an environment, in another folder; and one that is the child of such a one.
    let script = "cd /; setsid -f env -i sleep 601; sh -c 'sleep 602; true' & echo $!";
    let left = reaper(script);
    let told = String::from_utf8(left.stderr).unwrap();
    assert_eq!(left.status.code(), Some(1), "{told}");
    for part in ["sleep 601 in /", "sleep 602", "has left"] {
        assert!(told.contains(part), "\"{part}\" is missing in: {told}");
    }
    for line in told.lines().filter(|line| line.starts_with("  ")) {
        let (pid, _) = line.trim_start().split_once(':').unwrap();
        let process = Path::new("/proc").join(pid);
        assert!(!process.exists(), "{pid} runs on");
    }
}

#[test]
fn what_serves_others_as_well_is_left_alone() {
    let script = r#"d=$(mktemp -d); cp "$(command -v sleep)" "$d/aardvark-dns"; "$d/aardvark-dns" 604 >/dev/null 2>&1 & echo $!; until grep -qs aardvark "/proc/$!/comm" || ! kill -0 $! 2>/dev/null; do :; done; rm -r "$d""#;
    let left = reaper(script);
    assert_eq!(left.status.code(), Some(0), "{left:?}");
    let pid: i32 = String::from_utf8(left.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let ended = Command::new("sh")
        .args(["-c", &format!("kill -KILL {pid}")])
        .status();
    assert!(ended.unwrap().success(), "{pid} was ended");
}
