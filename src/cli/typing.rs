//! `send`: from words and key names on the command line to the bytes a program reads.

use crate::{
    base::fault::{Fault, Outcome},
    vt::{key, screen::Modes},
};

/// Two words of text next to each other are separated by a space, as a shell would print them; a
/// key that stands by itself (`<Enter>`) separates nothing. A mistyped key is refused: it would be
/// typed, letter by letter, into whatever runs there.
pub fn encode(words: &[String], modes: &Modes) -> Outcome<Vec<u8>> {
    if let Some(name) = words.iter().find_map(|it| key::unknown_key(it)) {
        return Err(Fault::invalid(format!("no such key: <{name}>; there are {}", key::KEY_NAMES))
            .hint(format!("as text it is <lt>{name}>, or send --literal for all of it")));
    }
    let mut bytes = Vec::new();
    let mut after_text = false;
    for word in words {
        let presses = key::parse_keys(word);
        let only_key = presses.len() == 1 && word.len() > 1 && word.starts_with('<');
        if after_text && !only_key {
            bytes.push(b' ');
        }
        for press in presses {
            bytes.extend(key::encode(press, modes));
        }
        after_text = !only_key;
    }
    Ok(bytes)
}

/// All of it as text.
pub fn literal(words: &[String], modes: &Modes) -> Vec<u8> {
    let presses = key::parse_text(&words.join(" "));
    presses.into_iter().flat_map(|it| key::encode(it, modes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_text_and_bracketed_names_are_keys() {
        let typed = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
            String::from_utf8(encode(&words, &Modes::default()).unwrap()).unwrap()
        };
        assert_eq!(typed(&["echo", "a b", "<Enter>"]), "echo a b\r");
        assert_eq!(typed(&["ls<Enter>"]), "ls\r");
        assert_eq!(typed(&["<C-c>", "<Up>", "x"]), "\x03\x1b[Ax");
        assert_eq!(typed(&["<", "x"]), "< x");
        assert_eq!(typed(&["a < b && c > d", "<>", "<a href>"]), "a < b && c > d <> <a href>");
    }

    #[test]
    fn a_mistyped_key_is_refused_and_typed_only_on_purpose() {
        let words = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect::<Vec<String>>();
        for mistyped in ["<Entr>", "ls<Foo>", "<C-Foo>", "<F99>"] {
            let fault = encode(&words(&["ls", mistyped]), &Modes::default()).unwrap_err();
            assert!(fault.to_string().contains("no such key"), "{fault}");
            assert!(fault.to_string().contains("PageUp"), "{fault}");
        }
        assert_eq!(encode(&words(&["<lt>Foo>"]), &Modes::default()).unwrap(), b"<Foo>");
        assert_eq!(literal(&words(&["<Foo>", "<Enter>"]), &Modes::default()), b"<Foo> <Enter>");
    }
}
