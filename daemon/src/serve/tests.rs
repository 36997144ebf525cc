//! A daemon that loses a part: in a process of its own, since a process has one daemon, and what is looked at is how it ends.

use std::{
    io::{BufRead, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::*;
use crate::local;

/// Where the daemon of the other process keeps its data. Read by this test's own process alone.
const DATA: &str = "TRADEWIND_TEST_OF_A_LOST_PART";
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends its process with the test, however that ends.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Other {
    /// What it waits for may go on.
    fn tell(&mut self) {
        let input = self.0.stdin.as_mut().expect("its input");
        input
            .write_all(b"on\n")
            .and_then(|()| input.flush())
            .expect("it reads");
    }

    fn code(&mut self) -> Option<i32> {
        self.0
            .try_wait()
            .expect("its status")
            .and_then(|status| status.code())
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "{what} after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_daemon_that_loses_a_part_says_which_while_it_ends_and_ends_in_failure() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let name = "serve::tests::the_daemon_of_another_process";
    let spawned = Command::new(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env(DATA, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut other = Other(spawned.expect("another process"));
    let data = folder.path().join("data");
    let address = until("it has an address", async || {
        tradewind_config::runtime_file::read(&data).map(|daemon| daemon.address)
    })
    .await;
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let readiness = async || {
        let answer = http.get(format!("{address}/readyz")).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    };
    until("it is ready", async || {
        readiness().await.filter(|(status, _)| *status == 200)
    })
    .await;

    other.tell();
    let (_, told) = until("it is not ready", async || {
        readiness().await.filter(|(status, _)| *status == 503)
    })
    .await;
    assert!(
        told.contains("a part of the daemon has failed: the part that is told to panic"),
        "{told}"
    );
    assert_eq!(other.code(), None, "another part has not ended yet");
    assert!(
        tradewind_config::runtime_file::read(&data).is_none(),
        "nobody shall find it any more"
    );
    other.tell();
    let code = until("it has ended", async || other.code()).await;
    assert_eq!(code, 1);
    let mut said = String::new();
    std::io::Read::read_to_string(other.0.stderr.as_mut().expect("its errors"), &mut said)
        .expect("text");
    assert!(
        said.contains("a part of the daemon failed: the part that is told to panic"),
        "{said}"
    );
}

#[test]
#[ignore = "the test above runs it in another process"]
fn the_daemon_of_another_process() {
    let Some(folder) = std::env::var_os(DATA).map(PathBuf::from) else {
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let overrides = Overrides {
        listen: Some("127.0.0.1:0".to_owned()),
        data: Some(folder.join("data")),
        plugins: Some(folder.join("plugins")),
        ..Overrides::default()
    };
    let config = Effective::load(&overrides, |_| None)
        .expect("settings")
        .config;
    let (panic, told_to_panic) = tokio::sync::oneshot::channel();
    let (end, told_to_end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut lines = std::io::stdin().lock().lines();
        for go in [panic, end] {
            if lines.next().is_some() {
                let _ = go.send(());
            }
        }
    });
    let panics: Essential = (
        "part that is told to panic",
        Box::pin(async move {
            let _ = told_to_panic.await;
            panic!("told to");
        }),
    );
    let holds: Essential = (
        "part that ends later",
        Box::pin(async move {
            let _ = told_to_end.await;
        }),
    );
    let ended = run_with(&overrides, config, vec![panics, holds]);
    let error = ended.expect_err("it has lost a part");
    let error = tradewind_cli::Error::from(local::Error::Serve(Box::new(error)));
    error.print();
    std::process::exit(error.exit_code().into());
}
