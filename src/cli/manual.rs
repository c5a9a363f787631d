//! `completions` and `man`, both made from the table of verbs and flags.

use clap::CommandFactory;

use super::{args::Cli, out};
use crate::base::fault::{Fault, Outcome};

pub fn completions(shell: clap_complete::Shell) -> Outcome<out::Code> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sandwatch", &mut script);
    out::print_bytes(&script)?;
    Ok(out::DONE)
}

pub fn page() -> Outcome<out::Code> {
    let text = roff().map_err(|error| Fault::io("write the manual page", &error))?;
    out::print_bytes(&text)?;
    Ok(out::DONE)
}

/// One page: the program, then every verb as a section of its own.
fn roff() -> std::io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    for verb in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        verb_section(verb, verb.get_name(), &mut text)?;
    }
    page.render_extra_section(&mut text)?;
    page.render_version_section(&mut text)?;
    Ok(text)
}

fn verb_section(verb: &clap::Command, path: &str, text: &mut Vec<u8>) -> std::io::Result<()> {
    let mut section = Vec::new();
    let page = clap_mangen::Man::new(verb.clone());
    page.render_synopsis_section(&mut section)?;
    page.render_description_section(&mut section)?;
    if verb.get_arguments().any(|it| !it.is_hide_set()) {
        page.render_options_section(&mut section)?;
    }
    text.extend_from_slice(format!(".SH \"{}\"\n", path.to_uppercase()).as_bytes());
    // The verb's own headings become sub-headings of its section.
    text.extend_from_slice(String::from_utf8_lossy(&section).replace(".SH ", ".SS ").as_bytes());
    for inner in verb.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help") {
        verb_section(inner, &format!("{path} {}", inner.get_name()), text)?;
    }
    Ok(())
}
