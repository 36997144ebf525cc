//! A stand-in for the `http` capability: a function answers, and what was sent is kept.

use std::{cell::RefCell, rc::Rc};

use super::Clock;
use crate::{
    Error,
    host::{self, HttpRequest, HttpResponse},
};

type Respond = dyn Fn(&HttpRequest, u64) -> Result<HttpResponse, Error>;

/// The `http` and the `clock` capability. Clones share everything.
#[derive(Clone)]
pub struct Web {
    clock: Clock,
    respond: Rc<Respond>,
    sent: Rc<RefCell<Vec<HttpRequest>>>,
}

impl Web {
    /// A web in which this function answers every request, given the time.
    pub fn new(
        clock: Clock,
        respond: impl Fn(&HttpRequest, u64) -> Result<HttpResponse, Error> + 'static,
    ) -> Self {
        Self {
            clock,
            respond: Rc::new(respond),
            sent: Rc::default(),
        }
    }

    /// The requests since this was asked last.
    pub fn sent(&self) -> Vec<HttpRequest> {
        self.sent.take()
    }
}

/// A web in which nobody answers.
impl Default for Web {
    fn default() -> Self {
        Self::new(Clock::default(), |_, _| {
            Err(Error::unavailable("no answer"))
        })
    }
}

impl host::Http for Web {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, Error> {
        self.sent.borrow_mut().push(request.clone());
        (self.respond)(request, host::Clock::now(&self.clock))
    }
}

impl host::Clock for Web {
    fn now(&self) -> u64 {
        self.clock.now()
    }
    fn monotonic(&self) -> u64 {
        self.clock.monotonic()
    }
}
