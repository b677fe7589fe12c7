//! A trial of the trainer on any labelled table: rows with a given split, one forest a seed, scores on what it has not seen. No definition, no
//! fold: the columns of the table are the features.

use std::fmt;
use std::io::Read;

use csv::StringRecord;
use serde::Serialize;

use crate::forest::{Forest, ForestError};
use crate::metrics::{auc, average_precision, brier};
use crate::samples::Samples;
use crate::table::{PastError, Source, unpacked};
use crate::train::{self, Options, TrainError};
use crate::tree::{MAX_DEPTH, MAX_WIDTH};

/// Why a trial cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A table cannot be read.
    #[error(transparent)]
    File(#[from] PastError),
    /// A table is no CSV of one shape.
    #[error("{file}: {source}")]
    Csv {
        /// Which file.
        file: String,
        /// What is wrong.
        source: csv::Error,
    },
    /// A column, a row or a split that is not as expected.
    #[error("{file}: expected {expected}, got {got}")]
    Wrong {
        /// Which file.
        file: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// The training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The forest's size.
    #[error("the trained forest cannot be compiled: {0}")]
    Forest(#[from] ForestError),
}

/// What makes a row positive: `COLUMN` (its number is not 0), or `COLUMN<N` with `<`, `<=`, `>`, `>=` or `=`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The column.
    pub column: String,
    test: Option<(Comparison, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    AtMost,
    AtLeast,
    Below,
    Above,
    Equal,
}

impl Condition {
    /// Reads a condition; a text without a comparison and a number is the name of a column as it is.
    pub fn parse(text: &str) -> Self {
        let signs = [
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Below),
            (">", Comparison::Above),
            ("=", Comparison::Equal),
        ];
        let read = |(sign, comparison): (&str, Comparison)| {
            let (column, bound) = text.rsplit_once(sign)?;
            let bound = bound.trim().parse().ok()?;
            Some(Self { column: column.trim().to_owned(), test: Some((comparison, bound)) })
        };
        signs.into_iter().find_map(read).unwrap_or_else(|| Self { column: text.trim().to_owned(), test: None })
    }

    fn holds(&self, number: f64) -> bool {
        match self.test {
            None => number != 0.0,
            Some((Comparison::AtMost, bound)) => number <= bound,
            Some((Comparison::AtLeast, bound)) => number >= bound,
            Some((Comparison::Below, bound)) => number < bound,
            Some((Comparison::Above, bound)) => number > bound,
            Some((Comparison::Equal, bound)) => number == bound,
        }
    }
}

/// Where the split of the rows stands.
pub enum Parts<'a> {
    /// In a column of the table: `train`, `test`, or nothing for a row that takes no part.
    Column(String),
    /// In the column `part` of a table of its own, a row for each row of the table, in its order.
    Table(Source<'a>),
}

/// Rows ready for a trial.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Names of the features.
    pub features: Vec<String>,
    /// Rows that teach.
    pub training: Samples,
    /// Rows that judge.
    pub test: Samples,
}

/// Scores of one seed on the rows that judge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Average precision.
    pub average_precision: f64,
    /// Mean squared error of the vote share.
    pub brier: f64,
}

/// Mean and standard deviation over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The deviation of the seeds from it (population form, as numpy's `std`).
    pub deviation: f64,
}

impl Spread {
    /// Over some values of each outcome.
    pub fn of(outcomes: &[Outcome], value: impl Fn(&Outcome) -> f64) -> Self {
        let count = outcomes.len().max(1) as f64;
        let mean = outcomes.iter().map(&value).sum::<f64>() / count;
        let squares = outcomes.iter().map(|outcome| (value(outcome) - mean).powi(2)).sum::<f64>();
        Self { mean, deviation: (squares / count).sqrt() }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} ± {:.4}", self.mean, self.deviation)
    }
}

/// The options of scikit-learn's forest of so many trees: grown to the end, every row its chance, nothing rebalanced.
pub fn options(trees: usize) -> Options {
    Options {
        trees,
        depth: MAX_DEPTH as u16,
        min_samples_leaf: 1,
        rows_per_tree: 50_000,
        positive_share: 0.0,
        ..Options::default()
    }
}

