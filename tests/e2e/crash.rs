//! The kill test: a daemon that is killed again and again while deployments change and the cloud misbehaves. When it is left alone, what exists at
//! the cloud is what was asked for: nothing lost, nothing doubled, nothing forgotten.
//!
//! The seed decides what is asked for, what goes wrong and when the daemon is killed; `TRADEWIND_CRASH_SEED` repeats it and `TRADEWIND_CRASH_KILLS`
//! says how often (`make test-crash`). The model and the comparison are in `model`.

mod model;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::task::JoinHandle;
use tradewind_kit::{
    Daemon,
    fixture::{Config, Fault, FixtureCloud, Instance, Kind, Lag, Operation},
};

use self::model::{Known, Spec, compare};

/// How long the daemon may take to make everything right once nothing goes wrong any more, and how long it has to stay so.
const QUIET: Duration = Duration::from_secs(120);
const STEADY: Duration = Duration::from_millis(1500);
const NAMES: [&str; 6] = ["ant", "bee", "cat", "dog", "elk", "fox"];
const REGIONS: [&str; 3] = ["east", "north", "west"];
const CONFIG: &str =
    "[controller]\nobserve-interval = \"300ms\"\noffers-ttl = \"1s\"\nsweep-interval = \"1s\"\n";

/// A generator of the test's own: the same numbers for the same seed, whatever library changes.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap_or(0)].clone()
    }
}

