//! User data: pieces become one text, in which secrets are words of a shell. Only here do their values meet what is sent.

use std::path::Path;

use aws_smithy_types::base64;
use tradewind_core::{capability::aws::Piece, failure::Failure};
use tradewind_credentials::secrets::{self, Granted};

/// What EC2 takes, before it is encoded.
const LONGEST: usize = 16 << 10;

/// In base64, as EC2 takes it. Blocks while secrets are read.
///
/// # Errors
/// `denied` when a secret can't be read, `invalid` when it can't be a word or all is too long.
pub(crate) fn encoded(
    pieces: &[Piece],
    granted: Granted<'_>,
    folder: &Path,
) -> Result<String, Failure> {
    let mut data = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => data.extend_from_slice(text.as_bytes()),
            Piece::Secret(secret) | Piece::SecretVariable(secret) => {
                let value = secrets::read(granted, Some(folder), secret, "user-data")?;
                if value.contains(&0) {
                    let message = format!(
                        "the secret \"{}\" holds a zero byte, which no word of a shell can",
                        secret.name
                    );
                    return Err(Failure::invalid(message).field("user-data"));
                }
                let whole = matches!(piece, Piece::Secret(_));
                quote(
                    if whole {
                        &value
                    } else {
                        secrets::variable(&value)
                    },
                    &mut data,
                );
            }
        }
    }
    if data.len() > LONGEST {
        let message = format!(
            "what an instance shall run takes {} bytes of user data, the most is {LONGEST}",
            data.len()
        );
        return Err(Failure::invalid(message)
            .field("user-data")
            .remedy("pass less by env and files: put it into the image"));
    }
    Ok(if data.is_empty() {
        String::new()
    } else {
        base64::encode(data)
    })
}

/// As one word of a POSIX shell, whatever is in it.
fn quote(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    for byte in value {
        match byte {
            b'\'' => out.extend_from_slice(br"'\''"),
            other => out.push(*other),
        }
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use tradewind_core::{
        failure::FailureKind, grant::Entry, names::Namespace, workload::SecretRef,
    };

    use super::*;

    #[test]
    fn secrets_become_words_that_a_shell_reads_back() {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .unwrap();
        let value = "it's $HOME `id` \"x\"\nTRADEWIND\\";
        std::fs::write(folder.path().join("db"), value).unwrap();
        let secret = |name: &str| {
            Piece::Secret(SecretRef {
                name: name.to_owned(),
                key: None,
            })
        };
        let namespace = Namespace::default_namespace();
        let secrets = ["db", "lines", "binary", "none"].map(Entry::from);
        let granted = Granted {
            capability: "aws",
            secrets: &secrets,
            namespace: Some(&namespace),
        };
        let encoded = |pieces: &[Piece]| super::encoded(pieces, granted, folder.path());
        let pieces = [Piece::Text("printf %s ".to_owned()), secret("db")];
        let script = String::from_utf8(base64::decode(encoded(&pieces).unwrap()).unwrap()).unwrap();
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), value);

        std::fs::write(folder.path().join("lines"), "two\nlines\n\r\n").unwrap();
        let of = |piece: fn(SecretRef) -> Piece| {
            let pieces = [
                Piece::Text("printf %s ".to_owned()),
                piece(SecretRef {
                    name: "lines".to_owned(),
                    key: None,
                }),
            ];
            String::from_utf8(base64::decode(encoded(&pieces).unwrap()).unwrap()).unwrap()
        };
        assert_eq!(
            of(Piece::Secret),
            "printf %s 'two\nlines\n\r\n'",
            "a file is as it is"
        );
        assert_eq!(
            of(Piece::SecretVariable),
            "printf %s 'two\nlines\n'",
            "a variable loses one line end"
        );

        std::fs::write(folder.path().join("binary"), [1, 0, 2]).unwrap();
        assert_eq!(
            encoded(&[secret("binary")]).unwrap_err().kind,
            FailureKind::Invalid
        );
        assert_eq!(
            encoded(&[secret("none")]).unwrap_err().kind,
            FailureKind::Denied
        );
        let long = [Piece::Text("x".repeat(LONGEST + 1))];
        assert_eq!(
            encoded(&long).unwrap_err().field.as_deref(),
            Some("user-data")
        );
    }
}