impl Trial {
    /// Reads a table. `features` are names of columns, or their beginnings with a `*`; without any, all columns but the label's and the split's.
    pub fn read(
        table: Source<'_>,
        label: &Condition,
        parts: Parts<'_>,
        features: &[String],
    ) -> Result<Self, TrialError> {
        let mut sheet = Sheet::open(table)?;
        let label_at = sheet.column(&label.column)?;
        let (part_at, listed) = match parts {
            Parts::Column(name) => (Some(sheet.column(&name)?), Vec::new()),
            Parts::Table(source) => (None, part_list(source)?),
        };
        let chosen = choose(&sheet, features, &[Some(label_at), part_at])?;
        let width = chosen.len();
        let empty = Samples::new(width, width);
        let features = chosen.iter().map(|&at| sheet.names[at].clone()).collect();
        let mut trial = Self { features, training: empty.clone(), test: empty };
        let mut values = Vec::with_capacity(width);
        let mut count = 0;
        while sheet.next()? {
            let part = match part_at {
                Some(at) => sheet.row.get(at).unwrap_or_default().trim(),
                None => listed.get(count).map_or("", String::as_str),
            };
            count += 1;
            let samples = match part {
                "train" => &mut trial.training,
                "test" => &mut trial.test,
                "" => continue,
                other => return Err(sheet.wrong(count, "a part `train`, `test` or nothing", other)),
            };
            values.clear();
            for &at in &chosen {
                values.push(sheet.number(at, count)? as f32);
            }
            samples.push(&values, label.holds(sheet.number(label_at, count)?));
        }
        if part_at.is_none() && listed.len() != count {
            let expected = format!("as many rows as the split's {}", listed.len());
            return Err(TrialError::Wrong { file: sheet.file, expected, got: count.to_string() });
        }
        let (positives, rows) = (trial.test.positives(), trial.test.len());
        if positives == 0 || positives == rows {
            let got = format!("{positives} positive rows of {rows}");
            return Err(TrialError::Wrong { file: sheet.file, expected: "test rows of both classes".to_owned(), got });
        }
        Ok(trial)
    }

    /// Trains on the training rows with a seed and judges on the others; `progress` hears the trees done.
    pub fn run(&self, options: &Options, progress: &(dyn Fn(usize) + Sync)) -> Result<Outcome, TrialError> {
        let trees = train::train(&self.training, options, progress)?;
        let risks = Forest::compile(&trees)?.risks(&self.test);
        let labels = &self.test.labels;
        let both = "the reader saw both classes among the test rows";
        Ok(Outcome {
            seed: options.seed,
            auc: auc(&risks, labels).expect(both),
            average_precision: average_precision(&risks, labels).expect(both),
            brier: brier(&risks, labels),
        })
    }
}

/// The columns that are features.
fn choose(sheet: &Sheet<'_>, features: &[String], taken: &[Option<usize>]) -> Result<Vec<usize>, TrialError> {
    let mut chosen: Vec<usize> = Vec::new();
    for pattern in features {
        let fits = |name: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        };
        let before = chosen.len();
        chosen.extend((0..sheet.names.len()).filter(|&at| fits(&sheet.names[at])));
        if chosen.len() == before {
            return Err(sheet.no_column(pattern));
        }
    }
    if features.is_empty() {
        chosen = (0..sheet.names.len()).filter(|&at| !taken.contains(&Some(at))).collect();
    }
    if let Some(at) = chosen.iter().find(|&&at| taken.contains(&Some(at))) {
        let got = format!("{:?}", sheet.names[*at]);
        let expected = "features other than the label and the split".to_owned();
        return Err(TrialError::Wrong { file: sheet.file.clone(), expected, got });
    }
    if !(1..=MAX_WIDTH).contains(&chosen.len()) {
        let (expected, got) = (format!("1 to {MAX_WIDTH} features"), chosen.len().to_string());
        return Err(TrialError::Wrong { file: sheet.file.clone(), expected, got });
    }
    Ok(chosen)
}

/// The column `part` of a split.
fn part_list(source: Source<'_>) -> Result<Vec<String>, TrialError> {
    let mut sheet = Sheet::open(source)?;
    let at = sheet.column("part")?;
    let mut parts = Vec::new();
    while sheet.next()? {
        parts.push(sheet.row.get(at).unwrap_or_default().trim().to_owned());
    }
    Ok(parts)
}

/// A CSV that is read row by row.
struct Sheet<'a> {
    file: String,
    names: Vec<String>,
    reader: csv::Reader<Box<dyn Read + 'a>>,
    row: StringRecord,
}

