//! A fleet as a provider: everything but what only the cloud knows, which [`FleetProvider`] asks for.

use serde::de::DeserializeOwned;

use super::{Cloud, Fleet, Pace, State};
use crate::{
    Context, Error, Offer, Provider, ProviderInfo,
    provider::{read_state, write_state},
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery,
        OwnedAllocation, Tracked,
    },
};

/// A cloud that is a whole provider once a [`Fleet`] manages its instances. Implement it on the type that implements [`Cloud`], and
/// register the fleet. The author's guide (`README.md` of this crate) shows a provider with all of its calls.
///
/// `Host` is a parameter, so that tests run the same provider on stand-ins, through [`Fleet::on`]:
///
/// ```
/// use tradewind_plugin_sdk::{
///     Context, Error, Features, FleetProvider, Offer, Provider, ProviderInfo,
///     fleet::Fleet,
///     host::{Clock, Host, Http, HttpResponse},
///     register_provider, testing,
///     types::OffersQuery,
///     units::{Cpu, GIB, Money, Size},
/// };
///
/// struct Acme<H = Host> {
///     host: H,
///     url: String,
/// }
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {
///     url: String,
/// }
///
/// impl<H: Http + Clock> FleetProvider for Acme<H> {
///     type Host = H;
///     type Settings = Settings;
///
///     fn info() -> ProviderInfo {
///         ProviderInfo::new("acme", "0.1.0", "Servers of Acme")
///             .schema(r#"{"type":"object","required":["url"],"properties":{"url":{"type":"string"}},"additionalProperties":false}"#)
///             .wants("http", "to call the API")
///             .wants("clock", "to tell what is too new to be listed from what is gone")
///             .runs(Features::IMAGES | Features::SERVICES)
///     }
///     fn new(host: H, _: &Context, settings: Settings) -> Result<Self, Error> {
///         Ok(Self { host, url: settings.url })
///     }
///     fn offers(&self, _: &OffersQuery) -> Result<Vec<Offer>, Error> {
///         Ok(vec![Offer::new("small", Cpu(1000), Size(2 * GIB), Money(10_000))])
///     }
/// }
///
/// register_provider!(Fleet<Acme<Host>>);
///
/// # use std::collections::BTreeMap;
/// # use tradewind_plugin_sdk::{
/// #     fleet::{Cloud, Described, Instance, New},
/// #     host::HttpRequest,
/// #     types::{Allocation, ChosenOffer, Destroyed},
/// # };
/// # impl<H: Http + Clock> Cloud for Acme<H> {
/// #     fn now(&self) -> u64 { self.host.now() }
/// #     fn place(&self, _: &ChosenOffer) -> Result<String, Error> { self.places().map(|mut all| all.remove(0)) }
/// #     fn places(&self) -> Result<Vec<String>, Error> { Ok(vec!["all".to_owned()]) }
/// #     fn describe(&self, _: &Allocation) -> Result<Described, Error> { unimplemented!() }
/// #     fn create(&self, _: &New<'_>) -> Result<Instance, Error> { unimplemented!() }
/// #     fn tagged(&self, _: &str, _: (&str, &str)) -> Result<Vec<Instance>, Error> {
/// #         let (method, url) = ("GET".to_owned(), format!("{}/servers", self.url));
/// #         let (headers, body) = (Vec::new(), Vec::new());
/// #         self.host.send(&HttpRequest { method, url, headers, body, credential: None, timeout: None }).map(|_| Vec::new())
/// #     }
/// #     fn delete(&self, _: &str, _: &str) -> Result<Destroyed, Error> { unimplemented!() }
/// # }
/// # fn main() -> Result<(), Error> {
/// // In a test:
/// let web = testing::Web::new(testing::Clock::default(), |_, _| {
///     Ok(HttpResponse { status: 200, headers: Vec::new(), body: b"[]".to_vec() })
/// });
/// let settings = Settings { url: "https://acme.test".to_owned() };
/// let acme = Fleet::<Acme<testing::Web>>::on(web.clone(), Context::default(), settings)?;
/// assert!(acme.owned()?.is_empty());
/// assert_eq!(web.sent()[0].url, "https://acme.test/servers");
/// # Ok(())
/// # }
/// ```
pub trait FleetProvider: Cloud + Sized {
    /// The capabilities that it calls: [`Host`](crate::host::Host) in the daemon, a stand-in from `testing` in tests.
    type Host;

    /// The instance's settings.
    type Settings: DeserializeOwned;

    /// Who this is.
    fn info() -> ProviderInfo;

    /// Begins a call: nothing is kept between calls. Settings that can't work are refused here.
    ///
    /// # Errors
    /// `invalid` with a field in `settings`.
    fn new(host: Self::Host, context: &Context, settings: Self::Settings) -> Result<Self, Error>;

    /// How far the cloud can be behind. Default: that of [`Pace`].
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// Whether the cloud can be reached and used. Default: nothing to report.
    ///
    /// # Errors
    /// The cloud's.
    fn check(&self) -> Result<Vec<Condition>, Error> {
        Ok(Vec::new())
    }

    /// What can be had now.
    ///
    /// # Errors
    /// The cloud's.
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error>;

    /// What the replicas wrote; [`read_logs`](super::read_logs) makes it of what each instance wrote. Default: nothing.
    ///
    /// # Errors
    /// The cloud's; `invalid` for a cursor that is none.
    fn logs(&self, state: &State, query: &LogQuery) -> Result<LogChunk, Error> {
        let _ = (state, query);
        Ok(LogChunk {
            lines: Vec::new(),
            next: None,
        })
    }
}

impl<C: FleetProvider> Fleet<C> {
    /// The provider as a call finds it, on these capabilities.
    ///
    /// # Errors
    /// What the cloud says of the settings.
    pub fn on(host: C::Host, context: Context, settings: C::Settings) -> Result<Self, Error> {
        let cloud = C::new(host, &context, settings)?;
        let pace = cloud.pace();
        Ok(Self::of(cloud, context.instance, pace))
    }
}

impl<C: FleetProvider<Host: Default>> Provider for Fleet<C> {
    type Settings = C::Settings;

    fn info() -> ProviderInfo {
        C::info()
    }

    fn new(context: Context, settings: C::Settings) -> Result<Self, Error> {
        Self::on(C::Host::default(), context, settings)
    }

    fn check(&self) -> Result<Vec<Condition>, Error> {
        self.cloud.check()
    }

    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        self.cloud.offers(query)
    }

    fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let prior: Option<State> = prior.map(read_state).transpose()?;
        write_state(&self.make_so(allocation, prior)?)
    }

    fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error> {
        self.look_at(tracked)
    }

    fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error> {
        self.remove(&tracked.allocation, &read_state(&tracked.state)?)
    }

    fn owned(&self) -> Result<Vec<OwnedAllocation>, Error> {
        self.everything()
    }

    fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        self.cloud.logs(&read_state(&tracked.state)?, query)
    }
}
