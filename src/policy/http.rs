//! Requests of HTTP as rules see them. Servers read a path that is oddly written each in their own way: such a one is
//! allowed by no rule, and held by every rule that forbids a path.

use super::path::{sample, text_fits};
use crate::{base::limits::REQUEST_PATH_BYTES_MAX, model::ask::Request};

/// What a request does, and where, among the details of what is asked.
pub const METHOD: &str = "method";
pub const PATH: &str = "path";

/// Which requests to a host a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// In capital letters; none = all.
    pub methods: Vec<String>,
    /// `*` and `?` within a part, `**` for any number of parts; `None` = all.
    pub path: Option<String>,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    method: Option<&'a str>,
    /// Without what comes after `?`.
    path: Option<&'a str>,
}

impl<'a> Seen<'a> {
    /// What a person or an agent says of it; `None` when it is a place alone, of which no request is known.
    pub fn of(request: &'a Request) -> Option<Self> {
        let named = |name: &str| {
            let found = request.details.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str())
        };
        let of_address = request.subject.split_once("://").map(|(_, rest)| {
            let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            rest.get(at..).filter(|it| it.starts_with('/')).unwrap_or("/")
        });
        let path = named(PATH).or(of_address);
        let path = path.map(|it| it.split(['?', '#']).next().unwrap_or_default());
        let method = named(METHOD);
        (method.is_some() || path.is_some()).then_some(Self { method, path })
    }
}

impl Requests {
    /// Whether it is one of these, for a rule that allows.
    pub fn surely(&self, seen: Seen<'_>) -> bool {
        let method = |it: &str| self.methods.iter().any(|one| one == it);
        let path = |glob: &str| seen.path.is_some_and(|it| is_clear(it) && text_fits(glob, it));
        (self.methods.is_empty() || seen.method.is_some_and(method))
            && self.path.as_deref().is_none_or(path)
    }

    /// Whether it may be one of these, for a rule that forbids.
    pub fn perhaps(&self, seen: Seen<'_>) -> bool {
        let method = |it: &str| self.methods.iter().any(|one| one.eq_ignore_ascii_case(it));
        // Some servers don't tell capital letters from small ones.
        let small = seen.path.filter(|it| is_clear(it)).map(str::to_ascii_lowercase);
        let path = |glob: &str| {
            small.as_deref().is_none_or(|it| text_fits(&glob.to_ascii_lowercase(), it))
        };
        (self.methods.is_empty() || seen.method.is_none_or(method))
            && self.path.as_deref().is_none_or(path)
    }

    /// What a request that these surely are may be, as details of what is asked.
    pub fn sample(&self) -> Vec<(String, String)> {
        let method = self.methods.first().map_or("GET", String::as_str);
        let path = sample(self.path.as_deref().unwrap_or("/"));
        vec![(METHOD.to_owned(), method.to_owned()), (PATH.to_owned(), path)]
    }

    /// In a line, for people.
    pub fn words(&self) -> String {
        let methods = match self.methods.is_empty() {
            true => "any method".to_owned(),
            false => self.methods.join("|"),
        };
        self.path.iter().fold(methods, |words, path| format!("{words} {path}"))
    }
}

/// Whether every server reads a path alike.
pub fn is_clear(path: &str) -> bool {
    let odd = |part: &str| matches!(part, "." | "..");
    path.len() <= REQUEST_PATH_BYTES_MAX
        && path.starts_with('/')
        && !path.contains("//")
        && !path.contains(['\\', ';', '%'])
        && path.bytes().all(|it| it.is_ascii_graphic())
        && !path.split('/').any(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_path_is_allowed_and_one_that_is_not_is_denied() {
        let rule = Requests { methods: vec!["GET".into()], path: Some("/v1/**".into()) };
        let seen = |method, path| Seen { method: Some(method), path: Some(path) };
        for (method, path, surely, perhaps) in [
            ("GET", "/v1/models", true, true),
            ("GET", "/v1", true, true),
            ("POST", "/v1/models", false, false),
            ("get", "/v1/models", false, true),
            ("GET", "/v2/models", false, false),
            ("GET", "/v1/../v2", false, true),
            ("GET", "/v2/../v1/x", false, true),
            ("GET", "/v2/%2e%2e/v1/x", false, true),
            ("GET", "/%76%31/x", false, true),
            ("GET", "/%2576%2531/x", false, true),
            ("GET", "//v1/x", false, true),
            ("GET", "/v2/..\\v1\\x", false, true),
            ("GET", "/v1;a=b/x", false, true),
            ("GET", "/v1/a%20b", false, true),
            ("GET", "/v2//../v1/x", false, true),
            ("GET", "/v2/%2f../v1/x", false, true),
            ("GET", "/V1/x", false, true),
            ("POST", "/v2//x", false, false),
            ("GET", &format!("/v2/{}", "x".repeat(REQUEST_PATH_BYTES_MAX)), false, true),
        ] {
            let it = seen(method, path);
            assert_eq!((rule.surely(it), rule.perhaps(it)), (surely, perhaps), "{method} {path}");
        }
        let unknown = Seen { method: None, path: Some("/v1/x") };
        assert!(!rule.surely(unknown) && rule.perhaps(unknown));
    }
}
