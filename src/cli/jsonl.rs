//! An entry of the audit record as a line of JSON, and back: nothing may be in a line that its hash does not cover.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};

use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::AUDIT_LINE_BYTES_MAX,
        text::is_deceptive,
    },
    model::audit::{Act, Entry, Value},
};

#[derive(Serialize)]
pub struct EntryView<'a> {
    seq: i64,
    at: String,
    actor: &'a str,
    action: &'a str,
    subject: &'a str,
    details: BTreeMap<&'a str, ValueView<'a>>,
    prev: &'a str,
    hash: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ValueView<'a> {
    Text(&'a str),
    Number(u64),
    List(&'a [String]),
}

impl<'a> From<&'a Entry> for EntryView<'a> {
    fn from(it: &'a Entry) -> Self {
        let value = |it: &'a Value| match it {
            Value::Text(text) => ValueView::Text(text),
            Value::Number(number) => ValueView::Number(*number),
            Value::List(texts) => ValueView::List(texts),
        };
        let Act { at, actor, action, subject, details } = &it.act;
        Self {
            seq: it.seq,
            at: at.rfc3339(),
            actor,
            action,
            subject,
            details: details.iter().map(|(key, it)| (key.as_str(), value(it))).collect(),
            prev: &it.prev,
            hash: &it.hash,
        }
    }
}

/// One line, with its end. What could act on a terminal is written as JSON's `\u`: it means the same.
pub fn line(entry: &Entry) -> Outcome<String> {
    let plain = serde_json::to_string(&EntryView::from(entry));
    let plain = plain.map_err(|error| Fault::bug(format!("write JSON: {error}")))?;
    let mut out = String::with_capacity(plain.len() + 1);
    for it in plain.chars() {
        if is_deceptive(it) {
            let mut units = [0; 2];
            for unit in it.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(it);
        }
    }
    out.push('\n');
    Ok(out)
}

/// Reads a line back, or says why it is none.
pub fn entry(line: &[u8]) -> Result<Entry, String> {
    if line.len() as u64 > AUDIT_LINE_BYTES_MAX {
        return Err(format!("it is longer than {AUDIT_LINE_BYTES_MAX} bytes"));
    }
    let read: EntryRead = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let at = Timestamp::from_rfc3339(&read.at).filter(|it| it.rfc3339() == read.at);
    let at = at.ok_or("its time is not written as an export writes it")?;
    let EntryRead { seq, actor, action, subject, details, prev, hash, .. } = read;
    let act = Act { at, actor, action, subject, details: details.0 };
    Ok(Entry { seq, act, prev, hash })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryRead {
    seq: i64,
    at: String,
    actor: String,
    action: String,
    subject: String,
    details: DetailsRead,
    prev: String,
    hash: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ValueRead {
    Text(String),
    Number(u64),
    List(Vec<String>),
}

/// No key twice: whoever reads the line takes one of the two, and the hash may be of the other.
struct DetailsRead(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for DetailsRead {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Details)
    }
}

struct Details;

impl<'de> Visitor<'de> for Details {
    type Value = DetailsRead;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("details")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DetailsRead, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, ValueRead>()? {
            let value = match value {
                ValueRead::Text(text) => Value::Text(text),
                ValueRead::Number(number) => Value::Number(number),
                ValueRead::List(texts) => Value::List(texts),
            };
            if all.insert(key, value).is_some() {
                return Err(A::Error::custom("a detail is there twice"));
            }
        }
        Ok(DetailsRead(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::audit::{Action, Head},
        model::chain::seal,
    };

    #[test]
    fn an_entry_is_the_same_after_a_line_and_the_line_is_harmless() {
        let text = "a\u{1b}[2J\u{202e}\u{9b}\u{7f}\"\\é日😀\u{e0041}\n";
        let act = Act::new(Timestamp(1_700_000_000_123), text, Action::AskAllowed, text)
            .with("command", vec![text.to_owned()])
            .with("uid", u64::MAX)
            .with("why", text);
        let entry = seal(&Head::none(), act);
        let written = line(&entry).unwrap();
        let harmless = !written.trim_end_matches('\n').chars().any(is_deceptive);
        assert!(harmless && written.ends_with("}\n"), "{written}");
        assert_eq!(super::entry(written.as_bytes()), Ok(entry));
    }

    #[test]
    fn what_no_hash_covers_is_refused() {
        let entry = seal(&Head::none(), Act::new(Timestamp(0), "a", Action::AskDenied, "b"));
        let written = line(&entry.clone()).unwrap();
        let changed = [
            written.replace("\"seq\":1", "\"seq\":1,\"note\":\"x\""),
            written.replace("\"seq\":1", "\"seq\":1,\"seq\":1"),
            written.replace("\"details\":{}", "\"details\":{\"a\":\"x\",\"a\":\"x\"}"),
            written.replace("\"details\":{}", "\"details\":{\"a\":1.5}"),
            written.replace("\"details\":{}", "\"details\":{\"a\":null}"),
            written.replace("\"details\":{}", "\"details\":[]"),
            written.replace(".000Z", "Z"),
            written.replace(".000Z", ".000+00:00"),
            written.replace("\"prev\"", "\"before\""),
            written.trim_end().trim_end_matches('}').to_owned(),
            format!("{} {{}}", written.trim_end()),
            "\n".to_owned(),
        ];
        for it in changed {
            assert_ne!(it, written);
            assert!(super::entry(it.as_bytes()).is_err(), "{it}");
        }
    }
}
