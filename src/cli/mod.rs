//! Layer `cli`: arguments to verbs, results to text and exit codes. The only layer that prints, and
//! the only one that chooses between a hub and an engine in this process.
mod apply;
mod approvals;
mod args;
mod ask;
mod asks_watch;
mod attach;
mod audit;
mod console;
mod context;
mod dashes;
mod demo;
mod diff;
mod egress;
mod exec;
mod explain;
mod export;
mod files;
mod foreign;
mod gateway;
mod hook;
mod hub;
mod json;
mod json_files;
mod jsonl;
mod link;
mod logs;
mod manual;
mod members;
mod mcp;
mod out;
mod paint;
mod patch;
mod policy;
mod proxy;
mod recordings;
mod resolve;
mod rules;
mod run;
mod snapshot;
mod stats;
mod safe;
mod steer;
mod syscalls;
mod table;
mod timeline;
mod tree;
mod typing;
mod values;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    base::{
        fault::{Fault, Outcome},
        limits::TASKS_END_WITHIN,
    },
    config::{contexts::ContextName, paths::Paths},
    hub::Handed,
};
use args::{Cli, Verb};
use link::Target;

/// The command as clap sees it, for the reference pages.
pub fn command() -> clap::Command {
    use clap::CommandFactory;
    Cli::command()
}

/// Runs the verb that was typed.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let code = match dispatch(cli) {
        Ok(code) => code,
        Err(fault) => out::report(&fault),
    };
    ExitCode::from(code)
}

/// Help goes to stdout and is success; a mistake goes to stderr and is 2.
fn usage(error: &clap::Error) -> ExitCode {
    let typed: Option<Vec<String>> =
        std::env::args_os().skip(1).map(|it| it.into_string().ok()).collect();
    if let Some(fault) = typed.and_then(|it| dashes::missing(error, &it)) {
        return ExitCode::from(out::report(&fault));
    }
    // Nobody can be told that telling failed.
    drop(error.print());
    ExitCode::from(error.exit_code() as out::Code)
}

/// Refuses a context where a verb speaks to no hub, or to none but this machine's.
fn no_context(verb: Option<&Verb>, said: Option<&ContextName>) -> Outcome<()> {
    let Some(name) = said.filter(|it| !it.is_local()) else { return Ok(()) };
    let what = match verb {
        Some(Verb::Ask(_) | Verb::Hook(_) | Verb::Mcp(_)) => "this verb asks from inside a sandbox",
        Some(Verb::Completions { .. } | Verb::Man) => "this verb speaks to no hub",
        Some(Verb::Keys(_) | Verb::Themes(_) | Verb::Config(_)) => "these files are this machine's",
        Some(Verb::Policy(args::PolicyVerb::Check { .. })) => "these files are this machine's",
        Some(Verb::Audit(args::AuditVerb::Verify(args::AuditVerifyArgs {
            file: Some(_), ..
        }))) => "this file is this machine's",
        Some(Verb::Hub(args::HubVerb::Serve(_) | args::HubVerb::Proxy(_))) => {
            "this is about the hub of this machine"
        }
        Some(Verb::Context(_)) => "contexts are named, not spoken to",
        Some(Verb::Demo(_)) => "the demo has no hub",
        _ => return Ok(()),
    };
    Err(Fault::invalid(format!("{what}: --context {name}")).hint("leave --context out"))
}

