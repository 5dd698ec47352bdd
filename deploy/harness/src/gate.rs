//! A door before a server: closed, it is as if the server were away.

use std::sync::Arc;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A port on 127.0.0.1 that leads to another one as long as the gate is open. Closing it cuts what goes through.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    open: Arc<watch::Sender<bool>>,
    listening: AbortHandle,
}

impl Gate {
    /// An open gate before `port`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn before(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        let open = Arc::new(watch::Sender::new(true));
        let listening = tokio::spawn(listen(listener, port, Arc::clone(&open))).abort_handle();
        Ok(Self {
            port: own,
            open,
            listening,
        })
    }

    /// The port to come in by.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection, and every new one at once.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, port: u16, open: Arc<watch::Sender<bool>>) {
    let mut passing = JoinSet::new();
    while let Ok((incoming, _)) = listener.accept().await {
        while passing.try_join_next().is_some() {}
        if *open.borrow() {
            passing.spawn(pass(incoming, port, open.subscribe()));
        }
    }
}

async fn pass(mut incoming: TcpStream, port: u16, mut open: watch::Receiver<bool>) {
    let passing = async {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
        copy_bidirectional(&mut incoming, &mut server).await
    };
    // However it ends, both connections are closed.
    tokio::select! {
        _ = passing => {}
        _ = open.wait_for(|open| !*open) => {}
    }
}
