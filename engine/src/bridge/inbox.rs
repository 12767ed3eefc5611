//! From tasks to an operator: a bounded queue that wakes the operator.

use timely::scheduling::activate::SyncActivator;
use tokio::sync::mpsc;

/// The operator's end.
pub struct Inbox<T> {
    receiver: mpsc::Receiver<T>,
}

/// The tasks' end.
pub struct Outbox<T> {
    sender: mpsc::Sender<T>,
    wake: SyncActivator,
}

/// The operator is gone; there is nobody to work for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// A queue for `capacity` messages.
pub fn inbox<T>(capacity: usize, wake: SyncActivator) -> (Outbox<T>, Inbox<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (Outbox { sender, wake }, Inbox { receiver })
}

impl<T> Inbox<T> {
    /// The next message, if one is there.
    pub fn take(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Whether no message is there.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

impl<T> Outbox<T> {
    /// Waits for room, then puts the message and wakes the operator.
    ///
    /// # Errors
    /// [`Closed`] when the operator is gone.
    pub async fn send(&self, message: T) -> Result<(), Closed> {
        self.sender.send(message).await.map_err(|_| Closed)?;
        self.wake();
        Ok(())
    }

    /// Waits until there is room for a message.
    ///
    /// # Errors
    /// [`Closed`] when the operator is gone.
    pub async fn has_room(&self) -> Result<(), Closed> {
        self.sender.reserve().await.map(drop).map_err(|_| Closed)
    }

    /// The same from a thread that may block.
    ///
    /// # Errors
    /// [`Closed`] when the operator is gone.
    pub fn send_blocking(&self, message: T) -> Result<(), Closed> {
        self.sender.blocking_send(message).map_err(|_| Closed)?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        // Fails only when the worker is gone, and then there is nobody to wake.
        let _ = self.wake.activate();
    }
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), wake: self.wake.clone() }
    }
}
