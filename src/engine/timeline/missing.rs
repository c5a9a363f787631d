//! What a list lacks of changes of files, in words: there were more than are told or remembered, not all could be read, or
//! the look that it stands on is old.

use crate::base::{
    clock::Timestamp,
    limits::{LINE_BYTES_MAX, TIMELINE_FILES_MISSING_MAX},
    text,
};

/// One thing that a list may lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// All of it happened by then, and whoever reads less far back lacks nothing; `None` = it may have happened at any time.
    pub by: Option<Timestamp>,
    pub words: String,
}

/// What is lacking of a list that goes back to a time, or to the beginning; `None` = nothing.
pub(super) fn missing(all: &[Missing], back_to: Option<Timestamp>) -> Option<String> {
    let is_meant = |it: &&Missing| it.by.zip(back_to).is_none_or(|(by, back_to)| back_to <= by);
    let all: Vec<_> = all.iter().filter(is_meant).map(|it| it.words.as_str()).collect();
    let (told, rest) = all.split_at(all.len().min(TIMELINE_FILES_MISSING_MAX));
    let rest = match rest.len() {
        0 => String::new(),
        many => format!("; and {many} more like that"),
    };
    (!told.is_empty()).then(|| text::shown(&(told.join("; ") + &rest), LINE_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_before_a_list_is_not_missing_in_it() {
        let of = |by: Option<i64>, words: &str| Missing {
            by: by.map(Timestamp),
            words: words.to_owned(),
        };
        let all = [of(Some(10), "a: old"), of(None, "b: any")];
        assert_eq!(missing(&all, None).unwrap(), "a: old; b: any");
        assert_eq!(missing(&all, Some(Timestamp(10))).unwrap(), "a: old; b: any");
        assert_eq!(missing(&all, Some(Timestamp(11))).unwrap(), "b: any");
        assert_eq!(missing(&all[..1], Some(Timestamp(11))), None);
        let many: Vec<_> = (0..TIMELINE_FILES_MISSING_MAX + 2).map(|_| of(None, "x")).collect();
        assert!(missing(&many, None).unwrap().ends_with("x; and 2 more like that"));
    }
}
