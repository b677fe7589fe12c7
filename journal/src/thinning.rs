//! What the dropping of snapshots makes superfluous. Which ones are dropped is decided by whoever made them.

use crate::port::Sequence;

/// The gaps that open when `dropped` leave `kept` (ascending): after the first position, up to and with the second one, only the newest entry
/// of each locomotive is still needed. The gap after the last snapshot has no end.
pub(crate) fn intervals(kept: &[Sequence], dropped: &[Sequence]) -> Vec<(Sequence, Sequence)> {
    let mut intervals: Vec<(Sequence, Sequence)> = Vec::new();
    let (mut before, mut open) = (0, false);
    for &position in kept {
        if dropped.contains(&position) {
            open = true;
            continue;
        }
        if std::mem::take(&mut open) {
            intervals.push((before, position));
        }
        before = position;
    }
    if open {
        intervals.push((before, Sequence::MAX));
    }
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_lie_between_what_stays() {
        let kept = [10, 20, 30, 40, 50];
        assert_eq!(intervals(&kept, &[20]), [(10, 30)]);
        assert_eq!(intervals(&kept, &[10, 30, 40]), [(0, 20), (20, 50)]);
        assert_eq!(intervals(&kept, &[40, 50]), [(30, Sequence::MAX)]);
        assert_eq!(intervals(&kept, &[15]), [], "one that is not there opens nothing");
    }
}
