//! Elastic Load Balancing, version 2: one application load balancer for an allocation, with a target group and a listener for each port.

use std::collections::HashMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, LoadBalancer as Found, LoadBalancerSchemeEnum, LoadBalancerStateEnum,
    LoadBalancerTypeEnum, Matcher, ProtocolEnum, Tag, TargetDescription, TargetGroup as FoundGroup,
    TargetHealthDescription, TargetHealthStateEnum,
};
use futures::{StreamExt, TryStreamExt, stream};
use tradewind_core::{
    capability::{
        Attempt,
        aws::{
            Listener, ListenerRequest, LoadBalancer, LoadBalancerRequest, LoadBalancerState,
            Target, TargetGroup, TargetGroupRequest, TargetHealth, TargetState,
        },
    },
    failure::Failure,
    units::Millis,
    workload::Labels,
};

use crate::{
    errors::{self, failure},
    session::{Session, foreign, incomplete},
    tokens,
};

/// The most resources whose tags one call tells.
const TAGS: usize = 20;
const PAGE: i32 = 400;
/// Questions about target groups at once: there is one call for each.
const AT_ONCE: usize = 8;

impl Session<'_> {
    pub(crate) async fn create_load_balancer(
        &self,
        attempt: &Attempt,
        request: &LoadBalancerRequest,
    ) -> Result<LoadBalancer, Failure> {
        let allocation = attempt.allocation.as_str();
        let name = tokens::load_balancer(self.owner(), allocation);
        let scheme = if request.internal {
            LoadBalancerSchemeEnum::Internal
        } else {
            LoadBalancerSchemeEnum::InternetFacing
        };
        let create = self
            .clients
            .elb
            .create_load_balancer()
            .name(&name)
            .r#type(LoadBalancerTypeEnum::Application)
            .scheme(scheme)
            .set_subnets(Some(request.subnets.clone()))
            .set_security_groups(
                Some(request.security_groups.clone()).filter(|groups| !groups.is_empty()),
            )
            .set_tags(Some(sdk_tags(&tokens::tags(self.owner(), attempt))));
        let found = match create.send().await {
            Ok(answer) => answer.load_balancers.unwrap_or_default().pop(),
            // It is there with other settings, or the cloud does not compare them.
            Err(error) if errors::code(&error) == Some("DuplicateLoadBalancerName") => {
                let request = self.clients.elb.describe_load_balancers().names(&name);
                let answer = request
                    .send()
                    .await
                    .map_err(|e| failure("elasticloadbalancing:DescribeLoadBalancers", &e))?;
                let found = answer.load_balancers.unwrap_or_default().pop();
                self.own_all(
                    found.as_ref().and_then(|found| found.load_balancer_arn()),
                    "load balancer",
                    "region",
                )
                .await?;
                found
            }
            Err(error) => return Err(failure("elasticloadbalancing:CreateLoadBalancer", &error)),
        };
        let made = found
            .as_ref()
            .and_then(|found| load_balancer(found, allocation));
        let made = made.ok_or_else(|| incomplete("elasticloadbalancing:CreateLoadBalancer"))?;
        self.inner.census.made(self.owner(), &made.id);
        Ok(made)
    }

    pub(crate) async fn create_target_group(
        &self,
        attempt: &Attempt,
        request: &TargetGroupRequest,
    ) -> Result<TargetGroup, Failure> {
        let allocation = attempt.allocation.as_str();
        let name = tokens::target_group(self.owner(), allocation, &format!("{request:?}"));
        let check = &request.health_check;
        let mut tags = tokens::tags(self.owner(), attempt);
        tags.insert(tokens::PORT.to_owned(), request.port.clone());
        let create = self
            .clients
            .elb
            .create_target_group()
            .name(&name)
            .protocol(ProtocolEnum::Http)
            .port(i32::from(request.number))
            .vpc_id(&request.vpc)
            .health_check_protocol(ProtocolEnum::Http)
            .health_check_path(&check.path)
            .health_check_interval_seconds(seconds(check.interval, 5, 300))
            // Shorter than the interval, or it is refused.
            .health_check_timeout_seconds(
                seconds(check.timeout, 2, 120).min(seconds(check.interval, 5, 300) - 1),
            )
            .healthy_threshold_count(threshold(check.healthy_after))
            .unhealthy_threshold_count(threshold(check.unhealthy_after))
            .matcher(
                Matcher::builder()
                    .http_code(format!(
                        "{}-{}",
                        check.status_min.max(200),
                        check.status_max.min(499)
                    ))
                    .build(),
            )
            .set_tags(Some(sdk_tags(&tags)));
        let found = match create.send().await {
            Ok(answer) => answer.target_groups.unwrap_or_default().pop(),
            Err(error) if errors::code(&error) == Some("DuplicateTargetGroupName") => {
                let request = self.clients.elb.describe_target_groups().names(&name);
                let answer = request
                    .send()
                    .await
                    .map_err(|e| failure("elasticloadbalancing:DescribeTargetGroups", &e))?;
                let found = answer.target_groups.unwrap_or_default().pop();
                self.own_all(
                    found.as_ref().and_then(|found| found.target_group_arn()),
                    "target group",
                    "port",
                )
                .await?;
                found
            }
            Err(error) => return Err(failure("elasticloadbalancing:CreateTargetGroup", &error)),
        };
        let made = found.as_ref().and_then(|found| target_group(found, &tags));
        let made = made.ok_or_else(|| incomplete("elasticloadbalancing:CreateTargetGroup"))?;
        self.inner.census.made(self.owner(), &made.id);
        Ok(made)
    }

    pub(crate) async fn create_listener(
        &self,
        attempt: &Attempt,
        request: &ListenerRequest,
    ) -> Result<Listener, Failure> {
        self.own_all([&*request.load_balancer], "load balancer", "load-balancer")
            .await?;
        self.own_all([&*request.target_group], "target group", "target-group")
            .await?;
        let forward = Action::builder()
            .r#type(ActionTypeEnum::Forward)
            .target_group_arn(&request.target_group)
            .build();
        let create = self
            .clients
            .elb
            .create_listener()
            .load_balancer_arn(&request.load_balancer)
            .protocol(ProtocolEnum::Http)
            .port(i32::from(request.number))
            .default_actions(forward.clone())
            .set_tags(Some(sdk_tags(&tokens::tags(self.owner(), attempt))));
        let id = match create.send().await {
            Ok(answer) => answer
                .listeners()
                .first()
                .and_then(|listener| listener.listener_arn().map(str::to_owned)),
            Err(error) if errors::code(&error) == Some("DuplicateListener") => {
                let there = self.listeners(&request.load_balancer).await?;
                let found = there
                    .into_iter()
                    .find(|listener| listener.number == request.number);
                if let Some(other) = found
                    .as_ref()
                    .filter(|listener| listener.target_group != request.target_group)
                {
                    let change = self
                        .clients
                        .elb
                        .modify_listener()
                        .listener_arn(&other.id)
                        .default_actions(forward);
                    change
                        .send()
                        .await
                        .map_err(|e| failure("elasticloadbalancing:ModifyListener", &e))?;
                }
                found.map(|listener| listener.id)
            }
            Err(error) => return Err(failure("elasticloadbalancing:CreateListener", &error)),
        };
        let id = id.ok_or_else(|| incomplete("elasticloadbalancing:CreateListener"))?;
        Ok(Listener {
            id,
            number: request.number,
            target_group: request.target_group.clone(),
        })
    }

    /// One list of all in the region: their names tell whose they are. Tags are asked for only where the allocation isn't known.
    pub(crate) async fn load_balancers(
        &self,
        allocations: &[String],
    ) -> Result<Vec<LoadBalancer>, Failure> {
        let mut pages = self
            .clients
            .elb
            .describe_load_balancers()
            .page_size(PAGE)
            .into_paginator()
            .send();
        let (mut found, prefix) = (Vec::new(), tokens::prefix(self.owner()));
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|e| failure("elasticloadbalancing:DescribeLoadBalancers", &e))?;
            let ours = |one: &Found| {
                one.load_balancer_name()
                    .is_some_and(|name| name.starts_with(&prefix))
            };
            found.extend(
                page.load_balancers
                    .unwrap_or_default()
                    .into_iter()
                    .filter(ours),
            );
        }
        if !allocations.is_empty() {
            let names: HashMap<String, &String> = allocations
                .iter()
                .map(|id| (tokens::load_balancer(self.owner(), id), id))
                .collect();
            let named = |one: &Found| load_balancer(one, names.get(one.load_balancer_name()?)?);
            return Ok(found.iter().filter_map(named).collect());
        }
        let tags = self
            .tags(found.iter().filter_map(|one| one.load_balancer_arn()))
            .await?;
        let tagged = |one: &Found| {
            load_balancer(
                one,
                self.owned_by(tags.get(one.load_balancer_arn()?)?)?
                    .get(tokens::ALLOCATION)?,
            )
        };
        Ok(found.iter().filter_map(tagged).collect())
    }

    pub(crate) async fn target_groups(
        &self,
        allocations: &[String],
    ) -> Result<Vec<TargetGroup>, Failure> {
        let mut pages = self
            .clients
            .elb
            .describe_target_groups()
            .page_size(PAGE)
            .into_paginator()
            .send();
        let (mut found, prefix) = (Vec::new(), tokens::prefix(self.owner()));
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|e| failure("elasticloadbalancing:DescribeTargetGroups", &e))?;
            let ours = |one: &FoundGroup| {
                one.target_group_name()
                    .is_some_and(|name| name.starts_with(&prefix))
            };
            found.extend(
                page.target_groups
                    .unwrap_or_default()
                    .into_iter()
                    .filter(ours),
            );
        }
        let tags = self
            .tags(found.iter().filter_map(|one| one.target_group_arn()))
            .await?;
        let tagged = |one: &FoundGroup| {
            target_group(one, self.owned_by(tags.get(one.target_group_arn()?)?)?)
        };
        let wanted =
            |group: &TargetGroup| allocations.is_empty() || allocations.contains(&group.allocation);
        Ok(found.iter().filter_map(tagged).filter(wanted).collect())
    }

    pub(crate) async fn listeners(&self, load_balancer: &str) -> Result<Vec<Listener>, Failure> {
        self.named([load_balancer], "load balancer", "load-balancer")?;
        let mut pages = self
            .clients
            .elb
            .describe_listeners()
            .load_balancer_arn(load_balancer)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| failure("elasticloadbalancing:DescribeListeners", &e))?;
            for listener in page.listeners() {
                let target = listener
                    .default_actions()
                    .iter()
                    .find_map(|action| action.target_group_arn())
                    .unwrap_or_default();
                let number = listener.port().and_then(|port| u16::try_from(port).ok());
                if let (Some(id), Some(number)) = (listener.listener_arn(), number) {
                    found.push(Listener {
                        id: id.to_owned(),
                        number,
                        target_group: target.to_owned(),
                    });
                }
            }
        }
        Ok(found)
    }

    pub(crate) async fn register(&self, group: &str, targets: &[Target]) -> Result<(), Failure> {
        self.own_all([group], "target group", "target-group")
            .await?;
        let ids: Vec<String> = targets
            .iter()
            .map(|target| target.instance.clone())
            .collect();
        let (listed, new) = self.own(&ids, "targets").await?;
        let there = targets
            .iter()
            .filter(|target| listed.contains(&target.instance) || new.contains(&target.instance));
        let targets: Vec<TargetDescription> = there.map(description).collect();
        if targets.is_empty() {
            return Ok(());
        }
        let request = self
            .clients
            .elb
            .register_targets()
            .target_group_arn(group)
            .set_targets(Some(targets));
        request
            .send()
            .await
            .map(drop)
            .map_err(|e| failure("elasticloadbalancing:RegisterTargets", &e))
    }

    pub(crate) async fn deregister(&self, group: &str, targets: &[Target]) -> Result<(), Failure> {
        self.own_all([group], "target group", "target-group")
            .await?;
        let targets = targets.iter().map(description).collect();
        let request = self
            .clients
            .elb
            .deregister_targets()
            .target_group_arn(group)
            .set_targets(Some(targets));
        match request.send().await {
            Err(error) if errors::is_missing(&error) => Ok(()),
            answer => answer
                .map(drop)
                .map_err(|e| failure("elasticloadbalancing:DeregisterTargets", &e)),
        }
    }

    pub(crate) async fn health(&self, groups: &[String]) -> Result<Vec<TargetHealth>, Failure> {
        self.named(
            groups.iter().map(String::as_str),
            "target group",
            "target-groups",
        )?;
        let of_each = stream::iter(groups.to_vec())
            .map(|group| self.health_of(group))
            .buffered(AT_ONCE);
        Ok(of_each
            .try_collect::<Vec<_>>()
            .await?
            .into_iter()
            .flatten()
            .collect())
    }

    async fn health_of(&self, group: String) -> Result<Vec<TargetHealth>, Failure> {
        match self
            .clients
            .elb
            .describe_target_health()
            .target_group_arn(&group)
            .send()
            .await
        {
            Err(error) if errors::is_missing(&error) => Ok(Vec::new()),
            Err(error) => Err(failure("elasticloadbalancing:DescribeTargetHealth", &error)),
            Ok(answer) => Ok(answer
                .target_health_descriptions()
                .iter()
                .filter_map(|one| target_health(&group, one))
                .collect()),
        }
    }

    pub(crate) async fn delete_listener(&self, id: &str) -> Result<bool, Failure> {
        if !self.is_there_and_ours(id, "listener").await? {
            return Ok(true);
        }
        match self
            .clients
            .elb
            .delete_listener()
            .listener_arn(id)
            .send()
            .await
        {
            Err(error) if !errors::is_missing(&error) => {
                Err(failure("elasticloadbalancing:DeleteListener", &error))
            }
            _ => Ok(true),
        }
    }

    pub(crate) async fn delete_load_balancer(&self, id: &str) -> Result<bool, Failure> {
        if !self.is_there_and_ours(id, "load balancer").await? {
            return Ok(true);
        }
        match self
            .clients
            .elb
            .delete_load_balancer()
            .load_balancer_arn(id)
            .send()
            .await
        {
            Err(error) if !errors::is_missing(&error) => {
                Err(failure("elasticloadbalancing:DeleteLoadBalancer", &error))
            }
            _ => Ok(true),
        }
    }

    pub(crate) async fn delete_target_group(&self, id: &str) -> Result<bool, Failure> {
        if !self.is_there_and_ours(id, "target group").await? {
            return Ok(true);
        }
        match self
            .clients
            .elb
            .delete_target_group()
            .target_group_arn(id)
            .send()
            .await
        {
            // A load balancer that is being removed still holds it.
            Err(error) if errors::code(&error) == Some("ResourceInUse") => Ok(false),
            Err(error) if !errors::is_missing(&error) => {
                Err(failure("elasticloadbalancing:DeleteTargetGroup", &error))
            }
            _ => Ok(true),
        }
    }

    // === whose it is ===

    /// Refuses ids whose names are not the asker's: what is only looked at needs no call for that.
    fn named<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
        what: &str,
        field: &str,
    ) -> Result<(), Failure> {
        let prefix = tokens::prefix(self.owner());
        // arn:…:targetgroup/NAME/ID, arn:…:loadbalancer/app/NAME/ID, arn:…:listener/app/NAME/ID/ID
        let ours = |id: &str| {
            id.split('/')
                .skip(1)
                .take(2)
                .any(|part| part.starts_with(&prefix))
        };
        ids.into_iter().try_for_each(|id| {
            if ours(id) {
                Ok(())
            } else {
                Err(foreign(what, id, field))
            }
        })
    }

    /// Refuses what does not bear the asker's tag, and what does not exist.
    async fn own_all<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
        what: &str,
        field: &str,
    ) -> Result<(), Failure> {
        let ids: Vec<&str> = ids.into_iter().collect();
        self.named(ids.iter().copied(), what, field)?;
        let old: Vec<&str> = ids
            .into_iter()
            .filter(|id| !self.inner.census.is_new(self.owner(), id))
            .collect();
        let tags = self.tags(old.iter().copied()).await?;
        let other = old.iter().find(|id| {
            tags.get(**id)
                .and_then(|tags| self.owned_by(tags))
                .is_none()
        });
        other.map_or(Ok(()), |id| Err(foreign(what, id, field)))
    }

    /// False when it does not exist.
    async fn is_there_and_ours(&self, id: &str, what: &str) -> Result<bool, Failure> {
        self.named([id], what, "id")?;
        match self
            .clients
            .elb
            .describe_tags()
            .resource_arns(id)
            .send()
            .await
        {
            Err(error) if errors::is_missing(&error) => Ok(false),
            Err(error) => Err(failure("elasticloadbalancing:DescribeTags", &error)),
            Ok(answer) => match answer.tag_descriptions().first() {
                Some(found) if self.owned_by(&labels(found.tags())).is_some() => Ok(true),
                // A load balancer takes its listeners with it, and some clouds then answer with an empty list.
                None => Ok(false),
                Some(_) => Err(foreign(what, id, "id")),
            },
        }
    }

    async fn tags<'a>(
        &self,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<String, Labels>, Failure> {
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        let mut tags = HashMap::new();
        for some in ids.chunks(TAGS) {
            let request = self
                .clients
                .elb
                .describe_tags()
                .set_resource_arns(Some(some.to_vec()));
            match request.send().await {
                Ok(answer) => {
                    let described = answer.tag_descriptions().iter();
                    tags.extend(described.filter_map(|found| {
                        Some((found.resource_arn()?.to_owned(), labels(found.tags())))
                    }));
                }
                // One of them has gone since it was listed, and says so for all: the next time it isn't listed.
                Err(error) if errors::is_missing(&error) => {
                    return Err(
                        Failure::unavailable("what is listed is going just now").code("changing")
                    );
                }
                Err(error) => return Err(failure("elasticloadbalancing:DescribeTags", &error)),
            }
        }
        Ok(tags)
    }

    fn owned_by<'a>(&self, tags: &'a Labels) -> Option<&'a Labels> {
        Some(tags).filter(|tags| {
            tags.get(tokens::INSTANCE)
                .is_some_and(|owner| owner == self.owner().as_str())
        })
    }
}

