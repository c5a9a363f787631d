//! `send`: from words and key names on the command line to the bytes a program reads.

use crate::vt::{key, screen::Modes};

/// Two words of text next to each other are separated by a space, as a shell would print them; a
/// key that stands by itself (`<Enter>`) separates nothing.
pub fn encode(words: &[String], modes: &Modes) -> Vec<u8> {
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
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_text_and_bracketed_names_are_keys() {
        let typed = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
            String::from_utf8(encode(&words, &Modes::default())).unwrap()
        };
        assert_eq!(typed(&["echo", "a b", "<Enter>"]), "echo a b\r");
        assert_eq!(typed(&["ls<Enter>"]), "ls\r");
        assert_eq!(typed(&["<C-c>", "<Up>", "x"]), "\x03\x1b[Ax");
        assert_eq!(typed(&["<nothing>"]), "<nothing>");
        assert_eq!(typed(&["<", "x"]), "< x");
    }
}
