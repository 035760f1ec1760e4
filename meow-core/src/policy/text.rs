//! The parts of policies as text, and `key=value` to set them.

use std::fmt;
use std::str::FromStr;

use super::{Authenticity, Chain, Form, MAX_POOL, Pause, Policy, Pool, Receipts, Route};
use crate::wire::{List, Text};
use crate::{Error, ErrorKind};

/// The keys of [`Policy::set`], with what they take.
pub const KEYS: [(&str, &str); 13] = [
    ("routes", "what is allowed, in order: server, direct, matriochka; separated by commas"),
    ("hops", "servers of a chain, the mailbox server counted: 2 to 5"),
    ("first", "from which servers the first of a chain is drawn: trusted, pool:NAME, known"),
    ("between", "from which servers those between are drawn: trusted, pool:NAME, known"),
    ("delay_ms", "mean delay at each server of a chain: 0 to 20000, for 3 servers to 12000"),
    ("authenticity", "signed, deniable"),
    ("receipts", "what the contact is told: none, decrypted, read; separated by commas"),
    ("form", "by-link, thin, whole"),
    ("presence", "whether the contact may find this device: false, true"),
    ("cover", "mean pause between messages, with ones that say nothing where none waits: none, 10m, 6/h"),
    ("loops", "mean pause between packets that go round through chains: none, 10m, 6/h"),
    ("padding", "size to which messages are padded at least: 256, 512, 2048, 8192, 32768"),
    ("copies", "at how many of the contact's servers each message is stored: 1 to 4"),
];

pub(super) fn bad(text: String) -> Error {
    Error::new(ErrorKind::Usage, text)
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted => f.write_str("trusted"),
            Self::Named(name) => write!(f, "pool:{}", &**name),
            Self::Known => f.write_str("known"),
        }
    }
}

impl FromStr for Pool {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self, Error> {
        match s {
            "trusted" => Ok(Self::Trusted),
            "known" => Ok(Self::Known),
            _ => {
                s.strip_prefix("pool:").and_then(pool_name).map(Self::Named).ok_or_else(|| {
                    bad(format!("{s:?} is no set of servers: say trusted, known or pool:NAME"))
                })
            }
        }
    }
}

/// The name of a pool: 1 to [`MAX_POOL`] letters, digits, `-` and `_`.
pub fn pool_name(name: &str) -> Option<Text<MAX_POOL>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = Some(name).filter(|name| !name.is_empty() && name.chars().all(plain))?;
    Text::new(name).ok()
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Direct => f.write_str("direct"),
            Self::Matriochka(Chain { hops, first, between, delay_ms }) => {
                write!(f, "matriochka hops={hops} first={first} between={between} delay_ms={delay_ms}")
            }
        }
    }
}

impl FromStr for Route {
    type Err = Error;
    /// What a chain does not say is as in [`Chain::default`]. A line is taken whole or not at all: the words are read first, in
    /// any order, and what they come to is checked at the end.
    fn from_str(s: &str) -> Result<Self, Error> {
        let mut words = s.split_whitespace();
        let route = match words.next() {
            Some("server") => Self::Server,
            Some("direct") => Self::Direct,
            Some("matriochka") => {
                let (mut chain, mut said) = (Chain::default(), Vec::new());
                for word in words.by_ref() {
                    let (key, value) = word.split_once('=').unwrap_or((word, ""));
                    if said.contains(&key) {
                        return Err(bad(format!("{word}: {key} was said before")));
                    }
                    chain.set(key, value)?;
                    said.push(key);
                }
                chain.check()?;
                Self::Matriochka(chain)
            }
            _ => return Err(bad(format!("{s:?} is no route: say server, direct or matriochka"))),
        };
        match words.next() {
            None => Ok(route),
            Some(word) => Err(bad(format!("{word:?} does not belong to this route"))),
        }
    }
}

