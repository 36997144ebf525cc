//! Files and secrets of a workload: data goes into a ConfigMap, references into a Secret that the host makes, and both into the pod by name.

use serde_json::{Map, Value, json};
use tradewind_plugin_sdk::{
    Error,
    host::SecretItem,
    types::{EnvValue, FileContent, SecretRef, Workload},
};

use crate::names;

/// The volumes of files in a pod.
const CONFIG: &str = "config";
const SECRETS: &str = "secrets";

/// Where a workload's contents go.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) data: Map<String, Value>,
    pub(crate) binary: Map<String, Value>,
    pub(crate) secrets: Vec<SecretItem>,
    pub(crate) env: Vec<Value>,
    pub(crate) mounts: Vec<Value>,
    config_items: Vec<Value>,
    secret_items: Vec<Value>,
}

impl Content {
    /// # Errors
    /// `invalid` for a relative path without a folder that it is relative to.
    pub(crate) fn of(workload: &Workload, allocation: &str) -> Result<Self, Error> {
        let mut content = Self::default();
        for var in &workload.env {
            let value = match &var.value {
                EnvValue::Text(text) => json!({"name": var.name, "value": names::literal(text)}),
                EnvValue::Secret(source) => {
                    let key =
                        content.secret(&format!("env-{}", content.secrets.len()), source, true);
                    json!({"name": var.name, "valueFrom": {"secretKeyRef": {"name": allocation, "key": key}}})
                }
            };
            content.env.push(value);
        }
        for (i, file) in workload.files.iter().enumerate() {
            let path =
                absolute(&file.path, workload.working_directory.as_deref()).ok_or_else(|| {
                    Error::invalid(format!(
                        "{:?} is relative, and there is no working folder",
                        file.path
                    ))
                    .field(format!("workload.files[{i}].path"))
                })?;
            let key = format!("file-{i}");
            let item = json!({"key": key, "path": key, "mode": file.mode & 0o777});
            let volume = match &file.content {
                FileContent::Data(bytes) => {
                    match std::str::from_utf8(bytes) {
                        Ok(text) => content.data.insert(key.clone(), json!(text)),
                        Err(_) => content.binary.insert(key.clone(), json!(base64(bytes))),
                    };
                    content.config_items.push(item);
                    CONFIG
                }
                FileContent::Secret(source) => {
                    content.secret(&key, source, false);
                    content.secret_items.push(item);
                    SECRETS
                }
            };
            content
                .mounts
                .push(json!({"name": volume, "mountPath": path, "subPath": key, "readOnly": true}));
        }
        Ok(content)
    }

    fn secret(&mut self, key: &str, source: &SecretRef, variable: bool) -> String {
        self.secrets.push(SecretItem {
            key: key.to_owned(),
            source: source.clone(),
            variable,
        });
        key.to_owned()
    }

    pub(crate) fn has_config(&self) -> bool {
        !self.config_items.is_empty()
    }

    pub(crate) fn volumes(&self, allocation: &str) -> Vec<Value> {
        let config =
            json!({"name": CONFIG, "configMap": {"name": allocation, "items": self.config_items}});
        let secrets = json!({"name": SECRETS, "secret": {"secretName": allocation, "items": self.secret_items}});
        let there = [
            (self.has_config(), config),
            (!self.secret_items.is_empty(), secrets),
        ];
        there
            .into_iter()
            .filter_map(|(there, volume)| there.then_some(volume))
            .collect()
    }

    /// Differs when the contents do: mounts by `subPath` and environments do not follow their source, so the pods have to.
    pub(crate) fn print(&self, secret_version: &str) -> Option<String> {
        let nothing = !self.has_config() && self.secrets.is_empty();
        (!nothing).then(|| {
            names::fingerprint(&format!(
                "{:?} {:?} {secret_version}",
                self.data, self.binary
            ))
        })
    }
}

fn absolute(path: &str, folder: Option<&str>) -> Option<String> {
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    folder
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| format!("{}/{path}", folder.trim_end_matches('/')))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |bits: u32| {
        LETTERS
            .get((bits & 63) as usize)
            .map_or('A', |b| char::from(*b))
    };
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| chunk.get(i).map_or(0, |b| u32::from(*b));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.push(letter(bits >> 18));
        out.push(letter(bits >> 12));
        out.push(if chunk.len() > 1 {
            letter(bits >> 6)
        } else {
            '='
        });
        out.push(if chunk.len() > 2 { letter(bits) } else { '=' });
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_written_as_base64() {
        let all: Vec<String> = ["", "f", "fo", "foo", "foob"]
            .iter()
            .map(|t| super::base64(t.as_bytes()))
            .collect();
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
