//! One connection of a program's: what it is for, whether it may, and then there and back.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustix::net::sockopt;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional_with_sizes},
    net::TcpStream,
    sync::oneshot,
};

use super::{
    Inner, Learned, allows,
    client::{Client, PIECE_BYTES, refuse, reset},
    counted::Counted,
    dns,
    hello::Words,
    log::Bytes,
    looks::{look, over_soon, whose},
    names::Meant,
    noted::{Kind, Word},
    owner,
    reach::{self, Host, Place, Unreached},
    requests::Grant,
    rules, web,
};
use crate::{
    base::{
        limits::{FIRST_WORDS_WITHIN, GATE_LISTEN_WITHIN},
        text::{shown, visible},
    },
    driver::Sender,
    model::{
        ask::{Answer, Scope, Verdict},
        traffic::FlowState,
    },
    policy::rules::Ruling,
};

/// One connection as the log has it.
pub struct Entry<'a> {
    gate: &'a Arc<Inner>,
    /// The program's end, and what it was connected to.
    ends: Option<(SocketAddr, SocketAddr)>,
    pub number: u64,
    pub bytes: Arc<Bytes>,
    told: bool,
}

impl<'a> Entry<'a> {
    fn begin(gate: &'a Arc<Inner>, place: &Place, client: &Client) -> Self {
        let (number, bytes) = gate.log().begin(visible(&place.to_string()));
        let ends = client.stream.peer_addr().ok().map(|from| (from, client.to));
        Self { gate, ends, number, bytes, told: false }
    }

    /// It ends before either side has enough.
    fn cut(&mut self, why: &Word) {
        self.told = true;
        self.gate.cut(self.number, why);
    }

    /// It is kept in, without a person.
    fn denied(&mut self, why: &Word) {
        drop(self.noted(false, false, why.clone()));
        self.becomes(FlowState::Denied, visible(&why.words));
    }

    /// Takes note of what was decided of it without a person, once it is known whose it is.
    fn noted(&self, allowed: bool, standing: bool, word: Word) -> Option<oneshot::Receiver<()>> {
        let (place, program) = self.gate.log().whose(self.number)?;
        self.whose(Some(Kind { place, program, allowed, standing, word }))
    }

    /// Looks whose it is, where that is not known, beside whoever calls; what is to be noted of it is noted then. Gives the
    /// end of the look, if it could begin at once: a connection may be over soon.
    fn whose(&self, note: Option<Kind>) -> Option<oneshot::Receiver<()>> {
        let known = self.gate.log().whose(self.number).is_none_or(|it| it.1.is_some());
        let ends = self.ends.filter(|_| !known);
        let noter = Arc::clone(&self.gate.noters).try_acquire_owned();
        let (Some(ends), Ok(noter)) = (ends, noter) else {
            if let Some(kind) = note {
                self.gate.note(kind);
            }
            return None;
        };
        let (gate, number) = (Arc::clone(self.gate), self.number);
        let turn = Arc::clone(&gate.noting).try_acquire_owned().ok();
        let (over, looked) = oneshot::channel();
        let looked = turn.is_some().then_some(looked);
        tokio::spawn(async move {
            let program = whose(&gate, turn, ends).await.map(|it| visible(&it));
            if program.is_some() {
                gate.log().program(number, program.clone());
            }
            drop(over);
            if let Some(kind) = note {
                gate.note(Kind { program, ..kind });
            }
            drop(noter);
        });
        looked
    }

    pub fn becomes(&mut self, state: FlowState, why: impl Into<Option<String>>) {
        self.told = !matches!(state, FlowState::Asked | FlowState::Open);
        self.gate.log().becomes(self.number, state, why.into());
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.gate.log().becomes(self.number, FlowState::Over, None);
        }
    }
}

fn meant_for(stream: &TcpStream) -> io::Result<SocketAddr> {
    Ok(match stream.local_addr()? {
        SocketAddr::V4(_) => SocketAddr::V4(sockopt::ip_original_dst(stream)?),
        SocketAddr::V6(_) => SocketAddr::V6(sockopt::ipv6_original_dst(stream)?),
    })
}

