//! Shards of a sweep: shares of its trials for several machines or processes.

use std::fmt;
use std::str::FromStr;

/// Share of the trials of a sweep, one of several of about equal size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Number, from 1.
    number: usize,
    of: usize,
}

impl Shard {
    /// Whether a trial, by its number from 1, is in the shard.
    pub fn has(self, trial: usize) -> bool {
        trial % self.of == self.number % self.of
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| {
            let number: usize = number.trim().parse().ok()?;
            Some((number, of.trim().parse::<usize>().ok()?))
        });
        match numbers {
            Some((number @ 1.., of)) if number <= of => Ok(Self { number, of }),
            _ => Err(format!(
                "`{text}`: expected the number of a shard, from 1, and how many there are, such as 1/4 for the first of four"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_is_in_one_shard() {
        for of in 1..6 {
            for trial in 1..20 {
                let shards = (1..=of).map(|n| format!("{n}/{of}").parse::<Shard>().unwrap());
                assert_eq!(shards.filter(|shard| shard.has(trial)).count(), 1);
            }
        }
        let first: Shard = "1/3".parse().unwrap();
        assert_eq!(
            [1, 2, 3, 4].map(|trial| first.has(trial)),
            [true, false, false, true]
        );
        assert_eq!(first.to_string(), "1/3");
    }

    #[test]
    fn shards_are_counted_from_one() {
        for wrong in ["0/3", "4/3", "0/0", "1", "1/", "/2", "-1/2", "a/b", ""] {
            let error = wrong.parse::<Shard>().unwrap_err();
            assert!(error.contains("from 1"), "{error}");
        }
        assert!("3/3".parse::<Shard>().is_ok());
    }
}
