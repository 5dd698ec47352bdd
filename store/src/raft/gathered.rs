//! Connections that write small pieces together.

use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much is kept until it is flushed.
const HELD_BYTES: usize = 32 * 1024;

/// Pieces from this size on are not copied.
const LARGE_BYTES: usize = 4 * 1024;

/// A flush of less than this lets other tasks go first, once, as gRPC's Go library does (grpc-go,
/// `internal/transport/controlbuf.go`, `minBatchSize`).
const ENOUGH_BYTES: usize = 1_000;

/// A connection that writes small pieces together.
///
/// The HTTP/2 library flushes whenever its task runs, and its task runs as soon as one of the connection's many calls has
/// something to say. So an answer's head and its end, and the answers of calls that end together, events to many watchers for
/// one, would each be written, and read by the other side, on their own: on loopback such a write costs more than all else
/// that is done for an answer.
#[derive(Debug)]
pub(crate) struct Gathered<S> {
    stream: S,
    held: BytesMut,
    /// A flush of little lets other tasks go first.
    waits: bool,
    /// Others have been let go first since the last flush.
    waited: bool,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// For the connections of many clients, of which each has little to say.
    pub(crate) fn patient(stream: S) -> Self {
        Self {
            waits: true,
            ..Self::prompt(stream)
        }
    }

    /// For the members among themselves: what one says lets the other go on, and other tasks can be many. Pieces that are
    /// written before a flush still go together.
    pub(crate) fn prompt(stream: S) -> Self {
        Self {
            stream,
            held: BytesMut::new(),
            waits: false,
            waited: false,
        }
    }

    /// Writes everything that is held.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if piece.len() < LARGE_BYTES {
            if this.held.len() + piece.len() > HELD_BYTES {
                ready!(this.poll_release(context))?;
            }
            this.held.extend_from_slice(piece);
            return Poll::Ready(Ok(piece.len()));
        }
        // Some of the piece must go, or the caller would take it that none ever will.
        loop {
            let both = [IoSlice::new(&this.held), IoSlice::new(piece)];
            let stream = Pin::new(&mut this.stream);
            let written = if this.held.is_empty() {
                ready!(stream.poll_write(context, piece))?
            } else if stream.is_write_vectored() {
                ready!(stream.poll_write_vectored(context, &both))?
            } else {
                ready!(this.poll_release(context))?;
                continue;
            };
            let before = this.held.len();
            this.held.advance(written.min(before));
            if written > before || written == 0 {
                return Poll::Ready(Ok(written.saturating_sub(before)));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.held.is_empty() {
            if this.waits && this.held.len() < ENOUGH_BYTES && !this.waited {
                this.waited = true;
                // The runtime wakes this task once it has nothing else to do. To wake it here would wake another thread.
                let turn = pin!(tokio::task::yield_now());
                ready!(turn.poll(context));
            }
            ready!(this.poll_release(context))?;
        }
        this.waited = false;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    /// The library copies short messages into what it writes next only where it is told that it cannot name several pieces
    /// in one write; here all of them are gathered anyway.
    fn is_write_vectored(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Takes a few bytes of every write.
    struct Narrow {
        taken: Vec<u8>,
        writes: usize,
        most: usize,
        vectored: bool,
        random: StdRng,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            piece: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(context, &[IoSlice::new(piece)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            if self.random.random_bool(0.2) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let most = self.most;
            let mut room = self.random.random_range(1..=most);
            let all = room;
            for piece in pieces {
                let part = room.min(piece.len());
                self.taken.extend_from_slice(&piece[..part]);
                room -= part;
            }
            self.writes += 1;
            Poll::Ready(Ok(all - room))
        }

        fn is_write_vectored(&self) -> bool {
            self.vectored
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn narrow(seed: u64, most: usize) -> Gathered<Narrow> {
        Gathered::patient(Narrow {
            taken: Vec::new(),
            writes: 0,
            most,
            vectored: seed.is_multiple_of(2),
            random: StdRng::seed_from_u64(seed),
        })
    }

    #[tokio::test]
    async fn every_byte_goes_out_once_and_in_order() {
        for seed in 0..50 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut connection = narrow(seed, 20_000);
            let mut wanted = Vec::new();
            for _ in 0..200 {
                let longest = [20, 900, 5_000, 60_000][random.random_range(0..4)];
                let mut piece = vec![0; random.random_range(1..longest)];
                random.fill(piece.as_mut_slice());
                connection.write_all(&piece).await.unwrap();
                wanted.extend(piece);
                if random.random_bool(0.2) {
                    connection.flush().await.unwrap();
                    assert!(connection.stream.taken == wanted, "seed {seed}: flushed");
                }
            }
            connection.shutdown().await.unwrap();
            assert!(connection.stream.taken == wanted, "seed {seed}");
        }
    }

    #[tokio::test]
    async fn what_comes_within_a_turn_is_one_write() {
        let mut connection = narrow(0, 20_000);
        connection.stream.random = StdRng::seed_from_u64(3);
        connection.write_all(b"a head, ").await.unwrap();
        let mut turns = 0;
        std::future::poll_fn(|context| {
            turns += 1;
            let flushed = Pin::new(&mut connection).poll_flush(context);
            if turns == 1 {
                assert!(flushed.is_pending(), "others go first");
                let written = Pin::new(&mut connection).poll_write(context, b"an end");
                assert!(written.is_ready());
            }
            flushed
        })
        .await
        .unwrap();
        assert_eq!(connection.stream.taken, b"a head, an end");
    }
}
