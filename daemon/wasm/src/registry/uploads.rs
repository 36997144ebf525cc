//! Versions that were sent and are being loaded, by the instance that they are for. The writer does not know of them before they have proved
//! good; who looks at an instance meanwhile sees that something is compiled for it.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tradewind_api::PluginView;
use tradewind_core::names::InstanceName;

/// How many there are. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Uploads(Arc<Mutex<HashMap<InstanceName, usize>>>);

/// One of them; it is over when this is dropped.
pub(super) struct Upload {
    of: Uploads,
    instance: InstanceName,
}

impl Uploads {
    pub(super) fn begin(&self, instance: &InstanceName) -> Upload {
        *self.0.lock().entry(instance.clone()).or_default() += 1;
        Upload {
            of: self.clone(),
            instance: instance.clone(),
        }
    }

    /// The view as it is with them.
    pub(super) fn over(&self, view: PluginView) -> PluginView {
        let compiling = view.compiling || self.0.lock().contains_key(&view.instance);
        PluginView { compiling, ..view }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut uploads = self.of.0.lock();
        match uploads.get_mut(&self.instance) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                uploads.remove(&self.instance);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_compiled_for_until_its_last_upload_is_over() {
        let uploads = Uploads::default();
        let instance: InstanceName = "p".parse().unwrap();
        let compiling = || uploads.0.lock().contains_key(&instance);
        let (first, second) = (uploads.begin(&instance), uploads.begin(&instance));
        drop(first);
        assert!(compiling());
        drop(second);
        assert!(!compiling());
    }
}
