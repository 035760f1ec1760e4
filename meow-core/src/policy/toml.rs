//! Whole policies as TOML: what `meow policy` shows and reads, and what a store keeps.
//!
//! A policy needs little of TOML: strings without escapes, lists of them on one line, numbers, `true` and `false`. Anything else is
//! an error, as is a key that is missing, unknown or there twice: nobody is to protect less by a typing mistake.
//! Not by the crate `toml`: every client reads its policies from the store by this, small ones too, and what such a crate takes
//! besides (escapes, dates, tables, keys in quotes) would have to be refused after it; no crate of the core's reads text.

use std::fmt;
use std::str::FromStr;

use super::text::bad;
use super::{Authenticity, Form, Pause, Policy};
use crate::Error;

/// Keys of a policy as TOML. Those of a chain stand within its route.
const WHOLE: [&str; 9] =
    ["routes", "authenticity", "receipts", "form", "presence", "padding", "cover", "loops", "copies"];

/// Longest text of a policy, in bytes.
pub const MAX_TEXT: usize = 8192;

impl fmt::Display for Policy {
    /// Lines of TOML, which [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |all: Vec<String>| {
            let all: Vec<_> = all.into_iter().map(|one| format!("\"{one}\"")).collect();
            all.join(", ")
        };
        let routes = self.routes.iter().map(ToString::to_string).collect();
        let told = [("decrypted", self.receipts.decrypted), ("read", self.receipts.read)];
        let told = told.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect();
        let authenticity = match self.authenticity {
            Authenticity::Signed => "signed",
            Authenticity::Deniable => "deniable",
        };
        let form = match self.form {
            Form::ByLink => "by-link",
            Form::Thin => "thin",
            Form::Whole => "whole",
        };
        writeln!(f, "routes = [{}]", quoted(routes))?;
        writeln!(f, "authenticity = \"{authenticity}\"")?;
        writeln!(f, "receipts = [{}]", quoted(told))?;
        writeln!(f, "form = \"{form}\"")?;
        writeln!(f, "presence = {}", self.presence)?;
        writeln!(f, "padding = {}", self.padding)?;
        let pause = |pause: Option<Pause>| pause.map_or("none".to_owned(), |pause| pause.to_string());
        writeln!(f, "cover = \"{}\"", pause(self.cover))?;
        writeln!(f, "loops = \"{}\"", pause(self.loops))?;
        write!(f, "copies = {}", self.copies)
    }
}

impl FromStr for Policy {
    type Err = Error;

    /// # Errors
    /// `Usage`, with the line, for what is no policy, and for one that does not hold ([`Policy::check`]).
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(bad(format!("a policy has at most {MAX_TEXT} bytes")));
        }
        let mut policy = Self::default();
        let mut said = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |what: &str| bad(format!("line {number} of the policy: {what}"));
            let line = without_comment(line).trim();
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| wrong("there is no ="))?;
            let key = key.trim();
            let known = WHOLE.iter().find(|known| **known == key);
            let key = known.ok_or_else(|| wrong(&format!("the keys are {}", WHOLE.join(", "))))?;
            if said.contains(key) {
                return Err(wrong(&format!("{key} was said before")));
            }
            said.push(*key);
            let value = match (*key, value.trim()) {
                ("routes" | "receipts", list) => {
                    let all = strings(list).ok_or_else(|| wrong(&format!("{key} takes [\"A\", \"B\"]")))?;
                    // What `set` would take apart anew is no name of anything.
                    if all.iter().any(|one| one.contains(',') || *one == "none") {
                        return Err(wrong(&format!("{key} takes one name in each pair of quotes")));
                    }
                    if all.is_empty() && *key == "receipts" { "none".to_owned() } else { all.join(",") }
                }
                ("presence" | "padding" | "copies", word) => word.to_owned(),
                (_, word) => string(word).ok_or_else(|| wrong(&format!("{key} takes \"A\"")))?.to_owned(),
            };
            policy.set(key, &value).map_err(|e| wrong(&e.to_string()))?;
        }
        if let Some(missing) = WHOLE.iter().find(|key| !said.contains(key)) {
            return Err(bad(format!("the policy does not say {missing}")));
        }
        policy.check()?;
        Ok(policy)
    }
}

