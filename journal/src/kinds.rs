//! The kinds of record that are the journal's own.

use bytes::Bytes;
use prost::Message;

/// A shard was claimed: epoch and address of the new owner.
pub const SHARD_OPENED: u16 = 1;

/// Payload of [`SHARD_OPENED`] (protobuf).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ShardOpened {
    /// Counts the owners, from 1.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Address by which others reach the owner.
    #[prost(string, tag = "2")]
    pub node: String,
}

impl ShardOpened {
    /// Its bytes.
    pub fn to_payload(&self) -> Bytes {
        Bytes::from(self.encode_to_vec())
    }

    /// Reads a payload of kind [`SHARD_OPENED`].
    pub fn from_payload(payload: &[u8]) -> Result<Self, prost::DecodeError> {
        Self::decode(payload)
    }
}