impl Chain {
    /// One word. Whether the whole holds is for [`check`](Self::check) to say.
    fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let number = || bad(format!("{key} needs a number, not {value:?}"));
        let pool = || value.parse::<Pool>().map_err(|e| bad(format!("{key}: {e}")));
        match key {
            "hops" => self.hops = value.parse().map_err(|_| number())?,
            "first" => self.first = pool()?,
            "between" => self.between = pool()?,
            "delay_ms" => self.delay_ms = value.parse().map_err(|_| number())?,
            _ => {
                return Err(bad(format!(
                    "{key:?} does not belong to a chain: hops, first, between, delay_ms do"
                )));
            }
        }
        Ok(())
    }
}

impl Policy {
    /// Sets one of [`KEYS`]; what belongs to chains, for each chain among the routes. Several may be set one after the other, in
    /// any order: whether the whole holds is for [`check`](Self::check) to say.
    ///
    /// # Errors
    /// `Usage` for another key, a value that it does not take, or a chain's key where no route is a chain. Nothing is changed
    /// then.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match key {
            "routes" => {
                let routes =
                    value.split(',').map(|route| self.route(route.trim())).collect::<Result<_, _>>()?;
                self.routes =
                    List::new(routes).map_err(|_| bad("a policy has at most 8 routes".to_owned()))?;
            }
            "hops" | "first" | "between" | "delay_ms" => self.set_chains(key, value)?,
            "authenticity" => {
                self.authenticity = match value {
                    "signed" => Authenticity::Signed,
                    "deniable" => Authenticity::Deniable,
                    _ => return Err(bad(format!("authenticity is signed or deniable, not {value:?}"))),
                }
            }
            "receipts" => self.receipts = receipts(value)?,
            "form" => {
                self.form = match value {
                    "by-link" => Form::ByLink,
                    "thin" => Form::Thin,
                    "whole" => Form::Whole,
                    _ => return Err(bad(format!("form is by-link, thin or whole, not {value:?}"))),
                }
            }
            "presence" => {
                self.presence = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(bad(format!("presence is true or false, not {value:?}"))),
                }
            }
            "padding" => self.padding = value.parse()?,
            "cover" => self.cover = pause(value)?,
            "loops" => self.loops = pause(value)?,
            "copies" => {
                self.copies =
                    value.parse().map_err(|_| bad(format!("copies needs a number, not {value:?}")))?;
            }
            _ => {
                let keys: Vec<_> = KEYS.iter().map(|(key, _)| *key).collect();
                return Err(bad(format!("a policy has no {key:?}; it has {}", keys.join(", "))));
            }
        }
        Ok(())
    }

    /// A bare `matriochka` keeps what the first chain among the routes says.
    fn route(&self, text: &str) -> Result<Route, Error> {
        let chains = self.routes.iter().find(|route| matches!(route, Route::Matriochka(_)));
        match chains {
            Some(chain) if text == "matriochka" => Ok(chain.clone()),
            _ => text.parse(),
        }
    }

    fn set_chains(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let mut routes = self.routes.clone().into_vec();
        let mut any = false;
        for route in &mut routes {
            if let Route::Matriochka(chain) = route {
                chain.set(key, value)?;
                any = true;
            }
        }
        self.routes = List::take(routes);
        if any {
            return Ok(());
        }
        Err(bad(format!("{key} belongs to chains, and no route is one: set routes=matriochka before it")))
    }
}

fn pause(value: &str) -> Result<Option<Pause>, Error> {
    if value == "none" { Ok(None) } else { value.parse().map(Some) }
}

