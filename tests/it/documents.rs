//! What the documents say can be done: command lines that parse, links that lead somewhere, and a
//! picture that is of this program.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in ["", "docs", "docs/decisions", "docs/reference"] {
        let entries = fs::read_dir(root().join(dir)).unwrap().map(|it| it.unwrap().path());
        found.extend(entries.filter(|it| it.extension().is_some_and(|it| it == "md")));
    }
    found
}

/// The words of a command line as a shell would give them; ends at a pipe, a redirection or the gap
/// before a remark.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let line = line.split("  ").next().unwrap();
    for it in line.chars() {
        match (quote, it) {
            (Some(mark), it) if it == mark => quote = None,
            (None, '\'' | '"') => quote = Some(it),
            (None, '|' | '>' | ')') => break,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (_, it) => word.push(it),
        }
    }
    words.push(word);
    words.retain(|it| !it.is_empty());
    words
}

#[test]
fn every_command_line_in_the_documents_is_one_we_take() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in ["README.md", "docs/guide.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for line in text.lines().filter(|it| it.starts_with("    ")) {
            let Some(at) = line.find("sandwatch") else { continue };
            if !line[..at].trim().is_empty() && !line[..at].ends_with("$(") {
                continue;
            }
            seen += 1;
            if let Err(error) = sandwatch::cli::command().try_get_matches_from(words(&line[at..])) {
                wrong.push(format!("{file}: {}\n{error}", line.trim()));
            }
        }
    }
    assert!(seen > 20, "only {seen} command lines were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_link_within_the_documents_leads_somewhere() {
    let mut wrong = Vec::new();
    for file in documents() {
        let text = fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1).filter_map(|it| it.split(')').next()) {
            let path = target.split('#').next().unwrap();
            let ours = !path.is_empty() && !path.contains("://");
            if ours && !file.parent().unwrap().join(path).exists() {
                wrong.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links to nothing:\n{}", wrong.join("\n"));
}

/// Fields of a `.proto` file that have no comment right above them.
fn uncommented(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_field = |line: &str| {
        let number = line.strip_suffix(';').and_then(|it| it.rsplit_once(" = ")).map(|it| it.1);
        let words = line.split(' ').take_while(|it| *it != "=").count();
        // A type and a name: a value of an enum has only a name.
        words >= 2 && number.is_some_and(|it| it.parse::<u32>().is_ok())
    };
    let pairs = lines.windows(2).filter(|it| is_field(it[1]) && !it[0].starts_with("//"));
    pairs.map(|it| it[1]).collect()
}

#[test]
fn every_field_of_the_wire_says_what_it_is() {
    let sample = "message A {\n  // Known.\n  string a = 1;\n  optional uint64 b = 2;\n}\nenum E {\n  E_X = 0;\n}";
    assert_eq!(uncommented(sample), ["optional uint64 b = 2;"]);
    for file in ["sandwatch/v1/sandwatch.proto", "sandwatch/shim/v1/shim.proto"] {
        let text = fs::read_to_string(root().join("proto").join(file)).unwrap();
        assert_eq!(uncommented(&text), Vec::<&str>::new(), "{file}");
    }
}