/// Serves one connection that was redirected, to its end.
pub async fn serve(gate: &Arc<Inner>, stream: TcpStream) {
    // One that was not redirected was meant for the gate itself.
    let direct = stream.local_addr().ok();
    let Some(to) = meant_for(&stream).ok().filter(|it| Some(*it) != direct) else {
        return reset(stream);
    };
    if to.ip().is_loopback() && to.port() == 53 {
        return dns::serve_stream(gate, stream).await;
    }
    if to.ip().is_loopback() {
        return reset(stream);
    }
    let meant = gate.names().meant(to.ip());
    let (host, forgotten) = match meant {
        Meant::Name(name) => (Host::Name(name), false),
        Meant::Forgotten => (Host::Address(to.ip()), true),
        Meant::Address(it) => (Host::Address(it), false),
    };
    let place = Place { host, port: to.port() };
    let client = Client::new(stream, to);
    if forgotten {
        let mut entry = Entry::begin(gate, &place, &client);
        let why = "the name that it stood for was too long ago: look it up again".to_owned();
        return keep(&mut entry, client, &place, why.into()).await;
    }
    let_go(gate, client, place).await;
}

/// Serves one of which it is known where it wants to go.
pub async fn let_go(gate: &Arc<Inner>, mut client: Client, place: Place) {
    let mut entry = Entry::begin(gate, &place, &client);
    let decided = decide(gate, &mut entry, &mut client, &place).await;
    let granted = match decided {
        Ok(decided) => decided,
        Err(kept) => return keep(&mut entry, client, &place, kept).await,
    };
    let looked = match granted.decider {
        Decider::Person => None,
        // Each of its requests is noted, with whose it is.
        _ if !granted.grant.whole => entry.whose(None),
        by => entry.noted(true, by == Decider::Standing, granted.by.clone()),
    };
    let basis = granted.basis.clone();
    let denied = |address| gate.rules.last().denied(&place, Some(address));
    let dialled = reach::dial(&place, granted.named, &gate.lookups, denied);
    match tokio::join!(dialled, over_soon(looked)).0 {
        Ok(server) => {
            let _open = gate.opened();
            if client.admit().await.is_err() {
                return reset(client.stream);
            }
            let address = server.peer_addr().ok().map(|it| it.ip());
            // Dropping both ends cuts it.
            tokio::select! {
                // Whose word it is that denies it is told, where it is both.
                biased;
                by = gate.once(|rules| rules.denied(&place, address)) => entry.cut(&by),
                why = over(gate, &place, address, &basis) => entry.cut(&why),
                () = carry(gate, &mut entry, client, server, &place, granted) => {}
            }
        }
        Err(Unreached::Kept(why)) => {
            drop(client.listen(GATE_LISTEN_WITHIN).await);
            entry.denied(&why);
            refuse(gate, client, &why.words).await;
        }
        Err(Unreached::Failed(why)) => {
            tracing::debug!(%why, "a connection out failed");
            entry.becomes(FlowState::Failed, why.clone());
            client.failed(gate, &why).await;
        }
    }
}

/// Tells a program that it does not get out, once it can be told in its own words.
async fn keep(entry: &mut Entry<'_>, mut client: Client, place: &Place, kept: Kept) {
    let Kept { why, by } = kept;
    let looked = match by {
        Decider::Person => None,
        by => entry.noted(false, by == Decider::Standing, why.clone()),
    };
    drop(tokio::join!(client.listen(GATE_LISTEN_WITHIN), over_soon(looked)));
    entry.becomes(FlowState::Denied, visible(&why.words));
    refuse(entry.gate, client, &format!("{place} is out of reach from here: {why}")).await;
}

/// What lets a connection out.
pub struct Let {
    /// Whose word it is.
    pub by: Word,
    decider: Decider,
    /// A rule names what else is out of reach.
    named: bool,
    basis: Basis,
    pub grant: Grant,
}

/// Who decided of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decider {
    /// Rules, what the sandbox was made with, or what no rule can open.
    Rules,
    /// A person's answer of before.
    Standing,
    /// A person who was asked, or nobody who was.
    Person,
}

/// Why one does not get out.
struct Kept {
    why: Word,
    by: Decider,
}

impl Kept {
    fn by_person(why: impl Into<String>) -> Self {
        Self { why: Word::own(why), by: Decider::Person }
    }
}

impl From<Word> for Kept {
    fn from(why: Word) -> Self {
        Self { why, by: Decider::Rules }
    }
}

impl From<String> for Kept {
    fn from(why: String) -> Self {
        Word::own(why).into()
    }
}

/// For how long it is let out.
#[derive(Clone)]
enum Basis {
    /// As long as rules let it out: the whole place, or, where not `whole`, some of the requests to it.
    Rules { whole: bool },
    /// As long as this is remembered.
    Answer(Learned),
    /// Until it ends by itself, for that was the answer.
    Once,
}

