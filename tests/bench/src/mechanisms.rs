//! The same policy behind four mechanisms: called in the process, as a component, in another process over gRPC on a Unix socket as plugin
//! frameworks of that kind do, and over HTTP with JSON as scheduler extenders do. Each starts from the host's own batch and ends with the
//! answer; the other process runs the very code that the native call does.

mod grpc;
mod json;
mod wire;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use tradewind_core::{placement::Request, plugin::Policy};

use crate::{
    host::{Place, policy},
    native,
    policy::batch,
    report::{Baseline, Report, Unit},
    samples::Samples,
};

/// What the other process is told to serve, as the bench's first argument.
pub(crate) const SERVERS: [&str; 2] = [grpc::SERVER, json::SERVER];

/// Serves one of them until it is killed. Tells where on its first line.
pub(crate) async fn serve(what: &str) -> Result<()> {
    if what == grpc::SERVER {
        grpc::serve().await
    } else {
        json::serve().await
    }
}

/// Another process of this program, which ends with it.
struct Server {
    child: Child,
    /// Where it listens.
    at: String,
}

impl Server {
    fn start(what: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(what)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("a pipe was asked for")?;
        let mut server = Self {
            child,
            at: String::new(),
        };
        BufReader::new(out).read_line(&mut server.at)?;
        server.at.truncate(server.at.trim_end().len());
        ensure!(!server.at.is_empty(), "{what} does not serve");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that a kill could harm.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Calls of one mechanism before the next one's turn.
const TURN: usize = 10;

/// Of one size of batch.
#[derive(Default)]
struct Compared {
    native: Samples,
    component: Samples,
    grpc: Samples,
    json: Samples,
}

struct Mechanisms<'a> {
    component: &'a dyn Policy,
    grpc: grpc::Client,
    json: json::Client,
}

impl Mechanisms<'_> {
    /// By turns, so that what else the machine does hits all alike, and several calls each, so that none finds only the others' data in the caches.
    async fn compare(&mut self, request: &Request, times: usize) -> Result<Compared> {
        let chosen = self.component.place(request).await?;
        for other in [
            native::place(native::request(request))?,
            self.grpc.place(native::request(request)).await?,
            self.json.place(native::request(request)).await?,
        ] {
            let same = (&chosen.task, &chosen.offer, &chosen.replicas)
                == (&other.task, &other.offer, &other.replicas);
            ensure!(same, "two mechanisms decide differently");
        }
        let mut compared = Compared::default();
        for round in 0..=times.div_ceil(TURN) {
            // The first round warms up.
            let mut unused = Compared::default();
            let Compared {
                native,
                component,
                grpc,
                json,
            } = if round == 0 {
                &mut unused
            } else {
                &mut compared
            };
            for _ in 0..TURN {
                native.time(|| native::place(native::request(request)))?;
            }
            for _ in 0..TURN {
                let since = Instant::now();
                drop(self.component.place(request).await?);
                component.add(since.elapsed());
            }
            for _ in 0..TURN {
                let since = Instant::now();
                drop(self.grpc.place(native::request(request)).await?);
                grpc.add(since.elapsed());
            }
            for _ in 0..TURN {
                let since = Instant::now();
                drop(self.json.place(native::request(request)).await?);
                json.add(since.elapsed());
            }
        }
        Ok(compared)
    }
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let place = Place::new(&["cheapest"], &[]).await?;
    let host = place.start().await?;
    let cheapest = policy(&host, "cheapest")?;
    let (grpc, json) = (Server::start(grpc::SERVER)?, Server::start(json::SERVER)?);
    let mut mechanisms = Mechanisms {
        component: cheapest.as_ref(),
        grpc: grpc::Client::connect(&grpc.at).await?,
        json: json::Client::new(&json.at)?,
    };
    for (tasks, shapes, what) in [(1, 1, "1 task"), (1_000, 16, "1,000 tasks of 16 shapes")] {
        for (offers, times) in [(100, 500), (1_000, 200), (10_000, 50)] {
            let compared = mechanisms
                .compare(&batch(tasks, shapes, offers)?, times)
                .await?;
            let name = format!("{what} × {offers} offers");
            let own = compared.component.median();
            let decisions = f64::from(tasks) / own.as_secs_f64();
            let native = f64::from(tasks) / compared.native.median().as_secs_f64();
            let baseline = Baseline {
                name: "native".to_owned(),
                value: native,
            };
            report.value(
                format!("{name}: decisions by the component"),
                decisions,
                "/s",
                Some(baseline),
            );
            let each = [
                ("native", &compared.native),
                ("component", &compared.component),
                ("gRPC on a Unix socket", &compared.grpc),
                ("HTTP with JSON", &compared.json),
            ];
            for (mechanism, samples) in each {
                report.time_against(
                    format!("{name}: {mechanism}, median"),
                    Unit::Micros,
                    samples.median(),
                    "component",
                    own,
                );
                report.time_against(
                    format!("{name}: {mechanism}, p99"),
                    Unit::Micros,
                    samples.p99(),
                    "component",
                    compared.component.p99(),
                );
            }
        }
    }
    drop(mechanisms);
    host.handle().shutdown().await;
    place.close().await;
    Ok(())
}
