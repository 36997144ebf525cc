//! The certificate of the API over its life: who pinned it is never cut off by the daemon's own doing, and nobody is surprised by its end.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, KeyPair};
use tradewind_core::names::Digest;
use tradewind_kit::Daemon;

/// A folder for a daemon, with these settings.
fn folder(settings: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir_all(folder.path().join("plugins"))?;
    std::fs::create_dir_all(folder.path().join("data/tls"))?;
    std::fs::write(folder.path().join("config.toml"), settings)?;
    Ok(folder)
}

/// The certificate in a file, as it is sent.
fn shown(path: &Path) -> Result<Vec<u8>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    Ok(CertificateDer::from_pem_file(path)
        .ok()
        .context("no certificate")?
        .to_vec())
}

#[tokio::test]
async fn a_certificate_is_made_anew_and_who_pinned_it_goes_on() -> Result<()> {
    let daemon = Daemon::on(folder(
        "[tls]\nself-signed = true\nlifetime = \"6s\"\nnames = [\"api.example\"]\n",
    )?)?;
    let file = daemon.data().join("tls/certificate.pem");
    let first = daemon.told().context("no daemon.json")?;
    let fingerprint = first["fingerprint"].as_str().context("no fingerprint")?;
    let early = daemon.folder.path().join("early.pem");
    std::fs::copy(&file, &early)?;
    let has = |text: &[u8]| {
        shown(&file).is_ok_and(|der| der.windows(text.len()).any(|part| part == text))
    };
    ensure!(
        has(b"tradewind") && has(b"localhost") && has(b"api.example") && !has(b"rcgen"),
        "it has no name"
    );
    for turn in 0..2 {
        let before = shown(&file)?;
        let anew = daemon.eventually("it is made anew", async || {
            Ok(shown(&file).is_ok_and(|now| now != before))
        });
        anew.await?;
        let again = daemon.eventually("it is read again", async || {
            let log = daemon.log();
            Ok(log.matches("the certificate was read again").count() > turn)
        });
        again.await?;
        // By the fingerprint of the beginning, by the certificate of the beginning, and by what the daemon tells on its machine.
        daemon.run(&["whoami", "--fingerprint", fingerprint])?;
        daemon.run(&["whoami", "--ca", &early.to_string_lossy()])?;
        ensure!(
            daemon
                .run(&["whoami"])?
                .contains("the daemon's certificate ends at"),
            "it says when"
        );
    }
    let last = daemon.told().context("no daemon.json")?;
    ensure!(
        last["fingerprint"] == first["fingerprint"]
            && last["certificateEnds"].as_str() > first["certificateEnds"].as_str(),
        "{last}"
    );
    let other = format!("sha256:{}", "1".repeat(64));
    ensure!(
        daemon
            .cli(&["whoami", "--fingerprint", &other])?
            .status
            .code()
            == Some(6),
        "another key is another daemon"
    );
    Ok(())
}

#[test]
fn one_without_end_of_an_earlier_version_gets_an_end_and_its_pins_hold() -> Result<()> {
    let folder = folder("[tls]\nself-signed = true\n")?;
    let key = KeyPair::generate()?;
    // As version 0.1 made it.
    let names = ["localhost", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .to_vec();
    let endless = CertificateParams::new(names)?.self_signed(&key)?;
    let tls = folder.path().join("data/tls");
    std::fs::write(tls.join("key.pem"), key.serialize_pem())?;
    std::fs::write(tls.join("certificate.pem"), endless.pem())?;
    let mut daemon = Daemon::on(folder)?;
    let pin = Digest::of(endless.der()).to_string();
    let early = daemon.file("early.pem", &endless.pem())?;
    for _ in 0..2 {
        let told = daemon.told().context("no daemon.json")?;
        ensure!(
            told["certificateEnds"]
                .as_str()
                .is_some_and(|ends| ends < "2100"),
            "it ends: {told}"
        );
        daemon.run(&["whoami", "--fingerprint", &pin])?;
        daemon.run(&["whoami", "--ca", &early])?;
        daemon.run(&["whoami"])?;
        daemon.stop()?;
        daemon.launch()?;
    }
    // A stranger that sends the old certificate along has not its key.
    let stranger = KeyPair::generate()?;
    let forged = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?
        .self_signed(&stranger)?;
    daemon.stop()?;
    let tls = daemon.data().join("tls");
    daemon.file("forged.pem", &(forged.pem() + &endless.pem()))?;
    daemon.file("forged.key", &stranger.serialize_pem())?;
    let at = |name: &str| daemon.folder.path().join(name).display().to_string();
    daemon.file(
        "config.toml",
        &format!(
            "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            at("forged.pem"),
            at("forged.key")
        ),
    )?;
    daemon.launch()?;
    ensure!(
        daemon
            .cli(&["whoami", "--fingerprint", &pin])?
            .status
            .code()
            == Some(6),
        "who has not the key is not the daemon"
    );
    ensure!(tls.join("key.pem").exists());
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_certificate_that_is_brought_is_announced() -> Result<()> {
    let folder = tradewind_kit::private_folder()?;
    let key = KeyPair::generate()?;
    let year = |from: i32, to: i32| -> Result<String> {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        (params.not_before, params.not_after) = (
            rcgen::date_time_ymd(from, 1, 1),
            rcgen::date_time_ymd(to, 1, 1),
        );
        Ok(params.self_signed(&key)?.pem())
    };
    let (file, key_file) = (folder.path().join("own.pem"), folder.path().join("own.key"));
    std::fs::write(&file, year(2010, 2011)?)?;
    std::fs::write(&key_file, key.serialize_pem())?;
    let settings = format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        file.display(),
        key_file.display()
    );
    let daemon = Daemon::on(self::folder(&settings)?)?;
    daemon.logged("the certificate has ended").await?;
    ensure!(
        daemon.run(&["whoami"])?.contains("ends at 2011-01-01"),
        "it says when"
    );
    let next = folder.path().join("next.pem");
    std::fs::write(&next, year(2010, 2090)?)?;
    std::fs::rename(&next, &file)?;
    daemon.logged("the certificate was read again").await?;
    ensure!(
        daemon.run(&["whoami"])?.contains("ends at 2090-01-01"),
        "it says when"
    );
    let trusted = reqwest::Certificate::from_pem(std::fs::read_to_string(&file)?.as_bytes())?;
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([trusted])
        .build()?;
    let metrics = http
        .get(daemon.url("/metrics"))
        .bearer_auth(daemon.admin_token()?)
        .send()
        .await?
        .text()
        .await?;
    ensure!(
        metrics.contains("tradewind_tls_certificate_expiry_seconds 3786912000"),
        "{metrics}"
    );
    Ok(())
}
