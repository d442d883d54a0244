//! Who waits for whom, and how many there may be. Memory only; every entry goes with the connection it belongs to.

use crate::limits::RELAY_WAITING_MAX;
use crate::transport::via::{Call, Place, Role};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A connection, and its place among those that are allowed.
#[derive(Debug)]
pub struct Guest {
    pub socket: TcpStream,
    /// Given back when the guest is gone.
    #[expect(dead_code, reason = "it only has to live as long as the socket")]
    pub seat: Seat,
}

/// Who waits, by number, and how the partner is handed over.
type Ticket = (u64, oneshot::Sender<Guest>);

/// Those who wait, by place and role, the latest last.
#[derive(Debug, Default)]
pub struct Meeting {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tickets: u64,
    by_place: HashMap<(Place, Role), Vec<Ticket>>,
}

/// What became of one who arrived.
#[derive(Debug)]
pub enum Arrival {
    /// Whoever waited for it has it now.
    HandedOver,
    Waits {
        guest: Guest,
        ticket: u64,
        partner: oneshot::Receiver<Guest>,
    },
    /// Too many wait at this place.
    Full(Guest),
}

impl Meeting {
    pub fn arrive(&self, call: &Call, mut guest: Guest) -> Arrival {
        let mut waiting = self.waiting();
        // The one who came last is the one most likely to be there still.
        while let Some((_, partner)) =
            waiting.by_place.get_mut(&(call.place, call.role.other())).and_then(Vec::pop)
        {
            match partner.send(guest) {
                Ok(()) => return Arrival::HandedOver,
                // It is about to leave.
                Err(back) => guest = back,
            }
        }
        waiting.by_place.remove(&(call.place, call.role.other()));
        waiting.tickets += 1;
        let ticket = waiting.tickets;
        let here = waiting.by_place.entry((call.place, call.role)).or_default();
        if here.len() >= RELAY_WAITING_MAX {
            return Arrival::Full(guest);
        }
        let (sender, partner) = oneshot::channel();
        here.push((ticket, sender));
        Arrival::Waits { guest, ticket, partner }
    }

    pub fn leave(&self, call: &Call, ticket: u64) {
        let mut waiting = self.waiting();
        let key = (call.place, call.role);
        let Some(here) = waiting.by_place.get_mut(&key) else { return };
        here.retain(|(other, _)| *other != ticket);
        if here.is_empty() {
            waiting.by_place.remove(&key);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many connections there are, in all and of each address.
#[derive(Clone, Debug)]
pub struct Crowd {
    most: usize,
    seats: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

#[derive(Debug)]
pub struct Seat {
    from: IpAddr,
    seats: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Crowd {
    pub fn new(most: usize) -> Crowd {
        Crowd { most, seats: Arc::default() }
    }

    /// `None` if there are too many already.
    pub fn enter(&self, from: IpAddr) -> Option<Seat> {
        let from = household(from);
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = seats.values().sum();
        let of_this = seats.get(&from).copied().unwrap_or(0);
        if all >= self.most || of_this >= (self.most / 4).max(2) {
            return None;
        }
        seats.insert(from, of_this + 1);
        Some(Seat { from, seats: self.seats.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        match seats.get_mut(&self.from) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => drop(seats.remove(&self.from)),
        }
    }
}

/// What is counted as one address: of IPv6 the network, in which anybody has as many addresses as he likes.
fn household(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_more_than_a_quarter_and_seats_are_given_back() {
        let crowd = Crowd::new(16);
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, last, 0, 0, 0, last]);
        let mut seats: Vec<_> = (0..4).map(|_| crowd.enter(address(1)).unwrap()).collect();
        assert!(crowd.enter(address(1)).is_none());
        for neighbour in 2..5 {
            seats.extend((0..4).map(|_| crowd.enter(address(neighbour)).unwrap()));
        }
        assert!(crowd.enter(address(9)).is_none(), "all seats are taken");
        drop(seats.remove(0));
        assert!(crowd.enter(address(1)).is_some());
        drop(seats);
        assert!(crowd.seats.lock().unwrap().is_empty());
    }

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        assert_eq!(household(address(1)), household(address(2)));
        assert_ne!(household("10.0.0.1".parse().unwrap()), household("10.0.0.2".parse().unwrap()));
        assert_eq!(household("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }
}
