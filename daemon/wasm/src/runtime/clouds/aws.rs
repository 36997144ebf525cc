//! The guest's side of the capability `aws`. Nothing of its generated types leaves this file.

mod nothing;

use tradewind_core::{
    capability::{
        Attempt,
        aws::{self as core, Asker},
    },
    failure::Failure,
    units::{Bytes, Millis},
};
use wasmtime::component::{HasSelf, Linker};

use self::bindings::tradewind::aws::{ec2, elb};
use super::{Answer, Capability, answer, ungranted};
use crate::runtime::{state::Call, v0_1::convert};

mod bindings {
    #![allow(
        unreachable_pub,
        unused_variables,
        clippy::all,
        clippy::restriction,
        reason = "generated"
    )]
    wasmtime::component::bindgen!({
        path: ["../../wit/v0.1", "../../wit/aws-v0.1"],
        inline: "package tradewind:host; world guest { import tradewind:aws/ec2@0.1.0; import tradewind:aws/elb@0.1.0; }",
        world: "tradewind:host/guest",
        imports: { default: async | trappable },
        with: { "tradewind:plugin/types": crate::runtime::v0_1::bindings::provider::tradewind::plugin::types },
    });
}

pub(super) const CAPABILITY: Capability = Capability {
    name: "aws",
    interfaces: &["tradewind:aws/ec2@0.1.0", "tradewind:aws/elb@0.1.0"],
    grant: "[grants.aws]\nregions = [\"us-east-1\"]\ncredentials = \"default\"",
    granted: |grants| grants.aws.is_some(),
    link: |linker: &mut Linker<Call>| {
        ec2::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)?;
        elb::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)
    },
};

fn asker(call: &Call) -> Result<Asker, Failure> {
    let grant = call
        .context
        .grants
        .aws
        .as_ref()
        .ok_or_else(|| ungranted("aws"))?;
    Ok(Asker {
        owner: call.context.owner.clone(),
        grant: grant.for_namespace(call.namespace()),
    })
}

/// Things are only made for an allocation that is being applied.
fn attempt(call: &Call) -> Result<Attempt, Failure> {
    let nothing = || {
        Failure::denied("nothing is made for anybody but an allocation that is being applied")
            .code("no-attempt")
    };
    call.attempt.clone().ok_or_else(nothing)
}

/// Asks, and waits in the call itself.
macro_rules! look {
    ($call:expr, |$aws:ident, $asker:ident| $work:expr) => {{
        let lent = asker($call);
        match lent {
            Ok($asker) => {
                let ($aws, $asker) = (&$call.context.capabilities.aws, &$asker);
                $work.await
            }
            Err(failure) => Err(failure),
        }
    }};
}

/// Changes something, in a task of the host.
macro_rules! change {
    ($call:expr, |$aws:ident, $asker:ident| $work:expr) => {{
        let lent = asker($call);
        match lent {
            Ok($asker) => {
                let $aws = $call.context.capabilities.aws.clone();
                $call.context.effect(async move { $work.await }).await
            }
            Err(failure) => Err(failure),
        }
    }};
}

/// Makes something, in a task of the host, for the allocation that is being applied.
macro_rules! make {
    ($call:expr, |$aws:ident, $asker:ident, $attempt:ident| $work:expr) => {
        match attempt($call) {
            Ok($attempt) => change!($call, |$aws, $asker| $work),
            Err(failure) => Err(failure),
        }
    };
}

