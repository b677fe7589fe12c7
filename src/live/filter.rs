//! What a client wants to hear of.

use std::collections::HashSet;
use std::time::Duration;

use actors::TwinView;
use twin::ids::LocomotiveId;
use twin::level::Level;

use super::frames::FilterFrame;
use crate::auth::Reach;
use crate::breaker::Scoring;
use crate::http::twins::{Bbox, fields, levels};
use crate::problem::Problem;

/// Shortest time between two `twins` frames.
pub const FASTEST: Duration = Duration::from_millis(100);
/// Most ids of a filter.
const MOST_IDS: usize = 10_000;

/// A checked filter; the default wants everything.
#[derive(Debug, Clone)]
pub struct Filter {
    /// What the client may see at all.
    reach: Reach,
    ids: Option<HashSet<String>>,
    levels: Option<Vec<Level>>,
    bbox: Option<Bbox>,
    /// Fields of a twin to send.
    pub fields: Option<Vec<String>>,
    /// Shortest time between two `twins` frames.
    pub pause: Duration,
}

impl Default for Filter {
    fn default() -> Self {
        Self { reach: Reach::default(), ids: None, levels: None, bbox: None, fields: None, pause: FASTEST }
    }
}

impl Filter {
    /// The filter of a client that may see `reach` and wants one locomotive, or all of these.
    pub fn of(reach: Reach, only: Option<&LocomotiveId>) -> Self {
        Self { reach, ids: only.map(|id| HashSet::from([id.to_string()])), ..Self::default() }
    }

    /// Reads a client's message, which narrows what it may see and the one locomotive of its stream.
    pub fn read(text: &str, reach: &Reach, within: Option<&LocomotiveId>) -> Result<Self, String> {
        let shape = r#"expected {"type":"filter","ids":[…],"levels":[…],"bbox":"w,s,e,n","fields":[…],"max_rate":n}"#;
        let frame: FilterFrame = serde_json::from_str(text).map_err(|error| format!("{shape}: {error}"))?;
        if frame.kind != "filter" {
            return Err(format!("{shape}, got type {:?}", frame.kind.chars().take(40).collect::<String>()));
        }
        let told = |problem: Problem| problem.detail;
        let joined = |list: Option<Vec<String>>| list.map(|list| list.join(","));
        let rate = frame.max_rate.unwrap_or(10.0);
        if !(0.1..=10.0).contains(&rate) {
            return Err(format!("max_rate: expected 0.1 to 10 frames a second, got {rate}"));
        }
        if frame.ids.as_ref().is_some_and(|ids| ids.len() > MOST_IDS) {
            return Err(format!("ids: expected at most {MOST_IDS}"));
        }
        let mut ids = frame.ids.map(HashSet::from_iter);
        if let Some(only) = within {
            ids = Some(HashSet::from([only.to_string()]));
        }
        Ok(Self {
            reach: reach.clone(),
            ids,
            levels: levels(joined(frame.levels).as_deref()).map_err(told)?,
            bbox: frame.bbox.as_deref().map(Bbox::parse).transpose().map_err(told)?,
            fields: fields(joined(frame.fields).as_deref()).map_err(told)?,
            pause: Duration::from_secs_f64(1.0 / rate).max(FASTEST),
        })
    }

    /// Whether a locomotive is of interest at all.
    pub fn wants(&self, id: &LocomotiveId) -> bool {
        self.reach.holds(id.as_str()) && self.ids.as_ref().is_none_or(|ids| ids.contains(id.as_str()))
    }

    /// Whether a twin in this state is of interest.
    pub fn holds(&self, view: &TwinView, scoring: &Scoring) -> bool {
        self.wants(&view.id)
            && self.levels.as_ref().is_none_or(|levels| levels.contains(&scoring.level(view.state.level)))
            && self.bbox.as_ref().is_none_or(|bbox| bbox.holds(view))
    }

    /// Whether a change between these levels is of interest.
    pub fn wants_change(&self, id: Option<&LocomotiveId>, touched: &[Level]) -> bool {
        let levels = |wanted: &Vec<Level>| touched.is_empty() || touched.iter().any(|level| wanted.contains(level));
        id.is_none_or(|id| self.wants(id)) && self.levels.as_ref().is_none_or(levels)
    }

    /// Whether a twin may leave the filter as it moves.
    pub fn is_of_state(&self) -> bool {
        self.levels.is_some() || self.bbox.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_or_refused_with_what_was_expected() {
        let all = Reach::default();
        let filter = Filter::read(r#"{"type":"filter","ids":["A"],"levels":["danger"],"max_rate":2}"#, &all, None)
            .expect("valid");
        assert_eq!(filter.pause, Duration::from_millis(500));
        assert!(filter.wants_change(Some(&LocomotiveId::parse("A").expect("valid")), &[Level::Nominal, Level::Danger]));
        assert!(!filter.wants(&LocomotiveId::parse("B").expect("valid")));
        for wrong in
            ["", "{}", r#"{"type":"x"}"#, r#"{"type":"filter","levels":["bad"]}"#, r#"{"type":"filter","max_rate":99}"#]
        {
            let error = Filter::read(wrong, &all, None).expect_err(wrong);
            assert!(error.contains("expected"), "{error}");
        }
    }

    #[test]
    fn a_stream_of_one_twin_stays_there() {
        let id = LocomotiveId::parse("A").expect("valid");
        let filter = Filter::read(r#"{"type":"filter","ids":["B"]}"#, &Reach::default(), Some(&id)).expect("valid");
        assert!(filter.wants(&id) && !filter.wants(&LocomotiveId::parse("B").expect("valid")));
    }

    #[test]
    fn no_filter_shows_what_the_key_does_not_see() {
        let reach = Reach::of(&["A*".to_owned()]);
        let id = |text: &str| LocomotiveId::parse(text).expect("valid");
        let asked = Filter::read(r#"{"type":"filter","ids":["A1","B1"]}"#, &reach, None).expect("valid");
        for filter in [Filter::of(reach.clone(), None), Filter::of(reach.clone(), Some(&id("B1"))), asked] {
            assert!(!filter.wants(&id("B1")) && !filter.wants_change(Some(&id("B1")), &[]));
        }
        assert!(Filter::of(reach, None).wants(&id("A1")));
    }
}
