//! What containers write. A cursor is the time of the last line that was told, and how many lines bear that time.

use k8s_openapi::jiff::Timestamp;
use tradewind_core::{
    capability::kubernetes::{Caller, PodLog, PodLogLine, PodLogQuery, Reference},
    failure::{Failure, FailureKind},
    units::Instant,
};

use crate::{
    api::{Cluster, Request},
    apply::{existing, is_ours},
    check,
};

/// The most that one answer holds.
const LONGEST: u32 = 1 << 20;
const MOST: u32 = 5_000;

#[derive(Clone, Copy, PartialEq)]
struct Cursor {
    /// Nanoseconds since the epoch.
    at: i128,
    /// Lines of that time that were told.
    told: usize,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let (at, told) = text.split_once('-')?;
        Some(Self { at: at.parse().ok()?, told: told.parse().ok()? })
    }
}

pub(crate) async fn read(cluster: &Cluster<'_>, caller: &Caller, query: &PodLogQuery) -> Result<PodLog, Failure> {
    check::readable(cluster.grant, "Pod", "query.pod")?;
    check::namespace(cluster.grant, &query.namespace, "query.namespace")?;
    check::name(&query.pod, "query.pod")?;
    if !query.container.is_empty() {
        check::name(&query.container, "query.container")?;
    }
    let after = match &query.after {
        Some(text) => Some(Cursor::parse(text).ok_or_else(|| Failure::invalid("the cursor is not one of ours").field("query.after"))?),
        None => None,
    };
    let kind = cluster.kind("Pod").await?;
    let of = Reference { kind: "Pod".to_owned(), namespace: query.namespace.clone(), name: query.pod.clone() };
    let Some(pod) = existing(cluster, &kind, &of).await? else {
        return Err(Failure::not_found(format!("the pod \"{}\" does not exist", query.pod)));
    };
    is_ours(&pod.metadata, caller, &of)?;
    let path = format!("{}/{}/log", kind.path(&query.namespace), query.pod);
    let mut request =
        Request::get(path, format!("read the log of the pod \"{}\"", query.pod)).with("timestamps", true).with("limitBytes", LONGEST);
    if !query.container.is_empty() {
        request = request.with("container", &query.container);
    }
    request = match after {
        // The API server knows whole seconds.
        Some(Cursor { at, .. }) => request.with("sinceTime", second(at)),
        None => request.with("tailLines", query.tail.min(MOST)),
    };
    let text = match cluster.send(request).await {
        Ok(answer) => answer.text(),
        // It has not begun to write.
        Err(failure) if failure.kind == FailureKind::Invalid && failure.message.contains("is waiting to start") => String::new(),
        Err(failure) => return Err(failure),
    };
    Ok(told(&text, after))
}

fn second(nanoseconds: i128) -> String {
    let whole = Timestamp::from_nanosecond(nanoseconds).ok().and_then(|t| Timestamp::from_second(t.as_second()).ok());
    whole.unwrap_or_default().to_string()
}

/// The lines behind the cursor, and the next one.
fn told(text: &str, after: Option<Cursor>) -> PodLog {
    let mut cursor = after.unwrap_or(Cursor { at: 0, told: 0 });
    let (mut lines, mut again) = (Vec::new(), 0);
    for line in text.lines() {
        let (stamp, rest) = line.split_once(' ').unwrap_or((line, ""));
        let Ok(time) = stamp.parse::<Timestamp>() else {
            // Cut off at the limit, or not one of the runtime's: it belongs to the line before.
            lines.push(PodLogLine { time: None, text: line.to_owned() });
            continue;
        };
        let at = time.as_nanosecond();
        if at < cursor.at && after.is_some() {
            continue;
        }
        if Some(at) == after.map(|c| c.at) {
            again += 1;
            if after.is_some_and(|c| again <= c.told) {
                continue;
            }
        }
        cursor = if at == cursor.at { Cursor { told: cursor.told + 1, ..cursor } } else { Cursor { at, told: 1 } };
        lines.push(PodLogLine { time: Some(Instant(u64::try_from(time.as_millisecond()).unwrap_or(0))), text: rest.to_owned() });
    }
    PodLog { lines, next: format!("{}-{}", cursor.at, cursor.told) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_instant_are_told_once_each() {
        let text = "2026-01-02T03:04:05.1Z a\n2026-01-02T03:04:05.1Z b\n2026-01-02T03:04:05.25Z c\n";
        let first = told(&text[..50], None);
        let texts = |log: &PodLog| log.lines.iter().map(|l| l.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&first), ["a", "b"]);
        let second = told(text, Cursor::parse(&first.next));
        assert_eq!(texts(&second), ["c"]);
        assert_eq!(texts(&told(text, Cursor::parse(&second.next))), Vec::<String>::new());
        assert_eq!(second.lines[0].time, Some(Instant(1_767_323_045_250)));
        assert_eq!(super::second(1_767_323_045_250_000_000), "2026-01-02T03:04:05Z");
    }
}
