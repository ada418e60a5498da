//! Wishes of a rank about the run that the others cannot know.

/// Wishes of a rank after a step or an epoch: what a signal, a clock or a callback of this rank says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wishes {
    /// Reason of a callback to stop.
    pub stop: Option<String>,
    /// Whether the user interrupts the run.
    pub interrupt: bool,
    /// Whether the time of the run is over.
    pub over: bool,
}

const STOP: u8 = 1;
const INTERRUPT: u8 = 2;
const OVER: u8 = 4;

impl Wishes {
    /// Wish to stop for this reason, if there is one.
    pub fn of_callbacks(stop: Option<String>) -> Self {
        Self {
            stop,
            ..Self::default()
        }
    }

    /// Bytes for the other ranks.
    pub(super) fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(self.stop.is_some(), STOP)
            | flag(self.interrupt, INTERRUPT)
            | flag(self.over, OVER);
        let reason = self.stop.as_deref().unwrap_or_default();
        [&[flags][..], reason.as_bytes()].concat()
    }

    /// Wishes from [`encode`](Self::encode).
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let Some((flags, reason)) = bytes.split_first() else {
            return Self::default();
        };
        Self {
            stop: (flags & STOP != 0).then(|| String::from_utf8_lossy(reason).into_owned()),
            interrupt: flags & INTERRUPT != 0,
            over: flags & OVER != 0,
        }
    }

    /// Wishes of this rank and of a later one together: the first reason counts.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            stop: self.stop.or(other.stop),
            interrupt: self.interrupt || other.interrupt,
            over: self.over || other.over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_arrive_as_they_were_sent() {
        for stop in [None, Some(String::new()), Some("größer".to_string())] {
            for (interrupt, over) in [(false, true), (true, false)] {
                let wishes = Wishes {
                    stop: stop.clone(),
                    interrupt,
                    over,
                };
                assert_eq!(Wishes::decode(&wishes.encode()), wishes);
            }
        }
        assert_eq!(Wishes::decode(&[]), Wishes::default());
    }

    #[test]
    fn the_first_reason_counts() {
        let of = |stop: Option<&str>| Wishes::of_callbacks(stop.map(String::from));
        let both = of(Some("a")).and(of(Some("b")));
        assert_eq!(both, of(Some("a")));
        let over = Wishes {
            over: true,
            ..Wishes::default()
        };
        let both = over.and(of(Some("b")));
        assert_eq!((both.stop.as_deref(), both.over), (Some("b"), true));
    }
}
