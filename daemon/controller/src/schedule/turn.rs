//! Whose turn it is: what waits for a place is decided by priority, then age. Pure: it must not know what a task is.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tradewind_core::{names::InstanceName, units::Instant};

/// Who decides, and among what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) policy: InstanceName,
    /// Instances that are closed to the tasks' namespaces: whatever is decided knows nothing of them.
    pub(crate) closed: Arc<BTreeSet<InstanceName>>,
}

/// What the turn of a task goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) priority: i32,
    /// Of its deployment.
    pub(crate) created_at: Instant,
    /// Which deployment of the batch, and which of its tasks.
    pub(crate) work: usize,
    pub(crate) task: usize,
}

impl Turn {
    fn rank(&self) -> (Reverse<i32>, Instant, usize, usize) {
        (
            Reverse(self.priority),
            self.created_at,
            self.work,
            self.task,
        )
    }
}

/// What each policy is to decide, one call after the other, and within a call in turn. One call where all tasks have one policy. Else a policy
/// whose deployments are more urgent goes first, whatever its name; a deployment is decided by one call, and its most urgent task speaks for it.
pub(crate) fn in_turn<T>(
    mut tasks: Vec<(Asked, T)>,
    turn: impl Fn(&T) -> Turn,
) -> Vec<(Asked, Vec<T>)> {
    tasks.sort_by_key(|(_, task)| turn(task).rank());
    let mut level: HashMap<usize, i32> = HashMap::new();
    for (_, task) in &tasks {
        let Turn { work, priority, .. } = turn(task);
        level.entry(work).or_insert(priority);
    }
    let of = |task: &T| level.get(&turn(task).work).copied();
    // Stable: within a level the order stands.
    tasks.sort_by_key(|(_, task)| Reverse(of(task)));
    let mut calls: Vec<(Option<i32>, Asked, Vec<T>)> = Vec::new();
    for (policy, task) in tasks {
        let at = of(&task);
        match calls
            .iter_mut()
            .find(|(known, name, _)| *known == at && *name == policy)
        {
            Some((_, _, known)) => known.push(task),
            None => calls.push((at, policy, vec![task])),
        }
    }
    let mut joined: Vec<(Asked, Vec<T>)> = Vec::new();
    for (_, policy, mut tasks) in calls {
        match joined.last_mut().filter(|(last, _)| *last == policy) {
            Some((_, known)) => known.append(&mut tasks),
            None => joined.push((policy, tasks)),
        }
    }
    for (_, tasks) in &mut joined {
        tasks.sort_by_key(|task| turn(task).rank());
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (policy, priority, created at, deployment).
    fn order(tasks: &[(&str, i32, u64, usize)]) -> Vec<(String, Vec<usize>)> {
        let turn = |i: &usize| {
            let (_, priority, created_at, work) = tasks[*i];
            Turn {
                priority,
                created_at: Instant(created_at),
                work,
                task: *i,
            }
        };
        let asked = |policy: &str| Asked {
            policy: policy.parse().expect("a name"),
            closed: Arc::default(),
        };
        let rows = tasks
            .iter()
            .enumerate()
            .map(|(i, (policy, ..))| (asked(policy), i))
            .collect();
        in_turn(rows, turn)
            .into_iter()
            .map(|(asked, tasks)| (asked.policy.to_string(), tasks))
            .collect()
    }

    #[test]
    fn the_more_urgent_go_first_then_the_older() {
        let rows = [
            ("p", 0, 5, 0),
            ("p", 0, 3, 1),
            ("p", 7, 9, 2),
            ("p", 0, 3, 3),
            ("p", -1, 1, 4),
        ];
        assert_eq!(order(&rows), [("p".to_owned(), vec![2, 1, 3, 0, 4])]);
    }

    #[test]
    fn a_policy_s_name_gives_nobody_precedence() {
        let rows = [
            ("a", 0, 1, 0),
            ("b", 5, 9, 1),
            ("a", 5, 10, 2),
            ("b", 0, 2, 3),
        ];
        let told = |name: &str, tasks: &[usize]| (name.to_owned(), tasks.to_vec());
        assert_eq!(
            order(&rows),
            [told("b", &[1]), told("a", &[2, 0]), told("b", &[3])]
        );
    }

    #[test]
    fn a_deployment_is_decided_by_one_call() {
        // The tasks of deployment 0 have priorities 9 and 0.
        let rows = [("a", 9, 5, 0), ("a", 0, 5, 0), ("b", 5, 1, 1)];
        assert_eq!(
            order(&rows),
            [("a".to_owned(), vec![0, 1]), ("b".to_owned(), vec![2])]
        );
    }
}
