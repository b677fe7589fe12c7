//! A log is opened as the one that it was, brought to today's format, or refused with the reason and with what to do.

use journal::embedded::Options;
use journal::error::OpenError;
use journal::{EmbeddedJournal, Journal};

use super::{copy_tree, open, write, written};

#[tokio::test]
async fn a_second_opener_is_told_who_holds_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let journal = open(directory.path()).expect("opened");
    journal.set_holder("http://127.0.0.1:5000").expect("written");
    let refused = open(directory.path()).err().expect("locked").to_string();
    let holder = format!("in use by process {} http://127.0.0.1:5000", std::process::id());
    assert!(refused.contains(&holder), "{refused}");
    journal.close().await;
}

#[tokio::test]
async fn another_number_of_shards_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    open(directory.path()).expect("opened").close().await;
    let refused = EmbeddedJournal::open(Options::new(directory.path(), 8)).err().expect("refused");
    assert!(matches!(refused, OpenError::ShardCount { recorded: 4, configured: 8 }), "{refused}");
    assert!(refused.to_string().contains("set log.shards = 4"), "{refused}");
}

/// The database of an earlier moment under the HEAD of now: the loss is named, and accepted only on demand.
#[tokio::test]
async fn a_log_behind_its_head_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let (directory, older) = (root.path().join("log"), root.path().join("older"));
    written(&directory, 5).await;
    copy_tree(&directory.join("db"), &older);
    written(&directory, 5).await;
    std::fs::remove_dir_all(directory.join("db")).expect("removed");
    copy_tree(&older, &directory.join("db"));

    let refused = open(&directory).err().expect("behind HEAD");
    assert!(matches!(refused, OpenError::BehindHead { shard: 0, head: 12, log: 6 }), "{refused}");
    assert!(refused.to_string().contains("--accept-loss"), "{refused}");
    let accepting = Options { accept_loss: true, ..Options::new(&directory, 4) };
    let journal = EmbeddedJournal::open(accepting).expect("accepted");
    assert_eq!(journal.last_version("A").await.expect("read"), Some(5));
    journal.close().await;
    drop(journal);
    open(&directory).expect("HEAD agrees again").close().await;
}

/// Without HEAD a loss would go unnoticed: that is a refusal of its own, and never a quiet start.
#[tokio::test]
async fn a_log_without_its_head_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    written(&directory, 5).await;
    let head = directory.join("HEAD");
    let length = std::fs::metadata(&head).expect("there").len() as usize;
    std::fs::write(&head, vec![0; length]).expect("zeroed");
    let refused = open(&directory).err().expect("zeroed");
    assert!(matches!(refused, OpenError::HeadLost { .. }), "{refused}");
    std::fs::remove_file(&head).expect("removed");
    let refused = open(&directory).err().expect("removed");
    assert!(matches!(refused, OpenError::HeadLost { .. }), "{refused}");
    assert!(refused.to_string().contains("--accept-loss"), "{refused}");
    let accepting = Options { accept_loss: true, ..Options::new(&directory, 4) };
    EmbeddedJournal::open(accepting).expect("accepted").close().await;
    open(&directory).expect("HEAD is there again").close().await;
}

/// The whole history gone, and what says how the log was made left behind: that is no empty log.
#[tokio::test]
async fn a_log_whose_head_and_records_are_gone_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    written(&directory, 5).await;
    std::fs::remove_file(directory.join("HEAD")).expect("removed");
    std::fs::remove_dir_all(directory.join("db")).expect("removed");
    let refused = open(&directory).err().expect("META says that there was a log");
    assert!(matches!(refused, OpenError::HeadLost { .. }), "{refused}");
}

/// Without META nobody knows into how many shards the histories were split, and a wrong guess would split them anew.
#[tokio::test]
async fn a_log_without_its_meta_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    written(&directory, 5).await;
    let meta = std::fs::read(directory.join("META")).expect("there");
    std::fs::remove_file(directory.join("META")).expect("removed");
    for accept_loss in [false, true] {
        let options = Options { accept_loss, ..Options::new(&directory, 4) };
        let refused = EmbeddedJournal::open(options).err().expect("refused");
        assert!(matches!(refused, OpenError::MetaLost { .. }), "{refused}");
    }
    std::fs::write(directory.join("META"), meta).expect("restored");
    open(&directory).expect("opened").close().await;
}

/// Whoever made a log died on the way: HEAD is there, or not even that; the next start makes it whole.
#[tokio::test]
async fn a_log_that_was_half_made_is_made_whole() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    for lost in [&["META"][..], &["META", "HEAD"]] {
        open(&directory).expect("made").close().await;
        for file in lost {
            std::fs::remove_file(directory.join(file)).expect("removed");
        }
        let journal = open(&directory).expect("made whole");
        write(&journal, 1).await;
        journal.close().await;
        drop(journal);
        open(&directory).expect("opened again").close().await;
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}

/// A log of the directory's first format: HEAD in two neighbouring slots, and an index with a row for each record.
#[tokio::test]
async fn a_log_of_the_first_format_is_brought_to_this_one() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let directory = root.path().join("log");
    let journal = open(&directory).expect("opened");
    write(&journal, 200).await;
    let before = (journal.head(0).await.expect("head"), journal.read_locomotive("A", 1, 300).await.expect("read"));
    journal.close().await;
    drop(journal);
    let head = |marked: u64| {
        let mut slot = 9_u64.to_be_bytes().to_vec();
        let marks = [(marked, before.0.hash), (0, [0; 32]), (0, [0; 32]), (0, [0; 32])];
        for (sequence, hash) in marks {
            slot.extend(sequence.to_be_bytes());
            slot.extend(hash);
        }
        slot.extend(blake3::hash(&slot).as_bytes());
        [vec![0xff; slot.len()], slot].concat()
    };
    std::fs::write(directory.join("META"), "format = 1\nshards = 4\n").expect("written");
    {
        let database = fjall::Database::builder(directory.join("db")).open().expect("the engine opens it");
        for lost in ["spans", "watermarks"] {
            let keyspace = database.keyspace(lost, fjall::KeyspaceCreateOptions::default).expect("there");
            database.delete_keyspace(keyspace).expect("deleted");
        }
        let index = database.keyspace("index", fjall::KeyspaceCreateOptions::default).expect("made");
        index.insert("A", "a row").expect("written");
        database.persist(fjall::PersistMode::SyncAll).expect("synced");
    }
    std::fs::write(directory.join("HEAD"), head(202)).expect("written");
    let refused = open(&directory).err().expect("HEAD is still held against the log");
    assert!(matches!(refused, OpenError::BehindHead { shard: 0, head: 202, log: 201 }), "{refused}");
    std::fs::write(directory.join("HEAD"), head(201)).expect("written");
    for _ in 0..2 {
        let journal = open(&directory).expect("brought to this format");
        let after = (journal.head(0).await.expect("head"), journal.read_locomotive("A", 1, 300).await.expect("read"));
        assert_eq!(after, before);
        journal.close().await;
    }
    let meta = std::fs::read_to_string(directory.join("META")).expect("there");
    assert_eq!(meta, "format = 2\nshards = 4\n");
}
