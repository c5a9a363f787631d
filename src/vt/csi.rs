//! A control sequence taken apart, without copying it.

use super::extra;

/// What stands between `ESC [` and the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Csi<'a> {
    /// `?`, `<`, `=`, `>`, or 0.
    pub(super) private: u8,
    /// ` `, `!`, `$` ... or 0.
    pub(super) intermediate: u8,
    pub(super) last: u8,
    params: &'a [u8],
}

impl<'a> Csi<'a> {
    /// `None` for a sequence no terminal would take.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (&last, body) = body.split_last()?;
        let (private, body) = match body.split_first() {
            Some((it @ 0x3c..=0x3f, rest)) => (*it, rest),
            _ => (0, body),
        };
        let end = body.iter().position(|it| !matches!(it, 0x30..=0x3b)).unwrap_or(body.len());
        let (params, rest) = body.split_at(end);
        let intermediate = match rest {
            [] => 0,
            [it @ 0x20..=0x2f] => *it,
            _ => return None,
        };
        Some(Self { private, intermediate, last, params })
    }

    /// The parameters with their sub-parameters, at most 32; an empty one is `None`.
    pub(super) fn params(self) -> impl Iterator<Item = Vec<Option<u16>>> + 'a {
        self.params
            .split(|it| *it == b';')
            .take(32)
            .map(|param| param.split(|it| *it == b':').take(8).map(number).collect())
    }

    /// Parameter `index` where 0 and nothing mean `default`.
    pub(super) fn at_least(self, index: usize, default: u16) -> u16 {
        self.param(index).filter(|it| *it != 0).unwrap_or(default)
    }

    /// Parameter `index`; `None` when nothing stands there.
    pub(super) fn param(self, index: usize) -> Option<u16> {
        let param = self.params.split(|it| *it == b';').nth(index)?;
        number(param.split(|it| *it == b':').next()?)
    }

    pub(super) fn has_params(self) -> bool {
        !self.params.is_empty()
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().fold(0_u16, |value, digit| {
        value.saturating_mul(10).saturating_add(u16::from(digit.wrapping_sub(b'0').min(9)))
    });
    Some(value)
}

/// What a walk through an SGR sequence tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sgr {
    /// The background after it may be none of the default; `None` = as before.
    pub(super) background: Option<bool>,
    /// Underline or inverse may be on after it; `None` = as before.
    pub(super) decorated: Option<bool>,
    /// Of the attributes vt100 does not keep, those left as they are, and those turned on.
    pub(super) extra_kept: u8,
    pub(super) extra_set: u8,
}

/// Where in an SGR sequence a number stands.
#[derive(Clone, Copy)]
enum Part {
    Attribute,
    /// After 38 or 48: how the colour is given.
    Kind {
        background: bool,
    },
    Value {
        background: bool,
        left: u8,
    },
}

impl Sgr {
    fn note(&mut self, attribute: u32) {
        match attribute {
            0 => {
                (self.background, self.decorated) = (Some(false), Some(false));
                self.extra(extra::ALL, false);
            }
            4 | 7 => self.decorated = Some(true),
            40..=47 | 100..=107 => self.background = Some(true),
            49 => self.background = Some(false),
            5 | 6 | 25 => self.extra(extra::BLINK, attribute != 25),
            8 | 28 => self.extra(extra::HIDDEN, attribute == 8),
            9 | 29 => self.extra(extra::STRUCK, attribute == 9),
            _ => {}
        }
    }

    fn extra(&mut self, which: u8, on: bool) {
        self.extra_kept &= !which;
        self.extra_set = self.extra_set & !which | if on { which } else { 0 };
    }
}

impl Sgr {
    const NOTHING: Self =
        Self { background: None, decorated: None, extra_kept: extra::ALL, extra_set: 0 };
    /// When in doubt.
    pub(super) const UNKNOWN: Self =
        Self { background: Some(true), decorated: Some(true), ..Self::NOTHING };

    /// Looks at the parameters of an SGR sequence, in one pass: there is one at every other word of
    /// coloured output. `None` when vt100 would not read them right as they are.
    pub(super) fn of(params: &[u8]) -> Option<Self> {
        let mut out = Self::NOTHING;
        let (mut value, mut count, mut part) = (0_u32, 0, Part::Attribute);
        for &byte in params.iter().chain(b";") {
            match byte {
                b'0'..=b'9' => {
                    value = (value * 10 + u32::from(byte & 15)).min(u32::from(u16::MAX));
                    continue;
                }
                b';' => count += 1,
                _ => return None,
            }
            part = match (part, std::mem::take(&mut value)) {
                (Part::Attribute, 21 | 58 | 59) => return None,
                (Part::Attribute, kind @ (38 | 48)) => Part::Kind { background: kind == 48 },
                (Part::Attribute, value) => {
                    out.note(value);
                    Part::Attribute
                }
                (Part::Kind { background }, 5) => Part::Value { background, left: 1 },
                (Part::Kind { background }, 2) => Part::Value { background, left: 3 },
                (Part::Value { background, left: 1 }, 0..=255) => {
                    out.background = if background { Some(true) } else { out.background };
                    Part::Attribute
                }
                (Part::Value { background, left }, 0..=255) => {
                    Part::Value { background, left: left - 1 }
                }
                // Here vt100 stops reading, and so does this.
                _ => break,
            };
        }
        // Beyond what vt100 reads, the two could disagree on what is on.
        if count > 16 {
            out.background = Some(true);
            out.decorated = Some(true);
        }
        Some(out)
    }
}

impl Csi<'_> {
    /// Writes an SGR sequence anew in the words vt100 knows: underline styles as plain underline,
    /// colours with sub-parameters in either form, underline colours left out. Only the parameters.
    pub(super) fn sgr_rewritten(self) -> String {
        let mut out = String::new();
        let mut params = self.params();
        while let Some(param) = params.next() {
            let text = match param.as_slice() {
                [Some(4), Some(0)] => "24".to_owned(),
                [Some(4), Some(_)] | [Some(21)] => "4".to_owned(),
                [Some(58)] => {
                    let skip = match params.next().as_deref() {
                        Some([Some(5)]) => 1,
                        Some([Some(2)]) => 3,
                        _ => 0,
                    };
                    params.by_ref().take(skip).for_each(drop);
                    continue;
                }
                [Some(kind @ (38 | 48)), Some(5), Some(index)] => format!("{kind};5;{index}"),
                [Some(kind @ (38 | 48)), Some(2), Some(red), Some(green), Some(blue)]
                | [Some(kind @ (38 | 48)), Some(2), _, Some(red), Some(green), Some(blue), ..] => {
                    format!("{kind};2;{red};{green};{blue}")
                }
                [Some(kind @ (38 | 48))] => {
                    let how = params.next();
                    let take = match how.as_deref() {
                        Some([Some(5)]) => 1,
                        Some([Some(2)]) => 3,
                        _ => continue,
                    };
                    let how = if take == 1 { 5 } else { 2 };
                    let mut text = format!("{kind};{how}");
                    for it in params.by_ref().take(take) {
                        let it = it.first().copied().flatten().unwrap_or(0);
                        text.push_str(&format!(";{it}"));
                    }
                    text
                }
                [it] => it.unwrap_or(0).to_string(),
                _ => continue,
            };
            out.push_str(if out.is_empty() { "" } else { ";" });
            out.push_str(&text);
        }
        out
    }
}
