//! Cuts a body into its elements without understanding them: brackets and quotes are counted, nothing else. So an element that is no
//! JSON, no UTF-8 or nested a million times over spoils nobody but itself, and costs neither stack nor time.

/// A body that cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Neither an array nor an object.
    #[error("expected a JSON array of readings or one object, got {got}")]
    Shape {
        /// What came.
        got: String,
    },
    /// The array is not closed, or something follows it.
    #[error("the array is broken at byte {offset}: expected {expected}")]
    Broken {
        /// Where.
        offset: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// More elements than are taken at once.
    #[error("expected at most {most} readings in one body: send smaller batches")]
    TooMany {
        /// The bound.
        most: usize,
    },
}

/// The elements of a JSON array, each as it stands, at most `most`; one object is an array of one.
pub fn elements(body: &[u8], most: usize) -> Result<Vec<&[u8]>, SplitError> {
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace());
    match start.map(|start| (start, body[start])) {
        Some((start, b'[')) => array(body, start + 1, most),
        Some((_, b'{')) => Ok(vec![body.trim_ascii()]),
        Some((_, byte)) => Err(SplitError::Shape { got: format!("{:?}", char::from(byte)) }),
        None => Err(SplitError::Shape { got: "an empty body".to_owned() }),
    }
}

/// The lines of a body that are not blank, at most `most`.
pub fn lines(body: &[u8], most: usize) -> Result<Vec<&[u8]>, SplitError> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.take(most + 1).collect();
    if lines.len() > most { Err(SplitError::TooMany { most }) } else { Ok(lines) }
}

fn array(body: &[u8], first: usize, most: usize) -> Result<Vec<&[u8]>, SplitError> {
    let mut elements = Vec::new();
    let mut start = first;
    let mut depth = 0_usize;
    let mut at = first;
    while at < body.len() {
        match body[at] {
            b'"' => at = end_of_text(body, at + 1),
            b'[' | b'{' => depth += 1,
            b']' if depth == 0 => {
                let last = body[start..at].trim_ascii();
                if !(last.is_empty() && elements.is_empty()) {
                    elements.push(last);
                }
                if elements.len() > most {
                    return Err(SplitError::TooMany { most });
                }
                return end(body, at + 1).map(|()| elements);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                // One more follows, or a bracket that makes an empty place.
                if elements.len() >= most {
                    return Err(SplitError::TooMany { most });
                }
                elements.push(body[start..at].trim_ascii());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    Err(SplitError::Broken { offset: body.len(), expected: "a closing ]" })
}

/// Index of the quote that ends a text, or of the last byte where none does.
fn end_of_text(body: &[u8], mut at: usize) -> usize {
    while at < body.len() {
        match body[at] {
            b'\\' => at += 2,
            b'"' => return at,
            _ => at += 1,
        }
    }
    body.len()
}

fn end(body: &[u8], after: usize) -> Result<(), SplitError> {
    match body[after..].iter().position(|byte| !byte.is_ascii_whitespace()) {
        Some(offset) => Err(SplitError::Broken { offset: after + offset, expected: "nothing after the array" }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(body: &str) -> Result<Vec<&str>, SplitError> {
        let text = |element| std::str::from_utf8(element).expect("cut out of a text");
        elements(body.as_bytes(), 1_000).map(|elements| elements.into_iter().map(text).collect())
    }

    #[test]
    fn more_elements_than_are_taken_are_refused() {
        assert_eq!(elements(b"[1,2,3]", 3).map(|elements| elements.len()), Ok(3));
        assert_eq!(lines(b"1\n\n2\n3\n", 3).map(|lines| lines.len()), Ok(3));
        for body in ["[1,2,3,4]", "[,,,]", "[,,,,", "[1,2,3,4] 5"] {
            assert_eq!(elements(body.as_bytes(), 3), Err(SplitError::TooMany { most: 3 }), "{body}");
        }
        assert_eq!(lines(b"1\n2\n3\n4", 3), Err(SplitError::TooMany { most: 3 }));
    }

    #[test]
    fn elements_keep_what_is_theirs() {
        assert_eq!(texts(r#" [ {"a":[1,2]} , "x,]\"" ,3] "#), Ok(vec![r#"{"a":[1,2]}"#, r#""x,]\"""#, "3"]));
        assert_eq!(texts("[]"), Ok(vec![]));
        assert_eq!(texts(" {\"a\":1} "), Ok(vec!["{\"a\":1}"]));
        assert_eq!(texts("[1,,2,]"), Ok(vec!["1", "", "2", ""]), "an empty place is an element that will be refused");
    }

    #[test]
    fn a_broken_array_is_told() {
        assert_eq!(texts("[1,2"), Err(SplitError::Broken { offset: 4, expected: "a closing ]" }));
        assert_eq!(texts("[1] 2"), Err(SplitError::Broken { offset: 4, expected: "nothing after the array" }));
        assert!(matches!(texts("12"), Err(SplitError::Shape { .. })));
        assert!(matches!(texts(" "), Err(SplitError::Shape { .. })));
        assert!(matches!(texts("[\"\\"), Err(SplitError::Broken { .. })));
    }

    #[test]
    fn a_million_brackets_are_one_element() {
        let body = format!("[{}{},1]", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(elements(body.as_bytes(), 2).map(|elements| elements.len()), Ok(2));
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let framed = [b"[".as_slice(), &body, b"]"].concat();
            drop(elements(&framed, 1_000));
            prop_assert!(lines(&body, 1_000).expect("few").iter().all(|line| !line.is_empty()));
        }

        #[test]
        fn values_come_back(numbers in proptest::collection::vec(any::<i32>(), 1..20)) {
            let body = serde_json::to_string(&numbers).expect("numbers are JSON");
            let back: Vec<i32> = texts(&body).expect("an array").iter().map(|text| text.parse().expect("a number")).collect();
            prop_assert_eq!(back, numbers);
        }
    }
}
