//! Variables as the types that they stand for: what can't be read is noted by its name, and reading goes on.

use super::VARIABLES;
use ipnet::IpNet;
use std::{fmt, net::SocketAddr, str::FromStr};

/// Reads variables and keeps what is wrong with each.
pub(super) struct Reader<F> {
    lookup: F,
    /// A sentence each, beginning with the name.
    pub(super) errors: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub(super) fn of(lookup: F) -> Self {
        Reader { lookup, errors: Vec::new() }
    }

    pub(super) fn optional(&self, name: &'static str) -> Option<String> {
        debug_assert!(VARIABLES.iter().any(|known| known.name == name), "{name} is missing in VARIABLES");
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(super) fn text(&self, name: &'static str) -> String {
        let default = VARIABLES.iter().find(|known| known.name == name).map_or("", |known| known.default);
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str, expected: &str, on_error: T) -> T {
        let value = self.text(name);
        value.parse().unwrap_or_else(|_| {
            self.errors.push(format!("{name}: '{value}' is not {expected}"));
            on_error
        })
    }

    pub(super) fn ranged<T: FromStr + PartialOrd + fmt::Display + Copy>(&mut self, name: &'static str, min: T, max: T) -> T {
        let value = self.text(name);
        match value.parse() {
            Ok(number) if min <= number && number <= max => number,
            _ => {
                self.errors.push(format!("{name}: '{value}' is not a number from {min} to {max}"));
                min
            }
        }
    }

    pub(super) fn address(&mut self, name: &'static str) -> Option<SocketAddr> {
        let value = self.optional(name)?;
        let address = value.parse().ok();
        if address.is_none() {
            self.errors.push(format!("{name}: '{value}' is not an address such as 127.0.0.1:9010"));
        }
        address
    }

    pub(super) fn list(&self, name: &'static str) -> Vec<String> {
        self.text(name).split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A text in one line whose lines are separated by semicolons.
    pub(super) fn lines(&self, name: &'static str) -> Vec<String> {
        self.text(name).split(';').map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn networks(&mut self, name: &'static str) -> Vec<IpNet> {
        let parse = |item: &String| item.parse::<IpNet>().or_else(|_| item.parse::<std::net::IpAddr>().map(IpNet::from));
        let (networks, wrong): (Vec<_>, Vec<_>) =
            self.list(name).into_iter().map(|item| parse(&item).map_err(|_| item)).partition(Result::is_ok);
        self.errors.extend(
            wrong.into_iter().filter_map(Result::err).map(|item| format!("{name}: '{item}' is no address or network such as 10.0.0.0/8")),
        );
        networks.into_iter().filter_map(Result::ok).collect()
    }
}
