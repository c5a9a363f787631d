//! Small files of the kernel's, one figure or line each. What is too long, no text or no number is not known.

use std::{
    fs::{self, File},
    io::Read,
    path::PathBuf,
};

use crate::base::limits::GPU_FACT_BYTES_MAX;

/// Directories of one kind that one device has.
const ALIKE_MAX: usize = 64;

/// The files of one directory.
pub struct Files(PathBuf);

impl Files {
    pub fn at(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub fn below(&self, directory: &str) -> Self {
        Self(self.0.join(directory))
    }

    /// Those directories in this one whose names are this and a number, by the number.
    pub fn numbered(&self, begins: &str) -> Vec<Self> {
        let all = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let number =
            |it: &fs::DirEntry| it.file_name().to_str()?.strip_prefix(begins)?.parse::<u32>().ok();
        let found = all.filter_map(|it| Some((number(&it)?, it.path())));
        let mut found: Vec<_> = found.take(ALIKE_MAX).collect();
        found.sort();
        found.into_iter().map(|it| Self(it.1)).collect()
    }

    pub fn text(&self, name: &str) -> Option<String> {
        let mut text = Vec::new();
        let file = File::open(self.0.join(name)).ok()?;
        file.take(GPU_FACT_BYTES_MAX + 1).read_to_end(&mut text).ok()?;
        let whole = text.len() as u64 <= GPU_FACT_BYTES_MAX;
        whole.then_some(text).and_then(|it| String::from_utf8(it).ok())
    }

    /// The first line, without blanks around it; an empty one is none.
    pub fn line(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        let line = text.lines().next()?.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.line(name)?.parse().ok()
    }

    /// The first of them that is known.
    pub fn number_of(&self, names: &[&str]) -> Option<u64> {
        names.iter().find_map(|it| self.number(it))
    }

    /// One that may be below nothing, as temperatures are.
    pub fn signed_of(&self, names: &[&str]) -> Option<i64> {
        names.iter().find_map(|it| self.line(it)?.parse().ok())
    }
}
