//! What containers write. A cursor is the time of the last line that was told, how many lines of that time were, and how much of an unfinished
//! one.

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use tradewind_core::{
    capability::kubernetes::{Caller, PodLog, PodLogLine, PodLogQuery, Reference},
    failure::{Failure, FailureKind},
    output,
    units::Instant,
};

use crate::{
    api::{Cluster, Request},
    apply::{Metadata, is_ours},
    check,
    kinds::found,
};

/// The most that one answer holds, unless one moment holds more.
const LONGEST: usize = 1 << 20;
const LONGEST_MOMENT: usize = 64 << 20;
const MOST: u32 = 5_000;
/// The most parts of lines that a tail is looked for in.
const MOST_PARTS: u32 = 1_000_000;

/// In front of a line, or inside it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Cursor {
    /// Nanoseconds since the epoch.
    at: i128,
    /// Lines of that time that were told.
    told: usize,
    /// Bytes of the line behind them that were told.
    offset: usize,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (at, told, offset) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
        let end = parts.next().is_none();
        end.then_some(Self {
            at: at.parse().ok()?,
            told: told.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.at, self.told)?;
        if self.offset > 0 {
            write!(f, "-{}", self.offset)
        } else {
            Ok(())
        }
    }
}

/// In the API server's words: there is no log, and that is no failure.
const NO_LOG: [&str; 2] = ["is waiting to start", "previous terminated container"];

/// How an answer of the API server is to be read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    after: Option<Cursor>,
    /// It ends at the limit, not at the end of what was written.
    cut: bool,
    /// The pod has ended: what is unfinished stays so.
    closed: bool,
    now: Instant,
}

/// What must be known of a pod to read its log.
#[derive(Deserialize)]
struct Seen {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
}

pub(crate) async fn read(
    cluster: &Cluster<'_>,
    caller: &Caller,
    query: &PodLogQuery,
) -> Result<PodLog, Failure> {
    check::readable(cluster.grant, "Pod", "query.pod")?;
    check::namespace(cluster.grant, &query.namespace, "query.namespace")?;
    check::name(&query.pod, "query.pod")?;
    if !query.container.is_empty() {
        check::name(&query.container, "query.container")?;
    }
    let after = match &query.after {
        Some(text) => Some(Cursor::parse(text).ok_or_else(|| {
            Failure::invalid("the cursor is not one of ours").field("query.after")
        })?),
        None => None,
    };
    let kind = cluster.kind("Pod").await?;
    let of = Reference {
        kind: "Pod".to_owned(),
        namespace: query.namespace.clone(),
        name: query.pod.clone(),
    };
    let look = Request::get(
        format!("{}/{}", kind.path(&of.namespace), of.name),
        format!("look at the pod \"{}\"", query.pod),
    );
    let Some(pod) = found(cluster.send(look).await)?
        .map(|answer| answer.json::<Seen>())
        .transpose()?
    else {
        return Err(Failure::not_found(format!(
            "the pod \"{}\" does not exist",
            query.pod
        )));
    };
    is_ours(&pod.metadata, caller, &of)?;
    // Nothing is added to a run that has ended.
    let closed = query.previous || matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
    let path = format!("{}/{}/log", kind.path(&query.namespace), query.pod);
    let mut request = Request::get(path, format!("read the log of the pod \"{}\"", query.pod))
        .with("timestamps", true);
    if !query.container.is_empty() {
        request = request.with("container", &query.container);
    }
    if query.previous {
        request = request.with("previous", true);
    }
    let reading = |cut| Reading {
        after,
        cut,
        closed,
        now: Instant(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()),
    };
    let Some(Cursor { at, .. }) = after else {
        let (body, cut) = last_lines(cluster, &request, query.tail.min(MOST)).await?;
        return Ok(told(&body, reading(cut)));
    };
    // The API server knows whole seconds: what was told is in the answer, too, and there may be much of it.
    let mut limit = LONGEST;
    loop {
        let body = ask(
            cluster,
            request.clone().with("sinceTime", second(at)),
            limit,
        )
        .await?;
        let cut = body.len() >= limit;
        let log = told(&body, reading(cut));
        if !cut || !log.lines.is_empty() || limit >= LONGEST_MOMENT {
            return Ok(log);
        }
        limit *= 4;
    }
}

