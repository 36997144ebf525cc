//! The calls to providers and what they did. It must not decide what is wanted.

pub(crate) mod dispatcher;
pub(crate) mod images;
pub(crate) mod lanes;
pub(crate) mod outcome;
