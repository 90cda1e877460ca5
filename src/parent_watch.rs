//! Ends this process soon after git was killed, while the helper waits for a server.
//!
//! A helper that waits for the network does not notice that git has ended. `poll` reports an error on the output pipe
//! when git has closed its end. Git also closes it after a successful push. So the watch checks only while it is armed:
//! from a request to the first byte of the response.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Checks git's end of the pipe, this process's stdout, while it is armed.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    armed: Arc<AtomicUsize>,
    #[cfg(unix)]
    thread: std::sync::OnceLock<Option<std::thread::JoinHandle<()>>>,
}

/// Keeps the watch armed until it is dropped.
#[derive(Debug)]
pub(crate) struct Armed(Arc<AtomicUsize>);

impl Drop for Armed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Watch {
    /// Arms the watch during a wait.
    pub(crate) fn arm(&self) -> Armed {
        self.armed.fetch_add(1, Ordering::SeqCst);
        #[cfg(unix)]
        if let Some(handle) = self
            .thread
            .get_or_init(|| unix::spawn(Arc::clone(&self.armed)))
        {
            handle.thread().unpark();
        }
        Armed(Arc::clone(&self.armed))
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        os::fd::{AsFd as _, OwnedFd},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread::{self, JoinHandle},
        time::Duration,
    };

    use crate::limits;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// The time limit for one check. A closed pipe ends it immediately.
    const LOOK: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 200_000_000,
    };

    /// The time that this process has to end by itself.
    const GRACE: Duration = Duration::from_millis(200);

    /// Starts the thread. Without a thread, the process notices a killed git at the next byte.
    pub(super) fn spawn(armed: Arc<AtomicUsize>) -> Option<JoinHandle<()>> {
        let pipe = std::io::stdout().as_fd().try_clone_to_owned().ok()?;
        limits::start("parent_watch", move || watch(&pipe, &armed)).ok()
    }

    fn watch(pipe: &OwnedFd, armed: &AtomicUsize) {
        let mut is_gone = false;
        loop {
            if armed.load(Ordering::SeqCst) == 0 {
                is_gone = false;
                thread::park();
                continue;
            }
            // A thread that writes to git gets the error, too, and should report it first.
            if is_gone {
                thread::sleep(GRACE);
                // During the check, the command may have succeeded, and git may have closed the pipe.
                if armed.load(Ordering::SeqCst) > 0 {
                    std::process::exit(1);
                }
                continue;
            }
            let mut look = [PollFd::new(pipe, PollFlags::empty())];
            let seen = poll(&mut look, Some(&LOOK));
            is_gone = seen.is_ok() && look[0].revents().intersects(PollFlags::ERR);
        }
    }
}
