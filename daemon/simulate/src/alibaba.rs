//! The task table of the cluster trace that Alibaba published in 2020 (`cluster-trace-gpu-v2020`, `pai_task_table.csv`) as a trace.
//!
//! Its times are when a task *started*, not when somebody asked for it, and a request for part of a GPU becomes one for a whole one:
//! offers have whole ones only. Its gigabytes are taken as 2³⁰ bytes, since its usual 29.296875 is 30000 MiB then.

use std::{
    collections::HashMap,
    io::{Read, Write},
};

use super::trace::FARTHEST;
use tradewind_core::units::GIB;

const COLUMNS: [&str; 10] = [
    "job_name",
    "task_name",
    "inst_num",
    "status",
    "start_time",
    "end_time",
    "plan_cpu",
    "plan_mem",
    "plan_gpu",
    "gpu_type",
];
/// The longest name that is valid in a manifest.
const LONGEST_NAME: usize = 63;

/// What became of the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Converted {
    /// The rows of the table.
    pub rows: u64,
    /// The requests in the trace.
    pub written: u64,
    /// Left out: without a start or an end, or with an end before the start.
    pub without_times: u64,
    /// Left out: without a request for cores, memory or instances.
    pub without_plan: u64,
    /// Written with more GPUs than they asked for, since they asked for parts.
    pub rounded_up: u64,
}

/// Why a table can't be converted.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("line {line}, column {column}: \"{value}\" can't be used: {rule}")]
    Value {
        line: u64,
        column: &'static str,
        value: String,
        rule: &'static str,
    },
    #[error(
        "line {line} has {found} columns: the table has the ten columns job_name … gpu_type and no header"
    )]
    Columns { line: u64, found: usize },
    #[error("it is not CSV")]
    Csv(#[source] csv::Error),
    #[error("the trace can't be written")]
    Write(#[source] csv::Error),
}

struct Task {
    /// Milliseconds.
    start: u64,
    duration: u64,
    name: String,
    replicas: u64,
    millicores: u64,
    mebibytes: u64,
    gpu: String,
    gpus: u64,
}

/// Converts a table. The rows are read one by one; what is kept of them is sorted by time and written, the first at 0.
///
/// # Errors
/// The first row that is not one of such a table, and what would be right; or the output can't be written.
pub fn convert(from: impl Read, to: impl Write) -> Result<Converted, Error> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(from);
    let mut done = Converted::default();
    let mut tasks: Vec<Task> = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(Error::Csv)? {
        done.rows += 1;
        tasks.extend(
            Row {
                line: record.position().map_or(0, csv::Position::line),
                record: &record,
            }
            .task(&mut done)?,
        );
    }
    tasks.sort_by_key(|t| t.start);
    done.written = tasks.len() as u64;
    write(&tasks, to).map_err(Error::Write)?;
    Ok(done)
}

fn write(tasks: &[Task], to: impl Write) -> Result<(), csv::Error> {
    let mut writer = csv::Writer::from_writer(to);
    writer.write_record([
        "at",
        "name",
        "kind",
        "replicas",
        "cpu",
        "memory",
        "accelerator",
        "accelerators",
        "duration",
    ])?;
    let first = tasks.first().map_or(0, |t| t.start);
    let mut names: HashMap<&str, u64> = HashMap::new();
    for t in tasks {
        let times = names.entry(&t.name).or_default();
        *times += 1;
        let name = if *times == 1 {
            t.name.clone()
        } else {
            suffixed(&t.name, *times)
        };
        writer.write_record([
            (t.start - first).to_string(),
            name,
            "job".to_owned(),
            t.replicas.to_string(),
            format!("{}m", t.millicores),
            format!("{}Mi", t.mebibytes),
            t.gpu.clone(),
            t.gpus.to_string(),
            t.duration.to_string(),
        ])?;
    }
    writer.flush()?;
    Ok(())
}