/// The last so many lines, and whether the answer ends at its limit. The kubelet counts the parts in which lines were written, and its first
/// line may lack its beginning: more is asked for until there is a line too many, or nothing more.
async fn last_lines(
    cluster: &Cluster<'_>,
    request: &Request,
    tail: u32,
) -> Result<(Vec<u8>, bool), Failure> {
    let mut parts = tail.saturating_add(1);
    let mut body = ask(cluster, request.clone().with("tailLines", parts), LONGEST).await?;
    loop {
        let cut = body.len() >= LONGEST;
        if let Some(begin) = last(&body, tail).filter(|_| !cut) {
            return Ok((body.split_off(begin), cut));
        }
        if cut || parts >= MOST_PARTS || body.is_empty() {
            return Ok((body, cut));
        }
        parts = parts.saturating_mul(8);
        let more = ask(cluster, request.clone().with("tailLines", parts), LONGEST).await?;
        if more.len() == body.len() {
            return Ok((more, cut));
        }
        body = more;
    }
}

/// Where the last so many lines begin, if there is a line before them.
fn last(body: &[u8], tail: u32) -> Option<usize> {
    let ends = body
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(at, _)| at + 1);
    let begins: Vec<usize> = std::iter::once(0)
        .chain(ends)
        .filter(|at| *at < body.len())
        .collect();
    let before = begins.len().checked_sub(tail as usize)?;
    (before > 0).then(|| begins.get(before).copied().unwrap_or(body.len()))
}

async fn ask(cluster: &Cluster<'_>, request: Request, limit: usize) -> Result<Vec<u8>, Failure> {
    match cluster.send(request.with("limitBytes", limit)).await {
        Ok(answer) => Ok(answer.body),
        // It has not begun to write, or has run once.
        Err(failure)
            if failure.kind == FailureKind::Invalid
                && NO_LOG.iter().any(|words| failure.message.contains(words)) =>
        {
            Ok(Vec::new())
        }
        Err(failure) => Err(failure),
    }
}

fn second(nanoseconds: i128) -> String {
    let whole = Timestamp::from_nanosecond(nanoseconds)
        .ok()
        .and_then(|t| Timestamp::from_second(t.as_second()).ok());
    whole.unwrap_or_default().to_string()
}

/// The lines behind the cursor, and the next one. A line that is unfinished, or cut at the limit, comes in pieces that are marked.
fn told(body: &[u8], reading: Reading) -> PodLog {
    let Reading {
        after,
        cut,
        closed,
        now,
    } = reading;
    let mut cursor = after.unwrap_or_default();
    let (mut lines, mut here, mut bytes) = (Vec::new(), Cursor::default(), 0);
    for line in body.split_inclusive(|b| *b == b'\n') {
        if bytes >= LONGEST {
            break;
        }
        let (line, ended) = line
            .strip_suffix(b"\n")
            .map_or((line, false), |line| (line, true));
        let Some((time, text)) = stamped(line) else {
            // Not one of the runtime's: it belongs to the line before.
            lines.push(PodLogLine {
                time: None,
                text: String::from_utf8_lossy(line).into_owned(),
            });
            continue;
        };
        let at = time.as_nanosecond();
        // Zero is the time of no line.
        here = if at == here.at {
            Cursor {
                told: here.told + 1,
                ..here
            }
        } else {
            Cursor {
                at,
                ..Cursor::default()
            }
        };
        let mut offset = 0;
        if let Some(after) = after {
            if (here.at, here.told) < (after.at, after.told) {
                continue;
            }
            if (here.at, here.told) == (after.at, after.told) {
                offset = after.offset;
            }
        }
        let rest = text.get(offset..).unwrap_or_default();
        let millis = Instant(u64::try_from(time.as_millisecond()).unwrap_or(0));
        let before = bytes;
        let mut give = |given: &[u8], partial| {
            let text = output::marked(&String::from_utf8_lossy(given), offset > 0, partial);
            bytes += given.len();
            lines.push(PodLogLine {
                time: Some(millis),
                text,
            });
        };
        if rest.len() > LONGEST {
            let whole = output::whole_characters(rest.get(..LONGEST).unwrap_or_default());
            give(rest.get(..whole).unwrap_or_default(), true);
            cursor = Cursor {
                offset: offset + whole,
                ..here
            };
            break;
        }
        if ended || (closed && !cut) {
            give(rest, false);
            cursor = Cursor {
                told: here.told + 1,
                ..here
            };
            continue;
        }
        // The last line of the answer. One that is cut at the limit comes whole next time, unless most of the answer is its.
        let due = if cut {
            before < LONGEST / 2
        } else {
            after.is_none() || now.0.abs_diff(millis.0) >= output::UNFINISHED
        };
        let whole = output::whole_characters(rest);
        if due && whole > 0 {
            give(rest.get(..whole).unwrap_or_default(), true);
            cursor = Cursor {
                offset: offset + whole,
                ..here
            };
        } else if cursor == Cursor::default() {
            // Nothing was told yet: from here on.
            cursor = here;
        }
    }
    PodLog {
        lines,
        next: cursor.to_string(),
    }
}

