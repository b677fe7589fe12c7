//! A backup out of arbitrary frames, packed and sealed as a writer does it.

use super::frame;

pub(crate) fn sealed(mut frames: &[u8]) -> Vec<u8> {
    let opening = frame::opening();
    let mut seal = *blake3::hash(&opening).as_bytes();
    let mut file = opening.to_vec();
    while let Some((&[kind, high, low], rest)) = frames.split_first_chunk() {
        let (body, rest) = rest.split_at(usize::from(u16::from_be_bytes([high, low])).min(rest.len()));
        frames = rest;
        let packed = matches!(kind, frame::RECORDS | frame::SNAPSHOT | frame::TEXTS);
        let body = if packed { frame::pack(body).unwrap_or_default() } else { body.to_vec() };
        let head = frame::head(kind, body.len());
        seal = frame::seal(&seal, head, &body);
        file.extend_from_slice(&head);
        file.extend_from_slice(&body);
        file.extend_from_slice(&seal);
    }
    file
}
