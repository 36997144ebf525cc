//! Log lines, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    names::{AllocationId, TaskName},
    workload::LogLine,
};

/// Some lines, and cursors to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogsView {
    /// The lines, the oldest first.
    pub lines: Vec<TaskLogLine>,
    /// Hand it back as `after` to go on; absent when no more can come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// One answer did not hold everything that has been written: ask again behind `next` at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// A line of output, with whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskLogLine {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The allocation that wrote it.
    pub allocation: AllocationId,
    /// The line.
    #[serde(flatten)]
    pub line: LogLine,
}