fn receipts(value: &str) -> Result<Receipts, Error> {
    let mut receipts = Receipts { decrypted: false, read: false };
    if value.trim() == "none" {
        return Ok(receipts);
    }
    for word in value.split(',').map(str::trim) {
        match word {
            "none" => return Err(bad("receipts are none, or those that are named, not both".to_owned())),
            "decrypted" => receipts.decrypted = true,
            "read" => receipts.read = true,
            _ => return Err(bad(format!("receipts are none, decrypted and read, not {word:?}"))),
        }
    }
    Ok(receipts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_they_are_written() {
        for text in [
            "server",
            "direct",
            "matriochka hops=3 first=trusted between=trusted delay_ms=0",
            "matriochka hops=5 first=pool:work between=known delay_ms=6000",
        ] {
            assert_eq!(text.parse::<Route>().unwrap().to_string(), text);
        }
        assert_eq!("matriochka".parse::<Route>().unwrap(), Route::Matriochka(Chain::default()));
        let long = format!("matriochka first=pool:{}", "a".repeat(33));
        for bad in
            ["", "tor", "server now", "matriochka hops", "matriochka hops=6", "matriochka first=all", &long]
        {
            assert_eq!(bad.parse::<Route>().unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
    }

    #[test]
    fn a_line_is_taken_whole_or_not_at_all_and_the_error_names_the_word() {
        // 12,000 is too much for the three servers that are the default, and right for the two that are said after it.
        let late: Route = "matriochka delay_ms=20000 hops=2".parse().unwrap();
        assert_eq!(late, "matriochka hops=2 delay_ms=20000".parse().unwrap());
        for (line, word) in [
            ("matriochka delay_ms=12001 between=known", "delay_ms=12001"),
            ("matriochka delay_ms=6667 hops=5", "delay_ms=6667"),
            ("matriochka hops=9 delay_ms=1", "hops=9"),
            ("matriochka delay_ms=30000 hops=2", "delay_ms=30000"),
            ("matriochka hops=2 hops=3", "hops=3"),
            ("matriochka first=all hops=2", "first"),
            ("matriochka delay=5", "delay"),
        ] {
            let e = line.parse::<Route>().unwrap_err();
            assert!(e.kind() == ErrorKind::Usage && e.to_string().contains(word), "{line}: {e}");
        }
        // The same of changes to a policy: in any order, and judged at the end.
        let mut policy: Policy =
            Policy { routes: List::take(["matriochka".parse().unwrap()]), ..Policy::default() };
        policy.set("delay_ms", "20000").unwrap();
        assert!(policy.check().unwrap_err().to_string().contains("delay_ms=20000"));
        policy.set("hops", "2").unwrap();
        policy.check().unwrap();
        let before = policy.clone();
        assert!(policy.set("first", "all").is_err() && policy.set("routes", "server,tor").is_err());
        assert_eq!(policy, before);
    }

    #[test]
    fn keys_set_what_they_name_and_nothing_else_is_taken() {
        let mut policy = Policy::default();
        for (key, value) in [
            ("routes", "direct, matriochka"),
            ("hops", "4"),
            ("between", "pool:friends"),
            ("delay_ms", "1500"),
            ("routes", "matriochka,server"),
            ("authenticity", "deniable"),
            ("receipts", "decrypted,read"),
            ("form", "whole"),
            ("padding", "2048"),
            ("cover", "600s"),
            ("loops", "3/h"),
            ("copies", "2"),
        ] {
            policy.set(key, value).unwrap_or_else(|e| panic!("{key}: {e}"));
        }
        let want = "routes = [\"matriochka hops=4 first=trusted between=pool:friends delay_ms=1500\", \"server\"]\n\
                    authenticity = \"deniable\"\nreceipts = [\"decrypted\", \"read\"]\nform = \"whole\"\npresence = false\n\
                    padding = 2048\ncover = \"10m\"\nloops = \"20m\"\ncopies = 2";
        assert_eq!(policy.to_string(), want);
        assert!(policy.check().is_ok());
        policy.set("receipts", "none").unwrap();
        assert_eq!(policy.receipts, Receipts { decrypted: false, read: false });
        let whole = policy.clone();
        for (key, value) in [
            ("routes", ""),
            ("routes", "server,server,server,server,server,server,server,server,server"),
            ("hops", "many"),
            ("first", "pool:"),
            ("delay_ms", "-1"),
            ("authenticity", "yes"),
            ("receipts", "all"),
            ("receipts", "none,read"),
            ("form", "fat"),
            ("presence", "yes"),
            ("padding", "300"),
            ("padding", "none"),
            ("cover", "5s"),
            ("loops", "often"),
            ("copies", "-1"),
            ("cover", "1"),
            ("tor", "1"),
        ] {
            assert_eq!(policy.set(key, value).unwrap_err().kind(), ErrorKind::Usage, "{key}={value}");
        }
        assert_eq!(policy.routes.len(), whole.routes.len());
        assert!(Policy::default().set("hops", "3").is_err(), "there is no chain");
    }
}
