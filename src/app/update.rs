//! `update`: one message in, state changed, effects out.

use super::{
    effect::Effect,
    msg::{Moment, Msg},
    state::State,
};

/// Takes one message in. Draw again afterwards when it answers `true` in `Turn::draw`.
pub fn update(state: &mut State, now: Moment, msg: Msg) -> Vec<Effect> {
    let _ = (state, now, msg);
    Vec::new()
}
