//! The wire: what goes out comes back the same, and whatever comes in breaks nothing.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use prost::Message;
use sandwatch::{
    base::{
        clock::Timestamp,
        fault::{Fault, Kind},
        id::{AskId, ClientId, SandboxId, SessionId, SnapshotId},
        limits::{
            KEYFRAME_PIECE_BYTES, PTY_CHUNK_BYTES_MAX, SANDBOXES_MAX, SESSIONS_PER_SANDBOX_MAX,
            WIRE_MESSAGE_BYTES_MAX,
        },
        units::Size,
    },
    model::{
        ask::{
            Answer, Ask, AskKind, AskState, Asked, Besides, Decision, Made, Request, Revoked, Risk,
            RiskLevel, Scope, Verdict,
        },
        capability::Capabilities,
        change::AppliedPath,
        event::{Event, Level, Notice, SnapshotReason},
        fact::Fact,
        foreign,
        history::{HistoryLine, HistoryMark, HistoryPage, Recording},
        output::{Fidelity, From as Start, Output, OutputRequest},
        rule::{Domain, RuleName},
        sandbox::{
            Egress, Gpus, Isolation, ResourceLimits, Sandbox, SandboxSpec, State, Workspace,
            WorkspaceMode,
        },
        secret::{self, SecretUse, Speech},
        session::{Asking, ExitStatus, Lease, Session, SessionSpec, Status},
    },
    wire::{
        convert::{
            event::{EventReader, event_out},
            output::{OutputReader, output_out, request_in, request_out},
        },
        fault::{from_status, to_status},
        shim, v1,
    },
};

fn any_of<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn line() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 äß漢.:/-]{0,40}"
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9-]{0,62}"
}

fn sandbox_id() -> impl Strategy<Value = SandboxId> {
    "[a-z0-9][a-z0-9_.-]{0,63}".prop_map(|it| SandboxId::parse(&it).unwrap())
}

fn snapshot_id() -> impl Strategy<Value = SnapshotId> {
    "[a-z0-9][a-z0-9_.-]{0,63}".prop_map(|it| SnapshotId::parse(&it).unwrap())
}

fn session_id() -> impl Strategy<Value = SessionId> {
    "[a-z0-9][a-z0-9_.-]{0,63}".prop_map(|it| SessionId::parse(&it).unwrap())
}

fn size() -> impl Strategy<Value = Size> {
    (2_u16..=1000, 2_u16..=1000).prop_map(|(cols, rows)| Size::clamped(cols, rows))
}

fn stamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn exit() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![any::<i32>().prop_map(ExitStatus::Code), (1_i32..=64).prop_map(ExitStatus::Signal)]
}

fn environment() -> impl Strategy<Value = Vec<(String, String)>> {
    vec(("[A-Z_]{1,12}", line()), 0..4)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z]{1,12}", line(), 0..4)
}

fn session_spec() -> impl Strategy<Value = SessionSpec> {
    (vec("[a-z -]{1,20}", 0..5), option::of("/[a-z/]{0,20}"), environment(), size())
        .prop_map(|(command, cwd, env, size)| SessionSpec { command, cwd, env, size })
}

fn workspace() -> impl Strategy<Value = Workspace> {
    prop_oneof![
        ("/[a-zä/]{0,30}", any_of(WorkspaceMode::ALL))
            .prop_map(|(path, mode)| Workspace { path: path.into(), mode }),
        Just(Workspace { path: PathBuf::new(), mode: WorkspaceMode::None }),
    ]
}

fn resource_limits() -> impl Strategy<Value = ResourceLimits> {
    let gpus = prop_oneof![Just(Gpus::All), (1..=64_u32).prop_map(Gpus::Count)];
    (
        option::of(0.01..1000.0_f64),
        option::of(1..u64::MAX),
        option::of(1..u64::MAX),
        option::of(gpus),
    )
        .prop_map(|(cpus, memory_bytes, pids, gpus)| ResourceLimits {
            cpus,
            memory_bytes,
            pids,
            gpus,
        })
}

