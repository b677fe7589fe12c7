//! Pictures of figures as SVG, drawn by hand. What is drawn is measured elsewhere.

use std::fmt::Write as _;

use models::calibration::Reliability;

/// Side of the diagram's square, and its margin.
const SIDE: f64 = 320.0;
const MARGIN: f64 = 56.0;

/// A reliability diagram: for each bin of the probability, what was said against what came; on the diagonal both are one.
pub fn reliability(reliability: &Reliability) -> String {
    let size = SIDE + 2.0 * MARGIN;
    let x = |share: f64| MARGIN + share * SIDE;
    let y = |share: f64| MARGIN + (1.0 - share) * SIDE;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" font-family="sans-serif" font-size="12" fill="#222">
<rect width="{size}" height="{size}" fill="#fff"/>
<text x="{MARGIN}" y="24" font-size="14">Said against came: {} rows, Brier score {:.4} (always the mean: {:.4})</text>
"##,
        reliability.rows, reliability.brier, reliability.brier_of_rate
    );
    let mut line = |text: String| writeln!(svg, "{text}").expect("a String takes every text");
    for fifth in 0..=5 {
        let share = f64::from(fifth) / 5.0;
        let (left, right, top, bottom) = (x(0.0), x(1.0), y(1.0), y(0.0));
        let (at_x, at_y) = (x(share), y(share));
        line(format!(r##"<path d="M{left} {at_y}H{right}M{at_x} {top}V{bottom}" stroke="#ddd" fill="none"/>"##));
        line(format!(r#"<text x="{at_x}" y="{}" text-anchor="middle">{share:.1}</text>"#, bottom + 18.0));
        line(format!(r#"<text x="{}" y="{}" text-anchor="end">{share:.1}</text>"#, left - 8.0, at_y + 4.0));
    }
    line(format!(r##"<path d="M{} {}L{} {}" stroke="#888" stroke-dasharray="4 4"/>"##, x(0.0), y(0.0), x(1.0), y(1.0)));
    let points: Vec<_> = reliability.bins.iter().map(|bin| format!("{:.1},{:.1}", x(bin.said), y(bin.came))).collect();
    line(format!(r##"<polyline points="{}" fill="none" stroke="#0b6" stroke-width="2"/>"##, points.join(" ")));
    for bin in &reliability.bins {
        let (at_x, at_y) = (x(bin.said), y(bin.came));
        line(format!(
            r##"<circle cx="{at_x:.1}" cy="{at_y:.1}" r="4" fill="#0b6"><title>{} rows: said {:.3}, came {:.3}</title></circle>"##,
            bin.rows, bin.said, bin.came
        ));
    }
    let middle = MARGIN + SIDE / 2.0;
    line(format!(r#"<text x="{middle}" y="{}" text-anchor="middle">probability that was said</text>"#, size - 12.0));
    line(format!(
        r#"<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">share that was followed by a failure</text>"#
    ));
    line("</svg>".to_owned());
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::calibration::Bin;

    #[test]
    fn every_bin_has_its_mark() {
        let bins = vec![Bin { rows: 90, said: 0.1, came: 0.0 }, Bin { rows: 10, said: 0.9, came: 1.0 }];
        let svg = reliability(&Reliability { rows: 100, brier_of_risk: 0.2, brier: 0.05, brier_of_rate: 0.09, bins });
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains(r#"points="88.0,376.0 344.0,56.0""#), "{svg}");
        assert!(svg.contains("100 rows, Brier score 0.0500") && svg.trim_end().ends_with("</svg>"));
    }
}
