//! Signals that end a process, held back while it writes what must not be left half done.
//!
//! Nothing is registered before the first such write: most commands have none.

#[cfg(unix)]
pub(crate) use unix::hold;

/// Elsewhere nothing can be held back.
#[cfg(not(unix))]
pub(crate) struct Held;

#[cfg(not(unix))]
pub(crate) fn hold() -> std::io::Result<Held> {
    Ok(Held)
}

#[cfg(unix)]
mod unix {
    use std::{
        io,
        sync::{
            Mutex, MutexGuard, PoisonError,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
    };

    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        flag,
        low_level::emulate_default_handler,
    };

    /// Whether a signal has its effect at once.
    static IS_AT_ONCE: AtomicBool = AtomicBool::new(true);
    /// The last signal that came; 0 is none.
    static CAME: AtomicUsize = AtomicUsize::new(0);
    /// Whether the signals are registered; locked while they are held back.
    static IS_REGISTERED: Mutex<bool> = Mutex::new(false);

    /// Holds the signals back until it is dropped.
    pub(crate) struct Held(MutexGuard<'static, bool>);

    /// Holds back SIGHUP, SIGINT and SIGTERM; one that comes meanwhile has its effect afterwards.
    ///
    /// # Errors
    ///
    /// When the system refuses to register a signal.
    pub(crate) fn hold() -> io::Result<Held> {
        let mut held = Held(IS_REGISTERED.lock().unwrap_or_else(PoisonError::into_inner));
        IS_AT_ONCE.store(false, Ordering::SeqCst);
        if !*held.0 {
            register()?;
            *held.0 = true;
        }
        Ok(held)
    }

    fn register() -> io::Result<()> {
        let ignored = ignored();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            if ignored >> (signal - 1) & 1 == 1 {
                continue;
            }
            let number = usize::try_from(signal).map_err(io::Error::other)?;
            // Noted first: a signal that is late to be noted then finds that it has its effect at once.
            flag::register_usize(signal, &CAME, number)?;
            flag::register_conditional_default(signal, &IS_AT_ONCE)?;
        }
        Ok(())
    }

    impl Drop for Held {
        fn drop(&mut self) {
            IS_AT_ONCE.store(true, Ordering::SeqCst);
            let came = CAME.swap(0, Ordering::SeqCst);
            if let Ok(signal @ 1..) = i32::try_from(came) {
                // It fails for unknown signals only.
                let _ = emulate_default_handler(signal);
            }
        }
    }

    /// Gives the signals that we were started with ignored, as nohup(1) does it and a shell in the background:
    /// signal n is bit n - 1 (proc(5), SigIgn). They stay so; where that cannot be read, all are left alone.
    #[cfg(target_os = "linux")]
    fn ignored() -> u128 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok());
        mask.unwrap_or(u128::MAX)
    }

    /// Elsewhere only unsafe code can ask: one that was ignored has an effect again after the first write.
    #[cfg(not(target_os = "linux"))]
    fn ignored() -> u128 {
        0
    }
}
