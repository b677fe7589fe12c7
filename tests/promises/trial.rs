//! `cidp evaluate`: on public sets with the split of the reference, the trainer is worth what scikit-learn's is; a model is judged on a table.

use serde_json::Value;

use crate::home::{Home, REPOSITORY};

/// A question of docs/model.md with the mean AUC and average precision of scikit-learn 1.9 (100 trees, ten seeds) on the same split.
struct Question {
    table: &'static str,
    label: &'static str,
    split: &'static str,
    features: &'static str,
    auc: f64,
    average_precision: f64,
}

const MILL: &str =
    "Type,Air temperature [K],Process temperature [K],Rotational speed [rpm],Torque [Nm],Tool wear [min]";
const CYCLES: &str = "PS1_*,FS1_*,TS1_*,VS1_*";
const RIG: &str = "data/hydraulic/cycles.csv.gz";

const QUESTIONS: [Question; 6] = [
    Question {
        table: "data/ai4i/readings.csv.gz",
        label: "Machine failure",
        split: "data/ai4i/split.csv.gz",
        features: MILL,
        auc: 0.9728,
        average_precision: 0.7794,
    },
    Question {
        table: RIG,
        label: "pump_leak>0",
        split: "split_pump_leak",
        features: CYCLES,
        auc: 1.0,
        average_precision: 1.0,
    },
    Question {
        table: RIG,
        label: "valve<100",
        split: "split_valve",
        features: CYCLES,
        auc: 0.9969,
        average_precision: 0.9965,
    },
    Question {
        table: RIG,
        label: "accumulator<=100",
        split: "split_accumulator",
        features: CYCLES,
        auc: 0.9989,
        average_precision: 0.9991,
    },
    Question {
        table: RIG,
        label: "cooler<100",
        split: "split_cooler",
        features: CYCLES,
        auc: 0.9998,
        average_precision: 0.9999,
    },
    Question {
        table: RIG,
        label: "valve<100",
        split: "split_valve_by_cooler",
        features: CYCLES,
        auc: 0.85,
        average_precision: 0.8321,
    },
];

#[test]
fn the_trainer_is_worth_what_scikit_learn_is() {
    let home = Home::without_model();
    for question in QUESTIONS {
        let table = format!("{REPOSITORY}/{}", question.table);
        let file = format!("{REPOSITORY}/{}", question.split);
        let split = if question.split.contains('/') { file.as_str() } else { question.split };
        let asked = home.run(&[
            "evaluate",
            "--table",
            &table,
            "--label",
            question.label,
            "--split",
            split,
            "--features",
            question.features,
            "--json",
        ]);
        let answer: Value = serde_json::from_str(asked.succeeded()).expect("JSON");
        for (name, reference) in [("auc", question.auc), ("average_precision", question.average_precision)] {
            let mean = answer[name]["mean"].as_f64().expect("a number");
            let least = reference - 0.01;
            assert!(
                mean >= least,
                "{} ({}): {name} {mean:.4}, expected at least {least:.4}",
                question.label,
                question.split
            );
        }
        assert_eq!(answer["seeds"].as_array().map(Vec::len), Some(10));
    }
}

#[test]
fn what_cannot_be_evaluated_is_said() {
    let home = Home::new();
    let table = home.file("t.csv", "a,state,part\n1,0,train\n2,1,train\n3,0,test\n4,1,test\n");
    let evaluate = |arguments: &[&str]| home.run(&[&["evaluate", "--table", &table], arguments].concat());
    let asked = evaluate(&["--label", "state", "--split", "part", "--seeds", "2"]);
    assert!(asked.succeeded().contains("1 features, 2 rows train, 2 test, 2 seeds"), "{}", asked.stdout);
    evaluate(&["--label", "state", "--split", "parts"])
        .failed(1, &["there is no such file", "\"parts\"", "a, state, part"]);
    evaluate(&["--label", "stat", "--split", "part"]).failed(1, &["expected a column \"stat\""]);
    evaluate(&[]).failed(2, &["--label"]);
    evaluate(&["--label", "state"]).failed(2, &["--split"]);
    let model = crate::home::model().display().to_string();
    evaluate(&["--model", &model]).failed(1, &["data/maintenance.csv"]);
    evaluate(&["--model", &model, "--maintenance", &table]).failed(1, &["locomotive_id is missing"]);
}

#[test]
fn a_model_is_judged_on_a_table() {
    let home = Home::new();
    let (model, picture) = (crate::home::model().display().to_string(), home.path().join("reliability.svg"));
    let picture_text = picture.display().to_string();
    let table = |name: &str| format!("{REPOSITORY}/data/{name}");
    let (sensors, maintenance) = (table("sensors.csv"), table("maintenance.csv"));
    let asked = home.run(&[
        "evaluate",
        "--model",
        &model,
        "--table",
        &sensors,
        "--maintenance",
        &maintenance,
        "--picture",
        &picture_text,
        "--json",
    ]);
    let answer: Value = serde_json::from_str(asked.succeeded()).expect("JSON");
    assert!(answer["quality"]["auc"].as_f64().is_some_and(|auc| auc > 0.85), "{answer:#}");
    let (brier, rate) = (&answer["reliability"]["brier"], &answer["reliability"]["brier_of_rate"]);
    assert!(brier.as_f64() < rate.as_f64(), "{answer:#}");
    let svg = std::fs::read_to_string(picture).expect("written");
    assert_eq!(svg.matches("<circle").count(), answer["reliability"]["bins"].as_array().map_or(0, Vec::len));
}
