//! Labelled feature rows as plain numbers. Where they come from is not known here.

/// Rows with their labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Number of features.
    pub width: usize,
    /// Distance between two rows in `values`, at least `width`.
    pub stride: usize,
    /// The rows, one behind the other.
    pub values: Vec<f32>,
    /// Whether each row is followed by a failure.
    pub labels: Vec<bool>,
}

impl Samples {
    /// No rows yet.
    pub const fn new(width: usize, stride: usize) -> Self {
        Self { width, stride, values: Vec::new(), labels: Vec::new() }
    }

    /// Number of rows.
    pub const fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The features of one row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride..][..self.width]
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.stride.max(1)).map(|row| &row[..self.width])
    }

    /// Number of positive rows.
    pub fn positives(&self) -> usize {
        self.labels.iter().filter(|label| **label).count()
    }

    /// Appends a row of at least `width` values; what lies behind them is filled with zeros.
    pub fn push(&mut self, row: &[f32], label: bool) {
        self.values.extend_from_slice(&row[..self.width]);
        self.labels.push(label);
        self.values.resize(self.labels.len() * self.stride, 0.0);
    }
}
