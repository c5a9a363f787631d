//! Which clients are connected, so that what one held is given back when it is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{base::id::ClientId, runtime::Directory};

/// Counts the connections of each client.
#[derive(Clone, Default)]
pub(in crate::hub) struct Attendance {
    connections: Arc<Mutex<HashMap<ClientId, usize>>>,
}

/// One connection of a client; dropped when it ends.
pub(super) struct Attending {
    client: ClientId,
    attendance: Attendance,
    directory: Arc<dyn Directory>,
}

impl Attendance {
    fn connections(&self) -> MutexGuard<'_, HashMap<ClientId, usize>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, client: ClientId, directory: Arc<dyn Directory>) -> Attending {
        *self.connections().entry(client.clone()).or_default() += 1;
        Attending { client, attendance: self.clone(), directory }
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        let mut connections = self.attendance.connections();
        let left = connections.get_mut(&self.client).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            connections.remove(&self.client);
            drop(connections);
            self.directory.client_gone(&self.client);
        }
    }
}
