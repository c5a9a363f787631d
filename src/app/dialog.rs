//! The new-sandbox dialog.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use super::confirm::{Confirm, Deed, Says, TAKE_OVER_KEY, Verb};
use super::{
    agent::key_left_out,
    command::split,
    effect::{EffectId, Order},
    line::Editor,
};
use crate::{
    base::{
        id::HubNumber,
        limits::{ENV_ENTRY_BYTES_MAX, IMAGE_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX},
        units::{Size, parse_bytes},
    },
    config::{agents::Profiles, environment, schema::Config},
    model::{
        place::{PLACE_HINT, refused_place},
        sandbox::{
            Egress, Isolation, ResourceLimits, SandboxSpec, Workspace, WorkspaceMode, is_name,
        },
        secret::SecretUse,
        session::SessionSpec,
    },
};

/// The driver of the demo.
const DEMO_DRIVER: &str = "fake";
/// The driver whose programs are this machine's own, and the one whose programs an image has.
const LOCAL_DRIVER: &str = "local";
pub const DOCKER_DRIVER: &str = "docker";
/// Those that there is a choice of.
const DRIVERS: [&str; 2] = [LOCAL_DRIVER, DOCKER_DRIVER];

/// Which field of the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Program,
    Name,
    Directory,
    Workspace,
    Egress,
    Env,
    Driver,
    Image,
    Isolation,
    Cpus,
    Memory,
    Pids,
    Record,
    /// Where there is more than one.
    Hub,
}

impl Field {
    pub const ALL: &[Self] = &[
        Self::Program,
        Self::Name,
        Self::Directory,
        Self::Workspace,
        Self::Egress,
        Self::Env,
        Self::Driver,
        Self::Image,
        Self::Isolation,
        Self::Cpus,
        Self::Memory,
        Self::Pids,
        Self::Record,
        Self::Hub,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Name => "name",
            Self::Directory => "directory",
            Self::Workspace => "workspace",
            Self::Egress => "network",
            Self::Env => "variables",
            Self::Driver => "driver",
            Self::Image => "image",
            Self::Isolation => "isolation",
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Pids => "processes",
            Self::Record => "recording",
            Self::Hub => "hub",
        }
    }

    fn is_text(self) -> bool {
        use Field::{Driver, Egress, Hub, Isolation, Record, Workspace};
        !matches!(self, Workspace | Egress | Driver | Isolation | Record | Hub)
    }
}

/// The new-sandbox dialog.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDialog {
    focus: usize,
    texts: Vec<Editor>,
    pub workspace: WorkspaceMode,
    pub egress: Egress,
    pub isolation: Option<Isolation>,
    pub record: bool,
    driver: String,
    /// Where it is made, and what that is called where there are several.
    pub hub: HubNumber,
    hubs: Vec<(HubNumber, String)>,
    /// The only hub is not the operator's own one.
    elsewhere: bool,
    /// The workspace as configured, where another was proposed for another machine.
    workspace_here: Option<WorkspaceMode>,
    /// Variables as configured, which are proposed for the operator's own hub alone.
    env_here: String,
    /// They were taken out for another.
    env_kept: bool,
    /// The network as configured, until it is chosen by hand: an agent is proposed what it needs.
    egress_untouched: Option<Egress>,
    /// What is put in on the way out, where the network asks.
    secrets: Vec<SecretUse>,
    /// Variables with keys that are set in the operator's environment.
    keys_set: Vec<String>,
    /// What is known of agents.
    profiles: Arc<Profiles>,
    /// Programs offered for the first field.
    offers: Vec<String>,
    /// What `~` stands for.
    home: Option<PathBuf>,
    /// What is wrong, and in which field if it is one; set by an attempt to start.
    pub wrong: Option<(Option<Field>, String)>,
    /// The creation that the hub is asked for; until it answers nothing here changes.
    pub asked: Option<EffectId>,
}

