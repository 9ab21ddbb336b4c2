use lockstep_c10d::ProcessGroup;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The other ranks, for layers that ask them in the middle of a pass. Known once the model is built, as a group is formed for that
/// only where a layer has asked for one.
///
/// It is a group of its own: the Reducer's is held by the Reducer while backward runs, and what layers wait for isn't to stand behind
/// gradients in a queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peers(Rc<RefCell<Option<Arc<dyn ProcessGroup>>>>);

impl Peers {
    /// The group on the model's device; none where a rank has nobody to ask.
    pub(crate) fn group(&self) -> Option<Arc<dyn ProcessGroup>> {
        self.0.borrow().clone()
    }

    /// Tells all that have asked: this is the group of the generation that begins.
    pub(crate) fn tell(&self, group: Arc<dyn ProcessGroup>) {
        *self.0.borrow_mut() = Some(group);
    }

    /// The generation is over.
    pub(crate) fn forget(&self) {
        *self.0.borrow_mut() = None;
    }
}