prop_compose! {
    fn secrets()(
        of in vec(("[a-z]{1,9}\\.example", 1_u16.., any_of(Speech::ALL), any::<[u8; 16]>()), 0..3),
    ) -> Vec<SecretUse> {
        let uses = of.into_iter().enumerate().map(|(at, (host, port, speech, random))| SecretUse {
            name: format!("KEY_{at}"), host, port, speech,
            placeholder: secret::placeholder(random),
        });
        uses.collect()
    }
}

prop_compose! {
    fn sandbox_spec()(
        name in option::of(name()), driver in "[a-z0-9-]{1,20}",
        isolation in option::of(any_of(Isolation::ALL)), image in option::of("[a-z:/.]{1,40}"),
        workspace in workspace(), egress in any_of(Egress::ALL),
        allow in vec("[a-z]{1,9}(\\.[a-z]{1,9}){0,2}(:[1-9][0-9]{0,3})?", 0..4), limits in resource_limits(), env in environment(),
        ttl in option::of((1_u64..1_000_000_000).prop_map(Duration::from_millis)),
        flags in any::<(bool, bool, bool)>(), (labels, first) in (labels(), session_spec()),
        search_path in vec("/[a-z/]{0,20}".prop_map(PathBuf::from), 0..4),
        from in option::of(snapshot_id()),
        every in option::of((60_000_u64..1_000_000_000).prop_map(Duration::from_millis)),
        secrets in secrets(),
    ) -> SandboxSpec {
        SandboxSpec {
            name, driver, isolation, image, workspace, egress, allow, limits, env, ttl, labels,
            record: flags.0, remove_on_exit: flags.1, first, search_path, from,
            awake: flags.2, snapshot_every: every, secrets, given: Vec::new(),
        }
    }
}

prop_compose! {
    fn session()(
        (id, sandbox, ordinal) in (session_id(), sandbox_id(), 1_u32..),
        command in vec("[a-z -]{1,20}", 0..5), status in any_of(Status::ALL),
        (status_why, status_since, title) in (line(), option::of(stamp()), option::of(line())), pid in any::<Option<u32>>(),
        size in size(), (started_at, exited_at) in (stamp(), option::of(stamp())),
        exit in option::of(exit()), last_output_at in option::of(stamp()),
        holder in option::of(("[a-z]{1,9}", line(), stamp(), stamp())),
        counts in any::<(u64, u64, u64, bool)>(),
        asking in option::of((any::<bool>(), line()).prop_map(|(reaches, why)| Asking { reaches, why })),
    ) -> Session {
        let lease = holder.map(|(holder, holder_name, since, used_at)| Lease {
            holder: ClientId::parse(&holder).unwrap(), holder_name, since, used_at,
        });
        Session {
            id, sandbox, ordinal, command, status, status_why, status_since, pid, size, title, started_at, exit,
            exited_at, lease, output_bytes: counts.0, last_output_at,
            journal_lost_bytes: counts.1, bells: counts.2, recording: counts.3, asking,
        }
    }
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    any::<u64>().prop_map(|bits| {
        let mut out = Capabilities::default();
        for (at, (word, _)) in Capabilities::default().words().into_iter().enumerate() {
            out.set(word, bits >> at & 1 == 1);
        }
        out
    })
}

prop_compose! {
    fn sandbox()(
        (id, name, driver) in (sandbox_id(), name(), "[a-z0-9-]{1,20}"),
        state in any_of(State::ALL), raw_state in option::of(line()),
        isolation in option::of(any_of(Isolation::ALL)), created_at in stamp(),
        labels in labels(), workspace in workspace(), egress in any_of(Egress::ALL),
        limits in resource_limits(), capabilities in capabilities(),
        (sessions, asks, notes) in (vec(session(), 0..3), vec(ask(), 0..3), vec(line(), 0..3)),
        stop_asked in any::<bool>(), (snapshots, writes) in any::<(u32, u32)>(),
        moment in option::of(snapshot_id()),
    ) -> Sandbox {
        Sandbox {
            id, name, driver, state, raw_state, isolation, created_at, labels, workspace, egress,
            limits, capabilities, sessions, asks, notes, stop_asked, snapshots,
            moment, writes,
        }
    }
}

