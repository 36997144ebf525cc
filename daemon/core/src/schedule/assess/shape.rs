//! A shape: what is asked about when there is no manifest yet.

use serde_json::json;

use crate::{
    base::{
        names::Namespace,
        units::{Bytes, MilliCpu, Millis},
    },
    spec::{manifest::Manifest, workload::Accelerator},
};

/// What one replica needs, how many there are, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The processor share of one replica.
    pub cpu: MilliCpu,
    /// The memory of one replica.
    pub memory: Bytes,
    /// The accelerators of one replica. `None`: none.
    pub accelerator: Option<Accelerator>,
    /// How many replicas.
    pub replicas: u32,
    /// By the clock.
    pub duration: Millis,
    /// Whether offers that may be taken back at any time count.
    pub spot: bool,
    /// Sent out of its region by one replica per hour.
    pub egress: Bytes,
}

impl Shape {
    /// A service of this shape that runs nothing, and so asks a provider for nothing else. Only good to be asked about.
    ///
    /// # Errors
    /// The document of a shape is plain data: this fails only on a defect.
    pub fn manifest(&self, namespace: &Namespace) -> Result<Manifest, serde_json::Error> {
        serde_json::from_value(json!({
            "apiVersion": "tradewind.dev/v1",
            "kind": "CloudDeployment",
            "metadata": { "name": "shape", "namespace": namespace },
            "spec": {
                "placement": { "spot": self.spot },
                "services": { "shape": {
                    "resources": { "cpu": self.cpu, "memory": self.memory, "gpu": self.accelerator },
                    "replicas": self.replicas,
                    "duration": self.duration,
                    "egress": self.egress,
                } },
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{schedule::placement::Requires, spec::manifest};

    #[test]
    fn a_shape_asks_for_what_it_says_and_for_no_feature_but_services() {
        let accelerator = Accelerator {
            kind: "nvidia-l4".to_owned(),
            count: 2,
            ..Accelerator::default()
        };
        let shape = Shape {
            cpu: MilliCpu(1500),
            memory: Bytes(3 << 30),
            accelerator: Some(accelerator.clone()),
            replicas: 3,
            duration: Millis(90_000),
            spot: true,
            egress: Bytes(5 << 30),
        };
        let namespace = Namespace::default_namespace();
        let one = manifest::resolve(&shape.manifest(&namespace).expect("plain data")).remove(0);
        let resources = &one.workload.resources;
        assert_eq!(
            (resources.cpu, resources.memory, &resources.accelerators),
            (shape.cpu, shape.memory, &vec![accelerator])
        );
        assert_eq!(
            (
                one.replicas,
                one.duration,
                one.constraints.spot,
                one.expected.egress
            ),
            (3, shape.duration, true, shape.egress)
        );
        let none = Shape {
            accelerator: None,
            ..shape
        };
        let none = manifest::resolve(&none.manifest(&namespace).expect("plain data")).remove(0);
        assert_eq!(none.workload.resources.accelerators, []);
        let told = serde_json::to_value(Requires::of(&none.workload)).expect("plain data");
        let asked: Vec<&String> = told
            .as_object()
            .expect("a map")
            .iter()
            .filter(|(_, v)| **v == true)
            .map(|(k, _)| k)
            .collect();
        assert_eq!(asked, ["services"]);
    }
}
