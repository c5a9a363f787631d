//! What could not be brought here of a workspace: noted with the layer that lacks it, and told with every look at
//! that. One such path costs the others nothing.

use std::{collections::BTreeMap, fs, io, path::Path};

use rustix::io::Errno;

use super::sent::noting;
use crate::base::{
    fault::Outcome,
    limits::{COPY_DEPTH_MAX, FETCH_TOLD_MAX, PATH_BYTES_MAX},
};

const FILE: &str = "unread";
const NAME_SHOWN: usize = 255;

/// Paths and why they could not be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unread {
    paths: BTreeMap<Vec<u8>, String>,
    more: usize,
}

impl Unread {
    /// Those of a layer; none where nothing was noted.
    pub fn of(above: &Path) -> BTreeMap<Vec<u8>, String> {
        let text = fs::read(above.join(FILE)).unwrap_or_default();
        let fields: Vec<&[u8]> = text.split(|it| *it == 0).collect();
        let pair = |it: &[&[u8]]| match it {
            [path, why] => Some((path.to_vec(), String::from_utf8_lossy(why).into_owned())),
            _ => None,
        };
        fields.chunks(2).filter_map(pair).collect()
    }

    pub fn add(&mut self, path: &[u8], why: &str) {
        let path = cut(path);
        let ends = path.iter().enumerate().filter(|(_, it)| **it == b'/').map(|it| it.0);
        let mut above = ends.chain([path.len()]).filter_map(|end| path.get(..end));
        if above.any(|it| self.paths.contains_key(it)) {
            return;
        }
        if self.paths.len() >= FETCH_TOLD_MAX {
            self.more += 1;
            return;
        }
        self.paths.insert(path.to_vec(), why.to_owned());
    }

    /// Notes them with a layer.
    pub fn write(mut self, above: &Path) -> Outcome<()> {
        if let Some(mut last) = self.paths.last_entry().filter(|_| self.more > 0) {
            let words = format!("{}; so it is with {} more paths", last.get(), self.more);
            last.insert(words);
        }
        let fields =
            self.paths.iter().flat_map(|(path, why)| [path, &[0][..], why.as_bytes(), &[0]]);
        fs::write(above.join(FILE), fields.collect::<Vec<_>>().concat()).map_err(noting)
    }
}

/// Why one path can't be had; `None` = the error is of no single path.
pub fn of_one(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => Some("may not be read"),
        Some(Errno::NAMETOOLONG) => Some("its name is too long, or it lies too deep"),
        _ if error.kind() == io::ErrorKind::ResourceBusy => Some("changed while it was looked at"),
        _ => None,
    }
}

/// As much of a path as can be told.
fn cut(path: &[u8]) -> &[u8] {
    let ends = path.iter().enumerate().filter(|(_, it)| **it == b'/').map(|it| it.0);
    let ends = ends.chain([path.len()]).take(COPY_DEPTH_MAX);
    let end = ends.take_while(|it| *it < PATH_BYTES_MAX).last().unwrap_or(NAME_SHOWN);
    path.get(..end).unwrap_or(path)
}
