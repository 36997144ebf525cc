//! The check of a policy's answer.

pub struct Choice;
pub struct Placed;
pub struct Refusal;
pub fn validate() {}
