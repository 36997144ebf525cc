//! The trace: what was asked for, and when. CSV with a header; strict, so that nothing is simulated that nobody meant.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Display,
    io::Read,
    str::FromStr,
};

use tradewind_core::{
    names::{Namespace, TaskName},
    units::{Bytes, MilliCpu, Millis},
    workload::{Accelerator, Resources},
};

/// The columns of a trace. The first five must be there.
pub const COLUMNS: [&str; 11] = [
    "at",
    "name",
    "kind",
    "cpu",
    "memory",
    "replicas",
    "accelerator",
    "accelerators",
    "duration",
    "priority",
    "namespace",
];
const REQUIRED: usize = 5;
/// What lies farther off is a mistake of units: a hundred years.
pub(super) const FARTHEST: Millis = Millis(100 * 365 * 24 * 3_600_000);
const MOST_REPLICAS: u32 = 100_000;

/// How a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With its work: what is stopped before has to run again.
    Job,
    /// With its time, or never: what is stopped goes on elsewhere.
    Service,
}

/// One service or job that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// From the start of the trace.
    pub at: Millis,
    /// The task's name.
    pub name: TaskName,
    /// Whose task it is.
    pub namespace: Namespace,
    /// Whether it is a job or a service.
    pub kind: Kind,
    /// How many replicas are asked for.
    pub replicas: u32,
    /// Of each replica.
    pub resources: Resources,
    /// A job's on the reference machine; a service's by the clock. None: a service that runs on.
    pub duration: Option<Millis>,
    /// The highest number is placed first, and may take places of lower ones.
    pub priority: i32,
}

/// Why a trace is refused.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("line {line}, column \"{column}\": \"{value}\" can't be used: {rule}")]
    Value {
        line: u64,
        column: &'static str,
        value: String,
        rule: String,
    },
    #[error(
        "line 1: the column \"{column}\" is missing: a trace has the columns {REQUIRED_LIST} and may have {OPTIONAL_LIST}"
    )]
    Missing { column: &'static str },
    #[error(
        "line 1: there is no column \"{column}\": a trace has the columns {REQUIRED_LIST} and may have {OPTIONAL_LIST}"
    )]
    Unknown { column: String },
    #[error("line 1: the column \"{column}\" appears twice")]
    Twice { column: String },
    #[error("there is no row in it")]
    Empty,
    #[error("it is not CSV")]
    Csv(#[from] csv::Error),
}

const REQUIRED_LIST: &str = "at, name, kind, cpu, memory";
const OPTIONAL_LIST: &str = "replicas, accelerator, accelerators, duration, priority, namespace";

/// Reads a trace, in the order of the requests' times; equal times keep their order.
///
/// # Errors
/// The first row that can't be used: its line, its column, its value, and what would be right.
pub fn read(from: impl Read) -> Result<Vec<Request>, Error> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(from);
    let columns = header(reader.headers()?)?;
    let mut requests = Vec::new();
    let mut names: HashMap<(Namespace, TaskName), u64> = HashMap::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let row = Row {
            line,
            columns: &columns,
            record: &record,
        };
        let request = row.request()?;
        match names.entry((request.namespace.clone(), request.name.clone())) {
            Entry::Vacant(free) => free.insert(line),
            Entry::Occupied(taken) => {
                let rule = format!(
                    "line {} has that name already, use one that is unique in its namespace",
                    taken.get()
                );
                return Err(row.wrong("name", rule));
            }
        };
        requests.push(request);
    }
    if requests.is_empty() {
        return Err(Error::Empty);
    }
    requests.sort_by_key(|r| r.at);
    Ok(requests)
}

/// Where each of `COLUMNS` is, if it is there.
fn header(found: &csv::StringRecord) -> Result<[Option<usize>; COLUMNS.len()], Error> {
    for (i, column) in found.iter().enumerate() {
        if !COLUMNS.contains(&column) {
            return Err(Error::Unknown {
                column: column.to_owned(),
            });
        }
        if found.iter().take(i).any(|other| other == column) {
            return Err(Error::Twice {
                column: column.to_owned(),
            });
        }
    }
    let columns = COLUMNS.map(|column| found.iter().position(|f| f == column));
    match COLUMNS
        .iter()
        .zip(&columns)
        .take(REQUIRED)
        .find(|(_, at)| at.is_none())
    {
        Some((column, _)) => Err(Error::Missing { column }),
        None => Ok(columns),
    }
}

