//! One revision runs one image. What a tag named when a workload first started is kept, and each later replica of that workload is asked for
//! by exactly that. It knows references; it must not know registries or engines.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    base::names::{Digest, InstanceName, TaskName},
    spec::workload::{Condition, Workload},
};

/// The kind of the condition by which a provider tells which images an allocation's replicas run. Its message holds references that name
/// exactly one image (`docker.io/library/nginx:1.29@sha256:…`), each once, with spaces between.
pub const CONDITION: &str = "ImageResolved";
/// Of one task. Each belongs to another workload or provider.
const MOST: usize = 64;
const ID: &str = "id:";
/// The registry of images that name none.
const HUB: &str = "docker.io";

/// Exactly one image: what stands behind the `@` of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Exact {
    /// By the digest that registries know it by, everywhere (`sha256:…`).
    Digest(Digest),
    /// By an engine's own id, there alone (`id:…`): the image came from no registry.
    Id(Digest),
}

/// What a workload's image was when it first started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// Of the whole workload: another workload finds its image anew.
    pub workload: Digest,
    /// The image, by its digest.
    pub image: Exact,
    /// Who knows the image by that; none: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<InstanceName>,
}

/// A deployment's pins, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pins {
    /// The pins.
    pub pins: Vec<Pin>,
}

/// Where an image's tag is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// As images begin with it (`registry.example.com:5000`); `docker.io` for those that name none.
    pub registry: String,
    /// With the registry's own folder: `library/nginx`.
    pub repository: String,
    /// The tag; `latest` where none is given.
    pub tag: String,
}

// === impl Reference ===

impl Reference {
    /// None for what names no tag's image: one that is exact already, and texts with characters that no name has.
    pub fn parse(image: &str) -> Option<Self> {
        let known = |c: char| c.is_ascii_alphanumeric() || "._-/:[]".contains(c);
        let (registry, rest) = match image.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => (HUB, image),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (rest, "latest"),
        };
        let segments = || path.split('/');
        let sound = image.chars().all(known)
            && !tag.is_empty()
            && segments().all(|part| !part.is_empty() && part != "." && part != "..");
        let repository = if registry == HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        sound.then(|| Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.to_owned(),
        })
    }

    /// Who answers for the registry.
    pub fn api_host(&self) -> &str {
        if self.registry == HUB {
            "registry-1.docker.io"
        } else {
            &self.registry
        }
    }
}

// === impl Exact ===

impl Exact {
    /// The first 12 hexadecimal digits with what they are of, for tables.
    pub fn short(&self) -> String {
        match self {
            Self::Digest(digest) => format!("sha256:{}", digest.short()),
            Self::Id(id) => format!("{ID}{}", id.short()),
        }
    }

    /// Whether both say the same of an image. A digest and an id can't be held against each other.
    pub fn differs(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self != other
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "{digest}"),
            Self::Id(id) => write!(f, "{ID}{}", id.hex()),
        }
    }
}

impl FromStr for Exact {
    type Err = crate::base::names::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(ID) {
            Some(id) => id.parse().map(Self::Id),
            None => text.parse().map(Self::Digest),
        }
    }
}

impl TryFrom<String> for Exact {
    type Error = crate::base::names::NameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Exact> for String {
    fn from(exact: Exact) -> Self {
        exact.to_string()
    }
}

// === impl Pins ===

impl Pins {
    /// What a task's workload runs at a provider.
    pub fn of(&self, task: &TaskName, workload: &Digest, provider: &InstanceName) -> Option<Exact> {
        let is = |pin: &&Pin| {
            pin.task == *task
                && pin.workload == *workload
                && pin.provider.as_ref().is_none_or(|of| of == provider)
        };
        self.pins.iter().find(is).map(|pin| pin.image)
    }

    /// Adds one. The oldest of its task goes when there are too many.
    pub fn keep(
        &mut self,
        task: TaskName,
        workload: Digest,
        provider: &InstanceName,
        image: Exact,
    ) {
        if self.pins.iter().filter(|known| known.task == task).count() >= MOST
            && let Some(oldest) = self.pins.iter().position(|known| known.task == task)
        {
            self.pins.remove(oldest);
        }
        let provider = matches!(image, Exact::Id(_)).then(|| provider.clone());
        self.pins.push(Pin {
            task,
            workload,
            image,
            provider,
        });
    }
}

/// Tells workloads apart.
pub fn print(workload: &Workload) -> Digest {
    Digest::of(&serde_json::to_vec(workload).unwrap_or_default())
}

/// A reference's name, and what it names exactly.
pub fn split(reference: &str) -> (&str, Option<Exact>) {
    match reference.rsplit_once('@') {
        Some((name, exact)) => (name, exact.parse().ok()),
        None => (reference, None),
    }
}

/// The reference of exactly this image. One that is exact already stays as it is.
pub fn pinned(reference: &str, image: &Exact) -> String {
    if reference.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}@{image}")
    }
}

