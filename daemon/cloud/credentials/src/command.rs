//! Credentials that a program prints, as `vault`, `gcloud` or `aws` do.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt, process::Command};

use crate::{LONGEST, Secret};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What it prints. Its error output may tell a secret, so it goes nowhere.
pub(crate) async fn output(words: &[String]) -> Result<Secret, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("is not named".to_owned());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|e| format!("\"{program}\" can't be started: {}", e.kind()))?;
    let Some(stdout) = child.stdout.take() else {
        return Err(format!("\"{program}\" has no output"));
    };
    let work = async {
        let mut text = String::new();
        let read = stdout.take(LONGEST).read_to_string(&mut text).await;
        let status = child.wait().await;
        read.map_err(|_| format!("\"{program}\" printed what is no text"))?;
        let status =
            status.map_err(|e| format!("\"{program}\" can't be waited for: {}", e.kind()))?;
        match (status.success(), status.code()) {
            (true, _) => Ok(Secret::from(text)),
            (false, Some(code)) => Err(format!("\"{program}\" ended with {code}")),
            (false, None) => Err(format!("\"{program}\" was killed")),
        }
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("\"{program}\" has not ended within {PATIENCE:?}")),
    }
}
