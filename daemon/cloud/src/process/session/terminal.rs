//! A terminal of a session: the daemon's side of a pseudo terminal, read and written without blocking.

use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::{
    fs::{Gid, OFlags, Uid, fchown, fcntl_getfl, fcntl_setfl},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, unix::AsyncFd},
    runtime::Handle,
};
use tradewind_core::session::Size;

use crate::process::confine::Ids;

/// The daemon's side.
pub(super) struct Terminal(Arc<AsyncFd<OwnedFd>>);

/// One direction of it.
pub(super) struct Side(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    /// A terminal, and the side at which a program of this user sits.
    ///
    /// # Errors
    /// The system has none, or no descriptors.
    pub(super) fn open(
        size: Size,
        ids: Option<Ids>,
        runtime: &Handle,
    ) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = openpt(flags)?;
        grantpt(&own)?;
        unlockpt(&own)?;
        let seat = ioctl_tiocgptpeer(&own, flags)?;
        if let Some(ids) = ids {
            // The program may open it again by its name.
            fchown(
                &seat,
                Some(Uid::from_raw(ids.uid)),
                Some(Gid::from_raw(ids.gid)),
            )?;
        }
        tcsetwinsize(&own, window(size))?;
        fcntl_setfl(&own, fcntl_getfl(&own)? | OFlags::NONBLOCK)?;
        let _inside = runtime.enter();
        #[allow(
            deprecated,
            reason = "the other function is unsafe for types whose descriptor may change, which an owned one's does not"
        )]
        let own = AsyncFd::new(own)?;
        Ok((Self(Arc::new(own)), seat))
    }

    pub(super) fn reader(&self) -> Side {
        Side(self.0.clone())
    }

    pub(super) fn writer(&self) -> Side {
        Side(self.0.clone())
    }

    /// Programs are told by a signal of the kernel's.
    pub(super) fn resize(&self, size: Size) {
        if let Err(error) = tcsetwinsize(self.0.get_ref(), window(size)) {
            tracing::debug!(error = %io::Error::from(error), "a session's terminal keeps its size");
        }
    }
}

fn window(size: Size) -> Winsize {
    Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl AsyncRead for Side {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let space = buffer.initialize_unfilled();
            match guard.try_io(|fd| rustix::io::read(fd.get_ref(), &mut *space).map_err(Into::into))
            {
                Ok(Ok(read)) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                // Its last user has gone.
                Ok(Err(error)) if error.raw_os_error() == Some(5) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Side {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            match guard.try_io(|fd| rustix::io::write(fd.get_ref(), bytes).map_err(Into::into)) {
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
