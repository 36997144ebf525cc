//! What is wanted against what is: intents, updates, their order, hedges, deadlines.

pub(crate) mod deadline;
pub(crate) mod hedge;
pub(crate) mod order;
pub(crate) mod reconciler;
pub(crate) mod rollout;
pub(crate) mod spaces;
pub(crate) mod undecided;
