//! Ways to what reads stored bytes, for the fuzz targets: what they call is not public otherwise.

use bytes::Bytes;

use crate::backup::fuzz as backup;
use crate::block;

/// Reads a block and, where it is one, checks what it says of itself.
pub fn block(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(opened) = block::open(0, 1, &bytes) {
        assert!(
            !opened.records.is_empty() && opened.records.len() <= bytes.len(),
            "records are counted by their bytes"
        );
    }
}

/// A backup made of frames: kind, two bytes of length, what is unpacked, again and again.
pub fn sealed(frames: &[u8]) -> Vec<u8> {
    backup::sealed(frames)
}
