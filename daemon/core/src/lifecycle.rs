//! What happens to what has been decided: steps, updates, hedges, ends of jobs, their order, scaling, budgets, moves, trials.

pub mod budget;
pub mod canary;
pub mod cordon;
pub mod cron;
pub mod hedge;
pub mod job;
pub mod metering;
pub mod order;
pub mod plan;
pub mod replacement;
pub mod rollout;
pub mod scaling;
pub mod shadow;
