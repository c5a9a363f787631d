//! Which drivers there are, by the word in `--driver`.

use std::{collections::BTreeMap, sync::Arc};

use super::{Driver, docker::Docker, guard::Guarded, local::Local};
use crate::base::fault::{Fault, Outcome};

/// The drivers of one hub or shim, each behind its guard.
#[derive(Clone, Default)]
pub struct Registry {
    drivers: BTreeMap<&'static str, Arc<dyn Driver>>,
}

impl Registry {
    /// Every driver that is offered to users. The fake one is not: `demo` and tests add it.
    pub fn standard() -> Self {
        Self::default().with(Local).with(Docker)
    }

    /// Adds a driver; a later one of the same name takes its place.
    #[must_use]
    pub fn with(mut self, driver: impl Driver) -> Self {
        let name = driver.name();
        self.drivers.insert(name, Arc::new(Guarded::new(Arc::new(driver))));
        self
    }

    /// Finds a driver; an unknown name is told with the known ones.
    pub fn get(&self, name: &str) -> Outcome<Arc<dyn Driver>> {
        self.drivers.get(name).cloned().ok_or_else(|| {
            let known = self.drivers.keys().copied().collect::<Vec<_>>().join(", ");
            Fault::invalid(format!("no such driver: {name:?}"))
                .hint(format!("drivers of this hub: {known}"))
        })
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Driver>> {
        self.drivers.values()
    }
}
