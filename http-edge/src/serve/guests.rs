//! How many connections each address has: one client cannot take all the places.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The addresses that have connections. It has as many entries as there are connections, at most.
pub struct Guests {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Guests {
    /// So many connections for each address.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// A place for one more connection from this address; `None` if it has all that it may have. Who comes from this
    /// machine may have any number: a reverse proxy brings many clients from there.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let whose = whose(address);
        if whose.is_loopback() {
            return Some(Guest { entered: None });
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.entry(whose).or_default();
        if *number >= self.most {
            return None;
        }
        *number += 1;
        Some(Guest { entered: Some((self.clone(), whose)) })
    }
}

/// One connection's place among those of its address, until it is dropped.
pub struct Guest {
    entered: Option<(Arc<Guests>, IpAddr)>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some((guests, whose)) = &self.entered else { return };
        let mut open = guests.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = open.get_mut(whose) {
            *number -= 1;
            if *number == 0 {
                open.remove(whose);
            }
        }
    }
}

/// Whoever has one address of IPv6 has the 2^64 beside it.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(guests: &Arc<Guests>, address: &str) -> Option<Guest> {
        guests.enter(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_number_of_places_and_gets_each_back() {
        let guests = Guests::new(2);
        let first = enter(&guests, "10.0.0.7").unwrap();
        let _second = enter(&guests, "::ffff:10.0.0.7").unwrap();
        assert!(enter(&guests, "10.0.0.7").is_none());
        let other = enter(&guests, "10.0.0.8").expect("another address has places of its own");
        drop(first);
        let _third = enter(&guests, "10.0.0.7").expect("one has gone");
        assert!(enter(&guests, "10.0.0.7").is_none());
        drop(other);
        assert_eq!(guests.open.lock().unwrap().len(), 1, "nothing is kept of who has gone");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_this_machine_is_none() {
        let guests = Guests::new(1);
        let _one = enter(&guests, "2001:db8:0:1::1").unwrap();
        assert!(enter(&guests, "2001:db8:0:1:ffff::2").is_none());
        assert!(enter(&guests, "2001:db8:0:2::1").is_some());
        let here: Vec<_> =
            ["127.0.0.1", "127.0.0.1", "127.8.8.8", "::1", "::1"].map(|it| enter(&guests, it)).into();
        assert!(here.iter().all(Option::is_some));
    }
}
