/// Implements [`ProcessGroup`](crate::ProcessGroup) for a backend, by its [`C10dGroup`](crate::C10dGroup) in `group`.
macro_rules! passes_on {
    ($backend:ident) => {
        impl $crate::ProcessGroup for $backend {
            fn rank(&self) -> usize {
                self.group.rank()
            }

            fn world_size(&self) -> usize {
                self.group.world_size()
            }

            fn all_reduce(&self, tensor: &tch::Tensor, op: $crate::ReduceOp) -> $crate::Result<()> {
                self.group.all_reduce(tensor, op)
            }

            fn start_all_reduce(
                &self,
                tensor: tch::Tensor,
                op: $crate::ReduceOp,
            ) -> $crate::Result<$crate::Pending> {
                self.group.start_all_reduce(tensor, op)
            }

            fn broadcast(&self, tensor: &tch::Tensor, root: usize) -> $crate::Result<()> {
                self.group.broadcast(tensor, root)
            }

            fn broadcast_coalesced(&self, tensors: &[tch::Tensor], root: usize) -> $crate::Result<()> {
                self.group.broadcast_coalesced(tensors, root)
            }

            fn all_gather(&self, tensor: &tch::Tensor) -> $crate::Result<tch::Tensor> {
                self.group.all_gather(tensor)
            }

            fn barrier(&self, deadline: std::time::Duration) -> $crate::Result<()> {
                self.group.barrier(deadline)
            }

            fn abort(&self, reason: &str) {
                self.group.abort(reason);
            }

            fn aborted(&self) -> Option<String> {
                self.group.aborted()
            }

            fn c10d(&self) -> &$crate::C10dGroup {
                &self.group
            }
        }
    };
}
pub(super) use passes_on;
