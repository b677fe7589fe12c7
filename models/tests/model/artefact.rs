//! Artefacts are written whole, and what does not fit is refused with a reason.

use std::fs;

use models::artefact::Artefact;
use models::model::Model;
use twin::definition::Definition;
use twin::fold::Blueprint;

use crate::support::{blueprint, options, tables, train};

#[test]
fn saved_loaded_replaced_and_refused() {
    let (readings, maintenance) = tables(5);
    let artefact = train(&readings, &maintenance, &options()).expect("trains");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("models").join("latest.onnx");
    let missing = Artefact::load(&path).expect_err("nothing there yet");
    assert!(missing.to_string().contains("cidp bootstrap"), "{missing}");
    artefact.save(&path).expect("saves");
    artefact.save(&path).expect("replaces");
    let loaded = Artefact::load(&path).expect("loads");
    assert!(loaded.onnx == artefact.onnx, "the same bytes");
    assert_eq!((&loaded.card.id, &loaded.card.schema), (&artefact.card.id, &artefact.card.schema));
    assert_eq!(loaded.card.thresholds, artefact.card.thresholds);
    let files = fs::read_dir(path.parent().expect("a directory")).expect("lists").count();
    assert_eq!(files, 2, "no temporary file stays behind");

    let mut bytes = artefact.onnx.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).expect("writes");
    let torn = Artefact::load(&path).expect_err("another file");
    assert!(torn.to_string().contains(&artefact.card.id), "{torn}");
    fs::write(Artefact::card_path(&path), "{}").expect("writes");
    let card = Artefact::load(&path).expect_err("no card");
    assert!(card.to_string().contains("latest.json: expected a model card"), "{card}");
}

#[test]
fn another_schema_is_refused() {
    let (readings, maintenance) = tables(5);
    let mut artefact = train(&readings, &maintenance, &options()).expect("trains");
    let text = blueprint().definition.text;
    let refused = |text: &str| {
        let other = Blueprint::new(Definition::parse(text).expect("valid"));
        Model::new(&artefact, &other).expect_err("other rows").to_string()
    };
    let sensor = refused(&text.replace("key = \"vibration\"", "key = \"shaking\""));
    assert!(sensor.contains("expected the feature shaking_value, got vibration_value"), "{sensor}");
    let window = refused(&text.replace("short_seconds = 60.0", "short_seconds = 30.0"));
    assert!(window.contains("windows"), "{window}");
    let label = Blueprint::new(Definition::parse(&text.replace("Débit", "Le débit")).expect("valid"));
    assert!(Model::new(&artefact, &label).is_ok(), "a label changes no row");
    artefact.card.schema.fold_version += 1;
    let fold = Model::new(&artefact, &blueprint()).expect_err("another fold").to_string();
    assert!(fold.contains("fold version"), "{fold}");
}
