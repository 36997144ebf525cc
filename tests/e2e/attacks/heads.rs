//! Whoever may rewrite the whole audit log can't take back the heads that have left the machine.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tradewind_kit::{
    Daemon,
    clouds::{Asked, Reply, Rules, Served, Trouble},
    when,
};

/// Takes whatever comes.
struct Receiver;

impl Rules for Receiver {
    fn answer(&mut self, _: u64, _: &Asked) -> Reply {
        Reply::json(204, Value::Null)
    }
}

#[tokio::test]
async fn heads_of_the_audit_log_leave_the_machine() -> Result<()> {
    let receiver = Served::start(|_| Receiver)?;
    // The first try fails, and is made again.
    let refusal = Reply::json(503, json!({}));
    receiver.fault(Method::POST, "/heads", 1, Trouble::Instead(refusal));
    let secret = tradewind_kit::private_folder()?;
    let headers = secret.path().join("headers");
    std::fs::write(&headers, "Authorization: Bearer of-the-receiver\n")?;
    let settings = format!(
        "[audit]\nhead-interval = \"200ms\"\nwebhook = \"{}/heads\"\nwebhook-headers = \"{}\"\n",
        receiver.address,
        headers.display()
    );
    let mut daemon = Daemon::configured(&["cheapest"], &[], &settings)?;
    let heads = || -> Vec<Value> { receiver.sent().iter().map(Asked::json).collect() };
    let sent = daemon.eventually("the first one is sent again", async || {
        Ok(heads().len() >= 2)
    });
    sent.await?;
    daemon
        .http
        .delete(daemon.url("/v1/tokens/none"))
        .send()
        .await?;
    daemon.run(&["token", "create", "ci", "--role", "viewer", "-n", "default"])?;
    let now = daemon.get("/v1/audit/head").await?["head"].clone();
    let told = daemon.eventually("the head of now is told", async || {
        let last = heads().pop().unwrap_or_default();
        Ok(when(last["seq"].as_u64() >= now["seq"].as_u64(), last))
    });
    told.await?;
    let asked = receiver.sent();
    let last = asked.last().context("nothing was sent")?;
    ensure!(
        last.header(reqwest::header::AUTHORIZATION) == "Bearer of-the-receiver",
        "{last:?}"
    );
    ensure!(
        !daemon.log().contains("of-the-receiver"),
        "the log tells the secret"
    );
    ensure!(
        daemon
            .cli(&["config"])
            .is_ok_and(|shown| !String::from_utf8_lossy(&shown.stdout).contains("of-the-receiver"))
    );

    daemon.stop()?;
    let told = heads();
    let at_the_end = told
        .last()
        .and_then(|last| last["hash"].as_str())
        .context("no hash")?
        .to_owned();
    ensure!(
        told.iter()
            .map(|head| head["installation"].to_string())
            .collect::<BTreeSet<_>>()
            .len()
            == 1,
        "{told:?}"
    );
    // The log has them in the form that is checked, and the last one is that of the end.
    let log = daemon.log();
    let logged = log
        .lines()
        .filter(|line| line.contains("head of the audit log"));
    let logged: Vec<&str> = logged
        .filter_map(|line| Some(&line[line.find("sha256:")?..][..71]))
        .collect();
    ensure!(
        logged.last() == Some(&at_the_end.as_str()),
        "{logged:?} {at_the_end}"
    );
    daemon.launch()?;
    for hash in [
        logged.first().copied().context("nothing was logged")?,
        &at_the_end,
    ] {
        let verified = daemon.run(&["audit", "verify", "--expect", hash])?;
        ensure!(
            verified.contains("the expected hash is that of entry"),
            "{verified}"
        );
    }

    // The whole log is rewritten, hashes and all: alone it looks whole, and the head that was told betrays it.
    daemon.stop()?;
    let state = rusqlite::Connection::open(daemon.data().join("state.db"))?;
    rewrite(&state)?;
    drop(state);
    daemon.launch()?;
    daemon.run(&["audit", "verify"])?;
    let betrayed = daemon.cli(&["audit", "verify", "--expect", &at_the_end])?;
    ensure!(betrayed.status.code() == Some(1), "{betrayed:?}");
    Ok(())
}

/// Changes the first entry, and makes every hash anew, as anybody can who knows how they are made.
fn rewrite(state: &rusqlite::Connection) -> Result<()> {
    use tradewind_core::{audit::Head, store::Revision};
    let mut rows = state.prepare("SELECT seq, revision, entry FROM audit ORDER BY seq")?;
    let rows = rows.query_map([], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, Vec<u8>>(2)?,
        ))
    })?;
    let mut head = Head::START;
    for row in rows.collect::<Result<Vec<_>, _>>()? {
        let (seq, revision, mut entry) = row;
        if seq == 1 {
            let text = String::from_utf8(entry)?.replacen(
                "\"message\":\"",
                "\"message\":\"something else: ",
                1,
            );
            entry = text.into_bytes();
        }
        head = head.next(Revision(u64::try_from(revision)?), &entry);
        ensure!(
            head.seq == u64::try_from(seq)?,
            "entry {seq} is not in its place"
        );
        state.execute(
            "UPDATE audit SET entry = ?1, hash = ?2 WHERE seq = ?3",
            (&entry, head.hash.as_bytes().as_slice(), seq),
        )?;
    }
    state.execute(
        "UPDATE audit_bounds SET head_hash = ?1",
        [head.hash.as_bytes().as_slice()],
    )?;
    Ok(())
}