// === conversions ===

fn load_balancer(found: &Found, allocation: &str) -> Option<LoadBalancer> {
    let state = match found.state().and_then(|state| state.code()) {
        Some(LoadBalancerStateEnum::Active) => LoadBalancerState::Active,
        Some(LoadBalancerStateEnum::ActiveImpaired) => LoadBalancerState::Impaired,
        Some(LoadBalancerStateEnum::Failed) => LoadBalancerState::Failed,
        _ => LoadBalancerState::Provisioning,
    };
    Some(LoadBalancer {
        id: found.load_balancer_arn()?.to_owned(),
        allocation: allocation.to_owned(),
        dns_name: found.dns_name()?.to_owned(),
        vpc: found.vpc_id().unwrap_or_default().to_owned(),
        state,
    })
}

fn target_group(found: &FoundGroup, tags: &Labels) -> Option<TargetGroup> {
    Some(TargetGroup {
        id: found.target_group_arn()?.to_owned(),
        allocation: tags.get(tokens::ALLOCATION)?.clone(),
        port: tags.get(tokens::PORT).cloned().unwrap_or_default(),
        number: found
            .port()
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(0),
    })
}

fn target_health(group: &str, found: &TargetHealthDescription) -> Option<TargetHealth> {
    let (target, health) = (found.target()?, found.target_health()?);
    let state = match health.state()? {
        TargetHealthStateEnum::Initial => TargetState::Initial,
        TargetHealthStateEnum::Healthy => TargetState::Healthy,
        TargetHealthStateEnum::Unhealthy => TargetState::Unhealthy,
        TargetHealthStateEnum::Unused => TargetState::Unused,
        TargetHealthStateEnum::Draining | TargetHealthStateEnum::UnhealthyDraining => {
            TargetState::Draining
        }
        _ => TargetState::Unknown,
    };
    Some(TargetHealth {
        target_group: group.to_owned(),
        instance: target.id()?.to_owned(),
        number: target
            .port()
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(0),
        state,
        reason: health.description().unwrap_or_default().to_owned(),
    })
}

fn description(target: &Target) -> TargetDescription {
    TargetDescription::builder()
        .id(&target.instance)
        .port(i32::from(target.number))
        .build()
}

fn labels(tags: &[Tag]) -> Labels {
    tags.iter()
        .filter_map(|tag| {
            Some((
                tag.key()?.to_owned(),
                tag.value().unwrap_or_default().to_owned(),
            ))
        })
        .collect()
}

fn sdk_tags(tags: &Labels) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

/// Whole seconds within what the service takes.
fn seconds(length: Millis, least: i32, most: i32) -> i32 {
    i32::try_from(length.0.div_ceil(1000))
        .unwrap_or(most)
        .clamp(least, most)
}

fn threshold(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(10).clamp(2, 10)
}