impl<'a> Sheet<'a> {
    fn open(source: Source<'a>) -> Result<Self, TrialError> {
        let file = source.name.clone();
        let mut reader = csv::Reader::from_reader(unpacked(source)?);
        let headers = reader.headers().map_err(|source| TrialError::Csv { file: file.clone(), source })?;
        let names = headers.iter().map(|name| name.trim().to_owned()).collect();
        Ok(Self { file, names, reader, row: StringRecord::new() })
    }

    fn next(&mut self) -> Result<bool, TrialError> {
        self.reader.read_record(&mut self.row).map_err(|source| TrialError::Csv { file: self.file.clone(), source })
    }

    fn column(&self, name: &str) -> Result<usize, TrialError> {
        self.names.iter().position(|known| known == name).ok_or_else(|| self.no_column(name))
    }

    fn no_column(&self, name: &str) -> TrialError {
        let expected = format!("a column {name:?}");
        TrialError::Wrong { file: self.file.clone(), expected, got: self.names.join(", ") }
    }

    fn number(&self, at: usize, row: usize) -> Result<f64, TrialError> {
        let field = self.row.get(at).unwrap_or_default().trim();
        let number = field.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong(row, &format!("a number in the column {:?}", self.names[at]), field))
    }

    fn wrong(&self, row: usize, expected: &str, got: &str) -> TrialError {
        TrialError::Wrong {
            file: format!("{}, row {row}", self.file),
            expected: expected.to_owned(),
            got: format!("{got:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "a,b,state,part\n1,5,100,train\n2,6,73,test\n3,7,100,\n4,8,90,train\n5,9,100,test\n";

    fn read(table: &str, label: &str, part: &str, features: &[&str]) -> Result<Trial, TrialError> {
        let features: Vec<_> = features.iter().map(|name| (*name).to_owned()).collect();
        let source = Source::of("t.csv", table.as_bytes());
        Trial::read(source, &Condition::parse(label), Parts::Column(part.to_owned()), &features)
    }

    #[test]
    fn rows_go_where_the_split_says() {
        let trial = read(TABLE, "state<100", "part", &[]).expect("valid");
        assert_eq!(trial.features, ["a", "b"]);
        assert_eq!((trial.training.values, trial.training.labels), (vec![1.0, 5.0, 4.0, 8.0], vec![false, true]));
        assert_eq!((trial.test.values, trial.test.labels), (vec![2.0, 6.0, 5.0, 9.0], vec![true, false]));
        let parts = Source::of("s.csv", b"part\ntest\ntest\ntrain\n\"\"\ntrain\n");
        let features = ["b".to_owned()];
        let label = Condition::parse("state <= 73");
        let trial = Trial::read(Source::of("t.csv", TABLE.as_bytes()), &label, Parts::Table(parts), &features);
        assert_eq!(trial.expect("valid").test.labels, [false, true]);
    }

    #[test]
    fn conditions_are_columns_or_comparisons() {
        let holds = |text: &str| [1.0, 2.0, 3.0].map(|number| Condition::parse(text).holds(number));
        assert_eq!(holds("x"), [true, true, true]);
        assert_eq!(holds("x>=2"), [false, true, true]);
        assert_eq!(holds("x > 2"), [false, false, true]);
        assert_eq!(holds("x=2"), [false, true, false]);
        assert_eq!(Condition::parse("a<b").column, "a<b");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |table: &str, label: &str, part: &str, features: &[&str]| {
            read(table, label, part, features).expect_err("broken on purpose").to_string()
        };
        assert_eq!(refused(TABLE, "x", "part", &[]), "t.csv: expected a column \"x\", got a, b, state, part");
        assert!(refused(TABLE, "state", "part", &["c*"]).contains("\"c*\""));
        assert!(refused(TABLE, "state<100", "part", &["state"]).contains("other than the label"));
        assert!(refused(TABLE, "state>0", "part", &[]).contains("both classes, got 2 positive rows of 2"));
        assert!(refused(&TABLE.replace("73", "x"), "state<100", "part", &[]).contains("row 2: expected a number"));
        assert!(refused(&TABLE.replace("train", "learn"), "state<100", "part", &[]).contains("got \"learn\""));
        let parts = Parts::Table(Source::of("s.csv", b"part\ntrain\n"));
        let short =
            Trial::read(Source::of("t.csv", TABLE.as_bytes()), &Condition::parse("state<100"), parts, &["a".into()]);
        assert!(short.is_err_and(|error| error.to_string().contains("as many rows as the split's 1, got 5")));
    }
}