/// What people are told where nothing holds later replicas to the image that a tag names now.
pub fn loose(image: &str, provider: &InstanceName) -> String {
    format!(
        "the image \"{image}\" is not pinned on \"{provider}\": replicas made later may run another. \
         Name it by its digest, or its registry in [[registries]] of the daemon's configuration"
    )
}

/// What a provider tells of the images that run: their names, and which they are exactly.
pub fn told(conditions: &[Condition]) -> Vec<(String, Exact)> {
    let message = conditions
        .iter()
        .find(|c| c.kind == CONDITION)
        .map(|c| c.message.as_str())
        .unwrap_or_default();
    let references = message.split_whitespace().map(split);
    references
        .filter_map(|(name, exact)| Some((name.to_owned(), exact?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Exact {
        Exact::Digest(Digest::of(&[n]))
    }

    fn id(n: u8) -> Exact {
        Exact::Id(Digest::of(&[n]))
    }

    #[test]
    fn a_reference_is_pinned_once_and_split_again() {
        for name in ["nginx", "localhost/t:1", "registry.example.com:5000/a/b:2"] {
            for exact in [digest(1), id(1)] {
                let pinned = pinned(name, &exact);
                assert_eq!(split(&pinned), (name, Some(exact)));
                assert_eq!(super::pinned(&pinned, &digest(2)), pinned);
                assert_eq!(split(name), (name, None));
            }
        }
        assert!(
            digest(1).differs(&digest(2))
                && !digest(1).differs(&digest(1))
                && !digest(1).differs(&id(1))
        );
    }

    #[test]
    fn a_reference_names_a_registry_a_repository_and_a_tag() {
        let parts =
            |image: &str| Reference::parse(image).map(|r| (r.registry, r.repository, r.tag));
        let some = |registry: &str, repository: &str, tag: &str| {
            Some((registry.to_owned(), repository.to_owned(), tag.to_owned()))
        };
        assert_eq!(parts("nginx"), some("docker.io", "library/nginx", "latest"));
        assert_eq!(parts("shop/web:1"), some("docker.io", "shop/web", "1"));
        assert_eq!(parts("localhost/t:1"), some("localhost", "t", "1"));
        assert_eq!(
            parts("registry.example.com:5000/a/b"),
            some("registry.example.com:5000", "a/b", "latest")
        );
        for none in [
            "",
            "a b",
            "x@sha256:12",
            "a/../b",
            "a//b",
            "a:",
            "registry.example.com/",
            "a?b",
        ] {
            assert_eq!(parts(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_told_is_read_and_what_names_no_one_image_is_not() {
        let condition = |kind: &str, message: String| Condition {
            kind: kind.to_owned(),
            met: true,
            reason: String::new(),
            message,
        };
        let both = format!("a:1@{} a:1@{} b@sha256:12 c", digest(1), id(2));
        assert_eq!(
            told(&[condition(CONDITION, both)]),
            [("a:1".to_owned(), digest(1)), ("a:1".to_owned(), id(2))]
        );
        assert!(told(&[condition("Other", format!("a@{}", digest(1)))]).is_empty());
    }

    #[test]
    fn pins_are_of_one_task_and_workload_and_an_id_is_one_providers() {
        let (web, db): (TaskName, TaskName) = ("web".parse().unwrap(), "db".parse().unwrap());
        let (here, there): (InstanceName, InstanceName) =
            ("here".parse().unwrap(), "there".parse().unwrap());
        let workload = |n: u8| Digest::of(&[n]);
        let mut pins = Pins::default();
        pins.keep(db.clone(), workload(0), &here, id(9));
        for n in 0..=u8::try_from(MOST).unwrap() {
            pins.keep(web.clone(), workload(n), &here, digest(n + 100));
        }
        assert_eq!(
            (
                pins.of(&web, &workload(0), &here),
                pins.of(&web, &workload(1), &there)
            ),
            (None, Some(digest(101)))
        );
        assert_eq!(
            (
                pins.of(&db, &workload(0), &here),
                pins.of(&db, &workload(0), &there)
            ),
            (Some(id(9)), None)
        );
        let stored = serde_json::to_string(&pins).unwrap();
        assert_eq!(serde_json::from_str::<Pins>(&stored).unwrap(), pins);
    }
}
