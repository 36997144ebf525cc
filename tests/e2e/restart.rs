//! The state survives the daemon: running processes are found again, not started twice.

use anyhow::Result;
use tradewind_kit::{Daemon, endpoints, fetch, pids, web};

#[tokio::test]
async fn a_killed_daemon_finds_everything_again() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.put("stay", &web("stay", 3, "still here")).await?;
    let before = daemon.running("stay").await?;

    daemon.kill()?;
    for endpoint in endpoints(&before) {
        assert_eq!(
            fetch(&daemon.http, &endpoint).await?,
            "hello, still here\n",
            "processes outlive the daemon"
        );
    }
    daemon.launch()?;
    let after = daemon.running("stay").await?;
    assert_eq!(
        pids(&after),
        pids(&before),
        "found again, not started twice"
    );
    assert_eq!(endpoints(&after), endpoints(&before));
    assert_eq!(after["generation"], before["generation"]);

    daemon.delete("stay").await?;
    daemon.gone("stay").await?;
    for endpoint in endpoints(&before) {
        assert!(
            fetch(&daemon.http, &endpoint).await.is_err(),
            "a found process can be stopped"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_was_begun_when_it_was_killed_is_finished() -> Result<()> {
    let mut daemon = Daemon::local()?;
    for i in 0..20 {
        let name = format!("burst-{i}");
        daemon.put(&name, &web(&name, 1, &name)).await?;
    }
    daemon.kill()?;
    daemon.launch()?;
    for i in 0..20 {
        let running = daemon.running(&format!("burst-{i}")).await?;
        assert_eq!(pids(&running).len(), 1, "{running:#}");
        assert_eq!(
            fetch(&daemon.http, &endpoints(&running)[0]).await?,
            format!("hello, burst-{i}\n")
        );
    }
    Ok(())
}
