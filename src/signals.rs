//! Delays the signals that end a process while it writes data that must be complete.
//!
//! The first such write registers the signals, because most commands have none.

#[cfg(unix)]
pub(crate) use unix::hold;

/// Other systems cannot delay signals.
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

    /// Whether a signal has an immediate effect.
    static IS_AT_ONCE: AtomicBool = AtomicBool::new(true);
    /// The last signal, or 0.
    static CAME: AtomicUsize = AtomicUsize::new(0);
    /// Whether the signals are registered. Locked during a delay.
    static IS_REGISTERED: Mutex<bool> = Mutex::new(false);

    /// Delays the signals until it is dropped.
    pub(crate) struct Held(MutexGuard<'static, bool>);

    /// Delays SIGHUP, SIGINT and SIGTERM. A signal during the delay has its effect afterwards.
    ///
    /// # Errors
    ///
    /// If the system refuses to register a signal.
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
            // Record before the check: a signal that is recorded after the delay then has its effect immediately.
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
                // This fails only for unknown signals.
                let _ = emulate_default_handler(signal);
            }
        }
    }

    /// Gives the signals that the parent process set to ignored, as nohup(1) does: signal n is bit n - 1 (proc(5),
    /// SigIgn). They stay ignored. If this cannot be read, all signals stay unchanged.
    #[cfg(target_os = "linux")]
    fn ignored() -> u128 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok());
        mask.unwrap_or(u128::MAX)
    }

    /// On other systems, only unsafe code could read this. So an ignored signal has an effect after the first write.
    #[cfg(not(target_os = "linux"))]
    fn ignored() -> u128 {
        0
    }
}