impl NewDialog {
    pub fn new(
        program: &str,
        directory: &str,
        driver: &str,
        config: &Config,
        agents: &[String],
        home: Option<&Path>,
    ) -> Self {
        let mut texts = vec![Editor::new("", 4096); Field::ALL.len()];
        let mut set = |field: Field, text: &str, bytes_max: usize| {
            if let Some(editor) = texts.get_mut(field as usize) {
                *editor = Editor::new(text, bytes_max);
            }
        };
        let new = &config.new;
        let number = |it: Option<String>| it.unwrap_or_default();
        set(Field::Program, program, 4096);
        set(Field::Name, "", NAME_BYTES_MAX);
        set(Field::Directory, directory, PATH_BYTES_MAX);
        let env_here = new.env.join(" ");
        set(Field::Env, &env_here, ENV_ENTRY_BYTES_MAX);
        set(Field::Image, "", IMAGE_BYTES_MAX);
        set(Field::Cpus, &number(new.cpus.map(|it| it.to_string())), 16);
        set(Field::Memory, &number(new.memory_bytes.map(|it| it.to_string())), 24);
        set(Field::Pids, &number(new.pids.map(|it| it.to_string())), 16);
        let mut dialog = Self {
            focus: 0,
            texts,
            egress_untouched: Some(new.egress),
            secrets: if driver == DEMO_DRIVER { Vec::new() } else { new.secrets.clone() },
            keys_set: Vec::new(),
            profiles: Arc::default(),
            workspace: new.workspace,
            egress: new.egress,
            isolation: None,
            record: new.record,
            driver: driver.to_owned(),
            hub: HubNumber::FIRST,
            hubs: Vec::new(),
            elsewhere: false,
            workspace_here: None,
            env_here,
            env_kept: false,
            offers: agents.to_vec(),
            home: home.map(Path::to_owned),
            wrong: None,
            asked: None,
        };
        dialog.propose_network();
        dialog
    }

    /// What is known of agents, and which variables with keys of theirs the operator has.
    pub fn know_agents(&mut self, profiles: &Arc<Profiles>, keys_set: &[String]) {
        (self.profiles, self.keys_set) = (Arc::clone(profiles), keys_set.to_vec());
    }

    /// Where it may be made, and where it is unless told otherwise.
    pub fn know_hubs(&mut self, hubs: Vec<(HubNumber, String)>, here: HubNumber) {
        (self.hubs, self.hub) = (hubs, here);
        self.propose_workspace();
        self.propose_variables();
    }

    /// There is one hub, and it is not the operator's own.
    pub fn is_elsewhere(&mut self) {
        self.elsewhere = true;
        self.propose_variables();
    }

    fn is_own_hub(&self) -> bool {
        self.hub == HubNumber::FIRST && !self.elsewhere
    }

    /// What is the operator's is handed to no other hub unless it is written here: the variables as configured are
    /// proposed for the own one alone, and changed by nothing once they are changed by hand.
    fn propose_variables(&mut self) {
        let (own, text) = (self.is_own_hub(), self.text(Field::Env));
        let proposed = match own {
            true if self.env_kept && text.is_empty() => self.env_here.clone(),
            false if !text.is_empty() && text == self.env_here => String::new(),
            _ => return,
        };
        self.env_kept = !own;
        if let Some(editor) = self.texts.get_mut(Field::Env as usize) {
            editor.set(&proposed);
        }
    }

    /// Secrets that are put in on the way out: the operator's own hub alone gets any.
    fn secrets(&self) -> &[SecretUse] {
        let given = self.egress == Egress::Ask && self.is_own_hub();
        if given { &self.secrets } else { &[] }
    }