/// What stands before a `#` that is not within quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let end = line.find(|c| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    end.and_then(|end| line.get(..end)).unwrap_or(line)
}

/// A string in quotes, without escapes.
fn string(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains(['"', '\\']) && !inner.contains(char::is_control)).then_some(inner)
}

/// A list of strings; a comma may follow the last one.
fn strings(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    let inner = inner.strip_suffix(',').filter(|rest| !rest.trim().is_empty()).unwrap_or(inner);
    if inner.is_empty() {
        return Some(Vec::new());
    }
    inner.split(',').map(|one| string(one.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn what_is_shown_is_read() {
        let mut policy = Policy::default();
        assert_eq!(policy.to_string().parse::<Policy>().unwrap(), policy);
        for (key, value) in [
            ("routes", "direct,matriochka,server"),
            ("hops", "4"),
            ("between", "pool:friends"),
            ("receipts", "none"),
            ("authenticity", "deniable"),
            ("presence", "true"),
            ("form", "whole"),
            ("padding", "512"),
            ("cover", "90s"),
            ("loops", "2h"),
            ("copies", "3"),
        ] {
            policy.set(key, value).unwrap();
        }
        assert_eq!(policy.to_string().parse::<Policy>().unwrap(), policy);
        let by_hand = "# Bob\n\n routes=[ \"matriochka hops=2\" , ] # at home\nreceipts = []\r\nform = \"whole\"\n\
                       authenticity = \"signed\"\npresence = false\npadding = 256 # bytes\ncover = \"6/h\"\nloops = \"none\"\ncopies=1";
        let policy: Policy = by_hand.parse().unwrap();
        assert_eq!(
            policy.routes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["matriochka hops=2 first=trusted between=trusted delay_ms=0"]
        );
        assert!(!policy.receipts.decrypted && !policy.receipts.read);
    }

    #[test]
    fn what_is_not_wholly_understood_is_refused() {
        let good = Policy::default().to_string();
        for (from, to) in [
            ("presence = false", ""),
            ("presence = false", "presence = false\npresence = false"),
            ("presence = false", "presence = \"false\""),
            ("presence = false", "presence = true"),
            ("padding = 256", "padding = \"256\""),
            ("padding = 256", "padding = 300"),
            ("copies = 1", ""),
            ("copies = 1", "copies = 0"),
            ("copies = 1", "copies = \"1\""),
            ("padding = 256", ""),
            ("presence = false", "presence = false\ntor = 1"),
            ("cover = \"none\"", "cover = 600"),
            ("cover = \"none\"", "cover = \"1s\""),
            ("cover = \"none\"", "cover = \"\""),
            ("loops = \"none\"", "loops = \"10m\""),
            ("loops = \"none\"", ""),
            ("[\"server\"]", "\"server\""),
            ("[\"server\"]", "[server]"),
            ("[\"server\"]", "[\"server\""),
            ("[\"server\"]", "[\"server\" \"direct\"]"),
            ("[\"server\"]", "[\"server,direct\"]"),
            ("[\"server\"]", "[\"server\", \"server\"]"),
            ("[\"server\"]", "[,]"),
            ("[\"server\"]", "[]"),
            ("[\"server\"]", "[\"matriochka hops=1\"]"),
            ("\"signed\"", "signed"),
            ("\"signed\"", "\"sig\\u006eed\""),
            ("[\"decrypted\"]", "[\"none\", \"decrypted\"]"),
            ("routes", "\"routes\""),
            ("routes = ", "routes "),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert_eq!(bad.parse::<Policy>().unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
        let long = format!("{good}\n#{}", "a".repeat(MAX_TEXT));
        assert!(long.parse::<Policy>().is_err());
    }
}
