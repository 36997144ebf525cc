//! Fifty containers on podman, from the request that submits each until it runs, against the same engine without a daemon: its command line in
//! a loop, and its API in a loop.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tradewind_kit::{
    Daemon,
    podman::{IMAGE, Podman},
};

use crate::{
    client::client,
    report::{Baseline, Report, Unit},
    samples::Samples,
    services::{delete, submit},
};

const COUNT: usize = 50;
const MEMORY: u64 = 16 << 20;

fn manifest(name: &str) -> String {
    format!(
        "{{\"apiVersion\":\"tradewind.dev/v1\",\"kind\":\"CloudDeployment\",\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"services\":{{\"sleep\":\
         {{\"image\":\"{IMAGE}\",\"command\":[\"sleep\",\"600\"],\"stop\":{{\"signal\":\"KILL\",\"grace\":\"1s\"}},\"resources\":{{\"cpu\":\"1m\",\
         \"memory\":{MEMORY}}}}}}}}}}}"
    )
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let Some(engine) = tokio::task::spawn_blocking(Podman::start).await?? else {
        return Ok(());
    };
    let (engine, (by_command, by_api)) = tokio::task::spawn_blocking(move || {
        let alone = (by_command(&engine)?, by_api(&engine)?);
        anyhow::Ok((engine, alone))
    })
    .await??;
    let instance = engine.instance("host-network = true\n", "network = \"host\"\n");
    let daemon = tokio::task::spawn_blocking(move || {
        Daemon::start(&["cheapest", "containers"], &[("box", &instance)])
    })
    .await??;
    let names: Vec<String> = (0..COUNT).map(|i| format!("sleep-{i}")).collect();
    let run = submit(&daemon, &client(&daemon)?, &names, manifest).await?;
    let gone = delete(&daemon, &names).await?;
    tokio::task::spawn_blocking(move || drop((daemon, engine))).await?;

    let rate = |time: Duration| COUNT as f64 / time.as_secs_f64();
    let mut each = Samples::default();
    run.each.into_iter().for_each(|d| each.add(d));
    let what = format!("{COUNT} containers on podman");
    let against = |name: &str, time| {
        Some(Baseline {
            name: name.to_owned(),
            value: rate(time),
        })
    };
    report.value(
        format!("{what}, submitted → running, rate"),
        rate(run.whole),
        "1/s",
        against("`podman run` in a loop", by_command),
    );
    report.value(
        format!("{what}, submitted → running, rate, again"),
        rate(run.whole),
        "1/s",
        against("create and start through its API in a loop", by_api),
    );
    let swarm = Baseline {
        name: "Docker Swarm, 50 services, submits per second on a 2-core machine like this"
            .to_owned(),
        value: 22.9,
    };
    report.value(
        format!("{what}, accepted, rate"),
        rate(run.accepted),
        "1/s",
        Some(swarm),
    );
    report.time(
        format!("{what}, submitted → running, p50"),
        Unit::Millis,
        each.median(),
    );
    report.time(
        format!("{what}, submitted → running, p95"),
        Unit::Millis,
        each.p95(),
    );
    report.value(
        format!("{what}, deleted → gone, rate"),
        rate(gone),
        "1/s",
        None,
    );
    Ok(())
}

fn by_command(engine: &Podman) -> Result<Duration> {
    let since = Instant::now();
    for _ in 0..COUNT {
        engine.podman(&[
            "run",
            "--detach",
            "--network=host",
            "--memory=16m",
            IMAGE,
            "sleep",
            "600",
        ])?;
    }
    let took = since.elapsed();
    engine.podman(&["rm", "--all", "--force", "--time=0"])?;
    Ok(took)
}

fn by_api(engine: &Podman) -> Result<Duration> {
    let since = Instant::now();
    for i in 0..COUNT {
        let body = format!(
            r#"{{"Image":"{IMAGE}","Cmd":["sleep","600"],"HostConfig":{{"NetworkMode":"host","Memory":{MEMORY}}}}}"#
        );
        post(
            engine,
            &format!("/v1.41/containers/create?name=loop-{i}"),
            &body,
        )?;
        post(engine, &format!("/v1.41/containers/loop-{i}/start"), "")?;
    }
    let took = since.elapsed();
    engine.podman(&["rm", "--all", "--force", "--time=0"])?;
    Ok(took)
}

fn post(engine: &Podman, path: &str, body: &str) -> Result<()> {
    let mut stream = UnixStream::connect(engine.socket())?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).context("no answer")?;
    ensure!(status.starts_with('2'), "{path}: {answer}");
    Ok(())
}