    /// What is configured and kept from another hub, for people.
    pub fn kept_back(&self) -> Option<&'static str> {
        if self.is_own_hub() {
            return None;
        }
        let secrets = self.egress == Egress::Ask && !self.secrets.is_empty();
        match (secrets, self.env_kept) {
            (true, true) => Some("variables and secrets of your [new] are for your own hub"),
            (true, false) => Some("secrets of your [new] are for your own hub"),
            (false, true) => Some("variables of your [new] are for your own hub"),
            (false, false) => None,
        }
    }

    /// The fields that there are: where there is one hub, none is chosen.
    pub fn fields(&self) -> &'static [Field] {
        let all = Field::ALL;
        if self.hubs.len() > 1 { all } else { all.split_last().map_or(all, |it| it.1) }
    }

    /// What is here is not there: no directory is proposed for another machine, unless that is changed by hand.
    fn propose_workspace(&mut self) {
        let elsewhere = self.hub != HubNumber::FIRST;
        match self.workspace_here {
            None if elsewhere => {
                self.workspace_here = Some(self.workspace);
                self.workspace = WorkspaceMode::None;
            }
            Some(configured) if !elsewhere => {
                self.workspace = configured;
                self.workspace_here = None;
            }
            _ => {}
        }
    }

    fn hub_name(&self) -> &str {
        let named = self.hubs.iter().find(|it| it.0 == self.hub);
        named.map_or("", |it| it.1.as_str())
    }

    /// An agent is nothing without the model it speaks to: as long as nobody chose otherwise, asking is
    /// proposed for one where nothing would be let out.
    pub fn propose_network(&mut self) {
        if let Some(configured) = self.egress_untouched {
            let needs = self.is_agent() && configured == Egress::Deny;
            self.egress = if needs { Egress::Ask } else { configured };
        }
    }

    /// Puts the cursor on what was proposed.
    pub fn ask_for_network(&mut self) {
        self.focus = Field::ALL.iter().position(|it| *it == Field::Egress).unwrap_or(0);
    }

    fn program(&self) -> &str {
        self.text(Field::Program).split_whitespace().next().unwrap_or_default()
    }

    fn is_agent(&self) -> bool {
        let program = self.program();
        self.offers.iter().any(|it| it == program)
    }

    /// A known agent that could not reach its model.
    fn is_cut_off(&self) -> bool {
        self.egress == Egress::Deny && self.is_agent()
    }

    /// Its network was proposed, not chosen.
    fn is_proposed(&self) -> bool {
        self.egress_untouched.is_some_and(|it| it != self.egress)
    }

    /// A variable with the agent's key, which the operator has and does not hand in.
    fn key_left_out(&self) -> Option<&str> {
        let mut handed_in = split(self.text(Field::Env)).unwrap_or_default();
        handed_in.extend(self.secrets().iter().map(|it| it.name.clone()));
        let agent = Some(self.program()).filter(|_| self.is_agent())?;
        key_left_out(&self.profiles, agent, &self.keys_set, &handed_in)
    }

    /// Shows what is wrong, with the cursor on the field.
    pub fn refuse(&mut self, field: Option<Field>, why: String) {
        self.asked = None;
        if let Some(at) = field.and_then(|it| Field::ALL.iter().position(|of| *of == it)) {
            self.focus = at;
        }
        self.wrong = Some((field, why));
    }

    pub fn focus(&self) -> Field {
        Field::ALL.get(self.focus).copied().unwrap_or(Field::Program)
    }

    pub fn text(&self, field: Field) -> &str {
        self.texts.get(field as usize).map_or("", Editor::text)
    }

    /// The line under the cursor; `None` on a field of choices.
    pub fn editor(&self) -> Option<&Editor> {
        self.texts.get(self.focus).filter(|_| self.focus().is_text())
    }

    pub fn editor_mut(&mut self) -> Option<&mut Editor> {
        let is_text = self.focus().is_text() && self.asked.is_none();
        self.texts.get_mut(self.focus).filter(|_| is_text)
    }

    pub fn step(&mut self, forward: bool) {
        let count = self.fields().len();
        self.wrong = None;
        self.focus = (self.focus + if forward { 1 } else { count - 1 }) % count;
    }

    /// Takes the next or previous choice; says whether this field has choices.
    pub fn choose(&mut self, forward: bool) -> bool {
        match self.focus() {
            _ if self.asked.is_some() => return true,
            Field::Workspace => self.workspace = next(WorkspaceMode::ALL, self.workspace, forward),
            Field::Egress => {
                self.egress = next(Egress::ALL, self.egress, forward);
                self.egress_untouched = None;
            }
            Field::Driver => {
                if DRIVERS.contains(&self.driver.as_str()) {
                    let all = DRIVERS.map(str::to_owned);
                    self.driver = next(&all, self.driver.clone(), forward);
                }
            }
            Field::Isolation => self.isolation = next(&isolations(), self.isolation, forward),
            Field::Record => self.record = !self.record,
            Field::Hub => {
                let all: Vec<HubNumber> = self.hubs.iter().map(|it| it.0).collect();
                self.hub = next(&all, self.hub, forward);
                self.propose_workspace();
                self.propose_variables();
            }
            Field::Program if !self.offers.is_empty() => {
                let now = self.text(Field::Program).to_owned();
                let mut all = vec![String::new()];
                all.extend(self.offers.iter().cloned());
                if !all.contains(&now) {
                    return false;
                }
                let chosen = next(&all, now, forward);
                if let Some(editor) = self.editor_mut() {
                    editor.set(&chosen);
                }
                self.propose_network();
            }
            _ => return false,
        }
        true
    }

    /// What a field means, for the line beside it.
    pub fn says(&self, field: Field) -> String {
        match field {
            Field::Program if self.text(field).trim().is_empty() => {
                let more = if self.offers.is_empty() { "" } else { ", or choose an agent" };
                format!("a shell; type a program{more}")
            }
            Field::Name if self.text(field).is_empty() => "chosen by the hub".to_owned(),
            Field::Workspace => workspace_words(self.workspace).to_owned(),
            Field::Egress if self.is_cut_off() => {
                format!("{}; the agent can't reach its model", self.egress.word())
            }
            Field::Egress if self.is_proposed() => {
                format!("{} (for an agent)", self.egress.means())
            }
            Field::Egress => self.egress.means().to_owned(),
            Field::Env if self.kept_back().is_some() => {
                self.kept_back().unwrap_or_default().to_owned()
            }
            Field::Env => match (self.key_left_out(), self.text(field).is_empty()) {
                (Some(key), _) => format!("your {key} is not passed on; its name here does"),
                (None, true) => "none; NAME passes yours on; NAME=value; blanks between".to_owned(),
                (None, false) => String::new(),
            },
            Field::Driver => match self.driver.as_str() {
                LOCAL_DRIVER => "local: programs of this machine, kept apart".to_owned(),
                DOCKER_DRIVER => "docker: a container of the docker engine".to_owned(),
                other => other.to_owned(),
            },
            Field::Image if !self.text(field).is_empty() => String::new(),
            Field::Image if self.driver == DOCKER_DRIVER => {
                "the usual one; a name, e.g. node:22".to_owned()
            }
            Field::Image => "none; a directory, a tar or an OCI layout".to_owned(),
            Field::Isolation => match self.isolation {
                None if self.driver == DOCKER_DRIVER => "auto: as the engine has it".to_owned(),
                None => "auto: the strongest there is here".to_owned(),
                Some(it) => it.word().to_owned(),
            },
            Field::Cpus if self.text(field).is_empty() => "no limit (cores, e.g. 1.5)".to_owned(),
            Field::Memory if self.text(field).is_empty() => "no limit (e.g. 4g)".to_owned(),
            Field::Pids if self.text(field).is_empty() => "no limit".to_owned(),
            Field::Record if self.record => "yes: every session is kept".to_owned(),
            Field::Record => "no".to_owned(),
            Field::Hub => self.hub_name().to_owned(),
            _ => String::new(),
        }
    }

    /// What is to be made, or which field is wrong and why.
    pub fn order(&self, size: Size) -> Result<Order, (Field, String)> {
        let command = split(self.text(Field::Program)).map_err(|why| (Field::Program, why))?;
        if command.first().is_some_and(|it| it.starts_with('-')) {
            let why = "a program comes first; options like --name are fields here";
            return Err((Field::Program, why.to_owned()));
        }
        let name = self.text(Field::Name);
        if !name.is_empty() && !is_name(name) {
            let why = "a name is lower-case letters, digits and `-`, and does not start with `-`";
            return Err((Field::Name, why.to_owned()));
        }
        let path = self.directory();
        if self.workspace != WorkspaceMode::None && !path.is_absolute() {
            return Err((Field::Directory, "the directory must start with `/` or `~/`".to_owned()));
        }
        if let Some(why) = self.refused_place(&path) {
            return Err((Field::Directory, format!("{why}; {PLACE_HINT}, or workspace none")));
        }
        let (env, pass) = self.variables()?;
        let spec = SandboxSpec {
            name: (!name.is_empty()).then(|| name.to_owned()),
            isolation: self.isolation,
            image: self.image()?,
            egress: self.egress,
            limits: self.limits()?,
            env,
            record: self.record,
            first: SessionSpec { command, cwd: None, env: Vec::new(), size },
            secrets: self.secrets().to_vec(),
            ..SandboxSpec::bare(&self.driver, Workspace { path, mode: self.workspace })
        };
        Ok(Order { spec, pass })
    }

    /// Why the hub would refuse to work on a directory, as far as its path tells.
    fn refused_place(&self, path: &Path) -> Option<&'static str> {
        // The demo's sandboxes have no directory.
        let real = self.workspace != WorkspaceMode::None
            && self.driver != DEMO_DRIVER
            && self.hub == HubNumber::FIRST;
        let homes: Vec<PathBuf> = self.home.iter().cloned().collect();
        real.then(|| refused_place(path, &homes)).flatten()
    }

    /// Why nothing can be started as the form stands.
    pub fn refused(&self) -> Option<&'static str> {
        self.refused_place(&self.directory())
    }

    /// Variables with their values, and names of those to pass on.
    fn variables(&self) -> Result<Variables, (Field, String)> {
        let words = split(self.text(Field::Env)).map_err(|why| (Field::Env, why))?;
        let (mut given, mut passed) = (Vec::new(), Vec::new());
        for word in words {
            let (name, value) =
                word.split_once('=').map_or((word.as_str(), None), |(name, it)| (name, Some(it)));
            if !environment::is_name(name) {
                let why = format!("`{name}` is not the name of a variable");
                return Err((Field::Env, why));
            }
            match value {
                Some(value) => given.push((name.to_owned(), value.to_owned())),
                None => passed.push(name.to_owned()),
            }
        }
        Ok((given, passed))
    }

    /// What it begins with instead of this machine's own programs: by its name where an engine has it, else by a path.
    fn image(&self) -> Result<Option<String>, (Field, String)> {
        let text = self.text(Field::Image).trim();
        if text.is_empty() || self.driver != LOCAL_DRIVER {
            return Ok((!text.is_empty()).then(|| text.to_owned()));
        }
        match self.written_out(text).into_os_string().into_string() {
            Ok(path) if path.starts_with('/') => Ok(Some(path)),
            _ => {
                let why = "with driver local an image is a path that starts with `/` or `~/`";
                Err((Field::Image, why.to_owned()))
            }
        }
    }

    fn directory(&self) -> PathBuf {
        self.written_out(self.text(Field::Directory))
    }

    /// A path as typed, with `~` written out.
    fn written_out(&self, text: &str) -> PathBuf {
        let below = text.strip_prefix('~').filter(|it| it.is_empty() || it.starts_with('/'));
        match (below, &self.home) {
            (Some(below), Some(home)) => home.join(below.trim_start_matches('/')),
            _ => PathBuf::from(text),
        }
    }

    fn limits(&self) -> Result<ResourceLimits, (Field, String)> {
        let read = |field: Field| Some(self.text(field).trim()).filter(|it| !it.is_empty());
        let mut limits = ResourceLimits::default();
        if let Some(text) = read(Field::Cpus) {
            let cpus = text.parse::<f64>().ok().filter(|it| (0.01..=4096.0).contains(it));
            let why = "cores are a number from 0.01 to 4096".to_owned();
            limits.cpus = Some(cpus.ok_or((Field::Cpus, why))?);
        }
        if let Some(text) = read(Field::Memory) {
            let bytes = parse_bytes(text).filter(|it| *it > 0);
            let why = "memory is written like `512m` or `4g`".to_owned();
            limits.memory_bytes = Some(bytes.ok_or((Field::Memory, why))?);
        }
        if let Some(text) = read(Field::Pids) {
            let pids = text.parse::<u64>().ok().filter(|it| (1..=4_194_304).contains(it));
            let why = "processes are a whole number of at least 1".to_owned();
            limits.pids = Some(pids.ok_or((Field::Pids, why))?);
        }
        Ok(limits)
    }

    pub fn is_sound(&self) -> bool {
        self.focus < Field::ALL.len() && self.texts.iter().all(Editor::is_sound)
    }
}

/// Those with a value, and the names of those without.
type Variables = (Vec<(String, String)>, Vec<String>);

/// `auto` and all grades.
fn isolations() -> Vec<Option<Isolation>> {
    [None].into_iter().chain(Isolation::GRADES.map(Some)).collect()
}

fn next<T: Clone + PartialEq>(all: &[T], now: T, forward: bool) -> T {
    let at = all.iter().position(|it| *it == now).unwrap_or(0);
    let count = all.len().max(1);
    all.get((at + if forward { 1 } else { count - 1 }) % count).cloned().unwrap_or(now)
}

/// What a workspace mode means.
pub fn workspace_words(mode: WorkspaceMode) -> &'static str {
    match mode {
        WorkspaceMode::Cow => "cow: sees the real files, its changes stay apart",
        WorkspaceMode::Rw => "rw: changes the real files",
        WorkspaceMode::Ro => "ro: sees the real files, can't change them",
        WorkspaceMode::None => "none: no directory of yours",
    }
}
