//! `ls --foreign` and `adopt`: what sandwatch did not make.

use super::{
    args::AdoptArgs,
    json::{ForeignView, SandboxView},
    out, paint,
    table::Table,
};
use crate::{
    base::{
        clock,
        fault::{Fault, Outcome},
        text, units,
    },
    config::contexts::ContextName,
    model::{
        foreign::{Adoption, Foreign},
        sandbox::is_name,
    },
    runtime::Runtime,
};

/// As much of an id as tells containers apart, for people.
const ID_SHOWN: usize = 12;
/// Containers named where a prefix is that of several.
const NAMED_MAX: usize = 5;

pub async fn ls(runtime: &dyn Runtime, json: bool) -> Outcome<out::Code> {
    let all = runtime.others().await?;
    if json {
        out::json(&all.iter().map(ForeignView::from).collect::<Vec<_>>())?;
        return Ok(out::DONE);
    }
    if all.is_empty() {
        out::tell("no containers but those of sandwatch");
        return Ok(out::DONE);
    }
    let mut table = Table::new(&["NAME", "ID", "STATE", "AGE", "DRIVER", "IMAGE"]);
    for it in &all {
        let age = units::human_duration(clock::wall().since(it.created_at));
        let id: String = it.id.chars().take(ID_SHOWN).collect();
        table.row(vec![
            it.name.clone().into(),
            id.into(),
            it.state.clone().into(),
            age.into(),
            it.driver.clone().into(),
            it.image.clone().into(),
        ]);
    }
    out::print(&table.render(paint::wanted()))?;
    Ok(out::DONE)
}

pub async fn adopt(
    runtime: &dyn Runtime,
    context: &ContextName,
    args: AdoptArgs,
) -> Outcome<out::Code> {
    let all = runtime.others().await?;
    let found = find(&all, &args.container)?;
    let name = args.name.or_else(|| usual_name(&found.name));
    let adoption = Adoption { driver: found.driver.clone(), container: found.id.clone(), name };
    let sandbox = runtime.adopt(adoption).await?;
    if args.json {
        out::json(&SandboxView::of(context, &sandbox))?;
    } else {
        out::print(&format!("{}\n", sandbox.name))?;
        sandbox.notes.iter().for_each(|it| out::tell(it));
    }
    Ok(out::DONE)
}

/// By its name, its id, or a prefix of that which no other has.
fn find<'a>(all: &'a [Foreign], wanted: &str) -> Outcome<&'a Foreign> {
    if let Some(it) = all.iter().find(|it| it.name == wanted || it.id == wanted) {
        return Ok(it);
    }
    let begin: Vec<_> =
        all.iter().filter(|it| !wanted.is_empty() && it.id.starts_with(wanted)).collect();
    match begin.as_slice() {
        [it] => Ok(it),
        [] => {
            let words =
                format!("no container that sandwatch did not make: {}", text::visible(wanted));
            Err(Fault::absent(words).hint("sandwatch ls --foreign lists them"))
        }
        many => {
            let names: Vec<_> = many.iter().take(NAMED_MAX).map(|it| it.name.as_str()).collect();
            let words = format!("{} containers begin with {}", many.len(), text::visible(wanted));
            Err(Fault::invalid(words)
                .hint(format!("give more of the id, or a name: {}", names.join(", "))))
        }
    }
}

/// The container's name as a sandbox can have it; `None` = the hub makes one up.
fn usual_name(name: &str) -> Option<String> {
    let plain = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_matches('-').to_owned();
    is_name(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;

    #[test]
    fn a_container_is_found_by_its_name_or_by_an_id_that_no_other_begins_with() {
        let one = |name: &str, id: &str| Foreign {
            driver: "docker".to_owned(),
            id: id.to_owned(),
            name: name.to_owned(),
            image: String::new(),
            state: "running".to_owned(),
            created_at: Timestamp(0),
        };
        let all = [one("web", "abc1"), one("abc", "abd2"), one("", "ffff")];
        let found = |wanted: &str| find(&all, wanted).map(|it| it.id.clone());
        assert_eq!(found("web").unwrap(), "abc1");
        assert_eq!(found("abc").unwrap(), "abd2");
        assert_eq!(found("f").unwrap(), "ffff");
        assert!(found("ab").unwrap_err().hint_text().unwrap().contains("web, abc"));
        assert!(found("x").is_err());
        assert_eq!(usual_name("My_app.1").as_deref(), Some("my-app-1"));
        assert_eq!(usual_name("___"), None);
    }
}
