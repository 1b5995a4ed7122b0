//! Open connections: so many of one client, so many of all, and whoever does nothing makes room for whoever comes.

use crate::guard::network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Connections {
    open: Arc<Mutex<Open>>,
    most: usize,
    of_client: usize,
}

#[derive(Debug, Default)]
struct Open {
    count: usize,
    next: u64,
    clients: HashMap<IpAddr, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// Requests that are worked on, or whose answers are being sent: the next one may be there before an answer is.
    busy: usize,
    /// When there was one last.
    since: Instant,
    close: Arc<Notify>,
}

/// One open connection.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Connections,
    client: IpAddr,
    number: u64,
    close: Arc<Notify>,
}

/// While a request of a connection is worked on.
#[derive(Debug)]
pub struct Busy(Connection);

impl Connections {
    /// At most `most`, and `of_client` of one client (0: no limit).
    pub fn new(most: usize, of_client: usize) -> Connections {
        Connections {
            open: Arc::default(),
            most: most.clamp(1, 1 << 20),
            of_client,
        }
    }

    /// A new connection; where there are too many, another one that does nothing is closed for it: of the same client if it
    /// has its share, of the client with most that has one otherwise. `None` if all of them do something.
    pub fn enter(&self, peer: IpAddr) -> Option<Connection> {
        let client = network(peer);
        let mut open = self.open();
        let own = open.clients.get(&client).map_or(0, Vec::len);
        if self.of_client > 0 && own >= self.of_client {
            open.close_idle(client).then_some(())?;
        } else if open.count >= self.most {
            let sizes = open.clients.iter();
            let idle = sizes.filter(|(_, entries)| entries.iter().any(|e| e.busy == 0));
            let most = idle.max_by_key(|(_, entries)| entries.len());
            let most = most.map(|(client, _)| *client)?;
            open.close_idle(most).then_some(())?;
        }
        open.count += 1;
        open.next += 1;
        let (number, close) = (open.next, Arc::new(Notify::new()));
        open.clients.entry(client).or_default().push(Entry {
            number,
            busy: 0,
            since: Instant::now(),
            close: close.clone(),
        });
        Some(Connection(Arc::new(Inner {
            all: self.clone(),
            client,
            number,
            close,
        })))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Every change is made in one step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Closes the connection of a client on which nothing was asked for longest.
    fn close_idle(&mut self, client: IpAddr) -> bool {
        let Some(entries) = self.clients.get(&client) else {
            return false;
        };
        let idle = entries.iter().filter(|e| e.busy == 0);
        match idle.map(|e| (e.since, e.number)).min() {
            Some((_, number)) => {
                self.leave(client, number);
                true
            }
            None => false,
        }
    }

    /// Forgets a connection, and tells it if it is still there.
    fn leave(&mut self, client: IpAddr, number: u64) {
        let Some(entries) = self.clients.get_mut(&client) else {
            return;
        };
        let Some(at) = entries.iter().position(|e| e.number == number) else {
            return;
        };
        entries.swap_remove(at).close.notify_one();
        self.count -= 1;
        if entries.is_empty() {
            self.clients.remove(&client);
        }
    }
}

impl Connection {
    /// Until it has to make room.
    pub async fn displaced(&self) {
        self.0.close.notified().await;
    }

    /// Says that a request is worked on, until what is returned is dropped.
    pub fn work(&self) -> Busy {
        self.change(|own| own.busy += 1);
        Busy(self.clone())
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let mut open = self.0.all.open();
        let entries = open.clients.get_mut(&self.0.client);
        let own = entries.and_then(|e| e.iter_mut().find(|e| e.number == self.0.number));
        if let Some(own) = own {
            change(own);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|own| {
            own.busy -= 1;
            own.since = Instant::now();
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.all.open().leave(self.client, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(connection: &Connection) -> bool {
        let all = connection.0.all.open();
        let own = all.clients.get(&connection.0.client);
        !own.is_some_and(|e| e.iter().any(|e| e.number == connection.0.number))
    }

    #[test]
    fn nobody_takes_all() {
        let all = Connections::new(3, 2);
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = all.enter(a).unwrap();
        let second = all.enter(a).unwrap();
        let busy = first.work();
        // The one that works stays.
        let third = all.enter(a).unwrap();
        assert!(closed(&second) && !closed(&first));
        let third_busy = third.work();
        assert!(all.enter(a).is_none());
        let other = all.enter(b).unwrap();
        // Who has most is not idle: then somebody else makes room.
        let newer = all.enter(b).unwrap();
        assert!(closed(&other) && !closed(&first) && !closed(&third));
        let newer_busy = newer.work();
        assert!(all.enter(b).is_none(), "nobody is idle");
        // A connection whose next request is there before an answer is sent is not idle.
        drop(newer.work());
        assert!(all.enter(b).is_none(), "nobody is idle");
        drop(newer_busy);
        let other = newer;
        drop(third_busy);
        // All are there: the client with most makes room.
        let another = all.enter(b).unwrap();
        assert!(closed(&third) && !closed(&other));
        drop(busy);
        drop((first, second, third, other, another));
        assert!(all.open().clients.is_empty());
        assert_eq!(all.open().count, 0);
    }
}
