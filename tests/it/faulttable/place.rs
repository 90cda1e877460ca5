//! The setting of each row, a user with a token and a repository, and the rules after each row.

use std::{collections::BTreeMap, fs, path::Path};

use bitbucket_local::{Action, Kind, Recorded};

use super::cells::{OPEN, Phase, SLOW, STEPS, Step, Variant};
use crate::{
    inspect::{HUNG, SPANS_S, is_sound, limited, low_speed, names},
    processes,
    support::{Done, Git, Run, World},
};

/// Runs plain git for so many seconds. What never ends fills no memory: neither git's own nor ours, by what it prints.
const WITHIN_BOUNDS: &str = "prlimit --as=402653184 --fsize=67108864 --core=0 \
    timeout --kill-after=1 \"$0\" \"$@\" 2>\"$ERRORS\"; code=$?; head -c 65536 \"$ERRORS\" >&2; exit $code";
/// A command is tried again three times, and each time once more at once if nothing came.
const MOST_TRIES: usize = 8;

/// One fault of one request.
pub(super) struct Row {
    pub(super) step: Step,
    pub(super) phase: Phase,
    /// Which of the places, where there are several.
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) variant: Variant,
}

/// A user with a token in the cache, a repository, and something to push.
pub(super) struct Place {
    /// The agent, if commands have one. It ends first.
    #[cfg(target_os = "linux")]
    pub(super) agent: Option<crate::agent::whole::Agent>,
    /// A setting for our commands.
    pub(super) setting: &'static str,
    pub(super) world: World,
    pub(super) token: String,
    /// The places in the answer to each step.
    lengths: BTreeMap<&'static str, Vec<u64>>,
    rows: usize,
}

impl Place {
    pub(super) fn new(git: Git) -> Self {
        let world = World::new(git);
        world.clone_of_new("ws", "repo");
        world.commit(&world.path("repo"), "file", "two\n");
        fs::create_dir(world.path("tmp")).expect("it is not there yet");
        let mut place = Place {
            #[cfg(target_os = "linux")]
            agent: None,
            setting: "core.x=y",
            token: world
                .bitbucket
                .issue_access_token(&["repository", "repository:write"]),
            world,
            lengths: BTreeMap::new(),
            rows: 0,
        };
        place.measure();
        place
    }

    /// Finds out where the pkt-lines of undisturbed answers end.
    fn measure(&mut self) {
        let (address, setting) = self.remote(true);
        self.world.git(["init", "-q", "measured"]).ok();
        for (step, tree) in [(Step::Fetch, "measured"), (Step::Push, "repo")] {
            self.world.bitbucket.clear_requests();
            let (tree, name) = (self.world.path(tree), self.name());
            let run = self.git(&setting, true, SPANS_S[0]);
            self.command(run, step, &address, &name).within(&tree).ok();
            let requests = self.world.bitbucket.git_requests();
            for step in STEPS {
                let found = requests.iter().filter(|request| is_of(step, request));
                let mut ends = found.map(|request| request.boundaries.clone());
                let nth = usize::from(step == Step::Fetch);
                if let Some(ends) = ends.nth(nth) {
                    self.lengths.insert(key(step), ends);
                }
            }
        }
        // Inside of the only member of a JSON object that is needed.
        self.lengths.insert(key(Step::Token), vec![20]);
        assert_eq!(self.lengths.len(), STEPS.len(), "{:?}", self.lengths);
    }

    /// The places of a phase in the answer to a step, in bytes of its body.
    pub(super) fn places(&self, step: Step, phase: Phase) -> Vec<u64> {
        let ends = &self.lengths[key(step)];
        match (step, phase) {
            // Where the pkt-lines of a pack end is its packer's affair, and another time they end elsewhere: the first
            // one says that it follows, and the second begins it.
            (Step::Fetch, Phase::Boundary) => return vec![13],
            (Step::Fetch, Phase::Inside) => return vec![2, 8, 15, 30],
            _ => {}
        }
        let begins = [&[0], ends.as_slice()].concat();
        let lines = begins.iter().zip(ends);
        match phase {
            Phase::Head => vec![0],
            Phase::End => vec![u64::MAX],
            // The last one ends the answer.
            Phase::Boundary => ends[..ends.len() - 1].to_vec(),
            // In its length, and in its data if it has any.
            Phase::Inside => lines
                .flat_map(|(begin, end)| match end - begin {
                    4 => vec![begin + 2],
                    length => vec![begin + 2, begin + length / 2],
                })
                .collect(),
        }
    }