struct Row<'a> {
    line: u64,
    columns: &'a [Option<usize>; COLUMNS.len()],
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    /// Empty: absent.
    fn text(&self, column: &'static str) -> &str {
        let at = COLUMNS
            .iter()
            .position(|c| *c == column)
            .and_then(|i| self.columns.get(i).copied().flatten());
        at.and_then(|at| self.record.get(at)).unwrap_or_default()
    }

    fn wrong(&self, column: &'static str, rule: impl Display) -> Error {
        Error::Value {
            line: self.line,
            column,
            value: self.text(column).to_owned(),
            rule: rule.to_string(),
        }
    }

    fn parse<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<T, Error> {
        self.text(column).parse().map_err(|e| self.wrong(column, e))
    }

    fn number<T: FromStr>(&self, column: &'static str, default: T, rule: &str) -> Result<T, Error> {
        match self.text(column) {
            "" => Ok(default),
            text => text.parse().map_err(|_| self.wrong(column, rule)),
        }
    }

    /// Milliseconds, or a number with a unit.
    fn time(&self, column: &'static str) -> Result<Millis, Error> {
        let rule = "write milliseconds such as 90000, or a duration such as 90s or 1h 30m, at most 100 years";
        let text = self.text(column);
        let time = text
            .parse()
            .map(Millis)
            .or_else(|_| text.parse())
            .map_err(|_| self.wrong(column, rule))?;
        if time > FARTHEST {
            Err(self.wrong(column, rule))
        } else {
            Ok(time)
        }
    }

    fn request(&self) -> Result<Request, Error> {
        let kind = match self.text("kind") {
            "job" => Kind::Job,
            "service" => Kind::Service,
            _ => return Err(self.wrong("kind", "write job or service")),
        };
        let replicas = self.number("replicas", 1, "write a whole number from 1 to 100000")?;
        if replicas == 0 || replicas > MOST_REPLICAS {
            return Err(self.wrong("replicas", "write a whole number from 1 to 100000"));
        }
        let duration = match (self.text("duration"), kind) {
            ("", Kind::Service) => None,
            ("", Kind::Job) => return Err(self.wrong("duration", "a job needs one, such as 10m")),
            _ => Some(self.time("duration")?),
        };
        if duration == Some(Millis(0)) {
            return Err(self.wrong("duration", "write more than 0"));
        }
        let namespace = match self.text("namespace") {
            "" => Namespace::default_namespace(),
            _ => self.parse("namespace")?,
        };
        Ok(Request {
            at: self.time("at")?,
            name: self.parse("name")?,
            namespace,
            kind,
            replicas,
            resources: Resources {
                cpu: self.parse::<MilliCpu>("cpu")?,
                memory: self.parse::<Bytes>("memory")?,
                disk: Bytes(0),
                accelerators: self.accelerators()?,
            },
            duration,
            priority: self.number("priority", 0, "write a whole number such as 0, 10 or -5")?,
        })
    }

    /// A kind without a number is one of it; a number without a kind is any.
    fn accelerators(&self) -> Result<Vec<Accelerator>, Error> {
        let kind = self.text("accelerator").to_owned();
        let count = self.number(
            "accelerators",
            u32::from(!kind.is_empty()),
            "write a whole number, 0 for none",
        )?;
        if count == 0 && !kind.is_empty() {
            return Err(self.wrong(
                "accelerators",
                "write how many each replica needs, or leave the column accelerator empty",
            ));
        }
        Ok(if count == 0 {
            Vec::new()
        } else {
            vec![Accelerator {
                kind,
                count,
                memory: Bytes(0),
            }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_a_manifest_says() {
        let text = "at,name,kind,replicas,cpu,memory,accelerator,accelerators,duration,priority,namespace\n\
                    1m,late,service,2,500m,4Gi,,,,-3,team\n\
                    0,train,job,,8,64Gi,nvidia-v100,2,1h 30m,,\n";
        let requests = read(text.as_bytes()).expect("a trace");
        let [train, late] = requests.as_slice() else {
            panic!("two requests: {requests:?}")
        };
        assert_eq!(
            (
                train.name.as_str(),
                train.at,
                train.replicas,
                train.duration
            ),
            ("train", Millis(0), 1, Some(Millis(5_400_000)))
        );
        assert_eq!(
            train.resources.accelerators,
            [Accelerator {
                kind: "nvidia-v100".into(),
                count: 2,
                memory: Bytes(0)
            }]
        );
        assert_eq!(
            (late.at, late.kind, late.duration, late.priority),
            (Millis(60_000), Kind::Service, None, -3)
        );
        assert_eq!(
            (
                late.namespace.as_str(),
                late.resources.cpu,
                late.resources.memory
            ),
            ("team", MilliCpu(500), Bytes(4 << 30))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        const HEAD: &str = "at,name,kind,replicas,cpu,memory,accelerator,accelerators,duration";
        for (rows, parts) in [
            (
                "0,a,job,1,1,1Gi,,,1m\n0,b,task,1,1,1Gi,,,1m",
                ["line 3", "\"kind\"", "\"task\"", "job or service"],
            ),
            (
                "soon,a,job,1,1,1Gi,,,1m",
                ["line 2", "\"at\"", "\"soon\"", "90s"],
            ),
            (
                "0,A_b,job,1,1,1Gi,,,1m",
                ["line 2", "\"name\"", "\"A_b\"", "lowercase"],
            ),
            (
                "0,a,job,0,1,1Gi,,,1m",
                ["line 2", "\"replicas\"", "\"0\"", "from 1"],
            ),
            (
                "0,a,job,1,x,1Gi,,,1m",
                ["line 2", "\"cpu\"", "\"x\"", "500m"],
            ),
            (
                "0,a,job,1,1,1Xi,,,1m",
                ["line 2", "\"memory\"", "\"1Xi\"", "4Gi"],
            ),
            (
                "0,a,job,1,1,1Gi,l4,0,1m",
                ["line 2", "\"accelerators\"", "\"0\"", "how many"],
            ),
            (
                "0,a,job,1,1,1Gi,,,",
                ["line 2", "\"duration\"", "\"\"", "10m"],
            ),
            (
                "0,a,job,1,1,1Gi,,,0s",
                ["line 2", "\"duration\"", "\"0s\"", "more than 0"],
            ),
            (
                "0,a,job,1,1,1Gi,,,1m\n1,a,job,1,1,1Gi,,,1m",
                ["line 3", "\"name\"", "\"a\"", "line 2"],
            ),
        ] {
            let error = read(format!("{HEAD}\n{rows}\n").as_bytes())
                .expect_err(rows)
                .to_string();
            assert!(
                parts.iter().all(|part| error.contains(part)),
                "{rows}: {error}"
            );
        }
        for (text, part) in [
            ("at,name,kind,cpu\n", "\"memory\" is missing"),
            ("at,at\n", "twice"),
            ("at,colour\n", "no column \"colour\""),
            (HEAD, "no row"),
        ] {
            let error = read(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
