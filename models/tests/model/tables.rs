//! Broken tables are refused with file, line and column.

use models::table::{Source, read};
use twin::definition::Definition;

use crate::support::{blueprint, options, train};

const HEADER: &str = "locomotive_id,recorded_at,flow,pressure,vibration,temperature\n";

fn refused(readings: &str, maintenance: &str) -> String {
    train(readings, maintenance, &options()).expect_err("broken on purpose").to_string()
}

#[test]
fn errors_name_file_line_and_column() {
    let works = "locomotive_id,performed_at,kind,component,note\n";
    let wrong = refused(&format!("{HEADER}A,2026-01-01T00:00:00Z,1,x,1,1\n"), works);
    assert_eq!(wrong, "sensors.csv, line 2, column pressure: expected a number, got \"x\"");
    let ragged = refused(&format!("{HEADER}A,2026-01-01T00:00:00Z,1,2,1,1\nA,2026\n"), works);
    assert_eq!(ragged, "sensors.csv, line 3, column -: expected 6 fields as in the header, got 2");
    assert!(refused("a,b\n1,2\n", works).contains("locomotive_id is missing"));
    assert!(refused(HEADER, works).contains("at least one reading"));
    let reading = format!("{HEADER}A,2026-01-01T00:00:00Z,1,2,1,1\n");
    let kind = refused(&reading, &format!("{works}A,2026-01-01T00:00:00Z,broke,,\n"));
    assert!(kind.starts_with("maintenance.csv, line 2, column kind: expected preventive"), "{kind}");
    assert!(refused(&reading, works).contains("expected rows with and without a failure"));
}

#[test]
fn labels_of_a_column() {
    let text = blueprint().definition.text;
    let labels = "kind = \"column\"\ncolumn = \"cooler\"\nfailure_below = 50.0\n";
    let text = text.replace("kind = \"horizon\"\nhorizon_hours = 48.0\n", labels);
    let definition = Definition::parse(&text).expect("valid");
    let table = "locomotive_id,recorded_at,flow,cooler\nR,2026-01-01T00:00:05Z,2,100\nR,2026-01-01T00:00:00Z,1,20\n\
        R,2026-01-01T00:00:10Z,3,\nR,2026-01-01T00:00:00Z,9,100\n";
    let past = read(Source::of("t", table.as_bytes()), None, &definition).expect("valid");
    let labels: Vec<_> = past.machines[0].observations.iter().map(|o| (o.reading.get(0), o.label)).collect();
    assert_eq!(labels, [(Some(1.0), Some(true)), (Some(2.0), Some(false)), (Some(3.0), None)]);
    let missing = read(Source::of("t", HEADER.as_bytes()), None, &definition).expect_err("no label");
    assert!(missing.to_string().contains("cooler is missing"), "{missing}");
    let wrong = table.replace(",20\n", ",bad\n");
    let wrong = read(Source::of("t", wrong.as_bytes()), None, &definition).expect_err("no number");
    assert_eq!(wrong.to_string(), "t, line 3, column cooler: expected a number, got \"bad\"");
}
