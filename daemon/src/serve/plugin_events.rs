//! Tells in the event log what became of plugins: loaded, refused, removed.

use std::collections::BTreeMap;

use tradewind_api::PluginView;
use tradewind_controller as controller;
use tradewind_core::{
    event::{Event, Reason, Severity},
    names::{Actor, Digest, InstanceName},
    units::Instant,
};

/// What has been told about an instance.
#[derive(Clone, PartialEq)]
struct Told {
    serves: Option<(Digest, Digest)>,
    rejected: Option<Instant>,
    canary: Option<Instant>,
    canary_ended: Option<Instant>,
}

/// Runs until the plugin host ends.
pub(super) async fn record(plugins: tradewind_wasm::Handle, controller: controller::Handle) {
    let mut changes = plugins.subscribe();
    let mut known: BTreeMap<InstanceName, Told> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        for view in plugins.list() {
            let now = told(&view);
            let before = known.insert(view.instance.clone(), now.clone());
            for event in events(&view, before.as_ref(), &now) {
                controller.note(event).await;
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn told(view: &PluginView) -> Told {
    Told {
        serves: view.identity.as_ref().map(|i| (i.component, i.settings)),
        rejected: view.last_rejection.as_ref().map(|r| r.at),
        canary: view.canary.as_ref().map(|c| c.since),
        canary_ended: view.last_canary.as_ref().map(|c| c.at),
    }
}

fn events(view: &PluginView, before: Option<&Told>, now: &Told) -> Vec<Event> {
    let mut events = Vec::new();
    if before.is_none_or(|b| b.serves != now.serves) {
        match (&view.identity, before) {
            (Some(identity), _) => events.push(event(
                view,
                Severity::Info,
                Reason::PluginLoaded,
                format!("{identity} serves"),
            )),
            (None, Some(_)) => events.push(event(
                view,
                Severity::Warning,
                Reason::PluginRemoved,
                "nothing serves any more".to_owned(),
            )),
            (None, None) => {}
        }
    }
    if let Some(rejection) = &view.last_rejection
        && before.is_none_or(|b| b.rejected != now.rejected)
    {
        events.push(event(
            view,
            Severity::Error,
            Reason::PluginRejected,
            rejection.reason.clone(),
        ));
    }
    events.extend(canary_events(view, before, now));
    events
}

/// What is asked for has its asker's name; what happens by itself has the plugin host's.
fn canary_events(view: &PluginView, before: Option<&Told>, now: &Told) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(canary) = &view.canary
        // One that was there when the daemon started was told of before.
        && before.is_some_and(|b| b.canary != now.canary)
    {
        let message = format!(
            "version {} ({}) gets {} of its calls",
            canary.version,
            canary.component.short(),
            canary.terms.share
        );
        events.push(Event {
            actor: canary.by.clone(),
            ..event(view, Severity::Info, Reason::CanaryStarted, message)
        });
    }
    if let Some(end) = &view.last_canary
        && before.is_none_or(|b| b.canary_ended != now.canary_ended)
    {
        let (severity, reason) = if end.promoted {
            (Severity::Info, Reason::CanaryPromoted)
        } else {
            (Severity::Warning, Reason::CanaryReturned)
        };
        let told = event(
            view,
            severity,
            reason,
            format!("{}: {}", end.component.short(), end.reason),
        );
        events.push(Event {
            actor: end.by.clone().unwrap_or(Actor::PLUGINS),
            ..told
        });
    }
    events
}

fn event(view: &PluginView, severity: Severity, reason: Reason, message: String) -> Event {
    Event {
        plugin: Some(view.instance.clone()),
        ..Event::new(severity, reason, &Actor::PLUGINS, message)
    }
}
