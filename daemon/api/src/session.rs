//! What client and daemon say to each other in a session with a replica. Control messages are JSON in text frames of a WebSocket (RFC 6455); bytes go
//! in binary frames, whose first byte tells the stream. After the example of Kubernetes' `channel.k8s.io` protocols.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::names::{AllocationId, TaskName};

use crate::problem::Problem;

/// The name of the protocol, in `Sec-WebSocket-Protocol`.
pub const PROTOCOL: &str = "session.v1.tradewind.dev";
/// The first byte of a binary frame with input of the replica.
pub const STDIN: u8 = 0;
/// The first byte of a binary frame with output of the replica: of a command, of a connection, of an archive.
pub const STDOUT: u8 = 1;
/// The first byte of a binary frame with a command's errors.
pub const STDERR: u8 = 2;

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A command to be run beside a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether input follows. Default: its input is empty.
    #[serde(default)]
    pub stdin: bool,
    /// It runs at a terminal of this size. Absent: at none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalSize>,
}

/// What a client sends in a text frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClientMessage {
    /// The first message of a session at `exec`.
    Exec(ExecRequest),
    /// The terminal has another size.
    Resize(TerminalSize),
    /// The input has ended. Output may still come.
    End,
}

/// The replica that a session is with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// The task.
    pub task: TaskName,
    /// The allocation.
    pub allocation: AllocationId,
    /// The replica's index in it.
    pub replica: u32,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// A command's own; a signal counts as 128 and its number. Of other sessions: 0.
    pub code: i32,
}

/// What the daemon sends in a text frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ServerMessage {
    /// The session is open.
    Opened(SessionView),
    /// It is over.
    Exit(Exit),
    /// It could not be opened, or broke off.
    Problem(Box<Problem>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_they_are_described() {
        let read = |text: &str| serde_json::from_str::<ClientMessage>(text).unwrap();
        assert_eq!(
            read(r#"{"exec": {"command": ["sh"], "terminal": {"columns": 80, "rows": 24}}}"#),
            ClientMessage::Exec(ExecRequest {
                command: vec!["sh".to_owned()],
                stdin: false,
                terminal: Some(TerminalSize {
                    columns: 80,
                    rows: 24
                }),
            })
        );
        assert_eq!(read(r#""end""#), ClientMessage::End);
        let exit = ServerMessage::Exit(Exit { code: 3 });
        assert_eq!(
            serde_json::to_string(&exit).unwrap(),
            r#"{"exit":{"code":3}}"#
        );
    }
}
