//! How values are kept that the API shows too. The types themselves say how they are sent; what is written here, and beside the records whose
//! values they are, is what the state holds. So a field can get another name in the API, and what is stored stays readable.

use serde::{Deserialize, Serialize};

use crate::{
    base::{
        names::{Digest, InstanceName},
        version::Identity,
    },
    ports::audit::Head,
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

            fn lend<S: serde::Serializer>(value: &&$type, to: S) -> Result<S::Ok, S::Error> {
                $kept::serialize(value, to)
            }

            pub(crate) fn serialize<S: serde::Serializer>(
                value: &$type,
                to: S,
            ) -> Result<S::Ok, S::Error> {
                $kept::serialize(value, to)
            }

            pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
                from: D,
            ) -> Result<$type, D::Error> {
                $kept::deserialize(from)
            }

            pub(crate) mod optional {
                use super::*;

                pub(crate) fn serialize<S: serde::Serializer>(
                    value: &Option<$type>,
                    to: S,
                ) -> Result<S::Ok, S::Error> {
                    value.as_ref().map(Lent).serialize(to)
                }

                pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
                    from: D,
                ) -> Result<Option<$type>, D::Error> {
                    Ok(Option::<Kept>::deserialize(from)?.map(|Kept(value)| value))
                }
            }

            pub(crate) mod list {
                use super::*;

                pub(crate) fn serialize<'a, S: serde::Serializer>(
                    values: impl IntoIterator<Item = &'a $type>,
                    to: S,
                ) -> Result<S::Ok, S::Error> {
                    to.collect_seq(values.into_iter().map(Lent))
                }

                pub(crate) fn deserialize<
                    'de,
                    D: serde::Deserializer<'de>,
                    L: FromIterator<$type>,
                >(
                    from: D,
                ) -> Result<L, D::Error> {
                    let kept = Vec::<Kept>::deserialize(from)?.into_iter();
                    Ok(kept.map(|Kept(value)| value).collect())
                }
            }
        }
    };
}

pub(crate) use kept;

kept!(identity, Identity, "IdentityForm", IdentityForm);
kept!(head, Head, "HeadForm", HeadForm);

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
#[serde(remote = "Head", rename_all = "camelCase")]
struct HeadForm {
    seq: u64,
    hash: Digest,
}
