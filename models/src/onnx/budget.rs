//! How much memory a file would take once it is read, reckoned from its bytes before anything of it is kept. What it means is read elsewhere.
//!
//! Protobuf is dense: two bytes can stand for an empty message of two hundred, so a bound on the file alone bounds no memory. A forest is
//! nearly all lists of numbers in the attributes of one operator; whatever else there is may take [`MOST_ELSE`] bytes.

use super::ReadError;

/// Most memory for the attributes' lists, in bytes: a forest of [`super::MAX_BYTES`] stays below.
const MOST_LISTS: u64 = 256 << 20;
/// Most bytes of the file outside of these lists.
const MOST_ELSE: u64 = 1 << 20;
/// Memory of one entry: an integer, a float, a short text.
const OF_INTEGER: u64 = 8;
const OF_FLOAT: u64 = 4;
const OF_TEXT: u64 = 56;
/// What an operator or an attribute counts for beside what it holds.
const OF_MESSAGE: u64 = 256;

/// Checks that a file keeps to its budget.
pub(super) fn check(bytes: &[u8]) -> Result<(), ReadError> {
    let mut spent = Spent::default();
    each(bytes, |field| match field {
        Field { tag: 7, bytes: Some(graph), .. } => spent.graph(graph),
        Field { size, .. } => spent.other(size),
    })
}

/// Memory for lists and bytes for everything else, so far.
#[derive(Default)]
struct Spent {
    lists: u64,
    other: u64,
}

impl Spent {
    fn graph(&mut self, graph: &[u8]) -> Result<(), ReadError> {
        self.other(OF_MESSAGE)?;
        each(graph, |field| match field {
            Field { tag: 1, bytes: Some(operator), .. } => self.operator(operator),
            Field { size, .. } => self.other(size),
        })
    }

    fn operator(&mut self, operator: &[u8]) -> Result<(), ReadError> {
        self.other(OF_MESSAGE)?;
        each(operator, |field| match field {
            Field { tag: 5, bytes: Some(attribute), .. } => self.attribute(attribute),
            Field { size, .. } => self.other(size),
        })
    }

    fn attribute(&mut self, attribute: &[u8]) -> Result<(), ReadError> {
        self.other(OF_MESSAGE)?;
        each(attribute, |field| {
            let memory = match (field.tag, field.bytes) {
                (7, Some(packed)) => packed.len() as u64 / 4 * OF_FLOAT,
                (7, None) => OF_FLOAT,
                (8, Some(packed)) => packed.iter().filter(|byte| **byte < 0x80).count() as u64 * OF_INTEGER,
                (8, None) => OF_INTEGER,
                (9, Some(text)) => OF_TEXT + text.len() as u64,
                (_, _) => return self.other(field.size),
            };
            self.lists += memory;
            if self.lists > MOST_LISTS {
                return Err(too_much(format!("lists of more than {MOST_LISTS} bytes once read")));
            }
            Ok(())
        })
    }

    fn other(&mut self, bytes: u64) -> Result<(), ReadError> {
        self.other += bytes;
        if self.other > MOST_ELSE {
            return Err(too_much(format!("more than {MOST_ELSE} bytes beside them")));
        }
        Ok(())
    }
}

fn too_much(got: String) -> ReadError {
    ReadError::Budget { got }
}

/// One field of a message.
struct Field<'a> {
    tag: u64,
    /// Its bytes, where it has a length.
    bytes: Option<&'a [u8]>,
    /// Bytes of the file that it takes.
    size: u64,
}

/// Calls `take` for every field of a message.
fn each<'a>(mut rest: &'a [u8], mut take: impl FnMut(Field<'a>) -> Result<(), ReadError>) -> Result<(), ReadError> {
    while !rest.is_empty() {
        let before = rest.len();
        let key = varint(&mut rest)?;
        let bytes = match key & 7 {
            0 => {
                varint(&mut rest)?;
                None
            }
            1 => cut(&mut rest, 8).map(|_| None)?,
            2 => {
                let length = varint(&mut rest)?;
                Some(cut(&mut rest, length)?)
            }
            5 => cut(&mut rest, 4).map(|_| None)?,
            other => return Err(ReadError::NotOnnx(format!("a field of the wire type {other}"))),
        };
        take(Field { tag: key >> 3, bytes, size: (before - rest.len()) as u64 })?;
    }
    Ok(())
}

fn cut<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], ReadError> {
    let ended = || ReadError::NotOnnx(format!("a field of {length} bytes where {} are left", rest.len()));
    let (bytes, after) = usize::try_from(length).ok().and_then(|at| rest.split_at_checked(at)).ok_or_else(ended)?;
    *rest = after;
    Ok(bytes)
}

fn varint(rest: &mut &[u8]) -> Result<u64, ReadError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let Some((&byte, after)) = rest.split_first() else { break };
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(ReadError::NotOnnx("a number that does not end".to_owned()))
}
