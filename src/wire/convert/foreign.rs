//! What sandwatch did not make, and how one of it is asked for.

use super::{
    sandbox::{driver_name, sandbox_name},
    text,
};
use crate::{
    base::{
        clock::Timestamp,
        fault::{Fault, Outcome},
        limits::{FOREIGN_NAME_BYTES_MAX, IMAGE_BYTES_MAX},
        text::{cut, shown},
    },
    model::foreign::{Adoption, Foreign},
    wire::v1,
};

impl From<&Foreign> for v1::ForeignContainer {
    fn from(it: &Foreign) -> Self {
        let name = |text: &str| cut(text, FOREIGN_NAME_BYTES_MAX).to_owned();
        Self {
            driver: it.driver.clone(),
            id: name(&it.id),
            name: name(&it.name),
            image: cut(&it.image, IMAGE_BYTES_MAX).to_owned(),
            state: name(&it.state),
            created_at_ms: it.created_at.0,
        }
    }
}

impl TryFrom<v1::ForeignContainer> for Foreign {
    type Error = Fault;

    fn try_from(wire: v1::ForeignContainer) -> Outcome<Self> {
        let name = |text: &str| shown(text, FOREIGN_NAME_BYTES_MAX);
        Ok(Self {
            driver: driver_name(&wire.driver)?,
            id: name(&wire.id),
            name: name(&wire.name),
            image: shown(&wire.image, IMAGE_BYTES_MAX),
            state: name(&wire.state),
            created_at: Timestamp(wire.created_at_ms),
        })
    }
}

impl From<&Adoption> for v1::AdoptRequest {
    fn from(it: &Adoption) -> Self {
        Self { driver: it.driver.clone(), container: it.container.clone(), name: it.name.clone() }
    }
}

impl TryFrom<v1::AdoptRequest> for Adoption {
    type Error = Fault;

    fn try_from(wire: v1::AdoptRequest) -> Outcome<Self> {
        let container = text("container", wire.container, FOREIGN_NAME_BYTES_MAX)?;
        // It becomes a part of a path at its engine; `.` and `..` there would be others.
        if container.chars().all(|it| it == '.') || container.chars().any(char::is_control) {
            let shown = shown(&container, FOREIGN_NAME_BYTES_MAX);
            return Err(Fault::invalid(format!("not a container: {shown:?}")));
        }
        Ok(Self {
            driver: driver_name(&wire.driver)?,
            container,
            name: wire.name.as_deref().map(sandbox_name).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_and_listed_comes_over_whole_and_nothing_else_does() {
        let asked = Adoption {
            driver: "docker".to_owned(),
            container: "web_1".to_owned(),
            name: Some("web".to_owned()),
        };
        assert_eq!(Adoption::try_from(v1::AdoptRequest::from(&asked)).unwrap(), asked);
        let of = |container: &str| v1::AdoptRequest {
            container: container.to_owned(),
            ..v1::AdoptRequest::from(&asked)
        };
        for bad in ["", ".", "..", "a\nb", &"a".repeat(257)] {
            assert!(Adoption::try_from(of(bad)).is_err(), "{bad:?}");
        }
        let listed = Foreign {
            driver: "docker".to_owned(),
            id: "abc".to_owned(),
            name: "web".to_owned(),
            image: "nginx:1".to_owned(),
            state: "running".to_owned(),
            created_at: Timestamp(-5),
        };
        assert_eq!(Foreign::try_from(v1::ForeignContainer::from(&listed)).unwrap(), listed);
        let mut wire = v1::ForeignContainer::from(&listed);
        wire.name = "\u{1b}[2J".repeat(500);
        let read = Foreign::try_from(wire).unwrap();
        assert!(!read.name.contains('\u{1b}') && read.name.len() < 1024, "{}", read.name.len());
    }
}
