//! A draft of a rule as a person is shown it: all that it would let out, what else it would change, and what is known of how
//! it came about. Every word of it is somebody else's.

use std::collections::BTreeSet;

use super::generated::v1::{
    L7Match, NetworkEndpoint, NetworkPolicyRule, PolicyChunk, SandboxPolicy,
};
use crate::{
    base::{
        clock::Timestamp,
        limits::{
            ASK_BYTES_MAX, GATEWAY_LABEL_BYTES_MAX, GATEWAY_RULES_MAX, GATEWAY_VALUE_BYTES_MAX,
            GATEWAY_VALUES_MAX,
        },
        text::{count, shown},
    },
    model::ask::{AskKind, Request},
};

/// What is shown, and whether that is all there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    pub request: Request,
    pub about: Vec<(String, String)>,
    /// More is in it than can be shown: nobody can allow what nobody sees.
    pub whole: bool,
}

/// Collects values within bounds.
struct Page {
    details: Vec<(String, String)>,
    whole: bool,
}

impl Page {
    /// A word of the gateway's.
    fn word(&mut self, text: &str, most: usize) -> String {
        let out = shown(text, most);
        self.whole &= text.len() <= most && out.len() < most;
        out
    }

    fn put(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            let value = self.word(value, GATEWAY_VALUE_BYTES_MAX);
            self.details.push((key.to_owned(), value));
        }
    }

    /// Several, each on a line of its own.
    fn list(&mut self, key: &str, all: Vec<String>) {
        let more = all.len().saturating_sub(GATEWAY_VALUES_MAX);
        self.whole &= more == 0;
        let mut lines: Vec<String> = Vec::new();
        for it in all.iter().take(GATEWAY_VALUES_MAX) {
            lines.push(self.word(it, GATEWAY_VALUE_BYTES_MAX));
        }
        if more > 0 {
            lines.push(format!("(+{more} more)"));
        }
        if !lines.is_empty() {
            self.details.push((key.to_owned(), lines.join("\n")));
        }
    }
}

pub fn sheet(chunk: &PolicyChunk) -> Sheet {
    let rule = chunk.proposed_rule.clone().unwrap_or_default();
    let mut page = Page { details: Vec::new(), whole: true };
    let places: Vec<String> = rule.endpoints.iter().flat_map(places).collect();
    let subject = match places.as_slice() {
        [] => format!("rule {}", chunk.rule_name),
        [one] => one.clone(),
        several => several.join(", "),
    };
    let subject = page.word(&subject, GATEWAY_VALUE_BYTES_MAX);
    page.put("rule", &chunk.rule_name);
    let mut programs: BTreeSet<String> =
        rule.binaries.iter().map(|it| it.path.clone()).filter(|it| !it.is_empty()).collect();
    if programs.is_empty() && !chunk.binary.is_empty() {
        programs.insert(chunk.binary.clone());
    }
    page.list("by", programs.into_iter().collect());
    let several = rule.endpoints.len() > 1;
    let each = |of: &dyn Fn(&NetworkEndpoint) -> Vec<String>| -> Vec<String> {
        let named = |it: &NetworkEndpoint| {
            let lines = of(it);
            let place = places_of(it);
            lines.into_iter().map(move |line| match several {
                true => format!("{place}: {line}"),
                false => line,
            })
        };
        rule.endpoints.iter().flat_map(named).collect()
    };
    page.list("speaks", each(&speaks));
    page.list("allows", each(&allows));
    page.list("denies", each(&|it| it.deny_rules.iter().map(matched).collect()));
    page.list("addresses", each(&|it| it.allowed_ips.clone()));
    page.list("credentials", each(&credentials));
    page.list("changes", changes(chunk));
    page.put("validation", &chunk.validation_result);
    page.put("could not be applied", &chunk.application_error);
    page.put("mind", &chunk.security_notes);
    let reason = Some(page.word(&chunk.rationale, GATEWAY_VALUE_BYTES_MAX));
    let mut whole = page.whole;
    let request = Request {
        kind: AskKind::Network,
        subject,
        details: page.details,
        reason: reason.filter(|it| !it.is_empty()),
        agent: None,
    };
    whole &= request.bytes() <= ASK_BYTES_MAX;
    let request = if whole { request } else { bounded(request) };
    Sheet { request, about: about(chunk, whole), whole }
}

/// As much as goes to a console, with words that it is not all.
fn bounded(mut request: Request) -> Request {
    const NOTE: &str = "there is more in it than can be shown, so it can't be allowed here";
    while request.bytes() + 2 * NOTE.len() > ASK_BYTES_MAX {
        let Some(longest) = request.details.iter_mut().max_by_key(|it| it.1.len()) else { break };
        if longest.1.is_empty() {
            break;
        }
        longest.1 = shown(&longest.1, longest.1.len() / 2);
    }
    request.details.push(("not all".to_owned(), NOTE.to_owned()));
    request
}