    /// The address and the setting for us or for plain git.
    pub(super) fn remote(&self, is_ours: bool) -> (String, String) {
        match is_ours {
            true => ("bbtoken::ws/repo".to_owned(), self.setting.to_owned()),
            false => (
                self.world.bitbucket.repository_url("ws", "repo"),
                self.world.with_header(&self.token),
            ),
        }
    }

    /// Prepares git: with ours it has to end by itself, and plain git is ended where it hangs.
    pub(super) fn git(&self, setting: &str, is_ours: bool, span_s: u32) -> Run {
        let run = match is_ours {
            true => limited(&self.world, ["-c", setting]),
            false => self
                .world
                .run(Path::new("sh"), ["-c", WITHIN_BOUNDS])
                .env("ERRORS", self.world.path("errors"))
                .arg((span_s * 10).to_string())
                .arg(&self.world.git.program)
                .args(["-c", setting]),
        };
        run.without_memory().env("TMPDIR", self.world.path("tmp"))
    }

    /// Adds the command of a step.
    fn command(&self, run: Run, step: Step, address: &str, name: &str) -> Run {
        match step.is_push() {
            true => run.args(["push", "-q", address, &format!("HEAD:refs/heads/{name}")]),
            false => run.args(["fetch", "-q", address, "main:refs/heads/got"]),
        }
    }

    /// A name for the next row, as long as any other.
    fn name(&mut self) -> String {
        self.rows += 1;
        format!("row-{:04}", self.rows)
    }

    /// Runs one row for us or for plain git and checks what holds for all of them.
    pub(super) fn row(&mut self, row: &Row, is_ours: bool) -> Outcome {
        let mut ends = Vec::new();
        for span_s in SPANS_S {
            if let Some(outcome) = self.row_within(row, is_ours, span_s, &mut ends) {
                return outcome;
            }
        }
        panic!("the fault happens: {:?}, {}: {ends:#?}", row.step, row.name);
    }

    /// Runs one row; gives nothing if a time limit ended it before the fault.
    fn row_within(
        &mut self,
        row: &Row,
        is_ours: bool,
        span_s: u32,
        ends: &mut Vec<Done>,
    ) -> Option<Outcome> {
        let name = self.name();
        let world = &self.world;
        world.bitbucket.clear_script();
        if row.step == Step::Token {
            fs::remove_dir_all(world.cache()).unwrap_or_default();
        }
        let tree = match row.step.is_push() {
            true => world.path("repo"),
            false => world.path(&name),
        };
        if !row.step.is_push() {
            world.git(["init", "-q", &name]).ok();
        }
        world.bitbucket.clear_requests();
        let at = self.places(row.step, row.phase)[row.at];
        let action = (row.variant.action)(row.step, at);
        // What is said past the server's library is HTTP/1.1.
        let is_bare = matches!(action, Action::Bare(_));
        world.bitbucket.script(row.step.rule(action));
        let (address, setting) = self.remote(is_ours);
        let is_open = row.variant.name == OPEN;
        let is_slow = row.variant.causes == SLOW || is_open;
        let run = self.git(&setting, is_ours, span_s);
        let run = match is_slow {
            true => run.args(low_speed(span_s)),
            false => run,
        };
        let run = self.command(run, row.step, &address, &name);
        let run = match is_bare {
            true => run
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "http.version")
                .env("GIT_CONFIG_VALUE_0", "HTTP/1.1"),
            false => run,
        };
        let done = run.within(&tree).done();
        world.bitbucket.release();
        let shown = format!("{:?}, {}, ours: {is_ours}: {done:?}", row.step, row.name);
        let outcome = Outcome {
            said: without_numbers(&done.stderr.replace(&name, "row")),
            ..Outcome::of(&done, self.tries(row.step))
        };
        let has_to_work = is_ours && is_open && row.variant.causes.is_empty();
        if outcome.tries == 0 || has_to_work && outcome.code != 0 {
            ends.push(done);
            return None;
        }
        if is_ours {
            self.leaves_nothing(&done, &shown, &tree);
            self.is_reported(row, &done, &outcome, &shown);
            match row.step.is_push() {
                true => self.is_known(row, &done, &name, &shown),
                false if outcome.code == 0 => drop(world.rev(&tree, "refs/heads/got")),
                false => {}
            }
        }
        Some(outcome)
    }

    fn tries(&self, step: Step) -> usize {
        let requests = self.world.bitbucket.requests();
        let of_step = requests.iter().filter(|request| is_of(step, request));
        of_step
            .count()
            .saturating_sub(usize::from(step == Step::Fetch))
    }

    /// No process, no temporary file, no damage.
    pub(super) fn leaves_nothing(&self, done: &Done, shown: &str, tree: &Path) {
        let world = &self.world;
        assert_ne!(done.code, Some(HUNG), "git ends by itself: {shown}");
        processes::all_end(&processes::of(world));
        is_sound(world, tree);
        assert_eq!(names(&world.path("tmp")), [""; 0], "{shown}");
        let kept = names(&world.cache());
        assert!(kept.iter().all(|name| !name.contains("tmp")), "{kept:?}");
    }

    /// One error with one cause; what is tried again is announced, and a push is sent once.
    fn is_reported(&self, row: &Row, done: &Done, outcome: &Outcome, shown: &str) {
        assert!(outcome.tries <= MOST_TRIES, "{}: {shown}", outcome.tries);
        let announced = done.stderr.matches("; trying again in ").count();
        assert!(announced <= 1, "one line for all tries: {shown}");
        if row.step == Step::Push || announced == 0 {
            assert!(outcome.tries <= 2, "a pause is announced: {shown}");
        }
        if row.step == Step::Push {
            assert_eq!(outcome.tries, 1, "a push is sent once: {shown}");
        }
        let is_good = row.variant.causes.is_empty();
        assert_eq!(outcome.code == 0, is_good, "{shown}");
        if is_good {
            return;
        }
        // Ours has a cause below it; git's own lines may follow, or be all there is to say.
        let lines: Vec<&str> = done.stderr.lines().collect();
        let caused = lines.windows(2).filter(|pair| {
            !pair[0].starts_with("caused by: ") && pair[1].starts_with("caused by: ")
        });
        let is_gits =
            row.variant.causes.contains(&"fatal: ") && !done.stderr.contains("caused by: ");
        assert!(caused.count() == 1 || is_gits, "one error: {shown}");
        assert!((1..400).contains(&outcome.cause.len()), "{shown}");
        let is_named = |cause: &&str| done.stderr.contains(cause);
        assert!(
            row.variant.causes.iter().any(is_named),
            "{:?}: {shown}",
            row.variant.causes
        );
    }

    /// A push that the server has is either done or not known to be, and one that it has not is not done.
    fn is_known(&self, row: &Row, done: &Done, name: &str, shown: &str) {
        let bare = self.world.bitbucket.repository_path("ws", "repo");
        let found = self
            .world
            .git(["rev-parse", "-q", "--verify", &format!("refs/heads/{name}")])
            .within(bare)
            .done();
        let is_there = found.code == Some(0);
        let is_done = done.code == Some(0);
        let is_unknown = done
            .stderr
            .contains("the server may or may not have done the push");
        assert!(!is_done || is_there, "done is done: {shown}");
        assert!(is_done || !is_there || is_unknown, "it is there: {shown}");
        if row.step == Step::PushDiscovery {
            assert!(!is_unknown, "nothing was sent: {shown}");
        }
    }
}

