//! Clients of an account: made once for each grant and region, thrown away when their credentials turn out to be no longer good.

use std::{collections::HashMap, sync::Arc, time::Duration};

use aws_config::{
    AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig, identity::IdentityCache,
    retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::{
    http::SharedHttpClient,
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority},
};
use parking_lot::Mutex;
use tradewind_core::{
    failure::Failure,
    grant::{AwsChain, AwsCredentials, AwsGrant},
    names::Digest,
};
use tradewind_credentials::Credentials;

use crate::{errors, source::Named};

/// How often one request is sent, the first time included.
const TRIES: u32 = 3;
/// As long as it takes to tell a host that is there.
const CONNECT: Duration = Duration::from_secs(3);

/// Of one account in one region. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) elb: aws_sdk_elasticloadbalancingv2::Client,
}

/// All of them.
pub(crate) struct Directory {
    credentials: Credentials,
    http: SharedHttpClient,
    known: Mutex<HashMap<(Digest, String), Clients>>,
}

impl Directory {
    pub(crate) fn new(credentials: Credentials) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        Self {
            credentials,
            http,
            known: Mutex::default(),
        }
    }

    /// Those of a grant in a region.
    pub(crate) async fn clients(
        &self,
        grant: &AwsGrant,
        region: &str,
    ) -> Result<Arc<Clients>, Failure> {
        let key = (fingerprint(grant), region.to_owned());
        let known = self.known.lock().get(&key).cloned();
        if let Some(clients) = known {
            return Ok(Arc::new(clients));
        }
        let config = self.config(grant, region).await;
        let clients = Clients {
            ec2: aws_sdk_ec2::Client::from_conf(
                aws_sdk_ec2::config::Builder::from(&config)
                    .retry_classifier(Settled)
                    .build(),
            ),
            elb: aws_sdk_elasticloadbalancingv2::Client::new(&config),
        };
        self.known.lock().insert(key, clients.clone());
        Ok(Arc::new(clients))
    }

    /// Forgets what is kept of a grant's credentials when a failure tells that they are no good. True when asking anew may help.
    pub(crate) fn renew(&self, grant: &AwsGrant, failure: &Failure) -> bool {
        if !errors::is_about_credentials(failure) {
            return false;
        }
        let of_grant = fingerprint(grant);
        self.known.lock().retain(|(key, _), _| *key != of_grant);
        self.credentials.forget();
        true
    }

    async fn config(&self, grant: &AwsGrant, region: &str) -> SdkConfig {
        let base = self.loader(grant, region);
        let base = match &grant.credentials {
            AwsCredentials::Chain(AwsChain::Default) => base,
            AwsCredentials::Chain(AwsChain::Profile(name)) => base.profile_name(name),
            // Read anew for each request, so that a rotated one is used at once.
            AwsCredentials::Source(source) => base
                .credentials_provider(Named::new(self.credentials.clone(), source.clone()))
                .identity_cache(IdentityCache::no_cache()),
        };
        let config = base.load().await;
        let Some(role) = &grant.assume_role else {
            return config;
        };
        let name = "tradewind";
        let assumed = AssumeRoleProvider::builder(role)
            .session_name(name)
            .configure(&config)
            .region(Region::new(region.to_owned()));
        let assumed = match config.credentials_provider() {
            Some(provider) => assumed.build_from_provider(provider).await,
            None => assumed.build().await,
        };
        // What a role is given holds for a while: this one is kept until shortly before it ends.
        config
            .into_builder()
            .identity_cache(IdentityCache::lazy().build())
            .credentials_provider(SharedCredentialsProvider::new(assumed))
            .build()
    }

    fn loader(&self, grant: &AwsGrant, region: &str) -> ConfigLoader {
        let whole = grant.timeout.std();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT.min(whole))
            .operation_attempt_timeout(whole / 2)
            .operation_timeout(whole);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .region(Region::new(region.to_owned()))
            .retry_config(retries(whole))
            .timeout_config(timeouts.build());
        if let Ok(name) = AppName::new("tradewind") {
            loader = loader.app_name(name);
        }
        match &grant.endpoint {
            Some(endpoint) => loader.endpoint_url(endpoint),
            None => loader,
        }
    }
}

/// The pauses between tries are random up to a bound that doubles with each: all of them together leave most of an operation's time for answers.
fn retries(whole: Duration) -> RetryConfig {
    let first = (whole / 10).min(Duration::from_secs(1));
    RetryConfig::adaptive()
        .with_max_attempts(TRIES)
        .with_initial_backoff(first)
        .with_max_backoff(first * 4)
}

/// Of everything in a grant that clients are made of.
fn fingerprint(grant: &AwsGrant) -> Digest {
    let parts = serde_json::to_vec(&(
        &grant.credentials,
        &grant.assume_role,
        &grant.endpoint,
        grant.timeout,
    ));
    Digest::of(&parts.unwrap_or_default())
}

/// Answers that a repetition won't change: AWS sends some of them with a status that would have the request repeated.
#[derive(Debug)]
struct Settled;

impl ClassifyRetry for Settled {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let code = error.as_operation_error().and_then(|error| {
            let ec2 =
                error.downcast_ref::<aws_sdk_ec2::operation::run_instances::RunInstancesError>();
            ec2.and_then(aws_smithy_types::error::metadata::ProvideErrorMetadata::code)
        });
        if code.is_some_and(errors::is_settled) {
            RetryAction::RetryForbidden
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "settled"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}