fn places(endpoint: &NetworkEndpoint) -> Vec<String> {
    let mut ports: BTreeSet<u32> = endpoint.ports.iter().copied().collect();
    if endpoint.port != 0 {
        ports.insert(endpoint.port);
    }
    let host = match endpoint.host.contains(':') {
        true => format!("[{}]", endpoint.host),
        false => endpoint.host.clone(),
    };
    match ports.is_empty() {
        true => vec![format!("{host} (every port)")],
        false => ports.iter().map(|port| format!("{host}:{port}")).collect(),
    }
}

fn places_of(endpoint: &NetworkEndpoint) -> String {
    places(endpoint).join(", ")
}

/// How it is spoken, and how closely that is looked at.
fn speaks(endpoint: &NetworkEndpoint) -> Vec<String> {
    let protocol = match endpoint.protocol.as_str() {
        "" => "any bytes (nobody looks into them)".to_owned(),
        it => it.to_owned(),
    };
    let enforcement = match (endpoint.protocol.is_empty(), endpoint.enforcement.as_str()) {
        (true, _) => String::new(),
        (false, "" | "audit") => "audit: what breaks its rules is noted and still goes out".into(),
        (false, it) => it.to_owned(),
    };
    let mut words = vec![protocol, enforcement];
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            words.push(format!("{key} {value}"));
        }
    };
    put("tls", &endpoint.tls);
    put("access", &endpoint.access);
    put("path", &endpoint.path);
    put("persisted queries", &endpoint.persisted_queries);
    let mcp = endpoint.mcp.unwrap_or_default();
    let flags = [
        (endpoint.allow_encoded_slash, "encoded slashes pass"),
        (mcp.allow_all_known_mcp_methods == Some(true), "every known MCP method"),
        (mcp.strict_tool_names == Some(false), "tool names are not checked strictly"),
        (endpoint.advisor_proposed, "proposed by an advisor"),
    ];
    words.extend(flags.iter().filter(|it| it.0).map(|it| it.1.to_owned()));
    words.retain(|it| !it.is_empty());
    vec![words.join(", ")]
}

fn allows(endpoint: &NetworkEndpoint) -> Vec<String> {
    let rules: Vec<String> =
        endpoint.rules.iter().filter_map(|it| it.allow.as_ref()).map(matched).collect();
    match rules.is_empty() && endpoint.access.is_empty() {
        true => vec!["everything".to_owned()],
        false => rules,
    }
}

fn matched(it: &L7Match) -> String {
    let mut words = Vec::new();
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            words.push(if key.is_empty() { value.to_owned() } else { format!("{key} {value}") });
        }
    };
    put("", &it.method);
    put("", &it.path);
    put("command", &it.command);
    put("operation", &it.operation_type);
    put("", &it.operation_name);
    put("fields", &it.fields.join(", "));
    for (kind, all) in [("query", &it.query), ("parameter", &it.params)] {
        let mut all: Vec<_> = all.iter().collect();
        all.sort_by_key(|it| it.0);
        for (key, matcher) in all {
            let values = match matcher.glob.is_empty() {
                true => matcher.any.join(" | "),
                false => matcher.glob.clone(),
            };
            put(kind, &format!("{key}={values}"));
        }
    }
    match words.is_empty() {
        true => "anything".to_owned(),
        false => words.join(" "),
    }
}

/// What of the operator's goes out there.
fn credentials(endpoint: &NetworkEndpoint) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(it) = &endpoint.credential_binding {
        all.push(format!("those of the provider {} are put in", it.provider));
    }
    if !endpoint.credential_signing.is_empty() {
        let NetworkEndpoint { credential_signing, signing_service, signing_region, .. } = endpoint;
        let words =
            format!("requests are signed: {credential_signing} {signing_service} {signing_region}");
        all.push(words.trim().to_owned());
    }
    let flags = [
        (endpoint.allow_uninspected_credentials, "go out in bytes that nobody looks into"),
        (endpoint.provider_credentialed, "of a provider are put in"),
        (endpoint.websocket_credential_rewrite, "are put into websocket messages"),
        (endpoint.request_body_credential_rewrite, "are put into bodies of requests"),
    ];
    all.extend(flags.iter().filter(|it| it.0).map(|it| it.1.to_owned()));
    all
}

