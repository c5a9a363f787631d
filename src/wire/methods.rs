//! Every call that the descriptors name, so that a table about calls can be held against them.

use prost::Message;

use super::DESCRIPTORS;

#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, optional, tag = "2")]
    package: Option<String>,
    #[prost(message, repeated, tag = "6")]
    service: Vec<Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Method>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Method {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
}

/// `/package.Service/Method` of each, in the order of the file.
pub fn methods() -> Vec<String> {
    let files = Files::decode(DESCRIPTORS).unwrap_or_default().file;
    let mut all = Vec::new();
    for file in &files {
        for service in &file.service {
            for method in &service.method {
                let names = (file.package(), service.name(), method.name());
                all.push(format!("/{}.{}/{}", names.0, names.1, names.2));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_their_names() {
        let all = methods();
        assert!(all.len() > 60, "{}", all.len());
        assert!(all.iter().any(|it| it == "/sandwatch.v1.Hub/Attend"));
    }
}
