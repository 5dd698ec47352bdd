//! Buffers that go round between those who unpack rows and those who take them.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of buffers that wait for their next use, at most.
const MOST_IDLE_BYTES: usize = 16 << 20;

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
    /// An empty buffer, used before or new.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = idle.buffers.pop().unwrap_or_default();
        idle.bytes -= buffer.capacity();
        buffer
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
        let mut buffer = buffers.take();
        buffer.extend_from_slice(&[7; 1000]);
        let place = buffer.as_ptr();
        let lent = buffers.lend(buffer);
        let part = lent.slice(10..20);
        drop(lent);
        assert_eq!(buffers.take().capacity(), 0);
        assert_eq!(part, [7; 10].as_slice());
        drop(part);
        let again = buffers.take();
        assert!(again.is_empty());
        assert_eq!((again.as_ptr(), again.capacity() >= 1000), (place, true));
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
