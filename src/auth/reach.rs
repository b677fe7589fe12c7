//! Which locomotives a key sees: all, or those whose ids fit one of its patterns.

use std::sync::Arc;

/// Most patterns of one key.
pub const PATTERNS_MOST: usize = 100;
/// Longest pattern, in characters: as long as an id.
const PATTERN_CHARACTERS: usize = 64;

/// A set of locomotives; the default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach(Option<Arc<[String]>>);

impl Reach {
    /// Those that fit one of `patterns`; all for none.
    pub fn of(patterns: &[String]) -> Self {
        Self((!patterns.is_empty()).then(|| Arc::from(patterns)))
    }

    /// Whether it is all of them.
    pub const fn is_whole(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a locomotive is in it.
    pub fn holds(&self, locomotive: &str) -> bool {
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| fits(pattern, locomotive)))
    }
}

/// Whether a pattern is one: 1 to 64 of the characters of ids, `*` for any number of them, `?` for one.
pub fn is_pattern(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-*?".contains(c);
    (1..=PATTERN_CHARACTERS).contains(&text.len()) && text.chars().all(known)
}

/// Whether `id` fits `pattern`. After a mismatch only the last `*` takes one more character, so that it takes at most their product of steps.
fn fits(pattern: &str, id: &str) -> bool {
    let (pattern, id) = (pattern.as_bytes(), id.as_bytes());
    let (mut p, mut i) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while i < id.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, i));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == id[i] => {
                p += 1;
                i += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, i) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_holds_what_it_says() {
        for (pattern, id, expected) in [
            ("CC-22*", "CC-2201", true),
            ("CC-22*", "CC-22", true),
            ("CC-22*", "CC-2301", false),
            ("CC-22*", "XCC-2201", false),
            ("CC-22*", "cc-2201", false),
            ("CC-2201", "CC-2201", true),
            ("CC-2201", "CC-22011", false),
            ("CC-220?", "CC-2201", true),
            ("CC-220?", "CC-220", false),
            ("*-01", "BB-01-01", true),
            ("*a*b*", "xaxxbx", true),
            ("*a*b*", "xbxxax", false),
            ("*", "anything", true),
            ("**", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, id), expected, "{pattern} {id}");
        }
        let worst = "*a".repeat(32);
        assert!(!fits(&worst, &"a".repeat(31)) && fits(&worst, &"a".repeat(64)));
    }

    #[test]
    fn no_patterns_are_all_locomotives() {
        assert!(Reach::of(&[]).holds("any") && Reach::of(&[]).is_whole());
        let two = Reach::of(&["A".to_owned(), "B*".to_owned()]);
        assert!(two.holds("A") && two.holds("B1") && !two.holds("C") && !two.is_whole());
    }

    #[test]
    fn a_pattern_is_of_the_characters_of_ids() {
        assert!(is_pattern("CC-22*") && is_pattern("?.x_1"));
        for wrong in ["", "CC 22", "é", "a/b", "[ab]"] {
            assert!(!is_pattern(wrong), "{wrong}");
        }
        assert!(is_pattern(&"a".repeat(64)) && !is_pattern(&"a".repeat(65)));
    }
}
