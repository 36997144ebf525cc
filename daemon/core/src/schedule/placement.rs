//! Placement: hard constraints make candidates, one policy call chooses among them, and the answer is checked before it counts.
//! Pure: no clock, no I/O. The policy itself is a plugin behind `plugin::Policy`.

mod affinity;
mod bound;
mod builtin;
mod candidates;
mod exclusion;
mod reasons;
pub mod recorded;
pub(crate) mod sheet;
mod validate;

pub use crate::{
    spec::policy_call::{
        Answer, Candidates, Expected, Group, PlacedOffer, Request, Shape, Spread, Task,
    },
    state::decision::{BoundSource, Certificate},
};

pub use affinity::{Bounds, Domain, Neighbour, apply_affinity, is_bound};
pub use bound::certify;
pub use builtin::{BuiltIn, by_cost};
pub use candidates::{Closed, Need, RankBy, Requires, Spot, Table, Want, build};
pub use exclusion::Exclusion;
pub use reasons::reason;
pub use recorded::Recorded;
pub use sheet::{Measured, Sheet, weight};
pub use validate::{Choice, Placed, Refusal, validate};
