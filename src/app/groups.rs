//! The lines of the fleet's list where there is more than one hub: each hub has a heading, and its sandboxes below it.

use std::sync::Arc;

use super::fleet::Row;
use crate::base::id::HubNumber;

/// A line of the list as shown.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    Heading(HubNumber),
    /// A row, and its place among those that are shown.
    Row(usize, &'a Row),
}

/// Which hubs there are, in the order of their groups; none where there is one.
pub(super) type Named = Vec<(HubNumber, Arc<str>)>;

/// Where headings are: each before the row at that place.
#[derive(Debug, Default)]
pub(super) struct Heads(Vec<(HubNumber, usize)>);

impl Heads {
    /// `empty_too`: also of hubs that none of the rows are of.
    pub(super) fn of(named: &Named, shown: &[(HubNumber, usize)], empty_too: bool) -> Self {
        let head = |(hub, _): &(HubNumber, Arc<str>)| {
            let place = shown.partition_point(|it| it.0 < *hub);
            let some = shown.get(place).is_some_and(|it| it.0 == *hub);
            (some || empty_too).then_some((*hub, place))
        };
        Self(named.iter().filter_map(head).collect())
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The line of a row.
    pub(super) fn line_of(&self, place: usize) -> usize {
        place + self.0.partition_point(|it| it.1 <= place)
    }

    /// The first line that belongs to a row: that of the heading above it, if there is one.
    pub(super) fn top_of(&self, place: usize) -> usize {
        place + self.0.partition_point(|it| it.1 < place)
    }

    /// What a line is: a heading, or the row at a place.
    pub(super) fn at(&self, line: usize) -> Result<HubNumber, usize> {
        let before = |low: usize, high: usize| {
            // Heading number `n` stands on the line of its place, and `n` headings before it.
            let (mut low, mut high) = (low, high);
            while low < high {
                let middle = low.midpoint(high);
                let its = self.0.get(middle).map_or(usize::MAX, |it| it.1 + middle);
                if its < line { low = middle + 1 } else { high = middle }
            }
            low
        };
        let number = before(0, self.0.len());
        match self.0.get(number) {
            Some((hub, place)) if place + number == line => Ok(*hub),
            _ => Err(line - number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(count: u32) -> Named {
        (0..count).map(|it| (HubNumber(it), Arc::from(format!("h{it}")))).collect()
    }

    #[test]
    fn every_line_is_a_heading_or_a_row_and_each_is_found_again() {
        let shown: Vec<_> = [0, 0, 2, 3, 3, 3].iter().map(|it| HubNumber(*it)).zip(0..).collect();
        let words = |heads: &Heads, lines: usize| -> Vec<String> {
            let word = |line| match heads.at(line) {
                Ok(hub) => format!("h{}", hub.0),
                Err(place) => place.to_string(),
            };
            (0..lines).map(word).collect()
        };
        let heads = Heads::of(&named(5), &shown, true);
        let all = ["h0", "0", "1", "h1", "h2", "2", "h3", "3", "4", "5", "h4"];
        assert_eq!(words(&heads, shown.len() + heads.count()), all);
        for place in 0..shown.len() {
            assert_eq!(heads.at(heads.line_of(place)), Err(place));
            assert!(heads.top_of(place) <= heads.line_of(place));
        }
        assert_eq!((heads.top_of(2), heads.line_of(2)), (3, 5));
        let heads = Heads::of(&named(5), &shown, false);
        assert_eq!(words(&heads, 9), ["h0", "0", "1", "h2", "2", "h3", "3", "4", "5"]);
        let none = Heads::of(&Vec::new(), &shown, true);
        assert_eq!(words(&none, 6), ["0", "1", "2", "3", "4", "5"]);
    }
}
