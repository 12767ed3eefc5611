//! Who there is: `host:port` of each process, in the same order everywhere.

use std::path::Path;

/// Where the processes of a cluster listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// From a file with one `host:port` a line (`#` begins a comment), or from the list itself, separated by commas.
    /// `{0..2}` in an entry stands for each number of a range.
    ///
    /// # Errors
    /// What is wrong, with file and line.
    pub fn parse(argument: &str) -> Result<Self, String> {
        let mut hosts = Vec::new();
        if Path::new(argument).is_file() {
            let text = std::fs::read_to_string(argument).map_err(|e| format!("{argument} cannot be read: {e}"))?;
            for (number, line) in (1..).zip(text.lines()) {
                let entry = line.split('#').next().unwrap_or_default().trim();
                if !entry.is_empty() {
                    add(entry, &mut hosts).map_err(|wrong| format!("{argument}:{number}: {wrong}"))?;
                }
            }
        } else if argument.contains(':') {
            for entry in argument.split(',').map(str::trim).filter(|e| !e.is_empty()) {
                add(entry, &mut hosts)?;
            }
        } else {
            return Err(format!("`{argument}` is neither a file nor a list of `host:port`"));
        }
        if hosts.is_empty() {
            return Err(format!("`{argument}` names no process; expected one `host:port` a line"));
        }
        for (place, host) in hosts.iter().enumerate() {
            if let Some(first) = hosts[..place].iter().position(|h| h == host) {
                return Err(format!("`{host}` is there twice, as process {first} and as process {place}"));
            }
        }
        Ok(Self(hosts))
    }

    /// How many processes there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Where a process listens; empty for one that there is not.
    pub fn address(&self, process: usize) -> &str {
        self.0.get(process).map_or("", String::as_str)
    }
}

/// Adds what an entry stands for.
fn add(entry: &str, hosts: &mut Vec<String>) -> Result<(), String> {
    let wrong = || format!("`{entry}` is not `host:port`");
    let Some((before, rest)) = entry.split_once('{') else {
        let (host, port) = entry.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        hosts.push(entry.to_owned());
        return Ok(());
    };
    let range = || format!("`{entry}`: expected a range of numbers such as {{0..2}}");
    let (inner, after) = rest.split_once('}').ok_or_else(range)?;
    let (first, last) = inner.split_once("..").ok_or_else(range)?;
    let (first, last) = (first.parse::<u16>().map_err(|_| range())?, last.parse::<u16>().map_err(|_| range())?);
    if first > last {
        return Err(range());
    }
    (first..=last).try_for_each(|number| add(&format!("{before}{number}{after}"), hosts))
}

/// The number of a process: `2`, or a name that ends in it, such as the name of a pod of a StatefulSet, `tweets-2`.
///
/// # Errors
/// What was expected.
pub fn process_number(text: &str) -> Result<usize, String> {
    let digits = text.rsplit('-').next().unwrap_or(text);
    digits.parse().map_err(|_| format!("`{text}` is neither a number nor a name that ends in one, such as `tweets-2`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges() {
        let hosts = Hosts::parse("a:1, b-{1..3}.svc:2").map(|h| h.0);
        assert_eq!(hosts, Ok(vec!["a:1".into(), "b-1.svc:2".into(), "b-2.svc:2".into(), "b-3.svc:2".into()]));
        assert_eq!(Hosts::parse("[::1]:70,[::1]:71").map(|h| h.count()), Ok(2));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (argument, part) in [
            ("nowhere", "neither a file nor"),
            ("a:b", "not `host:port`"),
            ("a:99999", "not `host:port`"),
            (":1", "not `host:port`"),
            ("a:1,a:1", "there twice, as process 0 and as process 1"),
            ("a{3..1}:1", "a range of numbers"),
            ("a{1-3}:1", "a range of numbers"),
            (",:", "not `host:port`"),
        ] {
            let said = Hosts::parse(argument).err().unwrap_or_default();
            assert!(said.contains(part), "{argument}: {said}");
        }
    }

    #[test]
    fn pods_have_numbers() {
        assert_eq!(process_number("7"), Ok(7));
        assert_eq!(process_number("tweets-prod-12"), Ok(12));
        assert!(process_number("tweets").is_err());
    }
}
