//! What deployments and replicas use, the largest first.

use std::collections::BTreeMap;

use tradewind_api::ReplicaUsage;

use super::place;
use crate::{
    args::TopSort,
    output::{Mood::Plain, Output},
};

/// What a row is sorted by and shows. None: nobody measures it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Row {
    name: Vec<String>,
    cpu: Option<f64>,
    memory: Option<u64>,
    cpu_asked: u64,
    memory_asked: u64,
    replicas: u32,
    restarts: u64,
}

impl Row {
    fn add(&mut self, one: &ReplicaUsage) {
        if let Some(cpu) = one.cpu_milli {
            *self.cpu.get_or_insert(0.0) += cpu;
        }
        if let Some(memory) = one.memory_bytes {
            *self.memory.get_or_insert(0) += memory;
        }
        self.cpu_asked += u64::from(one.cpu_milli_asked);
        self.memory_asked += one.memory_asked.0;
        self.replicas += 1;
        self.restarts += u64::from(one.restarts);
    }

    fn of(one: &ReplicaUsage) -> Self {
        let mut row = Self {
            name: vec![
                format!("{}/{}", one.task, one.replica),
                place(&one.provider, &one.region),
            ],
            ..Self::default()
        };
        row.add(one);
        row
    }

    fn cpu(&self) -> String {
        self.cpu
            .map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.0}m"))
    }

    fn memory(&self) -> String {
        self.memory.map_or_else(|| "-".to_owned(), mebibytes)
    }

    fn share(&self) -> String {
        let share = |used: Option<f64>, asked: u64| match used {
            Some(used) if asked > 0 => format!("{:.0}%", used * 100.0 / asked as f64),
            _ => "-".to_owned(),
        };
        let memory = self.memory.map(|memory| memory as f64);
        format!(
            "{} {}",
            share(self.cpu, self.cpu_asked),
            share(memory, self.memory_asked)
        )
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0}Mi", bytes as f64 / 1_048_576.0)
}

fn sort(rows: &mut [Row], by: TopSort) {
    // What nobody measures comes last.
    let cpu = |row: &Row| row.cpu.unwrap_or(-1.0);
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    match by {
        TopSort::Name => {}
        TopSort::Cpu => rows.sort_by(|a, b| cpu(b).total_cmp(&cpu(a))),
        TopSort::Memory => rows.sort_by_key(|row| std::cmp::Reverse(row.memory)),
    }
}

pub(crate) fn replicas(out: &Output, list: &[ReplicaUsage], by: TopSort) -> String {
    if list.is_empty() {
        return "no replicas".to_owned();
    }
    let mut rows: Vec<Row> = list.iter().map(Row::of).collect();
    sort(&mut rows, by);
    let cells = rows.iter().map(|row| {
        let name = |n: usize| row.name.get(n).cloned().unwrap_or_default();
        [
            out.cell(name(0), Plain),
            out.cell(name(1), Plain),
            out.cell(row.cpu(), Plain),
            out.cell(row.memory(), Plain),
            out.cell(row.share(), Plain),
            out.cell(row.restarts, Plain),
        ]
    });
    let header = ["REPLICA", "PLACE", "CPU", "MEMORY", "OF ASKED", "RESTARTS"];
    out.table(header, cells)
}

pub(crate) fn deployments(out: &Output, list: &[ReplicaUsage], by: TopSort) -> String {
    if list.is_empty() {
        return "no replicas".to_owned();
    }
    let mut rows: Vec<Row> = whole(list);
    sort(&mut rows, by);
    let cells = rows.iter().map(|row| {
        let name = |n: usize| row.name.get(n).cloned().unwrap_or_default();
        [
            out.cell(name(0), Plain),
            out.cell(name(1), Plain),
            out.cell(row.replicas, Plain),
            out.cell(row.cpu(), Plain),
            out.cell(row.memory(), Plain),
            out.cell(row.share(), Plain),
            out.cell(row.restarts, Plain),
        ]
    });
    let header = [
        "NAMESPACE",
        "NAME",
        "REPLICAS",
        "CPU",
        "MEMORY",
        "OF ASKED",
        "RESTARTS",
    ];
    out.table(header, cells)
}

fn whole(list: &[ReplicaUsage]) -> Vec<Row> {
    let mut rows: BTreeMap<_, Row> = BTreeMap::new();
    for one in list {
        let key = (one.namespace.clone(), one.deployment.clone());
        let row = rows.entry(key).or_insert_with(|| Row {
            name: vec![one.namespace.to_string(), one.deployment.to_string()],
            ..Row::default()
        });
        row.add(one);
    }
    rows.into_values().collect()
}

#[cfg(test)]
mod tests {
    use tradewind_core::{units::Bytes, workload::Phase};

    use super::*;

    fn replica(
        deployment: &str,
        index: u32,
        cpu: Option<f64>,
        memory: Option<u64>,
    ) -> ReplicaUsage {
        ReplicaUsage {
            namespace: "default".parse().unwrap(),
            deployment: deployment.parse().unwrap(),
            task: "web".parse().unwrap(),
            allocation: "a".parse().unwrap(),
            replica: index,
            provider: "local".parse().unwrap(),
            region: String::new(),
            phase: Phase::Running,
            cpu_milli: cpu,
            memory_bytes: memory,
            cpu_milli_asked: 100,
            memory_asked: Bytes(64 << 20),
            restarts: 1,
        }
    }

    #[test]
    fn deployments_are_added_up_and_what_nobody_measures_comes_last() {
        let list = [
            replica("a", 0, None, None),
            replica("b", 0, Some(10.0), Some(32 << 20)),
            replica("b", 1, Some(40.0), Some(32 << 20)),
            replica("c", 0, Some(90.0), Some(1 << 20)),
        ];
        let order = |by| {
            let mut rows = whole(&list);
            sort(&mut rows, by);
            rows.iter()
                .map(|row| (row.name[1].clone(), row.cpu(), row.memory(), row.share()))
                .collect::<Vec<_>>()
        };
        let row = |name: &str, cpu: &str, memory: &str, share: &str| {
            let text = str::to_owned;
            (text(name), text(cpu), text(memory), text(share))
        };
        let (a, b, c) = (
            row("a", "-", "-", "- -"),
            row("b", "50m", "64Mi", "25% 50%"),
            row("c", "90m", "1Mi", "90% 2%"),
        );
        assert_eq!(order(TopSort::Cpu), [c.clone(), b.clone(), a.clone()]);
        assert_eq!(order(TopSort::Memory), [b.clone(), c.clone(), a.clone()]);
        assert_eq!(order(TopSort::Name), [a, b, c]);
    }
}
