//! Where a hub listens beside its socket: a number and a port, since a name may lead elsewhere tomorrow.

use std::net::SocketAddr;

use crate::base::text::shown;

/// What is expected, for whoever wrote something else.
pub const FORM: &str = "https://ADDRESS:PORT with a number for ADDRESS, like https://192.0.2.7:7443 or https://[::]:7443";

/// Reads one place; the fault says what is expected.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    let at = text.strip_prefix("https://").and_then(|it| it.parse().ok());
    at.ok_or_else(|| format!("expected {FORM}: {}", shown(text, 100)))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_numbers_with_tls_are_listened_on() {
        for good in ["https://127.0.0.1:0", "https://[::1]:7443", "https://0.0.0.0:1"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:1",
            "http://127.0.0.1:1",
            "https://localhost:1",
            "https://1.2.3.4",
            "https://1.2.3.4:1/",
        ] {
            assert!(parse(bad).unwrap_err().contains("https://"), "{bad}");
        }
    }
}
