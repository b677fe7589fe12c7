//! Forests across the border: ours in ONNX Runtime, scikit-learn's in ours. The other side is tools/python/forests.py, in the environment that
//! `tools/install test` makes.

use std::path::{Path, PathBuf};
use std::process::Command;

use models::forest::Forest;
use models::onnx;

use crate::support::{options, tables, train};

/// Farthest that two answers may lie apart.
const NEAR: f32 = 1e-6;

/// The Python with scikit-learn and ONNX Runtime.
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("below the target directory");
    let python = target.join("tools/forests/bin/python");
    assert!(python.exists(), "expected {}; make it with `tools/install test`", python.display());
    python
}

fn forests(arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/python/forests.py");
    let outcome = Command::new(python()).arg(script).args(arguments).output().expect("Python starts");
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

fn risks(file: &Path, rows: &[f32], width: usize) -> Vec<f32> {
    let trees =
        onnx::read(&std::fs::read(file).expect("written")).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert_eq!(trees.width, width, "{}", file.display());
    let mut scores = Vec::new();
    Forest::compile(&trees).expect("compiles").score(rows, width, &mut scores);
    scores.into_iter().map(|score| score.risk).collect()
}

#[track_caller]
fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (row, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() <= NEAR, "{what}, row {row}: ours {ours}, theirs {theirs}");
    }
    assert!(ours.iter().any(|risk| *risk > 0.5) && ours.iter().any(|risk| *risk < 0.5), "{what}: rows of both kinds");
}

#[test]
fn onnx_runtime_answers_as_we_do() {
    let (readings, maintenance) = tables(6);
    let artefact = train(&readings, &maintenance, &options()).expect("trains");
    let width = artefact.card.schema.features.len();
    let trees = onnx::read(&artefact.onnx).expect("ours");
    // Random rows within the training distribution, every third value exactly on a threshold of the forest.
    let mut thresholds = Vec::new();
    for tree in &trees.trees {
        thresholds.extend(tree.nodes().iter().filter_map(|node| match *node {
            models::tree::Node::Split { feature, threshold, .. } => Some((usize::from(feature), threshold)),
            models::tree::Node::Leaf { .. } => None,
        }));
    }
    let mut noise = 7_u32;
    let mut next = |bound: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((noise >> 8) as usize * bound) >> 24
    };
    let mut rows = Vec::new();
    for _ in 0..2_000 {
        let mut row: Vec<f32> = (0..width)
            .map(|feature| {
                let edges = &artefact.card.distributions[feature].edges;
                edges[next(edges.len())] + next(100) as f32 / 100.0
            })
            .collect();
        for _ in 0..width / 3 {
            let (feature, threshold) = thresholds[next(thresholds.len())];
            row[feature] = threshold;
        }
        rows.extend(row);
    }
    let home = tempfile::tempdir().expect("a directory");
    let file = |name: &str| home.path().join(name);
    let (model, questions, answers) = (file("ours.onnx"), file("rows"), file("answers"));
    std::fs::write(&model, &artefact.onnx).expect("writes");
    let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(&questions, bytes).expect("writes");
    let text = |path: &Path| path.display().to_string();
    forests(&["run", &text(&model), &width.to_string(), &text(&questions), &text(&answers)]);
    near("ONNX Runtime", &risks(&model, &rows, width), &floats(&answers));
}

#[test]
fn forests_of_scikit_learn_answer_as_they_did() {
    let home = tempfile::tempdir().expect("a directory");
    forests(&["make", &home.path().display().to_string()]);
    let mut files: Vec<_> =
        std::fs::read_dir(home.path()).expect("lists").map(|e| e.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    let reasons = [
        ("refused-boosted", "LOGISTIC"),
        ("refused-missing", "nodes_missing_value_tracks_true"),
        ("refused-three", "got 3 classes"),
        ("refused-words", "bad, sound"),
    ];
    let mut taken = 0;
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("refused-") {
            let (_, reason) = reasons.iter().find(|(refused, _)| *refused == name).expect("a known one");
            let error = onnx::read(&std::fs::read(&file).expect("written")).expect_err(&name).to_string();
            assert!(error.contains(reason), "{name}: {error}");
            continue;
        }
        let width = name.rsplit('-').next().and_then(|width| width.parse().ok()).expect("the width is in the name");
        let ours = risks(&file, &floats(&file.with_extension("rows")), width);
        near(&format!("{name}, scikit-learn"), &ours, &floats(&file.with_extension("sklearn")));
        near(&format!("{name}, ONNX Runtime"), &ours, &floats(&file.with_extension("runtime")));
        taken += 1;
    }
    assert_eq!(taken, 5);
}