prop_compose! {
    fn ask()(
        (id, sandbox, sandbox_name) in ("[a-z0-9]{1,12}", sandbox_id(), name()),
        kind in any_of(AskKind::ALL), subject in "[a-z \u{202e}\\n]{0,20}x",
        details in vec(("[a-z\u{202e}]{1,9}", line()), 0..4), reason in option::of(line()),
        agent in option::of("[a-z]{1,20}"), session in option::of(session_id()),
        (created_at, deadline_at) in (stamp(), stamp()), askers in 1_u32..,
        about in vec((line(), line()), 0..3), editable in any::<bool>(), digest in "[0-9a-f]{64}", level in any_of(RiskLevel::ALL), findings in vec(line(), 0..3),
        state in any_of(AskState::ALL), decision in option::of(decision()),
    ) -> Ask {
        let request = Request { kind, subject, details, reason, agent };
        let id = AskId::parse(&id).unwrap();
        let asked = Asked { id, request, session, created_at, deadline_at, askers, about, editable };
        let risk = Risk { level, findings };
        Ask { asked, sandbox, sandbox_name, digest, risk, state, decision }
    }
}

prop_compose! {
    fn rule_name()(id in "[a-zA-Z0-9_-]{1,40}", of in option::of("/[a-z]{1,9}")) -> RuleName {
        RuleName { id, domain: of.map_or(Domain::All, |it| Domain::Project(it.into())) }
    }
}

prop_compose! {
    fn decision()(
        verdict in any_of(Verdict::ALL), scope in any_of(Scope::ALL), message in option::of(line()),
        by in line(), at in stamp(), waited_ms in any::<u64>(), uses in any::<u64>(),
        revoked in option::of((line(), stamp()).prop_map(|(by, at)| Revoked { by, at })),
        edit in option::of(line()), snapshot in option::of(snapshot_id()),
        rule in option::of((rule_name(), option::of("[0-9a-f]{64}"))),
    ) -> Decision {
        let answer = Answer { verdict, scope, message };
        let rule = rule.map(|(name, sha256)| Made { name, sha256 });
        let besides = Besides { edit, rule, snapshot };
        Decision { answer, by, at, waited_ms, uses, revoked, besides }
    }
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        line().prop_map(Fact::Title),
        Just(Fact::Bell),
        line().prop_map(Fact::Cwd),
        "https://[a-z./]{0,30}".prop_map(|uri| Fact::Link { uri }),
        vec(any::<u8>(), 0..100).prop_map(Fact::Clipboard),
        (option::of(line()), line()).prop_map(|(title, body)| Fact::Notify { title, body }),
        (0_u8..=4, option::of(0_u8..=100))
            .prop_map(|(state, percent)| Fact::Progress { state, percent }),
        ("[A-D]", any::<Option<i32>>()).prop_map(|(mark, exit_code)| Fact::Prompt {
            mark: mark.chars().next().unwrap(),
            exit_code
        }),
        (line(), vec((line(), line()), 0..4))
            .prop_map(|(state, fields)| Fact::Program { state, fields }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (any::<u64>(), any_of(SnapshotReason::ALL), vec(sandbox(), 0..4)).prop_map(
            |(seq, reason, sandboxes)| Event::Snapshot {
                seq,
                reason,
                sandboxes: sandboxes.into_iter().map(Arc::new).collect()
            }
        ),
        (any::<u64>(), sandbox())
            .prop_map(|(seq, it)| Event::Changed { seq, sandbox: Arc::new(it) }),
        (any::<u64>(), sandbox_id()).prop_map(|(seq, id)| Event::Removed { seq, id }),
        (any::<u64>(), stamp(), any_of(Level::ALL), option::of(sandbox_id()), line()).prop_map(
            |(seq, at, level, sandbox, text)| Event::Notice {
                seq,
                notice: Notice { at, level, sandbox, text }
            }
        ),
        (any::<u64>(), session_id(), fact()).prop_map(|(seq, session, fact)| Event::Said {
            seq,
            session,
            fact
        }),
    ]
}