fn key(step: Step) -> &'static str {
    match step {
        Step::Discovery => "discovery",
        Step::LsRefs => "ls-refs",
        Step::Fetch => "fetch",
        Step::PushDiscovery => "push discovery",
        Step::Push => "push",
        Step::Token => "token",
    }
}

fn is_of(step: Step, request: &Recorded) -> bool {
    let query = request.query.as_deref().unwrap_or("");
    let asks = |service: &str| request.method == "GET" && query.ends_with(service);
    let posts = |service: &str| request.method == "POST" && request.path.ends_with(service);
    match step {
        Step::Token => request.kind == Kind::Token,
        Step::Discovery => asks("git-upload-pack"),
        Step::PushDiscovery => asks("git-receive-pack"),
        Step::LsRefs | Step::Fetch => posts("git-upload-pack"),
        Step::Push => posts("git-receive-pack"),
    }
}

/// What became of a row.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) code: i32,
    pub(super) cause: String,
    pub(super) tries: usize,
    /// All that was said, without what differs from time to time.
    pub(super) said: String,
}

/// Replaces the random length of a pause.
fn without_numbers(said: &str) -> String {
    let lines = said
        .lines()
        .map(|line| match line.split_once("; trying again in ") {
            Some((why, _)) => format!("{why}; trying again\n"),
            None => format!("{line}\n"),
        });
    lines.collect()
}

impl Outcome {
    pub(super) fn of(done: &Done, tries: usize) -> Self {
        let lines = || done.stderr.lines();
        let cause = lines()
            .rfind(|line| line.starts_with("caused by: "))
            .or_else(|| {
                lines().rfind(|line| line.starts_with("fatal: ") || line.starts_with("error: "))
            });
        Outcome {
            code: done.code.unwrap_or(-1),
            cause: cause
                .unwrap_or("")
                .trim_start_matches("caused by: ")
                .to_owned(),
            tries,
            said: String::new(),
        }
    }
}