/// What would be another policy than now.
fn changes(chunk: &PolicyChunk) -> Vec<String> {
    let (Some(now), Some(then)) =
        (&chunk.current_effective_policy, &chunk.candidate_effective_policy)
    else {
        let known = !chunk.candidate_effective_policy_hash.is_empty();
        let words = "the gateway does not show the policy that this would make";
        return if known { vec![words.to_owned()] } else { Vec::new() };
    };
    let (now, then) = (lines(now), lines(then));
    let without = now.difference(&then).map(|it| format!("- {it}"));
    let with = then.difference(&now).map(|it| format!("+ {it}"));
    without.chain(with).collect()
}

/// A policy as lines of which each says where it belongs.
fn lines(policy: &SandboxPolicy) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if let Some(files) = &policy.filesystem {
        all.extend(files.read_only.iter().map(|it| format!("read {it}")));
        all.extend(files.read_write.iter().map(|it| format!("write {it}")));
        if files.include_workdir {
            all.insert("write the working directory".to_owned());
        }
    }
    if let Some(it) = &policy.landlock {
        all.insert(format!("landlock {}", it.compatibility));
    }
    if let Some(it) = &policy.process {
        all.insert(format!("runs as {}:{}", it.run_as_user, it.run_as_group));
    }
    let mut rules: Vec<_> = policy.network_policies.iter().collect();
    rules.sort_by_key(|it| it.0);
    for (name, rule) in rules.into_iter().take(GATEWAY_RULES_MAX) {
        all.extend(rule_lines(name, rule));
    }
    if policy.network_policies.len() > GATEWAY_RULES_MAX {
        all.insert(format!("{} rules, too many to compare", policy.network_policies.len()));
    }
    all
}

fn rule_lines(name: &str, rule: &NetworkPolicyRule) -> Vec<String> {
    let programs: Vec<&str> = rule.binaries.iter().map(|it| it.path.as_str()).collect();
    let mut all = vec![format!("{name}: by {}", programs.join(", "))];
    for endpoint in &rule.endpoints {
        let place = places_of(endpoint);
        let parts = [
            ("", speaks(endpoint)),
            ("allows ", allows(endpoint)),
            ("denies ", endpoint.deny_rules.iter().map(matched).collect()),
            ("address ", endpoint.allowed_ips.clone()),
            ("credentials ", credentials(endpoint)),
        ];
        for (kind, lines) in parts {
            all.extend(lines.into_iter().map(|it| format!("{name}: {place}: {kind}{it}")));
        }
    }
    all
}

