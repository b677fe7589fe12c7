//! Every file of the fuzz corpus through the functions that the fuzz targets call: what was found once is not found again.

#[path = "../fuzz/entries.rs"]
mod entries;

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_is_read_without_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, entry) in entries::ALL {
        let files = fs::read_dir(corpus.join(name)).expect("each target has a corpus");
        let mut read = 0;
        for file in files {
            let path = file.expect("an entry").path();
            println!("{}", path.display());
            let bytes = fs::read(&path).expect("read");
            entry(&bytes);
            // What a cut and a changed byte make of it, in a few places.
            for part in 1..8 {
                let at = bytes.len() * part / 8;
                entry(&bytes[..at]);
                let mut changed = bytes.clone();
                if let Some(byte) = changed.get_mut(at) {
                    *byte ^= 1 << part;
                }
                entry(&changed);
            }
            read += 1;
        }
        assert!(read > 0, "{name}: the corpus is empty");
    }
}