impl Let {
    fn by_rule(by: Word, named: bool, whole: bool) -> Self {
        let (decider, basis) = (Decider::Rules, Basis::Rules { whole });
        Self { by, decider, named, basis, grant: Grant { whole, foreign: None } }
    }
}

/// Resolves, with the reason, when what let it out does no more.
async fn over(gate: &Inner, place: &Place, address: Option<IpAddr>, basis: &Basis) -> Word {
    match basis {
        Basis::Rules { whole } => {
            let denied = |rules: &rules::Snapshot| rules.denied(place, address);
            let none = || Word::own("no rule lets it out any more");
            gate.once(|rules| {
                (!rules.let_out(place, *whole)).then(|| denied(rules).unwrap_or_else(none))
            })
            .await
        }
        Basis::Answer(it) => {
            gate.taken_back(it).await;
            Word::own("its answer was taken back")
        }
        Basis::Once => std::future::pending().await,
    }
}

/// What lets it out; or why it does not get out.
async fn decide(
    gate: &Inner,
    entry: &mut Entry<'_>,
    client: &mut Client,
    place: &Place,
) -> Result<Let, Kept> {
    let rules = gate.rules.now().await;
    let said = rules.judge(place);
    let known = said.by.is_some();
    let by = said.by.unwrap_or_default();
    match said.ruling {
        Ruling::Allow if place.kept().is_none() || said.named => {
            return Ok(Let::by_rule(by, said.named, true));
        }
        Ruling::Deny => return Err(by.into()),
        Ruling::Allow | Ruling::Ask => {}
    }
    if !known && rules.has_about_requests(place) {
        // Nothing is to be seen of a tunnel before it is begun.
        client.admit().await.map_err(|it| it.to_string())?;
        let words = client.listen(FIRST_WORDS_WITHIN).await;
        speaks_to(&words, place)?;
        if let Some((by, named)) = gate.lets_first(&*gate.rules.now().await, place, &words) {
            return Ok(Let::by_rule(by, named, false));
        }
    }
    if let Some(what) = place.kept().filter(|_| !said.named) {
        return Err(format!("{what}, which only a rule that names it opens").into());
    }
    if !gate.ask {
        let why = match said.whole {
            true => "only what --allow or a rule names gets out",
            false => "policy.toml can't be read, and may deny it: see sandwatch policy check",
        };
        return Err(why.to_owned().into());
    }
    let words = client.listen(GATE_LISTEN_WITHIN).await;
    speaks_to(&words, place)?;
    let from = client.stream.peer_addr().map_err(|it| it.to_string())?;
    let ends = (from, client.to);
    let (answer, learned, decider) = tokio::select! {
        answer = ask(gate, entry, &words, place, ends, said.whole) => answer.map_err(Kept::by_person)?,
        () = client.hung_up(gate) => {
            return Err(Kept::by_person("the program waited no longer"));
        }
    };
    let message = answer.message.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
    let word = match answer.verdict {
        Verdict::Allow => format!("allowed: {}{message}", answer.scope.word()),
        Verdict::Deny => format!("denied{message}"),
    };
    let by = Word::own(word);
    if !allows(&answer) {
        return Err(Kept { why: by, by: decider });
    }
    // For always is what the rule is that the answer made, and for no longer than that.
    let now = gate.rules.now().await.judge(place);
    match (now.ruling, now.by) {
        (Ruling::Deny, by) => return Err(by.unwrap_or_default().into()),
        (Ruling::Allow, Some(by)) if learned.is_none() && place.kept().is_none() => {
            return Ok(Let { decider, ..Let::by_rule(by, false, true) });
        }
        _ => {}
    }
    let basis = learned.map_or(Basis::Once, Basis::Answer);
    // Somebody was shown a name, and nothing of what it means inside.
    let grant = Grant { whole: true, foreign: None };
    Ok(Let { by, decider, named: said.named && place.kept().is_some(), basis, grant })
}

/// What a person says of it, or said before; what is remembered of that, and which of both it is.
async fn ask(
    gate: &Inner,
    entry: &Entry<'_>,
    words: &Words,
    place: &Place,
    (from, to): (SocketAddr, SocketAddr),
    whole: bool,
) -> Result<(Answer, Option<Learned>, Decider), String> {
    let sender = look(gate, from, to).await;
    let program = sender.as_ref().and_then(|it| it.program.clone());
    gate.log().program(entry.number, program.as_deref().map(visible));
    let what = Learned { place: place.clone(), program };
    // What nobody knows is no other's, and is asked each time.
    let known = what.program.is_some();
    let may = |it: &Answer| known && (whole || !allows(it));
    if let Some(answer) = gate.remembered(&what).filter(may) {
        return Ok((answer, Some(what), Decider::Standing));
    }
    let request = rules::request(place, what.program.as_deref());
    let pids = sender.as_ref().map(|it| it.pids.clone()).unwrap_or_default();
    let asked = gate.asker.ask(request, about(words, sender.as_ref()), &pids);
    let answer = asked.await.map_err(|it| it.to_string())?;
    if !known || answer.scope == Scope::Once {
        return Ok((answer, None, Decider::Person));
    }
    gate.remember(what.clone(), &answer);
    Ok((answer, Some(what), Decider::Person))
}

