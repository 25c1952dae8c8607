//! One end of a connection.
//!
//! Apart because it is what a process holds: it asks whether its process still lives before anything leaves it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{End, Network};
use crate::life::Life;

pub(super) struct Connection {
    /// None until somebody holds it who can use it.
    network: Option<Network>,
    out: u64,
    back: u64,
    life: Arc<Life>,
    shut: bool,
}

impl Connection {
    pub(super) fn half(out: u64, back: u64, life: Arc<Life>) -> Self {
        Self { network: None, out, back, life, shut: false }
    }

    pub(super) fn over(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// The pipe that it writes to, and the one that it reads.
    pub(super) fn ends(&self) -> (u64, u64) {
        (self.out, self.back)
    }

    fn network(&self) -> io::Result<&Network> {
        if self.life.is_over() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.network.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network()?.lock();
        let Some(pipe) = state.pipes.get_mut(&self.back) else { return Poll::Ready(Ok(())) };
        if pipe.ended == Some(End::Reset) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.arrived.is_empty() {
            if pipe.ended == Some(End::Eof) {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        while buffer.remaining() > 0 {
            let (front, _) = pipe.arrived.as_slices();
            let length = front.len().min(buffer.remaining());
            if length == 0 {
                break;
            }
            buffer.put_slice(&front[..length]);
            pipe.arrived.drain(..length);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.network()?.lock();
        let over = state.pipes.get(&self.back).is_none_or(|back| back.ended == Some(End::Reset));
        if over || self.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.send(self.out, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.shut, true) {
            self.network()?.lock().end(self.out, End::Eof);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.life.is_over() {
            return;
        }
        let Some(network) = &self.network else { return };
        let mut state = network.lock();
        if let Some(back) = state.pipes.get_mut(&self.back) {
            back.reader_gone = true;
        }
        if !self.shut {
            state.end(self.out, End::Eof);
        }
    }
}
