//! Parts without which the daemon does not do its work: a loop, a writer, a listener. When one of them panics, whoever runs the process is
//! told, as a process is told of its panics: once, in one place.

use std::sync::OnceLock;

type Listener = Box<dyn Fn(&'static str) + Send + Sync>;

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Has the names of parts that panic told to this function. The first one stays.
pub fn listen(listener: impl Fn(&'static str) + Send + Sync + 'static) {
    // A process has one that runs it.
    let _ = LISTENER.set(Box::new(listener));
}

/// Tells, when it is dropped by a panic, that a part has failed.
#[must_use = "a part is guarded as long as this lives"]
#[derive(Debug)]
pub struct Guard(&'static str);

/// Guards what runs on this thread until the guard is dropped.
pub fn guard(part: &'static str) -> Guard {
    Guard(part)
}

/// Runs a part. Cancel-safe as the part is.
pub async fn part<F: Future>(name: &'static str, work: F) -> F::Output {
    let _guard = guard(name);
    work.await
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(tell) = LISTENER.get()
        {
            tell(self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::{FutureExt, executor::block_on};
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn a_part_that_panics_is_told_and_one_that_ends_is_not() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        listen(move |part| heard.lock().push(part));
        assert_eq!(block_on(part("calm", async { 7 })), 7);
        let failed = block_on(
            std::panic::AssertUnwindSafe(part("writer", async { panic!("on purpose") }))
                .catch_unwind(),
        );
        assert!(failed.is_err());
        let thread = std::thread::spawn(|| {
            let _guard = guard("clock");
            panic!("on purpose")
        });
        assert!(thread.join().is_err());
        assert_eq!(*told.lock(), ["writer", "clock"]);
    }
}
