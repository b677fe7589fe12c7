//! A place in the stream, to be given back after a broken connection: the last record of each shard that the client has been told of.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The last known record of each shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut(pub BTreeMap<u16, u64>);

/// A text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a token of an earlier frame, got {got:?}")]
pub struct WrongToken {
    got: String,
}

impl fmt::Display for Cut {
    /// Letters, digits, `-` and `_` alone, so that it needs no escaping in an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("c1")?;
        self.0.iter().try_for_each(|(shard, sequence)| write!(f, "_{shard}-{sequence}"))
    }
}

impl FromStr for Cut {
    type Err = WrongToken;

    fn from_str(text: &str) -> Result<Self, WrongToken> {
        let read = || {
            let mut parts = text.split('_');
            if parts.next() != Some("c1") {
                return None;
            }
            let place =
                |part: &str| part.split_once('-').and_then(|(shard, at)| Some((shard.parse().ok()?, at.parse().ok()?)));
            parts.map(place).collect::<Option<BTreeMap<u16, u64>>>().map(Self)
        };
        read().ok_or_else(|| WrongToken { got: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_leads_back(cut in proptest::collection::btree_map(any::<u16>(), any::<u64>(), 0..20)) {
            let token = Cut(cut.clone()).to_string();
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(token.parse(), Ok(Cut(cut)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            drop(text.parse::<Cut>());
        }
    }
}