fn dispatch(Cli { context: said, verb }: Cli) -> Outcome<out::Code> {
    let said = said.as_ref();
    no_context(verb.as_ref(), said)?;
    match verb {
        Some(Verb::Completions { shell }) => manual::completions(shell),
        Some(Verb::Man) => manual::page(),
        // `ssh` waits for it, and nothing else is needed.
        Some(Verb::OpenshellTunnel { path }) => {
            crate::driver::openshell::hand_over(&path).map(|()| out::DONE)
        }
        // In a sandbox there is no home, no log and no hub.
        Some(Verb::Ask(args)) => inside(ask::ask(args)),
        Some(Verb::Hook(args)) => Ok(hook::or_block(|| inside(hook::hook(args)))),
        Some(Verb::Mcp(args)) => inside(mcp::mcp(args)),
        // It may lie where nothing else of sandwatch is.
        Some(Verb::Audit(args::AuditVerb::Verify(
            args @ args::AuditVerifyArgs { file: Some(_), .. },
        ))) => audit::verify_file(&args),
        verb => {
            let paths = Paths::from_environment()?;
            match verb {
                // Without a log, which many at once would write.
                Some(Verb::Hub(args::HubVerb::Proxy(args))) => proxy::proxy(&paths, &args),
                // Without a log: no hub need be there for it.
                Some(Verb::Policy(verb)) => inside(policy::policy(&paths, said, verb)),
                Some(Verb::Keys(verb)) => files::keys(&paths, verb),
                Some(Verb::Themes(verb)) => files::themes(&paths, verb),
                Some(Verb::Config(verb)) => files::config(&paths, verb),
                Some(Verb::Context(verb)) => inside(context::context(&paths, verb)),
                verb => with_tasks(&paths, said, verb),
            }
        }
    }
}

fn inside(verb: impl Future<Output = Outcome<out::Code>>) -> Outcome<out::Code> {
    let tasks = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::io("start the task runtime", &error))?;
    let done = tasks.block_on(verb);
    // A thread that still reads stdin must not keep the program from ending.
    tasks.shutdown_background();
    done
}

