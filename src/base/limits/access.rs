//! Bounds of who comes from elsewhere: certificates, invites, connections that nobody knows yet, and what one client may take.

use std::time::Duration;

/// Longest name of somebody who is invited, in bytes: it stands beside others in lists.
pub const MEMBER_NAME_BYTES_MAX: usize = 32;
/// Those that may come, invites that are open included; and those that are listed, revoked ones included, as invites are
/// that are open or were not long ago.
pub const MEMBERS_MAX: usize = 256;
pub const INVITES_MAX: usize = 128;
/// Certificates of one of them that are good at once: each renewal makes one, and the one before is good until it expires.
pub const CERTIFICATES_MAX: usize = 32;
/// How long who is revoked, and an invite that is over, stay listed.
pub const MEMBERS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a certificate is good, and when a client asks for the next: after a third, so that a machine that is off for
/// half a day finds its way back.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 3600);
pub const CERTIFICATE_RENEWED_AFTER: Duration = Duration::from_secs(8 * 3600);
/// How often a client that stays looks whether it is time, and how long it may take.
pub const CERTIFICATE_LOOKED_AT_EVERY: Duration = Duration::from_secs(60);
pub const CERTIFICATE_WITHIN: Duration = Duration::from_secs(10);
/// Clocks that are late by less than this see no certificate of the future.
pub const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(3600);
/// The hub's own certificate: made anew at each start and after half of this.
pub const HUB_CERTIFICATE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The authority of a hub: as long as a machine lasts.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// One file of a key or certificate, in bytes.
pub const CERTIFICATE_BYTES_MAX: u64 = 64 * 1024;

/// How long an invite is good: by itself, at least and at most.
pub const INVITE_TTL: Duration = Duration::from_secs(3600);
pub const INVITE_TTL_MIN: Duration = Duration::from_secs(1);
pub const INVITE_TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Wrong secrets for one invite, after which it is none any more.
pub const INVITE_TRIES_MAX: u32 = 5;
/// Addresses in an invite, one of them, and all of it as text, in bytes.
pub const INVITE_ADDRESSES_MAX: usize = 8;
pub const REACHED_AT_BYTES_MAX: usize = 255;
pub const INVITE_TEXT_BYTES_MAX: usize = 8 * 1024;
/// What is said when somebody enrols, in bytes, and how long all of it may take.
pub const ENROL_BYTES_MAX: usize = 4 * 1024;
pub const ENROL_WITHIN: Duration = Duration::from_secs(10);
/// Tries to enrol from one address: so many at once, then one more so often.
pub const ENROL_BURST: u32 = 10;
pub const ENROL_EVERY: Duration = Duration::from_secs(6);

/// Those who may come by certificates of a team's authority, and the name of one, in bytes: an address such as SPIFFE's.
pub const WHO_MAX: usize = 1024;
pub const WHO_NAME_BYTES_MAX: usize = 256;
/// Names of one certificate that are looked at.
pub const CERTIFICATE_NAMES_MAX: usize = 64;
/// Certificates in one file: all authorities that a system trusts, three times.
pub const TEAM_CERTIFICATES_MAX: usize = 512;
/// One such file, in bytes.
pub const TEAM_FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// How often a hub looks whether the files of its team are others: who is taken out is out within that.
pub const TEAM_LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// Issuers whose tokens a hub takes, and the rows of one of who may come.
pub const OIDC_MAX: usize = 8;
pub const OIDC_WHO_MAX: usize = 1024;
/// An issuer or an audience, and the name of a claim, in bytes.
pub const ISSUER_BYTES_MAX: usize = 512;
pub const CLAIM_BYTES_MAX: usize = 128;
/// One file of an issuer's keys, in bytes, and keys in it.
pub const TOKEN_KEYS_BYTES_MAX: u64 = 256 * 1024;
pub const TOKEN_KEYS_MAX: usize = 64;
/// A token, in bytes: those with many groups in them are long.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// By so much the clocks of an issuer and a hub may differ.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(30);
/// One connection lasts no longer by one token, whatever that says.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a token may take to be read or printed, and how long what a program has said is waited for once it has ended.
pub const TOKEN_WITHIN: Duration = Duration::from_secs(20);
pub const TOKEN_DRAINED_WITHIN: Duration = Duration::from_millis(200);
/// Who is told why a token is not taken has so long to hear it, and says so much at most meanwhile, in bytes.
pub const REFUSAL_HEARD_WITHIN: Duration = Duration::from_secs(1);
pub const REFUSAL_UNHEARD_BYTES_MAX: u64 = 64 * 1024;

/// Places that a hub listens on beside its socket.
pub const LISTEN_MAX: usize = 16;
/// Sockets that a service manager may hand down: all of those, and the hub's own.
pub const HANDED_MAX: usize = LISTEN_MAX + 1;
/// Connections from elsewhere that are let in, of all and of one client: a console takes three.
pub const REMOTE_CONNECTIONS_MAX: usize = 384;
pub const REMOTE_CONNECTIONS_EACH_MAX: usize = 96;
/// Beyond so many in all, only who has no more than so few gets one more: two consoles of everybody who comes late.
pub const REMOTE_CONNECTIONS_FREELY: usize = 288;
pub const REMOTE_CONNECTIONS_FEW: usize = 6;
/// Connections that have not shown who they are: of all, and from one address, where a team or a script may be. The rest is
/// closed unheard.
pub const STRANGERS_MAX: usize = 512;
pub const STRANGERS_EACH_MAX: usize = 64;
/// How long the handshake may take, and then the first words; and how long a machine that is called may take to answer at all.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
pub const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A place that the configuration names and that can't be had is tried again so often.
pub const LISTEN_AGAIN_EVERY: Duration = Duration::from_secs(5);
/// Headers of one call, in bytes.
pub const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// A connection that carries nothing is asked so often whether the other side is there, and so many times.
pub const SILENT_AFTER: Duration = Duration::from_secs(20);
pub const SILENT_ASKED_EVERY: Duration = Duration::from_secs(5);
pub const SILENT_ASKED_MAX: u32 = 4;
/// Written, and not confirmed by the other side's machine for so long: the connection is dead.
pub const UNCONFIRMED_WITHIN: Duration = Duration::from_secs(30);

/// Calls of one client from elsewhere: at once, in a burst, and a second after it.
pub const CALLS_OPEN_MAX: u32 = 1024;
pub const CALLS_BURST: u32 = 1000;
pub const CALLS_A_SECOND: u32 = 200;
/// What one client from elsewhere may type, in bytes: in a burst, and a second after it.
pub const TYPED_BURST_BYTES: u32 = 4 * 1024 * 1024;
pub const TYPED_BYTES_A_SECOND: u32 = 1024 * 1024;
/// What is piped into a program is no less, and waits so long between two looks whether there is room.
pub const PACED_EVERY: Duration = Duration::from_millis(20);
/// Addresses and clients that are counted at once; beyond, the quietest are forgotten.
pub const COUNTED_MAX: usize = 1024;

/// Entries of the audit record on refusals of one kind or client, in a burst; then one in `AUDIT_ASK_EVERY`.
pub const AUDIT_REFUSALS_BURST: u32 = 16;
