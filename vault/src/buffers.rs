//! Buffers that go round between those who fetch and unpack and those who take the rows.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of buffers that wait for their next use, at most.
const MOST_IDLE_BYTES: usize = 16 << 20;
/// Sizes of large buffers are multiples of so many bytes, so that more of them fit.
const STEP_BYTES: usize = 1 << 20;
/// No buffer is made larger before its content has come: it is others that say how much that will be.
const MOST_AT_ONCE_BYTES: u64 = 256 << 20;

/// A supply of buffers of some MiB. What a consumer drops is used again, since a fresh buffer of that size costs more
/// than what is written into it: the operating system has to find and clear every page of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers {
    idle: Arc<Mutex<Idle>>,
}

#[derive(Debug, Default)]
struct Idle {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Buffers {
    /// An empty buffer with room for so many bytes, used before or new.
    pub(crate) fn take(&self, bytes: u64) -> Vec<u8> {
        let room = usize::try_from(bytes.min(MOST_AT_ONCE_BYTES)).unwrap_or_default();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = idle.buffers.iter().enumerate();
        let fitting = fitting.filter(|(_, buffer)| buffer.capacity() >= room);
        let smallest = fitting.min_by_key(|(_, buffer)| buffer.capacity());
        if let Some(at) = smallest.map(|(at, _)| at) {
            let buffer = idle.buffers.swap_remove(at);
            idle.bytes -= buffer.capacity();
            return buffer;
        }
        drop(idle);
        Vec::with_capacity(if room < STEP_BYTES {
            room
        } else {
            room.next_multiple_of(STEP_BYTES)
        })
    }

    /// The content of a buffer, which comes back when the last clone of it is dropped.
    pub(crate) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent {
            buffer,
            home: self.clone(),
        })
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.bytes + buffer.capacity() <= MOST_IDLE_BYTES {
            idle.bytes += buffer.capacity();
            idle.buffers.push(buffer);
        }
    }
}

struct Lent {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_comes_back_empty_when_nobody_holds_it() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(1_000);
        buffer.extend_from_slice(&[7; 1000]);
        let place = buffer.as_ptr();
        let lent = buffers.lend(buffer);
        let part = lent.slice(10..20);
        drop(lent);
        let other = buffers.take(1_000);
        assert_ne!(other.as_ptr(), place);
        assert_eq!(part, [7; 10].as_slice());
        drop(part);
        let again = buffers.take(1_000);
        assert!(again.is_empty());
        assert_eq!((again.as_ptr(), again.capacity()), (place, 1_000));
    }

    #[test]
    fn the_smallest_is_taken_that_has_the_room() {
        let buffers = Buffers::default();
        for mib in [3, 1, 2] {
            drop(buffers.lend(Vec::with_capacity(mib << 20)));
        }
        let taken = |bytes| buffers.take(bytes).capacity();
        assert_eq!(taken((1 << 20) + 1), 2 << 20);
        assert_eq!(taken(10), 1 << 20);
        assert_eq!(taken((3 << 20) + 1), 4 << 20);
        assert_eq!(taken((1 << 20) + 1), 3 << 20);
        assert_eq!(taken(10), 10);
    }

    #[test]
    fn only_so_much_is_kept() {
        let buffers = Buffers::default();
        for _ in 0..5 {
            drop(buffers.lend(Vec::with_capacity(MOST_IDLE_BYTES / 3)));
        }
        let idle = buffers.idle.lock().unwrap();
        assert_eq!(idle.buffers.len(), 3);
        assert!(idle.bytes <= MOST_IDLE_BYTES);
    }
}
