//! How much of the disk the log takes, and for what.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::EmbeddedJournal;
use super::store::storage;
use crate::error::ReadError;
use crate::port::ShardId;

/// Bytes on the disk, as the file system counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Everything of the log: database, HEAD and META.
    pub total: u64,
    /// Of these: the engine's own journal, which holds what is newest and is begun anew from time to time.
    pub write_ahead: u64,
    /// Records at rest.
    pub records: u64,
    /// The index of locomotives and times at rest.
    pub index: u64,
    /// Snapshots at rest.
    pub snapshots: u64,
}

impl EmbeddedJournal {
    /// Bytes of the payloads of a kind that retention has dropped from a shard so far.
    pub async fn reclaimed(&self, shard: ShardId, kind: u16) -> Result<u64, ReadError> {
        self.check_shard(shard)?;
        self.blocking(move |store| Ok(store.dropped(shard, kind)?.1)).await
    }

    /// Puts what is newest to rest and merges the engine's files, so that [`Self::space`] tells what the records take in the end. It reads
    /// and writes the whole log, and blocks.
    ///
    /// # Errors
    /// `Storage`.
    pub fn compact(&self) -> Result<(), ReadError> {
        let store = &self.shared.store;
        for keyspace in [&store.blocks, &store.times, &store.members, store.index.rows()] {
            keyspace.rotate_memtable_and_wait().and_then(|()| keyspace.major_compact()).map_err(storage)?;
        }
        Ok(())
    }

    /// How much of the disk it takes now.
    pub fn space(&self) -> io::Result<Space> {
        let directory = self.directory.lock().unwrap_or_else(std::sync::PoisonError::into_inner).path.clone();
        let store = &self.shared.store;
        let mut space = Space {
            records: store.blocks.disk_space(),
            index: store.index.disk_space() + store.times.disk_space() + store.members.disk_space(),
            snapshots: store.manifests.disk_space() + store.states.disk_space(),
            ..Space::default()
        };
        measure(&directory.join("db"), &mut space)?;
        for name in ["HEAD", "META"] {
            space.total += fs::metadata(directory.join(name))?.blocks() * 512;
        }
        Ok(space)
    }
}

fn measure(directory: &Path, space: &mut Space) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // The engine removes a file that it has merged with others.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            measure(&path, space)?;
        } else {
            let bytes = metadata.blocks() * 512;
            space.total += bytes;
            if path.extension().is_some_and(|extension| extension == "jnl") {
                space.write_ahead += bytes;
            }
        }
    }
    Ok(())
}
