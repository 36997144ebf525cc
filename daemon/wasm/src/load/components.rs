//! Compiled components: the same bytes are compiled once, however many instances use them. Knows nothing of what instances are.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Instant,
};

use parking_lot::Mutex;
use tradewind_core::names::{Digest, InstanceName};
use wasmtime::component::Component;

use super::{
    audit,
    error::{Error, blocking, understood},
    instance_file::InstanceFile,
    survey,
    toolchain::Toolchain,
};
use crate::{
    base::text::tame,
    runtime::{compiled::Compiled, engine::chain},
};

pub(super) struct Components {
    toolchain: Toolchain,
    /// The capabilities that this build does not have.
    absent: &'static [&'static str],
    compiled: Mutex<HashMap<Digest, Weak<Compiled>>>,
    /// Turns of those that want the same bytes compiled.
    turns: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl Components {
    pub(super) fn new(toolchain: Toolchain, absent: &'static [&'static str]) -> Self {
        Self {
            toolchain,
            absent,
            compiled: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    /// What nobody has compiled yet is looked over and audited first, then compiled by a process that has limits.
    ///
    /// # Errors
    /// Why it can't be compiled, or may not be.
    pub(super) async fn compile(
        &self,
        bytes: Arc<[u8]>,
        digest: Digest,
        instance: &InstanceName,
        file: &InstanceFile,
    ) -> Result<Arc<Compiled>, Error> {
        let turn = self.turn(digest);
        let _turn = turn.lock().await;
        if let Some(code) = self.known(digest) {
            return Ok(code);
        }
        recognise(&bytes)?;
        let (toolchain, there) = (self.toolchain.clone(), bytes.clone());
        let found = blocking(move || toolchain.find(digest, &there)).await?;
        let component = match found.map_err(|e| Error::Compile { why: chain(&e) })? {
            Some(component) => component,
            None => self.compile_anew(bytes, digest, instance, file).await?,
        };
        let code = Arc::new(Compiled::of(self.toolchain.engine(), component));
        let mut compiled = self.compiled.lock();
        compiled.retain(|_, weak| weak.strong_count() > 0);
        compiled.insert(digest, Arc::downgrade(&code));
        Ok(code)
    }

    async fn compile_anew(
        &self,
        bytes: Arc<[u8]>,
        digest: Digest,
        instance: &InstanceName,
        file: &InstanceFile,
    ) -> Result<Component, Error> {
        let (toolchain, there) = (self.toolchain.clone(), bytes.clone());
        let outline = blocking(move || toolchain.survey(&there))
            .await?
            .map_err(|e| match e {
                survey::Error::Malformed(why) => Error::Compile {
                    why: tame(&why.to_string()),
                },
                survey::Error::Bounds(why) => Error::Bounds(why),
            })?;
        audit::audit(
            &outline.imports,
            &outline.exports,
            instance,
            file,
            self.absent,
        )?;
        let (_step, began) = (self.toolchain.progress().begin(), Instant::now());
        if let Some(compiler) = self.toolchain.compiler() {
            let answer = self
                .toolchain
                .compile_apart(compiler, digest, &bytes)
                .await?;
            understood(answer)?;
        }
        // From the cache, or known to be no burden.
        let toolchain = self.toolchain.clone();
        let component = blocking(move || toolchain.component(digest, &bytes)).await?;
        let component = component.map_err(|e| Error::Compile { why: chain(&e) })?;
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(component = %file.component, %instance, millis, "compiled");
        Ok(component)
    }

    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        turns.retain(|_, weak| weak.strong_count() > 0);
        if let Some(turn) = turns.get(&digest).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(digest, Arc::downgrade(&turn));
        turn
    }

    fn known(&self, digest: Digest) -> Option<Arc<Compiled>> {
        self.compiled.lock().get(&digest).and_then(Weak::upgrade)
    }

    /// What a component imports functions from; nothing of one that is not in use.
    pub(super) fn imports(&self, digest: Digest) -> Vec<String> {
        self.known(digest)
            .map(|code| code.imports.clone())
            .unwrap_or_default()
    }

    /// Compiled components that are alive.
    pub(super) fn live(&self) -> usize {
        self.compiled
            .lock()
            .values()
            .filter(|weak| weak.strong_count() > 0)
            .count()
    }
}

/// Tells the common mistakes apart before the compiler speaks.
fn recognise(bytes: &[u8]) -> Result<(), Error> {
    let why = match (bytes.get(..4), bytes.get(4..8)) {
        (Some(b"\0asm"), Some([0x0d, 0, 1, 0])) => return Ok(()),
        (Some(b"\0asm"), Some([1, 0, 0, 0])) => {
            "it is a core module; make a component of it with `tradewind plugin build`".to_owned()
        }
        (None, _) if bytes.is_empty() => "the file is empty".to_owned(),
        _ => "it does not begin as one".to_owned(),
    };
    Err(Error::NotComponent { why })
}
