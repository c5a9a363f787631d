//! Addresses that stand for names: a program asks for a name, is given one of these, and where it connects to says which
//! name it means. Nothing is asked outside before somebody lets it.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
};

use crate::{base::limits::GATE_NAMES_MAX, model::host};

/// 198.18.0.0/15 is set aside for measurements and is nobody's.
const FIRST: u32 = 0xc612_0000;
const COUNT: u32 = 1 << 17;

/// What an address of a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    Name(String),
    /// It stood for a name once, or never did.
    Forgotten,
    Address(IpAddr),
}

/// The names that stand for something. The oldest are forgotten; their addresses are not given to others before all
/// have been used, so what a program kept for too long reaches nobody else.
#[derive(Debug, Default)]
pub struct Names {
    numbers: HashMap<String, u32>,
    names: VecDeque<(u32, String)>,
    next: u32,
}

impl Names {
    /// The address that stands for a name from now on.
    pub fn address(&mut self, name: &str) -> Ipv4Addr {
        if let Some(number) = self.numbers.get(name) {
            return address(*number);
        }
        // Neither the first nor the last, which are not hosts'.
        let number = 1 + self.next % (COUNT - 2);
        self.next = self.next.wrapping_add(1);
        if self.names.len() >= GATE_NAMES_MAX
            && let Some((_, oldest)) = self.names.pop_front()
        {
            self.numbers.remove(&oldest);
        }
        self.numbers.insert(name.to_owned(), number);
        self.names.push_back((number, name.to_owned()));
        address(number)
    }

    pub fn meant(&self, address: IpAddr) -> Meant {
        let IpAddr::V4(four) = address else { return Meant::Address(address) };
        let Some(number) = four.to_bits().checked_sub(FIRST).filter(|it| *it < COUNT) else {
            return Meant::Address(address);
        };
        let found = self.names.iter().find(|it| it.0 == number);
        found.map_or(Meant::Forgotten, |it| Meant::Name(it.1.clone()))
    }
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST + number)
}

/// A name as it is compared: small letters, no last dot. `None` for what is no host's name.
pub fn plain(name: &str) -> Option<String> {
    host::name_of(name).filter(|it| it.parse::<Ipv4Addr>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_one_name_and_never_another_soon() {
        let mut names = Names::default();
        let first = names.address("a.example");
        assert_eq!(names.address("a.example"), first);
        assert_eq!(names.meant(first.into()), Meant::Name("a.example".into()));
        let elsewhere = "192.0.2.1".parse().unwrap();
        assert_eq!(names.meant(elsewhere), Meant::Address(elsewhere));
        let mut given = std::collections::HashSet::from([first]);
        for number in 0..GATE_NAMES_MAX {
            assert!(given.insert(names.address(&format!("x{number}.example"))));
        }
        assert_eq!(names.meant(first.into()), Meant::Forgotten);
        assert_eq!(names.names.len(), GATE_NAMES_MAX);
        assert_eq!(names.numbers.len(), GATE_NAMES_MAX);
        assert!(given.insert(names.address("a.example")), "it is another one now");
    }

    #[test]
    fn only_what_a_host_may_be_called_is_a_name() {
        assert_eq!(plain("Files.Example."), Some("files.example".into()));
        for bad in
            ["", ".", "a..b", "a b", "ä.example", "a/b", "x%2e", &"a.".repeat(128), &"a".repeat(64)]
        {
            assert_eq!(plain(bad), None, "{bad}");
        }
    }
}
