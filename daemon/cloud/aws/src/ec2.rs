//! EC2: what there is to be had, and instances.

mod convert;

use std::collections::{BTreeMap, HashSet};

use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, Filter, HttpTokensState, IamInstanceProfileSpecification,
    Instance as Found, InstanceInterruptionBehavior, InstanceMarketOptionsRequest,
    InstanceMetadataOptionsRequest, MarketType, Placement, ResourceType, ShutdownBehavior,
    SpotInstanceType, SpotMarketOptions, Tag, TagSpecification,
};
use aws_smithy_types::{DateTime, base64};
use tradewind_core::{
    capability::{
        Attempt,
        aws::{Image, Instance, InstanceState, InstanceType, RunRequest, SpotPrice},
    },
    failure::Failure,
    units::GIB,
    workload::Labels,
};

use self::convert::{Described, instance, instance_type, spot_price};
use crate::{
    allow,
    errors::{self, failure},
    session::{Session, foreign, incomplete},
    tokens, user_data,
};

/// The most values of one filter.
const VALUES: usize = 200;
const LINUX: &str = "Linux/UNIX";

impl Session<'_> {
    pub(crate) async fn zones(&self) -> Result<Vec<String>, Failure> {
        let request = self
            .clients
            .ec2
            .describe_availability_zones()
            .filters(filter("state", ["available".to_owned()]));
        let answer = request
            .send()
            .await
            .map_err(|e| failure("ec2:DescribeAvailabilityZones", &e))?;
        Ok(answer
            .availability_zones()
            .iter()
            .filter_map(|zone| zone.zone_name().map(str::to_owned))
            .collect())
    }

    pub(crate) async fn instance_types(
        &self,
        types: &[String],
    ) -> Result<Vec<InstanceType>, Failure> {
        let mut found = Vec::new();
        for some in types.chunks(VALUES) {
            // By a filter: a name that a region doesn't have would be an error as a parameter.
            let request = self
                .clients
                .ec2
                .describe_instance_types()
                .filters(filter("instance-type", some.iter().cloned()));
            let mut pages = request.into_paginator().page_size(100).send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| failure("ec2:DescribeInstanceTypes", &e))?;
                found.extend(
                    page.instance_types()
                        .iter()
                        .filter_map(instance_type)
                        .filter(|t| allow::is_type(&self.asker.grant, &t.name)),
                );
            }
        }
        Ok(found)
    }

    pub(crate) async fn spot_prices(&self, types: &[String]) -> Result<Vec<SpotPrice>, Failure> {
        // A history that begins now is made of the prices in force.
        let now = DateTime::from(std::time::SystemTime::now());
        let mut latest: BTreeMap<(String, String), SpotPrice> = BTreeMap::new();
        for some in types.chunks(VALUES) {
            let names = some.iter().map(|name| name.as_str().into()).collect();
            let request = self
                .clients
                .ec2
                .describe_spot_price_history()
                .set_instance_types(Some(names))
                .product_descriptions(LINUX);
            let mut pages = request
                .start_time(now)
                .into_paginator()
                .page_size(1000)
                .send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| failure("ec2:DescribeSpotPriceHistory", &e))?;
                for price in page.spot_price_history().iter().filter_map(spot_price) {
                    let key = (price.instance_type.clone(), price.zone.clone());
                    if allow::is_type(&self.asker.grant, &key.0)
                        && latest.get(&key).is_none_or(|known| known.at <= price.at)
                    {
                        latest.insert(key, price);
                    }
                }
            }
        }
        Ok(latest.into_values().collect())
    }

    pub(crate) async fn images(&self, ids: &[String]) -> Result<Vec<Image>, Failure> {
        let mut found = Vec::new();
        for some in ids.chunks(VALUES) {
            let mut pages = self
                .clients
                .ec2
                .describe_images()
                .filters(filter("image-id", some.iter().cloned()))
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| failure("ec2:DescribeImages", &e))?;
                found.extend(page.images().iter().filter_map(convert::image));
            }
        }
        Ok(found)
    }

    pub(crate) async fn run(
        &self,
        attempt: &Attempt,
        request: &RunRequest,
    ) -> Result<Instance, Failure> {
        let (pieces, grant, folder) = (
            request.user_data.clone(),
            self.asker.grant.clone(),
            self.inner.secrets.clone(),
        );
        let encoded = tokio::task::spawn_blocking(move || {
            user_data::encoded(&pieces, allow::secrets_of(&grant), &folder)
        })
        .await;
        let data = encoded.map_err(|_| Failure::internal("secrets can't be read"))??;
        let census = &self.inner.census;
        census
            .reserve(self.owner(), self.asker.grant.instances, self.everywhere())
            .await?;
        let made = self.launch(attempt, request, data).await;
        let alive = made
            .as_ref()
            .ok()
            .filter(|made| is_alive(made))
            .map(|made| made.id.as_str());
        census.settle(self.owner(), alive).await;
        made
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        request: &RunRequest,
        data: String,
    ) -> Result<Instance, Failure> {
        let owner = self.owner();
        let token = tokens::client_token(owner, attempt, request, &data);
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let tags = tokens::instance_tags(owner, attempt, request);
        let mut run = self
            .clients
            .ec2
            .run_instances()
            .client_token(token)
            .min_count(1)
            .max_count(1)
            .image_id(&request.image)
            .instance_type(request.instance_type.as_str().into())
            .set_subnet_id(given(&request.subnet))
            .set_security_group_ids(
                Some(request.security_groups.clone()).filter(|groups| !groups.is_empty()),
            )
            .set_key_name(given(&request.key_name))
            .set_user_data(Some(data).filter(|data| !data.is_empty()))
            .metadata_options(
                InstanceMetadataOptionsRequest::builder()
                    .http_tokens(HttpTokensState::Required)
                    .build(),
            )
            .tag_specifications(tagged(ResourceType::Instance, &tags))
            .tag_specifications(tagged(ResourceType::Volume, &tags));
        if let (Some(zone), true) = (given(&request.zone), request.subnet.is_empty()) {
            run = run.placement(Placement::builder().availability_zone(zone).build());
        }
        if let Some(name) = given(&request.instance_profile) {
            run = run.iam_instance_profile(
                IamInstanceProfileSpecification::builder()
                    .name(name)
                    .build(),
            );
        }
        if request.spot {
            run = run.instance_market_options(one_time_spot());
        }
        if request.ends_with_system {
            run = run.instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate);
        }
        if request.disk.0 > 0 {
            run =
                run.block_device_mappings(self.root_volume(&request.image, request.disk.0).await?);
        }
        let answer = run
            .send()
            .await
            .map_err(|e| failure("ec2:RunInstances", &e))?;
        let made = answer
            .instances()
            .first()
            .and_then(Described::new)
            .ok_or_else(|| incomplete("ec2:RunInstances"))?;
        Ok(Instance {
            allocation: attempt.allocation.as_str().to_owned(),
            replica: request.replica,
            spec: request.spec.clone(),
            ..instance(&made)
        })
    }

    /// The image's root volume, larger.
    async fn root_volume(&self, image: &str, bytes: u64) -> Result<BlockDeviceMapping, Failure> {
        let request = self
            .clients
            .ec2
            .describe_images()
            .filters(filter("image-id", [image.to_owned()]));
        let answer = request
            .send()
            .await
            .map_err(|e| failure("ec2:DescribeImages", &e))?;
        let root = answer
            .images()
            .first()
            .and_then(|image| image.root_device_name());
        let root = root.ok_or_else(|| {
            Failure::invalid(format!(
                "the image \"{image}\" does not exist in {}",
                self.region
            ))
            .field("image")
        })?;
        let size = i32::try_from(bytes.div_ceil(GIB)).unwrap_or(i32::MAX);
        let volume = EbsBlockDevice::builder()
            .volume_size(size)
            .delete_on_termination(true)
            .build();
        Ok(BlockDeviceMapping::builder()
            .device_name(root)
            .ebs(volume)
            .build())
    }

    pub(crate) async fn instances(&self, allocations: &[String]) -> Result<Vec<Instance>, Failure> {
        // More than fit a filter: everything of ours in one list costs less than several lists.
        let some = !allocations.is_empty() && allocations.len() <= VALUES;
        let by_allocation =
            some.then(|| filter(&tag(tokens::ALLOCATION), allocations.iter().cloned()));
        let found = self
            .described([self.mine()].into_iter().chain(by_allocation))
            .await?;
        let asked: HashSet<&String> = allocations.iter().collect();
        let wanted = |one: &Instance| asked.is_empty() || asked.contains(&one.allocation);
        Ok(found
            .iter()
            .filter_map(Described::new)
            .map(|one| instance(&one))
            .filter(wanted)
            .collect())
    }

    pub(crate) async fn terminate(&self, ids: &[String]) -> Result<(), Failure> {
        for some in ids.chunks(VALUES) {
            let (listed, new) = self.own(some, "ids").await?;
            if !listed.is_empty() {
                let request = self
                    .clients
                    .ec2
                    .terminate_instances()
                    .set_instance_ids(Some(listed.clone()));
                request
                    .send()
                    .await
                    .map_err(|e| failure("ec2:TerminateInstances", &e))?;
                self.inner.census.removed(self.owner(), &listed).await;
            }
            for id in new {
                let ended = self
                    .clients
                    .ec2
                    .terminate_instances()
                    .instance_ids(&id)
                    .send()
                    .await;
                ended.map_err(|error| match errors::is_missing(&error) {
                    true => Failure::unavailable(format!(
                        "the instance \"{id}\" is too new to be removed"
                    ))
                    .code("not-listed-yet"),
                    false => failure("ec2:TerminateInstances", &error),
                })?;
                self.inner.census.removed(self.owner(), &[id]).await;
            }
        }
        Ok(())
    }

    pub(crate) async fn console(&self, id: &str) -> Result<String, Failure> {
        let (listed, new) = self.own(&[id.to_owned()], "id").await?;
        if listed.is_empty() && new.is_empty() {
            return Err(Failure::not_found(format!(
                "the instance \"{}\" does not exist",
                id.escape_debug()
            ))
            .field("id"));
        }
        let request = self.clients.ec2.get_console_output().instance_id(id);
        let answer = match request.clone().latest(true).send().await {
            // Older types only know what they have written until they were started or stopped.
            Err(error)
                if errors::code(&error).is_some_and(|code| code.starts_with("Unsupported")) =>
            {
                request.send().await
            }
            answer => answer,
        };
        let answer = answer.map_err(|e| failure("ec2:GetConsoleOutput", &e))?;
        let bytes = base64::decode(answer.output().unwrap_or_default()).unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Which of these are the asker's own: those that are listed, and those that were just made here. What does not exist is passed over.
    ///
    /// # Errors
    /// `denied` for one that exists and is not the asker's.
    pub(crate) async fn own(
        &self,
        ids: &[String],
        field: &str,
    ) -> Result<(Vec<String>, Vec<String>), Failure> {
        let named = || filter("instance-id", ids.iter().cloned());
        let ours: HashSet<String> = self
            .described([self.mine(), named()])
            .await?
            .iter()
            .filter_map(id)
            .collect();
        let (listed, rest): (Vec<String>, Vec<String>) =
            ids.iter().cloned().partition(|id| ours.contains(id));
        let (new, unknown): (Vec<String>, Vec<String>) = rest
            .into_iter()
            .partition(|id| self.inner.census.is_new(self.owner(), id));
        if !unknown.is_empty() {
            let found = self.described([filter("instance-id", unknown)]).await?;
            if let Some(other) = found.iter().find_map(id) {
                return Err(foreign("instance", &other, field));
            }
        }
        Ok((listed, new))
    }

    /// The asker's instances in every region of the grant that may still cost something. Of a region that does not answer nothing is known, except of
    /// this one, which has to.
    async fn everywhere(&self) -> Result<HashSet<String>, Failure> {
        let mut all = HashSet::new();
        for region in &self.asker.grant.regions {
            let there = Session::open(self.inner, self.asker, region).await?;
            let states = ["pending", "running", "stopping", "stopped"].map(str::to_owned);
            match there
                .described([self.mine(), filter("instance-state-name", states)])
                .await
            {
                Ok(found) => all.extend(found.iter().filter_map(id)),
                Err(failure) if region == self.region => return Err(failure),
                Err(failure) => tracing::warn!(%failure, region, "instances can't be counted"),
            }
        }
        Ok(all)
    }

    fn mine(&self) -> Filter {
        filter(&tag(tokens::INSTANCE), [self.owner().as_str().to_owned()])
    }

    async fn described(
        &self,
        filters: impl IntoIterator<Item = Filter>,
    ) -> Result<Vec<Found>, Failure> {
        let request = self
            .clients
            .ec2
            .describe_instances()
            .set_filters(Some(filters.into_iter().collect()));
        let (mut pages, mut found) = (request.into_paginator().page_size(1000).send(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| failure("ec2:DescribeInstances", &e))?;
            found.extend(
                page.reservations
                    .into_iter()
                    .flatten()
                    .flat_map(|reservation| reservation.instances.unwrap_or_default()),
            );
        }
        Ok(found)
    }
}

fn id(found: &Found) -> Option<String> {
    found.instance_id().map(str::to_owned)
}

fn is_alive(instance: &Instance) -> bool {
    !matches!(
        instance.state,
        InstanceState::ShuttingDown | InstanceState::Terminated
    )
}

fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
    Filter::builder()
        .name(name)
        .set_values(Some(values.into_iter().collect()))
        .build()
}

/// The filter for a tag.
fn tag(key: &str) -> String {
    format!("tag:{key}")
}

fn tagged(what: ResourceType, tags: &Labels) -> TagSpecification {
    let tags = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect();
    TagSpecification::builder()
        .resource_type(what)
        .set_tags(Some(tags))
        .build()
}

/// For as long as it lasts, at most at the price on demand, which is what EC2 takes where none is given.
fn one_time_spot() -> InstanceMarketOptionsRequest {
    let options = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate);
    InstanceMarketOptionsRequest::builder()
        .market_type(MarketType::Spot)
        .spot_options(options.build())
        .build()
}