/// A line's time, as the kubelet writes it before it, and its text.
fn stamped(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let time = std::str::from_utf8(line.get(..end)?)
        .ok()?
        .parse::<Timestamp>()
        .ok()?;
    Some((time, line.get(end + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_767_323_045_250);

    fn read(text: &str, after: Option<&str>) -> (Vec<String>, String) {
        read_as(text, after, |reading| reading)
    }

    fn read_as(
        text: &str,
        after: Option<&str>,
        how: impl Fn(Reading) -> Reading,
    ) -> (Vec<String>, String) {
        let after = after.map(|text| Cursor::parse(text).unwrap());
        let log = told(
            text.as_bytes(),
            how(Reading {
                after,
                cut: false,
                closed: false,
                now: NOW,
            }),
        );
        (log.lines.into_iter().map(|l| l.text).collect(), log.next)
    }

    #[test]
    fn lines_of_one_instant_are_told_once_each() {
        let text =
            "2026-01-02T03:04:05.1Z a\n2026-01-02T03:04:05.1Z b\n2026-01-02T03:04:05.25Z c\n";
        let (first, next) = read(&text[..50], None);
        assert_eq!(first, ["a", "b"]);
        let (second, next) = read(text, Some(&next));
        assert_eq!(second, ["c"]);
        assert!(read(text, Some(&next)).0.is_empty());
        let log = told(
            text.as_bytes(),
            Reading {
                after: None,
                cut: false,
                closed: false,
                now: NOW,
            },
        );
        assert_eq!(log.lines[2].time, Some(Instant(1_767_323_045_250)));
        assert_eq!(
            super::second(1_767_323_045_250_000_000),
            "2026-01-02T03:04:05Z"
        );
    }

    #[test]
    fn an_unfinished_line_comes_after_a_while_and_its_rest_then() {
        let text = "2026-01-02T03:04:05Z a\n2026-01-02T03:04:05.2Z password: ";
        assert_eq!(
            read(text, None).0,
            ["a".to_owned(), output::marked("password: ", false, true)],
            "who does not follow gets it at once"
        );
        let (seen, at) = read(text, Some("0-0"));
        assert_eq!(seen, ["a"]);
        let later = |reading| Reading {
            now: Instant(NOW.0 + output::UNFINISHED),
            ..reading
        };
        let (seen, at) = read_as(text, Some(&at), later);
        assert_eq!(seen, [output::marked("password: ", false, true)]);
        assert!(read_as(text, Some(&at), later).0.is_empty());
        let (seen, at) = read(&format!("{text}x\n2026-01-02T03:04:06Z b\n"), Some(&at));
        assert_eq!(seen, [output::marked("x", true, false), "b".to_owned()]);
        assert!(
            read(&format!("{text}x\n2026-01-02T03:04:06Z b\n"), Some(&at))
                .0
                .is_empty()
        );
        let (seen, _) = read_as(text, Some("0-0"), |reading| Reading {
            closed: true,
            ..reading
        });
        assert_eq!(
            seen,
            ["a", "password: "],
            "the last words of a pod that has ended"
        );
    }

    #[test]
    fn what_the_limit_cuts_is_told_next_time_or_in_pieces() {
        let text = "2026-01-02T03:04:05Z a\n2026-01-02T03:04:05.2Z bé";
        let cut = |reading| Reading {
            cut: true,
            now: Instant(NOW.0 + 60_000),
            ..reading
        };
        let (seen, at) = read_as(text, None, cut);
        assert_eq!(seen, ["a".to_owned(), output::marked("bé", false, true)]);
        let (seen, _) = read("2026-01-02T03:04:05.2Z béc\n", Some(&at));
        assert_eq!(seen, [output::marked("c", true, false)]);
    }

    #[test]
    fn a_tail_counts_lines_though_the_kubelet_counts_parts() {
        let body = b"Z part of a line\nZ long line\nZ b\nZ unfinished";
        for (tail, rest) in [
            (0, Some("")),
            (1, Some("Z unfinished")),
            (3, Some("Z long line\nZ b\nZ unfinished")),
            (4, None),
            (9, None),
        ] {
            let found = last(body, tail).map(|begin| std::str::from_utf8(&body[begin..]).unwrap());
            assert_eq!(found, rest, "{tail}");
        }
    }
}