fn output() -> impl Strategy<Value = Output> {
    let offset = || 0_u64..u64::MAX / 2;
    let bytes = |most: usize| vec(any::<u8>(), 0..most).prop_map(Bytes::from);
    prop_oneof![
        (offset(), bytes(200)).prop_map(|(offset, bytes)| Output::Chunk { offset, bytes }),
        (offset(), size(), bytes(200), any::<u64>())
            .prop_map(|(offset, size, state, lost)| Output::Keyframe { offset, size, state, lost }),
        (offset(), size()).prop_map(|(offset, size)| Output::Resize { offset, size }),
        (offset(), fact()).prop_map(|(offset, fact)| Output::Fact { offset, fact }),
        (offset(), exit()).prop_map(|(offset, status)| Output::Exit { offset, status }),
    ]
}

/// Through bytes, as another process would read it.
fn sent<M: Message + Default>(message: &M) -> M {
    let bytes = message.encode_to_vec();
    assert!(bytes.len() <= WIRE_MESSAGE_BYTES_MAX, "{} bytes", bytes.len());
    M::decode(bytes.as_slice()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_request_for_a_sandbox_arrives_as_it_was_sent(spec in sandbox_spec()) {
        prop_assert_eq!(SandboxSpec::try_from(sent(&v1::SandboxSpec::from(&spec))).unwrap(), spec);
    }

    #[test]
    fn a_sandbox_arrives_as_it_was_sent(sandbox in sandbox()) {
        prop_assert_eq!(Sandbox::try_from(sent(&v1::Sandbox::from(&sandbox))).unwrap(), sandbox);
    }

    #[test]
    fn an_event_arrives_as_it_was_sent(event in event()) {
        let mut reader = EventReader::default();
        let read: Vec<_> = event_out(&event).iter()
            .filter_map(|it| reader.take(sent(it)).unwrap()).collect();
        prop_assert_eq!(read, vec![event]);
    }

    #[test]
    fn output_arrives_as_it_was_sent(output in output()) {
        let mut reader = OutputReader::default();
        let read: Vec<_> = output_out(output.clone()).iter()
            .filter_map(|it| reader.take(sent(it)).unwrap()).collect();
        prop_assert_eq!(read, vec![output]);
    }

    #[test]
    fn a_way_to_watch_arrives_as_it_was_sent(
        session in session_id(), offset in any::<Option<u64>>(), full in any::<bool>(),
        every in option::of(1_u64..10_000),
    ) {
        let fidelity = if full { Fidelity::Full } else { Fidelity::Screen };
        let every_at_least = every.map(Duration::from_millis);
        for from in [Start::Now, Start::Start, Start::Offset(offset.unwrap_or(7))] {
            let request = OutputRequest { from, fidelity, every_at_least };
            let read = request_in(&sent(&request_out(&session, &request))).unwrap();
            prop_assert_eq!(read, (session.clone(), request));
        }
    }

    #[test]
    fn a_fault_arrives_with_its_kind_message_and_hint(
        kind in prop::sample::select(vec![
            Kind::Denied, Kind::Absent, Kind::Unsupported, Kind::Busy, Kind::Lost, Kind::Late,
            Kind::Invalid, Kind::Failed, Kind::Bug,
        ]),
        message in line(), hint in option::of(line()),
    ) {
        let fault = Fault::new(kind, message);
        let fault = match hint { Some(hint) => fault.hint(hint), None => fault };
        prop_assert_eq!(from_status(&to_status(&fault)), fault);
    }

    #[test]
    fn bytes_that_nobody_sent_are_refused_or_read_but_never_break_anything(
        bytes in vec(any::<u8>(), 0..400)
    ) {
        hostile(&bytes);
    }

    #[test]
    fn a_message_damaged_on_the_way_never_breaks_anything(
        sandbox in sandbox(), spec in sandbox_spec(), output in output(),
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut messages = vec![
            v1::Sandbox::from(&sandbox).encode_to_vec(), v1::SandboxSpec::from(&spec).encode_to_vec(),
        ];
        messages.extend(output_out(output).iter().map(Message::encode_to_vec));
        for mut message in messages.into_iter().filter(|it| !it.is_empty()) {
            let at = at.index(message.len());
            message[at] = byte;
            hostile(&message);
        }
    }
}

/// Reads bytes as every message that comes from outside.
fn hostile(bytes: &[u8]) {
    fn read<M: Message + Default, T>(bytes: &[u8], convert: impl FnOnce(M) -> T) {
        drop(M::decode(bytes).map(convert));
    }
    use sandwatch::wire::convert::{change, history, hub};
    read(bytes, |it: v1::SandboxSpec| SandboxSpec::try_from(it).is_ok());
    read(bytes, |it: v1::Sandbox| Sandbox::try_from(it).is_ok());
    read(bytes, |it: v1::SessionSpec| SessionSpec::try_from(it).is_ok());
    read(bytes, |it: v1::Session| Session::try_from(it).is_ok());
    read(bytes, |it: v1::EventsResponse| EventReader::default().take(it).is_ok());
    read(bytes, |it: v1::Output| OutputReader::default().take(it).is_ok());
    read(bytes, |it: v1::OutputRequest| request_in(&it).is_ok());
    read(bytes, |it: v1::HistoryPage| HistoryPage::try_from(it).is_ok());
    read(bytes, |it: v1::HistoryRequest| history::history_in(it).is_ok());
    read(bytes, |it: v1::SearchRequest| history::search_in(it).is_ok());
    read(bytes, |it: v1::Recording| Recording::try_from(it).is_ok());
    read(bytes, |it: v1::DiffRequest| change::diff_in(it).is_ok());
    read(bytes, |it: v1::ApplyRequest| change::apply_in(it).is_ok());
    read(bytes, |it: v1::AppliedPath| AppliedPath::try_from(it).is_ok());
    read(bytes, |it: v1::DiffResponse| change::piece_in(it).is_ok());
    read(bytes, |it: v1::ForeignContainer| foreign::Foreign::try_from(it).is_ok());
    read(bytes, |it: v1::AdoptRequest| foreign::Adoption::try_from(it).is_ok());
    read(bytes, |it: v1::InputRequest| hub::input_in(it).is_ok());
    read(bytes, |it: v1::LeaseRequest| hub::lease_in(&it).is_ok());
    read(bytes, |it: v1::NudgeRequest| hub::nudge_in(it).is_ok());
    read(bytes, |it: v1::WaitRequest| hub::wait_in(it).is_ok());
    read(bytes, |it: v1::Fault| Fault::from(it));
    let status = tonic::Status::with_details(tonic::Code::Aborted, "x", bytes.to_vec().into());
    drop(from_status(&status));
}

fn plain_spec() -> v1::SandboxSpec {
    v1::SandboxSpec {
        driver: "local".to_owned(),
        workspace: Some(v1::Workspace {
            path: Bytes::from_static(b"/w"),
            mode: v1::WorkspaceMode::Cow.into(),
        }),
        egress: v1::Egress::Deny.into(),
        first: Some(v1::SessionSpec::default()),
        ..v1::SandboxSpec::default()
    }
}

#[test]
fn what_is_wrong_with_a_request_is_named_by_its_field() {
    type Change = fn(&mut v1::SandboxSpec);
    SandboxSpec::try_from(plain_spec()).unwrap();
    let cases: &[(&str, Change)] = &[
        ("egress", |it| it.egress = 0),
        ("egress", |it| it.egress = 77),
        ("workspace.mode", |it| it.workspace.as_mut().unwrap().mode = 9),
        ("workspace.path", |it| it.workspace.as_mut().unwrap().path = Bytes::from_static(b"x")),
        ("workspace", |it| it.workspace = None),
        ("search_path", |it| it.search_path = vec![Bytes::from_static(b"bin")]),
        ("search_path", |it| it.search_path = vec![Bytes::from_static(b"/bin"); 257]),
        ("isolation", |it| it.isolation = Some(0)),
        ("name", |it| it.name = Some("a/b".to_owned())),
        ("name", |it| it.name = Some("-rf".to_owned())),
        ("name", |it| it.name = Some("Api".to_owned())),
        ("name", |it| it.name = Some("a.b".to_owned())),
        ("name", |it| it.name = Some("a".repeat(64))),
        ("name", |it| it.name = Some(String::new())),
        ("driver", |it| it.driver.clear()),
        ("limits.cpus", |it| {
            it.limits = Some(v1::ResourceLimits { cpus: Some(f64::NAN), ..<_>::default() })
        }),
        ("limits.pids", |it| {
            it.limits = Some(v1::ResourceLimits { pids: Some(0), ..<_>::default() })
        }),
        ("limits.gpus", |it| {
            it.limits = Some(v1::ResourceLimits { gpus: Some(65), ..<_>::default() })
        }),
        ("env", |it| it.env = vec![v1::Pair { key: "A=B".to_owned(), value: String::new() }]),
        ("env", |it| it.env = vec![v1::Pair::default(); 600]),
        ("label", |it| it.labels = vec![v1::Pair { key: "a".to_owned(), value: String::new() }; 2]),
        ("ttl_ms", |it| it.ttl_ms = Some(0)),
        ("ttl_ms", |it| it.ttl_ms = Some(u64::MAX)),
        ("session.command", |it| it.first.as_mut().unwrap().command = vec!["a\0b".to_owned()]),
        ("session.cwd", |it| it.first.as_mut().unwrap().cwd = Some("here".to_owned())),
        ("allow", |it| it.allow = vec!["a b".to_owned()]),
        ("first", |it| it.first = None),
    ];
    for (field, change) in cases {
        let mut spec = plain_spec();
        change(&mut spec);
        let fault = SandboxSpec::try_from(spec).unwrap_err();
        assert_eq!(fault.kind(), Kind::Invalid, "{field}: {fault}");
        assert!(fault.message().contains(field), "{field}: {fault}");
    }
}

#[test]
fn what_a_newer_hub_says_promises_nothing() {
    let wire = v1::Sandbox {
        id: "a".to_owned(),
        name: "a".to_owned(),
        driver: "local".to_owned(),
        state: 99,
        isolation: Some(99),
        egress: 99,
        workspace: Some(v1::Workspace { path: Bytes::from_static(b"/w"), mode: 99 }),
        capabilities: vec!["pause".to_owned(), "teleport".to_owned()],
        ..v1::Sandbox::default()
    };
    let read = Sandbox::try_from(wire).unwrap();
    assert_eq!((read.state, read.isolation, read.egress), (State::Unknown, None, Egress::Deny));
    assert_eq!(read.notes.len(), 2, "{:?}", read.notes);
    assert!(read.capabilities.pause);
    let unknown = v1::EventsResponse { seq: 1, kind: None };
    assert_eq!(EventReader::default().take(unknown).unwrap(), None);
}

#[test]
fn a_fact_that_cannot_be_read_ends_nothing_that_carries_it() {
    use v1::fact::Kind::{Link, Progress, Prompt};
    let kinds = [
        Some(Link("https://x/👨\u{200d}".to_owned())),
        Some(Link("javascript:alert(1)".to_owned())),
        Some(Progress(v1::Progress { state: 99, percent: None })),
        Some(Prompt(v1::Prompt { mark: "newer".to_owned(), exit_code: None })),
        None,
    ];
    for kind in kinds {
        let fact = v1::Fact { kind };
        let message = v1::Output { offset: 1, kind: Some(v1::output::Kind::Fact(fact.clone())) };
        assert_eq!(OutputReader::default().take(message).unwrap(), None, "{fact:?}");
        let said = v1::Said { session: "a".to_owned(), fact: Some(fact.clone()) };
        let kind = Some(v1::events_response::Kind::Said(said));
        let read = EventReader::default().take(v1::EventsResponse { seq: 1, kind });
        assert_eq!(read.unwrap(), None, "{fact:?}");
        let said = shim::Said { session: "a".to_owned(), fact: Some(fact.clone()) };
        assert_eq!(shim::event_in(shim::answer::What::Said(said)).unwrap(), None, "{fact:?}");
    }
}

fn plain_sandbox(id: &str) -> v1::Sandbox {
    v1::Sandbox {
        id: id.to_owned(),
        name: "a".to_owned(),
        driver: "local".to_owned(),
        egress: v1::Egress::Deny.into(),
        workspace: Some(v1::Workspace {
            path: Bytes::from_static(b"/w"),
            mode: v1::WorkspaceMode::Ro.into(),
        }),
        ..v1::Sandbox::default()
    }
}

#[test]
fn of_more_sessions_than_a_sandbox_may_have_the_first_and_the_newest_are_told() {
    let most = SESSIONS_PER_SANDBOX_MAX as u32;
    let session = |ordinal: u32| v1::Session {
        id: format!("s{ordinal}"),
        sandbox: "a".to_owned(),
        ordinal,
        ..v1::Session::default()
    };
    let mut sandbox = Sandbox::try_from(plain_sandbox("a")).unwrap();
    sandbox.sessions = (1..=most + 9).map(|it| session(it).try_into().unwrap()).collect();
    let told = v1::Sandbox::from(&sandbox);
    let ordinals: Vec<u32> = told.sessions.iter().map(|it| it.ordinal).collect();
    assert_eq!(ordinals, std::iter::once(1).chain(11..=most + 9).collect::<Vec<_>>());
    assert_eq!(Sandbox::try_from(told).unwrap().notes, Vec::<String>::new());
    // Whoever tells more than that, or one that can't be read, is still understood.
    let mut wire = plain_sandbox("a");
    wire.sessions = (1..=most + 9).map(session).collect();
    wire.sessions[1].id = "/".to_owned();
    wire.sessions[2].exit = Some(v1::ExitStatus { how: None });
    let read = Sandbox::try_from(wire).unwrap();
    assert_eq!((read.sessions.len(), read.notes.len()), (most as usize - 1, 2), "{:?}", read.notes);
    let ended = &read.sessions[1];
    assert!(ended.exit.is_none() && ended.exited_at.is_some(), "{ended:?}");
}

#[test]
fn an_entry_that_cannot_be_read_costs_itself_only() {
    use v1::events_response::Kind;
    let sandboxes = vec![plain_sandbox("a"), plain_sandbox("../x"), plain_sandbox("b")];
    let snapshot = v1::Snapshot { reason: 0, sandboxes, more: false };
    let mut reader = EventReader::default();
    let kind = Some(Kind::Snapshot(snapshot));
    let read = reader.take(v1::EventsResponse { seq: 1, kind }).unwrap();
    let Some(Event::Snapshot { sandboxes, .. }) = read else { panic!("{read:?}") };
    assert_eq!(sandboxes.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let changed = |id| v1::EventsResponse { seq: 2, kind: Some(Kind::Changed(plain_sandbox(id))) };
    assert_eq!(reader.take(changed("../x")).unwrap(), None);
    assert!(reader.take(changed("b")).unwrap().is_some());
}

#[test]
fn twenty_thousand_sandboxes_arrive_in_pieces() {
    let mut one = Sandbox::try_from(plain_sandbox("x")).unwrap();
    one.workspace.path = "/".repeat(300).into();
    let sandboxes = vec![one; SANDBOXES_MAX];
    let event = Event::Snapshot {
        seq: 5,
        reason: SnapshotReason::First,
        sandboxes: sandboxes.into_iter().map(Arc::new).collect(),
    };
    let messages = event_out(&event);
    assert!(messages.len() > 10);
    let mut reader = EventReader::default();
    let mut read: Vec<_> =
        messages.iter().filter_map(|it| reader.take(sent(it)).unwrap()).collect();
    assert_eq!(read.len(), 1);
    assert_eq!(read.pop(), Some(event));
}

#[test]
fn a_screen_larger_than_a_message_arrives_whole() {
    let state = Bytes::from((0..5_000_000_u32).map(|it| it as u8).collect::<Vec<_>>());
    let output = Output::Keyframe { offset: 9, size: Size::DEFAULT, state, lost: 3 };
    let messages = output_out(output.clone());
    assert_eq!(messages.len(), 5_000_000_usize.div_ceil(KEYFRAME_PIECE_BYTES));
    let mut reader = OutputReader::default();
    let read: Vec<_> = messages.iter().filter_map(|it| reader.take(sent(it)).unwrap()).collect();
    assert_eq!(read, [output]);
    let mut reader = OutputReader::default();
    reader.take(messages[0].clone()).unwrap();
    let chunk = Output::Chunk { offset: 0, bytes: Bytes::new() };
    assert_eq!(reader.take(output_out(chunk)[0].clone()).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_long_chunk_keeps_its_offsets_in_pieces() {
    let bytes = Bytes::from(vec![7; PTY_CHUNK_BYTES_MAX + 1]);
    let messages = output_out(Output::Chunk { offset: 100, bytes });
    let offsets: Vec<u64> = messages.iter().map(|it| it.offset).collect();
    assert_eq!(offsets, [100, 100 + PTY_CHUNK_BYTES_MAX as u64]);
}

#[test]
fn a_page_of_history_too_large_for_a_message_keeps_its_newest_lines() {
    let line = |at| HistoryLine {
        mark: HistoryMark { segment: 0, line: at },
        formatted: vec![b'x'; 60_000],
        wrapped: false,
    };
    let page = HistoryPage { lines: (0..500).map(line).collect(), at_start: true };
    let read = HistoryPage::try_from(sent(&v1::HistoryPage::from(page))).unwrap();
    assert!(!read.at_start && read.lines.len() > 20);
    assert_eq!(read.lines.last().unwrap().mark.line, 499);
}

#[test]
fn a_long_fault_fits_into_headers() {
    let fault = Fault::failed("ä".repeat(10_000)).hint("h".repeat(10_000));
    let status = to_status(&fault);
    assert!(status.message().len() <= 2048 && status.details().len() < 4096);
    assert_eq!(from_status(&status).kind(), Kind::Failed);
}

#[test]
fn an_exit_that_cannot_be_read_is_a_fault_that_says_so() {
    let exit = |how| {
        let kind = Some(v1::output::Kind::Exit(v1::ExitStatus { how }));
        OutputReader::default().take(v1::Output { offset: 9, kind })
    };
    for how in [None, Some(v1::exit_status::How::Signal(0))] {
        let fault = exit(how).unwrap_err();
        assert!(fault.message().starts_with("the program has ended, but how"), "{fault}");
    }
    let read = exit(Some(v1::exit_status::How::Code(3))).unwrap().unwrap();
    assert_eq!(read, Output::Exit { offset: 9, status: ExitStatus::Code(3) });
}

#[test]
fn an_ask_with_a_part_that_has_no_name_is_refused() {
    for key in ["", " ", "\n"] {
        let wire = v1::AskRequest {
            kind: v1::AskKind::Exec.into(),
            subject: "make".to_owned(),
            details: vec![v1::Pair { key: key.to_owned(), value: "x".to_owned() }],
            reason: None,
            agent: None,
        };
        assert_eq!(Request::try_from(wire).unwrap_err().kind(), Kind::Invalid, "{key:?}");
    }
}