/// Verbs that wait for a hub, a terminal or time. The hub and the console use several threads; so do verbs for a hub
/// elsewhere, whose connections answer it also while a verb waits for whoever reads what it prints.
fn with_tasks(paths: &Paths, said: Option<&ContextName>, verb: Option<Verb>) -> Outcome<out::Code> {
    let console = matches!(verb, None | Some(Verb::Demo(_)));
    if console && !out::on_terminal() {
        return Err(Fault::invalid("the console needs a terminal")
            .hint("sandwatch --help lists the verbs that work without one"));
    }
    // A hub itself and the demo need none, whatever the file of contexts says.
    let own = matches!(verb, Some(Verb::Demo(_) | Verb::Hub(args::HubVerb::Serve(_))));
    let said = if own { Some(&ContextName::local()) } else { said };
    let named = said.is_some();
    let mut target = Target::chosen(paths, said)?;
    let gateway = match &verb {
        Some(Verb::Hub(args::HubVerb::Serve(args))) => args.gateway.clone(),
        _ => None,
    };
    if let Some(name) = &gateway {
        target = Target { paths: paths.of_gateway(name), ..Target::chosen(paths, Some(name))? };
    }
    let paths = &target.paths.clone();
    let name = match &verb {
        None | Some(Verb::Demo(_)) => "console",
        Some(Verb::Hub(args::HubVerb::Serve(_))) => "hub",
        Some(_) => "cli",
    };
    let handed = match &verb {
        Some(Verb::Hub(args::HubVerb::Serve(args::ServeArgs { detached: true, .. }))) => {
            crate::driver::local::close_inherited();
            crate::hub::detach()?;
            Handed::default()
        }
        // Before anything else is opened.
        Some(Verb::Hub(args::HubVerb::Serve(_))) => Handed::take(paths)?,
        _ => Handed::default(),
    };
    let many = console || name == "hub" || target.is_elsewhere();
    let mut builder = if many {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let tasks = builder
        .enable_all()
        .worker_threads(WORKERS)
        .build()
        .map_err(|error| Fault::io("start the task runtime", &error))?;
    logs::start(paths, name)?;
    let result = tasks.block_on(run_verb(&target, named, verb, handed));
    // A thread that still reads the terminal or stdin must not keep the program from ending; tasks have a moment to end what
    // they started.
    match many {
        true => tasks.shutdown_timeout(TASKS_END_WITHIN),
        false => tasks.shutdown_background(),
    }
    result
}

/// Threads for tasks in the hub and the console: enough to use the cores, few enough to stay small.
const WORKERS: usize = 4;

/// What may become a session on this terminal.
async fn run_to_attach(target: &Target, verb: Verb) -> Outcome<out::Code> {
    let paths = &target.paths;
    match verb {
        Verb::Run(args) => {
            // What is wrong with the request is said before anything is started for it.
            let request = run::Request::new(*args, target)?;
            run::run(&link::hub_to_attach(target).await?.runtime, paths, request).await
        }
        Verb::Attach(args) => {
            attach::attach(&link::hub_to_attach(target).await?.runtime, paths, args).await
        }
        Verb::Fork(args) => {
            snapshot::fork(&link::hub_to_attach(target).await?.runtime, target, args).await
        }
        Verb::Shell(args) => {
            run::shell(&link::hub_to_attach(target).await?.runtime, paths, args).await
        }
        _ => Err(Fault::bug("a verb was dispatched twice")),
    }
}

async fn run_verb(
    target: &Target,
    named: bool,
    verb: Option<Verb>,
    handed: Handed,
) -> Outcome<out::Code> {
    match verb {
        None => console::console(target, named).await,
        Some(Verb::Demo(args)) => demo::demo(&target.paths, args).await,
        Some(Verb::Hub(args::HubVerb::Serve(args))) => {
            hub::serve(target, args, handed).await.map(|()| out::DONE)
        }
        Some(Verb::Hub(verb)) => hub::run(target, verb).await,
        Some(Verb::Doctor(args)) => hub::doctor(target, args).await,
        Some(verb @ (Verb::Run(_) | Verb::Attach(_) | Verb::Fork(_) | Verb::Shell(_))) => {
            run_to_attach(target, verb).await
        }
        Some(verb) => {
            let runtime = link::hub(target).await?.runtime;
            match verb {
                Verb::Ls(args) if args.foreign => foreign::ls(&*runtime, args.json).await,
                Verb::Ls(args) => steer::ls(&*runtime, target.name(), args).await,
                Verb::Explain(args) => explain::explain(&*runtime, args).await,
                Verb::Egress(args) => egress::egress(&*runtime, args).await,
                Verb::Stats(args) => stats::stats(&*runtime, args).await,
                Verb::Metrics => hub::metrics(&*runtime).await,
                Verb::Adopt(args) => foreign::adopt(&*runtime, target.name(), args).await,
                Verb::Exec(args) => exec::exec(&*runtime, args).await,
                Verb::Send(args) => steer::send(&*runtime, args).await,
                Verb::Screen(args) => steer::screen(&*runtime, args).await,
                Verb::Wait(args) => steer::wait(&*runtime, args).await,
                Verb::Pause(args) => {
                    steer::each(&*runtime, &args.sandboxes, steer::Deed::Pause).await
                }
                Verb::Resume(args) => {
                    steer::each(&*runtime, &args.sandboxes, steer::Deed::Resume).await
                }
                Verb::Stop(args) => steer::stop(&*runtime, args).await,
                Verb::Rm(args) => steer::rm(&*runtime, args).await,
                Verb::Apply(args) => apply::apply(&*runtime, args).await,
                Verb::Diff(args) => diff::diff(&*runtime, args).await,
                Verb::Files(verb) => tree::files(&*runtime, verb).await,
                Verb::Snapshot(verb) => snapshot::snapshot(&*runtime, verb).await,
                Verb::Restore(args) => snapshot::restore(&*runtime, target.name(), args).await,
                Verb::Audit(verb) => audit::audit(&*runtime, verb).await,
                Verb::Approvals(verb) => approvals::approvals(&*runtime, verb).await,
                Verb::Timeline(args) => timeline::timeline(&*runtime, args).await,
                Verb::Recordings(verb) => recordings::recordings(&*runtime, verb).await,
                // Handled before a hub was asked for.
                Verb::Run(_)
                | Verb::Attach(_)
                | Verb::Shell(_)
                | Verb::Fork(_)
                | Verb::Demo(_)
                | Verb::Hub(_)
                | Verb::Doctor(_)
                | Verb::Context(_)
                | Verb::Completions { .. }
                | Verb::Man
                | Verb::OpenshellTunnel { .. }
                | Verb::Policy(_)
                | Verb::Ask(_)
                | Verb::Hook(_)
                | Verb::Mcp(_)
                | Verb::Keys(_)
                | Verb::Themes(_)
                | Verb::Config(_) => Err(Fault::bug("a verb was dispatched twice")),
            }
        }
    }
}