/// What one round does: writes until the kill.
struct Round {
    writes: Vec<(&'static str, Option<Spec>)>,
    kill_after: Duration,
    /// Killed once more before it is ready.
    stumble: Option<Duration>,
}

impl Round {
    fn draw(dice: &mut Dice, version: &mut u64) -> Self {
        let mut write = |dice: &mut Dice| {
            *version += 1;
            let name = dice.of(&NAMES);
            (
                name,
                (!dice.percent(20)).then(|| Spec::draw(dice, *version, &REGIONS)),
            )
        };
        let writes = (0..=dice.below(8)).map(|_| write(dice)).collect();
        let kill_after = Duration::from_millis(20 + dice.below(300));
        let stumble = dice
            .percent(15)
            .then(|| Duration::from_millis(5 + dice.below(150)));
        Self {
            writes,
            kill_after,
            stumble,
        }
    }
}

/// What the cloud does wrong until the next round.
fn misbehave(cloud: &FixtureCloud, dice: &mut Dice) {
    cloud.heal();
    REGIONS.iter().for_each(|region| {
        cloud.region(region, true);
        cloud.capacity(region, "small", None);
    });
    let kinds = [
        Fault::new(Kind::LostAfter).on(Operation::Create),
        Fault::new(Kind::LostBefore).on(Operation::Create),
        Fault::new(Kind::Half).on(Operation::Create),
        Fault::new(Kind::OutOfCapacity).on(Operation::Create),
        Fault::new(Kind::Quota).on(Operation::Create),
        Fault::new(Kind::Hang).on(Operation::Create),
        Fault::new(Kind::Stuck).on(Operation::Create),
        Fault::new(Kind::Denied).on(Operation::Create).times(1),
        Fault::new(Kind::LostAfter).on(Operation::Delete),
        Fault::new(Kind::LostBefore).on(Operation::Delete),
        Fault::new(Kind::Unavailable).on(Operation::Offers),
        Fault::new(Kind::Unavailable).on(Operation::List),
        Fault::new(Kind::Slow).ms(150),
        Fault::new(Kind::Throttled).ms(100),
        Fault::new(Kind::Unavailable),
    ];
    for _ in 0..dice.below(5) {
        let mut fault = dice.of(&kinds).share(0.05 + dice.below(30) as f64 / 100.0);
        if dice.percent(50) {
            fault = fault.within(dice.of(&REGIONS));
        }
        cloud.fault(fault);
    }
    if dice.percent(15) {
        cloud.region(dice.of(&REGIONS), false);
    }
    if dice.percent(20) {
        cloud.capacity(
            dice.of(&REGIONS),
            "small",
            Some(u32::try_from(dice.below(6)).unwrap_or(0)),
        );
    }
    if dice.percent(20) {
        cloud.price(dice.of(&REGIONS), "small", 30_000 + dice.below(60_000));
    }
    // Instances disappear by themselves: one, or everything of a service at one place.
    let services: Vec<_> = cloud
        .live()
        .into_iter()
        .filter(|instance| instance.tag("tradewind.dev/task") != "once")
        .collect();
    if dice.percent(40) && !services.is_empty() {
        let (one, whole) = (dice.of(&services), dice.percent(50));
        let of = |instance: &Instance| instance.tag("tradewind.dev/allocation").to_owned();
        for instance in services
            .iter()
            .filter(|i| i.id == one.id || (whole && of(i) == of(&one)))
        {
            cloud.disappear(&instance.id);
        }
    }
}

/// Writes until it is told to stop, and notes what the daemon has answered.
fn write(
    daemon: &Daemon,
    writes: Vec<(&'static str, Option<Spec>)>,
    mut known: Known,
) -> JoinHandle<Result<Known>> {
    let (http, base) = (daemon.http.clone(), daemon.url("/v1/deployments/"));
    tokio::spawn(async move {
        for (name, spec) in writes {
            let url = format!("{base}{name}");
            let request = match &spec {
                Some(spec) => http
                    .put(&url)
                    .header("content-type", "application/yaml")
                    .body(spec.manifest(name)),
                None => http.delete(&url),
            };
            let answer = request.timeout(Duration::from_secs(10)).send().await;
            // A connection that breaks tells nothing about the write, and neither does a failure inside the daemon.
            let status = answer
                .as_ref()
                .map(reqwest::Response::status)
                .unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let lost = answer.is_err();
            match status {
                status if status.is_success() => known.acknowledged(name, spec),
                StatusCode::NOT_FOUND if spec.is_none() => known.found_gone(name)?,
                StatusCode::CONFLICT => known.found_deleting(name)?,
                StatusCode::TOO_MANY_REQUESTS => {}
                status if status.is_server_error() => known.unknown(name, spec),
                status => anyhow::bail!("{name}: {status}: {}", answer?.text().await?),
            }
            if lost {
                break;
            }
        }
        Ok(known)
    })
}

async fn deployment(daemon: &Daemon, name: &str) -> Result<Option<Value>> {
    let response = daemon
        .http
        .get(daemon.url(&format!("/v1/deployments/{name}")))
        .send()
        .await?;
    if response.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    ensure!(
        response.status().is_success(),
        "{name}: {}",
        response.status()
    );
    Ok(Some(response.json().await?))
}

/// Waits until everything is as it was asked for and stays so: for a while, since what comes later is what it would not see.
async fn quiet(daemon: &Daemon, cloud: &FixtureCloud, known: &Known) -> Result<()> {
    let (begun, mut since) = (Instant::now(), None);
    loop {
        let mut seen = BTreeMap::new();
        for name in NAMES {
            seen.insert(name, deployment(daemon, name).await?);
        }
        match compare(known, &seen, &cloud.live()) {
            Ok(()) if since.get_or_insert_with(Instant::now).elapsed() >= STEADY => return Ok(()),
            Ok(()) => {}
            Err(difference) => {
                since = None;
                ensure!(begun.elapsed() < QUIET, "{difference}\n{seen:#?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_it_is_killed_nothing_is_lost_doubled_or_forgotten() -> Result<()> {
    let (seed, kills): (u64, u32) = (
        setting("TRADEWIND_CRASH_SEED", 7),
        setting("TRADEWIND_CRASH_KILLS", 25),
    );
    println!("seed {seed}, {kills} kills");
    let mut dice = Dice(seed);
    let lag = Lag {
        ms: 100,
        operations: 0,
    };
    let cloud = FixtureCloud::start(
        Config {
            boot_ms: 30,
            lag,
            seed,
            ..Config::default()
        }
        .with_regions(&REGIONS),
    )?;
    let settings = "timeout = \"400ms\"\nsettle = \"1s\"\ncreate-timeout = \"3s\"";
    let mut daemon = Daemon::start(
        &["cheapest", "rest"],
        &[("cloud", &cloud.instance_with(settings))],
    )?;
    std::fs::write(daemon.folder.path().join("config.toml"), CONFIG)?;
    daemon.kill()?;
    daemon.launch()?;

    let (mut known, mut version, mut killed) = (Known::default(), 0, 0);
    while killed < kills {
        misbehave(&cloud, &mut dice);
        let round = Round::draw(&mut dice, &mut version);
        let writing = write(&daemon, round.writes, known);
        // The moment is drawn, as a power cut chooses it.
        tokio::time::sleep(round.kill_after).await;
        daemon.kill()?;
        killed += 1;
        known = writing.await??;
        if let Some(after) = round.stumble {
            daemon.stumble(after)?;
            killed += 1;
        }
        daemon.launch()?;
        // Now and then it is left alone until all is well, so that what comes later begins with something that runs.
        if dice.percent(8) {
            calm(&cloud);
            quiet(&daemon, &cloud, &known).await?;
        }
    }
    calm(&cloud);
    let outcome = quiet(&daemon, &cloud, &known).await;
    let told = model::summary(&cloud.ledger());
    println!(
        "seed {seed}: {killed} kills, {} acknowledged writes, {told}",
        known.acknowledged
    );
    let outcome = outcome.and_then(|()| daemon.run(&["audit", "verify"]).map(drop));
    outcome.map_err(|error| {
        error.context(format!(
            "seed {seed} after {killed} kills; the end of the log:\n{}",
            tail(&daemon.log())
        ))
    })
}

fn calm(cloud: &FixtureCloud) {
    cloud.heal();
    for region in REGIONS {
        cloud.region(region, true);
        cloud.capacity(region, "small", None);
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
