//! What is in published files beside the parameters, and other names of them.

use super::HEAD;
use super::shape::Layout;

/// The parameter that a published tensor is for; none for what this model computes itself, or has once.
pub(super) fn parameter_of(name: &str, layout: Layout, is_tied: bool) -> Option<String> {
    let names = layout.names();
    let is_constant = match layout {
        // The mask of attention, which older files hold.
        Layout::Gpt2 => name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"),
        Layout::Llama => name.ends_with(".rotary_emb.inv_freq"),
    };
    let head = name.strip_prefix(HEAD).is_some_and(|rest| rest.starts_with('.'));
    if is_constant || head && is_tied {
        return None;
    }
    // OpenAI's files are of the body alone, so they leave out its name.
    let is_bare = [names.embedding, names.positions, names.blocks, names.norm]
        .iter()
        .any(|part| name.strip_prefix(part).is_some_and(|rest| rest.starts_with('.')));
    Some(if is_bare { format!("{}.{name}", names.body) } else { name.to_owned() })
}
