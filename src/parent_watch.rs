//! Ends this process soon after git was killed while we wait for a server.
//!
//! A helper that waits on the network does not notice that git has ended. Git's end of our output
//! pipe tells: `poll` reports an error on it as soon as its reader is gone. Git closes that end after a good push,
//! too, so the watch looks only while it is armed: from a request to the first byte of its answer.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Looks at git's end of the pipe while it is armed.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    armed: Arc<AtomicUsize>,
    #[cfg(unix)]
    thread: std::sync::OnceLock<Option<std::thread::JoinHandle<()>>>,
    #[cfg(unix)]
    enabled: bool,
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
    /// Watches this process's standard output.
    pub(crate) fn on_stdout() -> Self {
        Watch {
            #[cfg(unix)]
            enabled: true,
            ..Watch::default()
        }
    }

    /// Arms the watch while a wait is under way.
    pub(crate) fn arm(&self) -> Armed {
        self.armed.fetch_add(1, Ordering::SeqCst);
        #[cfg(unix)]
        if self.enabled {
            let handle = self
                .thread
                .get_or_init(|| unix::spawn(Arc::clone(&self.armed)));
            if let Some(handle) = handle {
                handle.thread().unpark();
            }
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

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// How long one look takes at most; a closed pipe ends it at once.
    const LOOK: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 200_000_000,
    };

    /// How long this process has to end by itself.
    const GRACE: Duration = Duration::from_millis(200);

    /// Starts the thread; without one a killed git is noticed at the next byte, as ever.
    pub(super) fn spawn(armed: Arc<AtomicUsize>) -> Option<JoinHandle<()>> {
        let pipe = std::io::stdout().as_fd().try_clone_to_owned().ok()?;
        thread::Builder::new()
            .name("hangup".into())
            .spawn(move || watch(&pipe, &armed))
            .ok()
    }

    fn watch(pipe: &OwnedFd, armed: &AtomicUsize) {
        let mut is_gone = false;
        loop {
            if armed.load(Ordering::SeqCst) == 0 {
                is_gone = false;
                thread::park();
                continue;
            }
            // A thread that writes to git sees the error, too, and reports it first.
            if is_gone {
                thread::sleep(GRACE);
                // Git may have closed the pipe after a good end that came while we looked.
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