struct Row<'a> {
    line: u64,
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    /// None: a row that is left out.
    fn task(&self, done: &mut Converted) -> Result<Option<Task>, Error> {
        if self.record.len() != COLUMNS.len() {
            return Err(Error::Columns {
                line: self.line,
                found: self.record.len(),
            });
        }
        let most_seconds = FARTHEST.0 as f64 / 1000.0;
        let times = (
            self.number("start_time", most_seconds)?,
            self.number("end_time", most_seconds)?,
        );
        let plan = (
            self.number("inst_num", 1e5)?,
            self.number("plan_cpu", 4e8)?,
            self.number("plan_mem", 1e6)?,
        );
        let percent = self.number("plan_gpu", 1e6)?.unwrap_or(0.0);
        let (Some(start), Some(end)) = times else {
            done.without_times += 1;
            return Ok(None);
        };
        if end < start {
            done.without_times += 1;
            return Ok(None);
        }
        let (Some(replicas), Some(cpu), Some(memory)) = plan else {
            done.without_plan += 1;
            return Ok(None);
        };
        if replicas < 1.0 {
            done.without_plan += 1;
            return Ok(None);
        }
        let gpus = (percent / 100.0).ceil();
        done.rounded_up += u64::from(gpus * 100.0 > percent);
        let gpu = if gpus > 0.0 {
            gpu(self.text("gpu_type"))
        } else {
            String::new()
        };
        // The numbers are not negative and have been held against their bounds.
        Ok(Some(Task {
            start: (start * 1000.0).round() as u64,
            // A second is as fine as the table is.
            duration: ((end - start) * 1000.0).round().max(1000.0) as u64,
            name: name(self.text("job_name"), self.text("task_name")),
            replicas: replicas.round() as u64,
            millicores: (cpu * 10.0).ceil() as u64,
            mebibytes: (memory * (GIB >> 20) as f64).ceil() as u64,
            gpu,
            gpus: gpus as u64,
        }))
    }

    fn text(&self, column: &str) -> &str {
        COLUMNS
            .iter()
            .position(|c| *c == column)
            .and_then(|i| self.record.get(i))
            .unwrap_or_default()
    }

    /// None: empty.
    fn number(&self, column: &'static str, most: f64) -> Result<Option<f64>, Error> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        let number = text.parse().ok().filter(|n| (0.0..=most).contains(n));
        let rule = match column {
            "start_time" | "end_time" => "write seconds, such as 1494451.0, or nothing",
            "inst_num" => "write how many instances, such as 2.0",
            "plan_cpu" => "write percent of a core: 600.0 is 6 of them",
            "plan_mem" => "write gigabytes, such as 29.296875",
            _ => "write percent of a GPU: 50.0 is half of one",
        };
        number.map(Some).ok_or_else(|| Error::Value {
            line: self.line,
            column,
            value: text.to_owned(),
            rule,
        })
    }
}

/// The table's `MISC` stands for several kinds that it does not tell apart.
fn gpu(kind: &str) -> String {
    match kind {
        "" | "MISC" => String::new(),
        known => format!("nvidia-{}", known.to_lowercase()),
    }
}

/// A name that is valid in a manifest.
fn name(job: &str, task: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = format!("{job}-{task}")
        .chars()
        .map(plain)
        .take(LONGEST_NAME)
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        "task".to_owned()
    } else {
        name.to_owned()
    }
}

fn suffixed(name: &str, n: u64) -> String {
    let suffix = format!("-{n}");
    let kept: String = name.chars().take(LONGEST_NAME - suffix.len()).collect();
    format!("{}{suffix}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace;

    #[test]
    fn rows_become_requests_in_the_order_of_time() {
        let table = "J1,PyTorchWorker,2.0,Terminated,1000.0,1600.0,600.0,29.296875,50.0,V100\n\
                     J1,PyTorchWorker,1.0,Failed,990.0,990.0,100.0,1.0,,\n\
                     j2,ps,1.0,Running,1010.0,,100.0,1.0,,\n\
                     j3,worker,1.0,Terminated,1010.0,1020.0,,,25.0,T4\n\
                     j4,worker,1.0,Terminated,995.0,1020.0,50.0,2.0,200.0,MISC\n";
        let mut out = Vec::new();
        let done = convert(table.as_bytes(), &mut out).expect("a table");
        assert_eq!(
            done,
            Converted {
                rows: 5,
                written: 3,
                without_times: 1,
                without_plan: 1,
                rounded_up: 1
            }
        );
        let wanted = "at,name,kind,replicas,cpu,memory,accelerator,accelerators,duration\n\
                      0,j1-pytorchworker,job,1,1000m,1024Mi,,0,1000\n\
                      5000,j4-worker,job,1,500m,2048Mi,,2,25000\n\
                      10000,j1-pytorchworker-2,job,2,6000m,30000Mi,nvidia-v100,1,600000\n";
        assert_eq!(String::from_utf8(out.clone()).expect("text"), wanted);
        assert_eq!(trace::read(out.as_slice()).expect("a trace").len(), 3);
    }

    #[test]
    fn what_is_no_such_table_is_refused() {
        for (table, parts) in [
            (
                "job_name,task_name,inst_num,status,start_time,end_time,plan_cpu,plan_mem,plan_gpu,gpu_type\n",
                ["line 1", "start_time"],
            ),
            ("a,b,1.0,T,1.0,2.0,x,1.0,,\n", ["plan_cpu", "\"x\""]),
            ("a,b,1.0,T,1.0\n", ["line 1", "5 columns"]),
        ] {
            let error = convert(table.as_bytes(), Vec::new())
                .expect_err(table)
                .to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
