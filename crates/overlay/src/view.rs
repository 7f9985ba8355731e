//! All members of an overlay at a moment, as only a simulator can know them.

use crate::Id;

/// The members in the order of their ids.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, P> {
    members: &'a [(Id, P)],
}

impl<'a, P: Copy> View<'a, P> {
    /// A view of `members`, which must be sorted by id, each id once.
    pub fn new(members: &'a [(Id, P)]) -> Self {
        debug_assert!(members.is_sorted_by(|a, b| a.0 < b.0));
        View { members }
    }

    /// The members.
    pub fn members(&self) -> &'a [(Id, P)] {
        self.members
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The place, in [`View::members`], of the first member at or after `id` on the
    /// circle; 0 when there is nobody.
    pub fn successor(&self, id: Id) -> usize {
        let at = self.members.partition_point(|member| member.0 < id);
        if at == self.members.len() { 0 } else { at }
    }

    /// The member `steps` places clockwise from place `at`, around the circle.
    pub fn at(&self, at: usize, steps: isize) -> Option<(Id, P)> {
        let count = isize::try_from(self.members.len()).ok().filter(|&count| count > 0)?;
        let place = (at as isize).wrapping_add(steps).rem_euclid(count);
        self.members.get(place as usize).copied()
    }

    /// The members that share the top `bits` bits of `id`, in order.
    pub fn prefix(&self, id: Id, bits: u32) -> &'a [(Id, P)] {
        let first = id.truncated(bits);
        let from = self.members.partition_point(|member| member.0 < first);
        let rest = &self.members[from..];
        &rest[..rest.partition_point(|member| member.0.truncated(bits) == first)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_round() {
        let members: Vec<(Id, u32)> = [1, 4, 9, 14].map(|n| (Id::small(n, 4), n as u32)).into();
        let view = View::new(&members);
        let successor = |n| members[view.successor(Id::small(n, 4))].1;
        assert_eq!([0, 1, 2, 9, 15].map(successor), [1, 1, 4, 9, 1]);
        assert_eq!(view.at(0, -1), Some((Id::small(14, 4), 14)));
        assert_eq!(view.at(3, 2).map(|member| member.1), Some(4));
        let of = |n, bits| view.prefix(Id::small(n, 4), bits).iter().map(|m| m.1).collect::<Vec<_>>();
        assert_eq!(
            (of(0, 1), of(8, 1), of(0, 0), of(12, 2), of(2, 3)),
            (vec![1, 4], vec![9, 14], vec![1, 4, 9, 14], vec![14], vec![])
        );
        assert_eq!(View::<u32>::new(&[]).at(0, 1), None);
    }
}
