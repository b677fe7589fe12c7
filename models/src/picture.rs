//! The curve of lead time against false alarms as a picture: SVG that stands on light and on dark, in French and English. What the points
//! mean is decided in `curve` and `lead`.

use std::fmt::Write;

use twin::level::Thresholds;

use crate::curve::Point;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Left, top, right and bottom of the field of the curve.
const FIELD: (f64, f64, f64, f64) = (70.0, 62.0, 730.0, 370.0);
/// False alarms per machine and month at the right edge.
const MOST_ALARMS: f64 = 2.5;
/// The bar of the promise: false alarms per machine and month, hours of lead.
const BAR: (f64, f64) = (0.5, 24.0);

const STYLE: &str = "svg{color-scheme:light dark;font:14px system-ui,sans-serif}\
    text{fill:#1b1f24}.g{stroke:#c9d1d9}.c{stroke:#0b62c4;fill:none;stroke-width:2.5}.d{fill:#0b62c4}.b{fill:#2da44e;fill-opacity:.14}\
    .p{fill:#ffffff}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.g{stroke:#3d444d}.c{stroke:#6cb6ff}.d{fill:#6cb6ff}.p{fill:#0d1117}}";

/// Draws a curve with both thresholds in force.
pub fn lead_against_false_alarms(curve: &[Point], thresholds: Thresholds, longest_hours: f64) -> String {
    let (left, top, right, bottom) = FIELD;
    let x = |alarms: f64| left + (right - left) * alarms.min(MOST_ALARMS) / MOST_ALARMS;
    let y = |hours: f64| bottom - (bottom - top) * hours.min(longest_hours) / longest_hours;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>Lead time against false alarms · Préavis et fausses alertes</title>\n<style>{STYLE}</style>\n\
         <rect class=\"p\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n"
    );
    let mut line = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    line(format!(
        "<rect class=\"b\" x=\"{left}\" y=\"{top}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        x(BAR.0) - left,
        y(BAR.1) - top
    ));
    for fifth in 0..=5_u8 {
        let alarms = MOST_ALARMS * f64::from(fifth) / 5.0;
        let at = x(alarms);
        line(format!("<line class=\"g\" x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>"));
        line(format!("<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{alarms:.1}</text>", bottom + 20.0));
    }
    let mut hours = 0.0;
    while hours <= longest_hours {
        let at = y(hours);
        line(format!("<line class=\"g\" x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>"));
        line(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{hours:.0}</text>", left - 8.0, at + 5.0));
        hours += 12.0;
    }
    line(format!(
        "<text x=\"{left}\" y=\"24\">Median lead in hours, all failures · Préavis médian en heures, toutes pannes</text>"
    ));
    line(format!("<text x=\"{left}\" y=\"46\" opacity=\"0.75\">green: the promise · vert : la promesse</text>"));
    line(format!(
        "<text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">False alarms per locomotive and month · Fausses alertes par locomotive et mois</text>",
        bottom + 46.0
    ));
    let places: Vec<(f64, f64)> = curve
        .iter()
        .filter_map(|point| Some((point.tally.false_alarms_a_month(), point.tally.median_lead_hours()?)))
        .filter(|(alarms, _)| *alarms <= MOST_ALARMS)
        .map(|(alarms, hours)| (x(alarms), y(hours)))
        .collect();
    let mut points = String::new();
    for (x, y) in places {
        write!(points, "{x:.1},{y:.1} ").expect("writing to a String cannot fail");
    }
    line(format!("<polyline class=\"c\" points=\"{}\"/>", points.trim_end()));
    let named = [("watch · surveillance", thresholds.watch), ("danger", thresholds.danger)];
    for (name, threshold) in named {
        let nearest = curve.iter().min_by(|a, b| {
            let off = |point: &Point| (point.threshold - threshold).abs();
            off(a).total_cmp(&off(b))
        });
        if let Some((point, hours)) = nearest.and_then(|point| Some((point, point.tally.median_lead_hours()?))) {
            let (x, y) = (x(point.tally.false_alarms_a_month()), y(hours));
            line(format!("<circle class=\"d\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"/>"));
            line(format!("<text x=\"{:.1}\" y=\"{:.1}\">{name} ≥ {threshold:.2}</text>", x + 11.0, y + 20.0));
        }
    }
    svg.push_str("</svg>\n");
    svg
}
