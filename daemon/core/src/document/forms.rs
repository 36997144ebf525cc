//! How values are kept that the API shows too. The types themselves say how they are sent; what is written here is what the state holds. So
//! a field can get another name in the API, and what is stored stays readable.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    audit::Head,
    names::{DecisionId, DeploymentName, Digest, InstanceName, TaskName},
    placement::{BoundSource, Certificate},
    plugin::Identity,
    record::Origin,
    shadow::{Cost, Difference, Pick},
    units::{Instant, MicroUsd},
};

/// A module for `#[serde(with = …)]` on a field of the type; with `optional` and `list` for fields that hold none or one of it, or many.
macro_rules! kept {
    ($module:ident, $type:ty, $form:literal, $kept:ident) => {
        #[allow(dead_code, reason = "a value is kept in some of these ways only")]
        pub(crate) mod $module {
            use super::*;

            #[derive(Serialize, Deserialize)]
            #[serde(transparent)]
            struct Kept(#[serde(with = $form)] $type);

            #[derive(Serialize)]
            #[serde(transparent)]
            struct Lent<'a>(#[serde(serialize_with = "lend")] &'a $type);

            fn lend<S: Serializer>(value: &&$type, to: S) -> Result<S::Ok, S::Error> {
                $kept::serialize(value, to)
            }

            pub(crate) fn serialize<S: Serializer>(
                value: &$type,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                $kept::serialize(value, to)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<$type, D::Error> {
                $kept::deserialize(from)
            }

            pub(crate) mod optional {
                use super::*;

                pub(crate) fn serialize<S: Serializer>(
                    value: &Option<$type>,
                    to: S,
                ) -> Result<S::Ok, S::Error> {
                    value.as_ref().map(Lent).serialize(to)
                }

                pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
                    from: D,
                ) -> Result<Option<$type>, D::Error> {
                    Ok(Option::<Kept>::deserialize(from)?.map(|Kept(value)| value))
                }
            }

            pub(crate) mod list {
                use super::*;

                pub(crate) fn serialize<'a, S: Serializer>(
                    values: impl IntoIterator<Item = &'a $type>,
                    to: S,
                ) -> Result<S::Ok, S::Error> {
                    to.collect_seq(values.into_iter().map(Lent))
                }

                pub(crate) fn deserialize<'de, D: Deserializer<'de>, L: FromIterator<$type>>(
                    from: D,
                ) -> Result<L, D::Error> {
                    let kept = Vec::<Kept>::deserialize(from)?.into_iter();
                    Ok(kept.map(|Kept(value)| value).collect())
                }
            }
        }
    };
}

kept!(identity, Identity, "IdentityForm", IdentityForm);
kept!(certificate, Certificate, "CertificateForm", CertificateForm);
kept!(head, Head, "HeadForm", HeadForm);
kept!(origin, Origin, "OriginForm", OriginForm);
kept!(cost, Cost, "CostForm", CostForm);
kept!(pick, Pick, "PickForm", PickForm);
kept!(difference, Difference, "DifferenceForm", DifferenceForm);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Identity", rename_all = "kebab-case")]
struct IdentityForm {
    instance: InstanceName,
    plugin: String,
    version: String,
    component: Digest,
    settings: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Certificate", rename_all = "camelCase")]
struct CertificateForm {
    cost: MicroUsd,
    lower_bound: MicroUsd,
    gap: MicroUsd,
    source: BoundSource,
    #[serde(default, skip_serializing_if = "is_zero")]
    unpriced: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Head", rename_all = "camelCase")]
struct HeadForm {
    seq: u64,
    hash: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Origin", rename_all = "camelCase")]
struct OriginForm {
    host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<Digest>,
    data: std::path::PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Cost", rename_all = "camelCase")]
struct CostForm {
    #[serde(default)]
    hourly: MicroUsd,
    #[serde(default)]
    estimated: MicroUsd,
    #[serde(default)]
    unplaced: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Pick", rename_all = "camelCase")]
struct PickForm {
    provider: InstanceName,
    region: String,
    size: String,
    offer: String,
    replicas: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Difference", rename_all = "camelCase")]
struct DifferenceForm {
    at: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionId>,
    deployment: DeploymentName,
    task: TaskName,
    #[serde(with = "pick::list")]
    live: Vec<Pick>,
    #[serde(with = "cost")]
    live_cost: Cost,
    #[serde(with = "pick::list")]
    shadow: Vec<Pick>,
    #[serde(with = "cost")]
    shadow_cost: Cost,
}
