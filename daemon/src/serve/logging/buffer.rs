//! Lines on their way to a writer that may fail or block. Whoever puts them in does neither. It must not know what a line says.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Bytes that wait at most; further lines are dropped.
const ROOM: usize = 1 << 20;
/// Between two attempts while the writer says that it would block.
const AGAIN: Duration = Duration::from_millis(10);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Buffer(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Condvar,
    /// Everything has been written, or given up.
    emptied: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    writing: bool,
}

impl Buffer {
    /// # Errors
    /// When the writing thread can't be started. It ends with the process.
    pub(super) fn start(mut to: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: AtomicU64::new(0),
        };
        let buffer = Self(Arc::new(shared));
        let of = buffer.clone();
        let work = move || {
            let mut told = 0;
            loop {
                let lines = of.take();
                let written = lines
                    .iter()
                    .take_while(|line| write(&mut to, line).is_ok())
                    .count();
                let lost = (lines.len() - written) as u64;
                let dropped = of.0.dropped.fetch_add(lost, Ordering::Relaxed) + lost;
                of.done();
                // It goes the way of every line, now that the way is free again.
                if lost == 0 && dropped > told {
                    tracing::warn!(
                        lines = dropped - told,
                        "log lines were dropped: standard error did not take them"
                    );
                    told = dropped;
                }
            }
        };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(work)?;
        Ok(buffer)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Waits until nothing is left to write, at most so long.
    pub(super) fn flush(&self, longest: Duration) {
        let end = Instant::now() + longest;
        let mut queue = self.queue();
        while queue.writing || !queue.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.0.emptied.wait_for(&mut queue, left);
        }
    }

    fn put(&self, line: &[u8]) {
        let mut queue = self.queue();
        if queue.bytes + line.len() > ROOM {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        drop(queue);
        self.0.filled.notify_one();
    }

    fn take(&self) -> VecDeque<Vec<u8>> {
        let mut queue = self.queue();
        while queue.lines.is_empty() {
            self.0.filled.wait(&mut queue);
        }
        queue.writing = true;
        queue.bytes = 0;
        std::mem::take(&mut queue.lines)
    }

    fn done(&self) {
        self.queue().writing = false;
        self.0.emptied.notify_all();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock()
    }
}

impl Write for &Buffer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A whole line, also to what was opened not to block.
fn write(to: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match to.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(error) => return Err(error),
        }
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a line when it is let to, or fails.
    struct Gate(mpsc::Receiver<bool>, Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.recv() {
                Ok(true) => self.1.lock().write(bytes),
                _ => Err(io::ErrorKind::StorageFull.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Buffer, mpsc::Sender<bool>, Arc<Mutex<Vec<u8>>>) {
        let (open, gate) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        (
            Buffer::start(Gate(gate, written.clone())).unwrap(),
            open,
            written,
        )
    }

    #[test]
    fn who_logs_is_not_held_up_by_a_writer_that_blocks() {
        let (buffer, open, written) = gated();
        let line = [b'x'; 1 << 10];
        // Nothing is taken yet: the thread holds some, the queue holds its room, the rest is dropped.
        for _ in 0..4 << 10 {
            (&buffer).write_all(&line).unwrap();
        }
        let dropped = buffer.dropped();
        assert!(dropped >= 2 << 10, "{dropped}");
        buffer.flush(Duration::from_millis(1));
        for _ in 0..4 << 10 {
            open.send(true).unwrap();
        }
        buffer.flush(Duration::from_secs(60));
        assert_eq!(
            written.lock().len() as u64,
            ((4 << 10) - dropped) << 10,
            "what was not dropped comes"
        );
    }

    #[test]
    fn a_writer_that_fails_costs_its_lines_and_nothing_else() {
        let (buffer, open, written) = gated();
        open.send(false).unwrap();
        (&buffer).write_all(b"lost\n").unwrap();
        buffer.flush(Duration::from_secs(60));
        assert_eq!(buffer.dropped(), 1);
        open.send(true).unwrap();
        (&buffer).write_all(b"kept\n").unwrap();
        buffer.flush(Duration::from_secs(60));
        assert_eq!(written.lock().as_slice(), b"kept\n");
    }
}
