//! A sorted set: members in the order of their scores, and of their bytes where scores are the same.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// A score; never NaN, which Redis refuses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score(pub(crate) f64);

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Score {}
impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        // Not `total_cmp`: the two zeros are the same score.
        self.0.partial_cmp(&other.0).expect("no score is NaN")
    }
}

type Ranked = (Score, Vec<u8>);

#[derive(Clone, Debug, Default)]
pub(crate) struct ZSet {
    scores: BTreeMap<Vec<u8>, f64>,
    ranked: BTreeSet<Ranked>,
}

/// A range of scores.
pub(crate) struct ScoreRange {
    pub(crate) min: Bound<f64>,
    pub(crate) max: Bound<f64>,
}

/// A range of members; it means something only where all scores are the same.
pub(crate) struct LexRange {
    pub(crate) min: LexBound,
    pub(crate) max: LexBound,
}

/// An end of a range of members.
pub(crate) enum LexBound {
    Lowest,
    Highest,
    Member { member: Vec<u8>, exclusive: bool },
}

impl LexBound {
    /// Whether a member is on this end's higher side, or on it.
    fn is_at_most(&self, member: &[u8]) -> bool {
        match self {
            Self::Lowest => true,
            Self::Highest => false,
            Self::Member { member: end, exclusive } => {
                if *exclusive {
                    end.as_slice() < member
                } else {
                    end.as_slice() <= member
                }
            }
        }
    }

    fn is_at_least(&self, member: &[u8]) -> bool {
        match self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::Member { member: end, exclusive } => {
                if *exclusive {
                    member < end.as_slice()
                } else {
                    member <= end.as_slice()
                }
            }
        }
    }
}

impl ZSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranked.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.ranked.len()
    }

    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }

    pub(crate) fn insert(&mut self, member: &[u8], score: f64) {
        if let Some(old) = self.scores.insert(member.to_vec(), score) {
            self.ranked.remove(&(Score(old), member.to_vec()));
        }
        self.ranked.insert((Score(score), member.to_vec()));
    }

    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        let Some(score) = self.scores.remove(member) else { return false };
        self.ranked.remove(&(Score(score), member.to_vec()))
    }

    /// How many members are before this one.
    pub(crate) fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.ranked.range(..(Score(score), member.to_vec())).count())
    }

    /// Removes and returns the member with the lowest or the highest score.
    pub(crate) fn pop(&mut self, highest: bool) -> Option<Ranked> {
        let popped = if highest { self.ranked.pop_last() } else { self.ranked.pop_first() };
        if let Some((_, member)) = &popped {
            self.scores.remove(member);
        }
        popped
    }

    /// All members in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Ranked> {
        self.ranked.iter()
    }

    /// The members whose scores are in a range, in order.
    pub(crate) fn by_score<'a>(
        &'a self,
        range: &ScoreRange,
    ) -> impl DoubleEndedIterator<Item = &'a Ranked> + use<'a> {
        // The first of a score is the one before all others that have it; after the last comes the next higher score.
        let start = match range.min {
            Bound::Included(min) => Bound::Included((Score(min), Vec::new())),
            Bound::Excluded(min) => next_score(min),
            Bound::Unbounded => Bound::Unbounded,
        };
        let end = match range.max {
            Bound::Included(max) => match next_score(max) {
                Bound::Included(next) => Bound::Excluded(next),
                _ => Bound::Unbounded,
            },
            Bound::Excluded(max) => Bound::Excluded((Score(max), Vec::new())),
            Bound::Unbounded => Bound::Unbounded,
        };
        let nothing = match (&start, &end) {
            (Bound::Included(start), Bound::Excluded(end)) => start >= end,
            // Above infinity there is nothing.
            (Bound::Excluded(_), _) => true,
            _ => false,
        };
        (!nothing).then(|| self.ranked.range((start, end))).into_iter().flatten()
    }

    /// The members in a range of members, in order.
    pub(crate) fn by_member<'a>(
        &'a self,
        range: &LexRange,
    ) -> impl DoubleEndedIterator<Item = &'a Ranked> + use<'a> {
        let lowest = self.ranked.first().map_or(0.0, |(score, _)| score.0);
        let start = match &range.min {
            LexBound::Member { member, .. } => (Score(lowest), member.clone()),
            _ => (Score(lowest), Vec::new()),
        };
        let found: Vec<&Ranked> = self
            .ranked
            .range(start..)
            .skip_while(|(_, member)| !range.min.is_at_most(member))
            .take_while(|(_, member)| range.max.is_at_least(member))
            .collect();
        found.into_iter()
    }
}

/// The lowest of all that have a higher score; excluded and of infinity if there is no higher score.
fn next_score(score: f64) -> Bound<Ranked> {
    if score == f64::INFINITY {
        Bound::Excluded((Score(score), Vec::new()))
    } else {
        Bound::Included((Score(score.next_up()), Vec::new()))
    }
}
