//! A time limit for every test: if nothing happens in a world for too long, its processes are killed, and the test
//! fails.

use std::{
    fs,
    io::Write as _,
    os::unix::ffi::OsStrExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    processes,
    support::{World, gits},
};

/// Longer than any command takes that ends, however busy the machine is: what takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// How long a test may go on whose processes have been killed, and how often the others are looked at.
const GRACE: Duration = Duration::from_secs(60);
/// The signals that a shell lets its background jobs ignore (POSIX sh, 2.11), that of nohup(1), and that of kill(1).
const HEEDED: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// When anything happened last in any world.
fn last() -> MutexGuard<'static, Instant> {
    static LAST: LazyLock<Mutex<Instant>> = LazyLock::new(|| Mutex::new(Instant::now()));
    LAST.lock().expect("no thread panics while it holds it")
}

/// Watches one world.
pub(crate) struct Watch {
    directory: PathBuf,
    test: String,
    has_bitten: AtomicBool,
    seen: Mutex<Seen>,
    changed: Condvar,
}

struct Seen {
    at: Instant,
    is_over: bool,
}

impl Watch {
    /// Watches over the processes that have this directory in their environment.
    pub(crate) fn over(directory: &Path) -> Arc<Self> {
        let watch = Arc::new(Watch {
            directory: directory.to_owned(),
            test: thread::current().name().unwrap_or("a test").to_owned(),
            has_bitten: AtomicBool::new(false),
            seen: Mutex::new(Seen {
                at: Instant::now(),
                is_over: false,
            }),
            changed: Condvar::new(),
        });
        let watching = Arc::clone(&watch);
        thread::spawn(move || watching.watch());
        watch
    }

    /// Notes that the test goes on.
    pub(crate) fn goes_on(&self) {
        let now = Instant::now();
        self.seen().at = now;
        *last() = now;
    }

    /// Notes that the test is over.
    pub(crate) fn ends(&self) {
        self.seen().is_over = true;
        self.changed.notify_all();
    }

    /// Tells whether processes of this world were killed.
    pub(crate) fn has_bitten(&self) -> bool {
        self.has_bitten.load(Ordering::SeqCst)
    }

    /// Kills every process of the world.
    pub(crate) fn bite(&self) {
        self.has_bitten.store(true, Ordering::SeqCst);
        for (pid, command) in self.processes() {
            self.say(&format!("killing '{command}'"));
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn watch(&self) {
        while self.is_quiet_for(PATIENCE) {
            let has_processes = !self.processes().is_empty();
            if has_processes {
                self.say("no command has begun or ended for too long");
                self.bite();
            }
            // The test may be at work in another world.
            if last().elapsed() > PATIENCE + GRACE {
                self.say("the test itself hangs");
                process::exit(101);
            }
            self.seen().at = Instant::now() - (PATIENCE - GRACE);
        }
    }

    /// Waits until nothing has happened for so long; false if the test ends before.
    fn is_quiet_for(&self, limit: Duration) -> bool {
        let mut seen = self.seen();
        while !seen.is_over {
            let Some(left) = limit.checked_sub(seen.at.elapsed()) else {
                return true;
            };
            let waited = self.changed.wait_timeout(seen, left);
            seen = waited.expect("no thread panics while it holds it").0;
        }
        false
    }

    fn processes(&self) -> Vec<(Pid, String)> {
        let entries = fs::read_dir("/proc").expect("this system shows its processes");
        let look = |entry: fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let marker = self.directory.as_os_str().as_bytes();
            if !environment.windows(marker.len()).any(|at| at == marker) {
                return None;
            }
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            Some((Pid::from_raw(number)?, command))
        };
        entries.flatten().filter_map(look).collect()
    }

    /// Says something past the test's captured output, which is lost when the process exits.
    fn say(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{}: {text}", self.test);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen
            .lock()
            .expect("no thread panics while it holds it")
    }
}

/// Makes every child heed the signals that this process was started to ignore, as with `nohup scripts/test &`.
///
/// A signal that is ignored stays so in a new program; one that has a handler is back at its default (execve(2)).
pub(crate) fn heed_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").expect("this system shows it");
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let ignored = ignored.expect("proc(5) has a mask of ignored signals");
        for signal in HEEDED.map(Signal::as_raw) {
            if ignored & (1 << (signal - 1)) != 0 {
                signal_hook::flag::register(signal, Arc::default()).expect("it can be handled");
            }
        }
    });
}

#[test]
fn a_hanging_command_is_killed_with_its_children_and_its_output_is_shown() {
    let world = World::new(gits().remove(0));
    let line = "echo so far; sleep 900 & touch up; wait";
    let hangs = world.run(Path::new("sh"), ["-c", line]);
    let told = thread::scope(|scope| {
        let run = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| hangs.done())));
        while !world.path("up").exists() {
            thread::yield_now();
        }
        let running = processes::of(&world);
        world.watch.bite();
        processes::all_end(&running);
        run.join().expect("the panic is caught").err()
    });
    let told = told.and_then(|panic| panic.downcast::<String>().ok());
    let told = told.expect("a command that was killed fails its test");
    assert!(
        told.contains("sleep 900") && told.contains("so far"),
        "{told}"
    );
}

#[test]
fn signals_that_the_parent_ignores_reach_the_programs_under_test() {
    let world = World::new(gits().remove(0));
    let program = std::env::current_exe().expect("this is one");
    let test = "terminals::a_signal_goes_to_the_command_and_its_netrc_file_is_removed";
    let ignored = HEEDED.map(|signal| format!("--ignore-signal={}", signal.as_raw()));
    world
        .run(Path::new("env"), ignored)
        .arg(program)
        .args(["--exact", test])
        .ok();
}