fn bytes(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

impl ec2::Host for Call {
    async fn zones(&mut self, region: String) -> Answer<Vec<String>> {
        self.ask()?;
        answer(look!(self, |aws, asker| aws.zones(asker, &region)))
    }

    async fn instance_types(
        &mut self,
        region: String,
        types: Vec<String>,
    ) -> Answer<Vec<ec2::InstanceType>> {
        self.ask()?;
        self.charge(bytes(&types))?;
        let found = look!(self, |aws, asker| aws
            .instance_types(asker, &region, &types));
        answer(found.map(|all| all.into_iter().map(instance_type).collect()))
    }

    async fn spot_prices(
        &mut self,
        region: String,
        types: Vec<String>,
    ) -> Answer<Vec<ec2::SpotPrice>> {
        self.ask()?;
        self.charge(bytes(&types))?;
        let price = |p: core::SpotPrice| ec2::SpotPrice {
            instance_type: p.instance_type,
            zone: p.zone,
            price: p.price.0,
            at: p.at.0,
        };
        let found = look!(self, |aws, asker| aws.spot_prices(asker, &region, &types));
        answer(found.map(|all| all.into_iter().map(price).collect()))
    }

    async fn images(&mut self, region: String, ids: Vec<String>) -> Answer<Vec<ec2::Image>> {
        self.ask()?;
        self.charge(bytes(&ids))?;
        let image = |i: core::Image| ec2::Image {
            id: i.id,
            name: i.name,
            architecture: i.architecture,
            available: i.available,
        };
        let found = look!(self, |aws, asker| aws.images(asker, &region, &ids));
        answer(found.map(|all| all.into_iter().map(image).collect()))
    }

    async fn run(&mut self, request: ec2::RunRequest) -> Answer<ec2::Instance> {
        self.ask()?;
        let request = run_from(request);
        let text = |piece: &core::Piece| {
            if let core::Piece::Text(text) = piece {
                text.len()
            } else {
                0
            }
        };
        self.charge(request.user_data.iter().map(text).sum())?;
        answer(
            make!(self, |aws, asker, attempt| aws
                .run(&asker, &attempt, &request))
            .map(instance),
        )
    }

    async fn instances(
        &mut self,
        region: String,
        allocations: Vec<String>,
    ) -> Answer<Vec<ec2::Instance>> {
        self.ask()?;
        self.charge(bytes(&allocations))?;
        let found = look!(self, |aws, asker| aws.instances(
            asker,
            &region,
            &allocations
        ));
        answer(found.map(|all| all.into_iter().map(instance).collect()))
    }

    async fn terminate(&mut self, region: String, ids: Vec<String>) -> Answer<()> {
        self.ask()?;
        self.charge(bytes(&ids))?;
        answer(change!(self, |aws, asker| aws.terminate(&asker, &region, &ids)))
    }

    async fn console(&mut self, region: String, id: String) -> Answer<String> {
        self.ask()?;
        let text = look!(self, |aws, asker| aws.console(asker, &region, &id));
        self.charge(text.as_ref().map_or(0, String::len))?;
        answer(text)
    }
}

impl elb::Host for Call {
    async fn create_load_balancer(
        &mut self,
        r: elb::LoadBalancerRequest,
    ) -> Answer<elb::LoadBalancer> {
        self.ask()?;
        let request = core::LoadBalancerRequest {
            region: r.region,
            internal: r.internal,
            subnets: r.subnets,
            security_groups: r.security_groups,
        };
        answer(
            make!(self, |aws, asker, attempt| aws
                .create_load_balancer(&asker, &attempt, &request))
            .map(load_balancer),
        )
    }

    async fn create_target_group(
        &mut self,
        r: elb::TargetGroupRequest,
    ) -> Answer<elb::TargetGroup> {
        self.ask()?;
        let check = r.health_check;
        let health_check = core::HealthCheck {
            path: check.path,
            interval: Millis(check.interval),
            timeout: Millis(check.timeout),
            healthy_after: check.healthy_after,
            unhealthy_after: check.unhealthy_after,
            status_min: check.status_min,
            status_max: check.status_max,
        };
        let request = core::TargetGroupRequest {
            region: r.region,
            vpc: r.vpc,
            port: r.port,
            number: r.number,
            health_check,
        };
        answer(
            make!(self, |aws, asker, attempt| aws
                .create_target_group(&asker, &attempt, &request))
            .map(target_group),
        )
    }

    async fn create_listener(&mut self, r: elb::ListenerRequest) -> Answer<elb::Listener> {
        self.ask()?;
        let request = core::ListenerRequest {
            region: r.region,
            load_balancer: r.load_balancer,
            number: r.number,
            target_group: r.target_group,
        };
        answer(
            make!(self, |aws, asker, attempt| aws
                .create_listener(&asker, &attempt, &request))
            .map(listener),
        )
    }

    async fn load_balancers(
        &mut self,
        region: String,
        allocations: Vec<String>,
    ) -> Answer<Vec<elb::LoadBalancer>> {
        self.ask()?;
        self.charge(bytes(&allocations))?;
        let found = look!(self, |aws, asker| aws.load_balancers(
            asker,
            &region,
            &allocations
        ));
        answer(found.map(|all| all.into_iter().map(load_balancer).collect()))
    }

    async fn target_groups(
        &mut self,
        region: String,
        allocations: Vec<String>,
    ) -> Answer<Vec<elb::TargetGroup>> {
        self.ask()?;
        self.charge(bytes(&allocations))?;
        let found = look!(self, |aws, asker| aws.target_groups(
            asker,
            &region,
            &allocations
        ));
        answer(found.map(|all| all.into_iter().map(target_group).collect()))
    }

    async fn listeners(&mut self, region: String, balancer: String) -> Answer<Vec<elb::Listener>> {
        self.ask()?;
        let found = look!(self, |aws, asker| aws.listeners(asker, &region, &balancer));
        answer(found.map(|all| all.into_iter().map(listener).collect()))
    }

    async fn register(
        &mut self,
        region: String,
        group: String,
        targets: Vec<elb::Target>,
    ) -> Answer<()> {
        self.ask()?;
        let targets = targets_from(targets);
        answer(change!(self, |aws, asker| aws
            .register(&asker, &region, &group, &targets)))
    }

    async fn deregister(
        &mut self,
        region: String,
        group: String,
        targets: Vec<elb::Target>,
    ) -> Answer<()> {
        self.ask()?;
        let targets = targets_from(targets);
        answer(change!(self, |aws, asker| aws
            .deregister(&asker, &region, &group, &targets)))
    }

    async fn health(
        &mut self,
        region: String,
        groups: Vec<String>,
    ) -> Answer<Vec<elb::TargetHealth>> {
        self.ask()?;
        self.charge(bytes(&groups))?;
        let found = look!(self, |aws, asker| aws.health(asker, &region, &groups));
        answer(found.map(|all| all.into_iter().map(target_health).collect()))
    }

    async fn delete_listener(&mut self, region: String, id: String) -> Answer<bool> {
        self.ask()?;
        answer(change!(self, |aws, asker| aws.delete_listener(&asker, &region, &id)))
    }

    async fn delete_load_balancer(&mut self, region: String, id: String) -> Answer<bool> {
        self.ask()?;
        answer(change!(self, |aws, asker| aws
            .delete_load_balancer(&asker, &region, &id)))
    }

    async fn delete_target_group(&mut self, region: String, id: String) -> Answer<bool> {
        self.ask()?;
        answer(change!(self, |aws, asker| aws
            .delete_target_group(&asker, &region, &id)))
    }
}

// === conversions ===

fn run_from(r: ec2::RunRequest) -> core::RunRequest {
    let piece = |piece: ec2::Piece| match piece {
        ec2::Piece::Text(text) => core::Piece::Text(text),
        ec2::Piece::Secret(secret) => core::Piece::Secret(convert::secret_from(secret)),
        ec2::Piece::SecretVariable(secret) => {
            core::Piece::SecretVariable(convert::secret_from(secret))
        }
    };
    core::RunRequest {
        region: r.region,
        zone: r.zone,
        subnet: r.subnet,
        instance_type: r.instance_type,
        image: r.image,
        security_groups: r.security_groups,
        key_name: r.key_name,
        instance_profile: r.instance_profile,
        spot: r.spot,
        ends_with_system: r.ends_with_system,
        disk: Bytes(r.disk),
        user_data: r.user_data.into_iter().map(piece).collect(),
        replica: r.replica,
        ordinal: r.ordinal,
        spec: r.spec,
    }
}

fn instance(i: core::Instance) -> ec2::Instance {
    ec2::Instance {
        id: i.id,
        state: match i.state {
            core::InstanceState::Pending => ec2::InstanceState::Pending,
            core::InstanceState::Running => ec2::InstanceState::Running,
            core::InstanceState::Stopping => ec2::InstanceState::Stopping,
            core::InstanceState::Stopped => ec2::InstanceState::Stopped,
            core::InstanceState::ShuttingDown => ec2::InstanceState::ShuttingDown,
            core::InstanceState::Terminated => ec2::InstanceState::Terminated,
        },
        instance_type: i.instance_type,
        zone: i.zone,
        public_address: i.public_address,
        private_address: i.private_address,
        launched_at: i.launched_at.0,
        spot: i.spot,
        allocation: i.allocation,
        replica: i.replica,
        spec: i.spec,
        reason: i.reason,
    }
}

fn instance_type(t: core::InstanceType) -> ec2::InstanceType {
    let gpu = |g: core::Gpu| ec2::Gpu {
        manufacturer: g.manufacturer,
        name: g.name,
        count: g.count,
        memory: g.memory.0,
    };
    ec2::InstanceType {
        name: t.name,
        cpu: t.cpu,
        memory: t.memory.0,
        disk: t.disk.0,
        architectures: t.architectures,
        gpu: t.gpu.map(gpu),
        spot: t.spot,
    }
}

fn load_balancer(b: core::LoadBalancer) -> elb::LoadBalancer {
    elb::LoadBalancer {
        id: b.id,
        allocation: b.allocation,
        dns_name: b.dns_name,
        vpc: b.vpc,
        state: match b.state {
            core::LoadBalancerState::Provisioning => elb::LoadBalancerState::Provisioning,
            core::LoadBalancerState::Active => elb::LoadBalancerState::Active,
            core::LoadBalancerState::Impaired => elb::LoadBalancerState::Impaired,
            core::LoadBalancerState::Failed => elb::LoadBalancerState::Failed,
        },
    }
}

fn target_group(g: core::TargetGroup) -> elb::TargetGroup {
    elb::TargetGroup {
        id: g.id,
        allocation: g.allocation,
        port: g.port,
        number: g.number,
    }
}

fn listener(l: core::Listener) -> elb::Listener {
    elb::Listener {
        id: l.id,
        number: l.number,
        target_group: l.target_group,
    }
}

fn targets_from(targets: Vec<elb::Target>) -> Vec<core::Target> {
    targets
        .into_iter()
        .map(|target| core::Target {
            instance: target.instance,
            number: target.number,
        })
        .collect()
}

fn target_health(h: core::TargetHealth) -> elb::TargetHealth {
    elb::TargetHealth {
        target_group: h.target_group,
        instance: h.instance,
        number: h.number,
        state: match h.state {
            core::TargetState::Initial => elb::TargetState::Initial,
            core::TargetState::Healthy => elb::TargetState::Healthy,
            core::TargetState::Unhealthy => elb::TargetState::Unhealthy,
            core::TargetState::Unused => elb::TargetState::Unused,
            core::TargetState::Draining => elb::TargetState::Draining,
            core::TargetState::Unknown => elb::TargetState::Unknown,
        },
        reason: h.reason,
    }
}