/// What is known of it beside what is asked for, for a person.
fn about(words: &Words, sender: Option<&Sender>) -> Vec<(String, String)> {
    const SHOWN_BYTES: usize = 2048;
    let mut about = Vec::new();
    if let Some(sender) = sender {
        about.push(("command", sender.command.clone()));
        about.push(("parents", sender.processes.join(" < ")));
    }
    about.extend(words.described().map(|it| ("it says", it)));
    about.into_iter().map(|(key, it)| (key.to_owned(), shown(&it, SHOWN_BYTES))).collect()
}

/// What a program says it speaks to must be what it asked for.
fn speaks_to(words: &Words, place: &Place) -> Result<(), String> {
    let (what, name) = match words {
        Words::Tls(Some(name)) => ("its TLS", name),
        Words::Http { host: Some(name), .. } => ("its request", name),
        Words::Garbled(why) => return Err((*why).to_owned()),
        _ => return Ok(()),
    };
    if place.is_called(name) {
        return Ok(());
    }
    Err(format!("{what} is for {}, and not for {place}", shown(name, 256)))
}

/// There and back, once it is let out. What the program says first is checked before it is passed on.
async fn carry(
    gate: &Arc<Inner>,
    entry: &mut Entry<'_>,
    mut client: Client,
    server: TcpStream,
    place: &Place,
    mut granted: Let,
) {
    if place.is_this_machine() && gate.secrets.has_one_for(place) {
        granted.grant.foreign = owner::foreign(gate, &server).await;
    }
    let mut server = Counted { inner: server, bytes: Arc::clone(&entry.bytes) };
    let mut byte = [0];
    let names_its_host = matches!(place.port, 80 | 443);
    let words = tokio::select! {
        words = client.listen(FIRST_WORDS_WITHIN) => words,
        // The other side speaks first, as it does for mail and shells.
        _ = server.inner.peek(&mut byte), if !names_its_host => Words::Other,
    };
    let unheard = match &words {
        Words::Unknown if !client.said.is_empty() => {
            Err(Word::own("it began to speak and did not go on"))
        }
        Words::Other | Words::Unknown if names_its_host => {
            Err(Word::own(format!("port {} is for HTTP and TLS, and this is neither", place.port)))
        }
        Words::Other | Words::Unknown | Words::Tls(_) if client.proxied => {
            Err(Word::own("it asked a proxy for it, and what it says is no request of HTTP"))
        }
        words => speaks_to(words, place).map_err(Word::own),
    };
    let opened = matches!(words, Words::Tls(_)) && gate.opens(place);
    let seen = opened || matches!(words, Words::Http { .. });
    let rules = gate.rules.now().await;
    let unheard = unheard.and_then(|()| match seen {
        true => Ok(()),
        false => rules.unseen(place, &granted.grant).map_or(Ok(()), Err),
    });
    if let Err(why) = unheard {
        entry.denied(&why);
        return refuse(gate, client, &why.words).await;
    }
    if let Some(authority) = gate.authority.as_ref().filter(|_| opened) {
        return authority.carry(gate, entry, client, server, place, granted).await;
    }
    entry.becomes(FlowState::Open, granted.by.words);
    if matches!(words, Words::Http { .. }) {
        let way = web::Way::new(gate, place, entry.number, false, granted.grant);
        let way = if client.proxied { way.of_a_proxy() } else { way };
        return web::carry(web::Heard::from(client), server, way).await;
    }
    if server.write_all(&client.said).await.is_err() {
        return reset(client.stream);
    }
    if client.over {
        drop(server.shutdown().await);
    }
    let carried =
        copy_bidirectional_with_sizes(&mut client.stream, &mut server, PIECE_BYTES, PIECE_BYTES);
    let carried = tokio::select! {
        carried = carried => carried,
        why = gate.once(|rules| rules.forbids_unseen(place)) => return entry.cut(&why),
    };
    if let Err(error) = carried {
        tracing::debug!(%error, "a connection out broke");
        reset(client.stream);
    }
}