/// What is known of it beside. None of it changes what is allowed.
fn about(chunk: &PolicyChunk, whole: bool) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut put = |key: &str, value: String| all.push((key.to_owned(), value));
    let sure = chunk.confidence.clamp(0.0, 1.0) * 100.0;
    if sure.is_finite() {
        put("the gateway is sure", format!("{sure:.0} %"));
    }
    if chunk.hit_count > 0 {
        let often = count(chunk.hit_count, "time");
        let moment = |ms: i64| Timestamp(ms).rfc3339();
        let (first, last) = (moment(chunk.first_seen_ms), moment(chunk.last_seen_ms));
        put("was held back", format!("{often}, first {first}, last {last}"));
    }
    if !chunk.stage.is_empty() {
        put("stage", shown(&chunk.stage, GATEWAY_LABEL_BYTES_MAX));
    }
    if !chunk.supersedes_chunk_id.is_empty() {
        put("in place of", shown(&chunk.supersedes_chunk_id, GATEWAY_LABEL_BYTES_MAX));
    }
    if !chunk.rejection_reason.is_empty() {
        let words = shown(&chunk.rejection_reason, GATEWAY_VALUE_BYTES_MAX);
        put("was rejected before", words);
    }
    if whole {
        let words =
            "once allowed, it holds as long as the sandbox is there: no shorter is known there";
        put("holds", words.to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::limits::ASK_DETAILS_MAX;

    fn value<'a>(sheet: &'a Sheet, key: &str) -> &'a str {
        let found = sheet.request.details.iter().find(|it| it.0 == key);
        found.map(|it| it.1.as_str()).unwrap_or_default()
    }

    fn endpoint(host: &str) -> NetworkEndpoint {
        NetworkEndpoint { host: host.to_owned(), port: 443, ..NetworkEndpoint::default() }
    }

    fn chunk(endpoints: Vec<NetworkEndpoint>) -> PolicyChunk {
        let rule = NetworkPolicyRule { endpoints, ..NetworkPolicyRule::default() };
        PolicyChunk {
            rule_name: "one".to_owned(),
            binary: "/usr/bin/curl".to_owned(),
            proposed_rule: Some(rule),
            ..PolicyChunk::default()
        }
    }

    #[test]
    fn all_that_a_rule_lets_out_is_shown() {
        let get = L7Match { method: "GET".into(), path: "/repos/**".into(), ..L7Match::default() };
        let one = NetworkEndpoint {
            protocol: "rest".to_owned(),
            rules: vec![super::super::generated::v1::L7Rule { allow: Some(get) }],
            allowed_ips: vec!["10.0.0.0/8".to_owned()],
            allow_uninspected_credentials: true,
            credential_binding: Some(super::super::generated::v1::NetworkCredentialBinding {
                provider: "github".to_owned(),
            }),
            ..endpoint("api.github.com")
        };
        let sheet = sheet(&chunk(vec![one]));
        assert!(sheet.whole);
        assert_eq!(sheet.request.subject, "api.github.com:443");
        assert_eq!(value(&sheet, "by"), "/usr/bin/curl");
        assert_eq!(value(&sheet, "allows"), "GET /repos/**");
        assert_eq!(value(&sheet, "addresses"), "10.0.0.0/8");
        assert!(value(&sheet, "speaks").contains("still goes out"));
        let credentials = value(&sheet, "credentials");
        assert!(credentials.contains("provider github") && credentials.contains("nobody looks"));
    }

    #[test]
    fn several_places_are_told_apart() {
        let other = NetworkEndpoint { ports: vec![80, 443], ..endpoint("b.example") };
        let sheet = sheet(&chunk(vec![endpoint("a.example"), other]));
        assert_eq!(sheet.request.subject, "a.example:443, b.example:80, b.example:443");
        assert!(value(&sheet, "allows").contains("a.example:443: everything"));
    }

    #[test]
    fn what_the_policy_would_be_instead_is_shown_as_a_difference() {
        let policy = |rules: &[(&str, NetworkEndpoint)]| SandboxPolicy {
            network_policies: rules
                .iter()
                .map(|(name, it)| {
                    let endpoints = vec![it.clone()];
                    let rule = NetworkPolicyRule { endpoints, ..NetworkPolicyRule::default() };
                    ((*name).to_owned(), rule)
                })
                .collect(),
            ..SandboxPolicy::default()
        };
        let now = policy(&[("old", endpoint("a.example"))]);
        let then = policy(&[("old", endpoint("a.example")), ("new", endpoint("*.evil.example"))]);
        let chunk = PolicyChunk {
            current_effective_policy: Some(now),
            candidate_effective_policy: Some(then),
            ..chunk(vec![endpoint("a.example")])
        };
        let sheet = sheet(&chunk);
        let changes = value(&sheet, "changes");
        assert!(changes.contains("+ new: *.evil.example:443: allows everything"), "{changes}");
        assert!(!changes.contains("old"), "{changes}");
    }

    #[test]
    fn what_can_not_be_shown_whole_is_bounded_and_says_so() {
        let long = |many: usize, bytes: usize| {
            let ips = (0..many).map(|it| format!("{it}{}", "9".repeat(bytes))).collect();
            NetworkEndpoint { allowed_ips: ips, ..endpoint("a.example") }
        };
        for (many, bytes, whole) in
            [(3, 10, true), (100, 10, false), (3, 4000, false), (64, 2000, false)]
        {
            let sheet = sheet(&chunk(vec![long(many, bytes)]));
            assert_eq!(sheet.whole, whole, "{many} {bytes}");
            assert!(sheet.request.bytes() <= ASK_BYTES_MAX);
            assert_eq!(value(&sheet, "not all").is_empty(), whole);
        }
    }

    proptest! {
        #[test]
        fn no_word_of_a_gateway_breaks_out(text in ".{0,300}", number in any::<i64>(), sure in any::<f32>()) {
            let one = NetworkEndpoint {
                protocol: text.clone(),
                access: text.clone(),
                allowed_ips: vec![text.clone(); 3],
                ..endpoint(&text)
            };
            let chunk = PolicyChunk {
                rationale: text.clone(),
                rule_name: text.clone(),
                stage: text.clone(),
                hit_count: 3,
                first_seen_ms: number,
                last_seen_ms: number,
                confidence: sure,
                ..chunk(vec![one.clone(), one])
            };
            let sheet = sheet(&chunk);
            prop_assert!(sheet.request.details.len() <= ASK_DETAILS_MAX);
            let words = sheet.request.details.iter().chain(&sheet.about).map(|it| it.1.as_str());
            for it in words.chain([sheet.request.subject.as_str()]) {
                prop_assert!(!it.chars().any(|it| it.is_control() && it != '\n'), "{it:?}");
            }
        }
    }
}
